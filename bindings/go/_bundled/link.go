// link.go - which engine is linked: the one that lies in this folder, with all that it needs inside.
//
// A folder of its own would not do: go mod vendor takes along those with Go files only.

//go:build !dynamic

package nebula

// #cgo CFLAGS: -I${SRCDIR}
// #cgo linux,amd64 LDFLAGS: ${SRCDIR}/libnebula_linux_amd64.a
// #cgo linux,arm64 LDFLAGS: ${SRCDIR}/libnebula_linux_arm64.a
// #cgo LDFLAGS: -lm -lpthread
import "C"
