module example.org/nebula/faults

go 1.19

require example.org/nebula v0.0.0

require google.golang.org/protobuf v1.33.0 // indirect

replace example.org/nebula => ../../../bindings/go
