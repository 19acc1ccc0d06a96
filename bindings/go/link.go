// link.go - which engine is linked: in a checkout, the one that pkg-config finds. _bundled is what a package has instead.
package nebula

// #cgo pkg-config: nebula
import "C"
