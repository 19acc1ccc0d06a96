// link_dynamic.go - with the build tag "dynamic", the engine that pkg-config finds is linked.

//go:build dynamic

package nebula

// #cgo pkg-config: nebula
import "C"
