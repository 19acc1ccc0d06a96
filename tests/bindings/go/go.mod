module example.org/nebula/conformance

go 1.19

require (
	example.org/nebula v0.0.0
	google.golang.org/protobuf v1.33.0
)

replace example.org/nebula => ../../../bindings/go
