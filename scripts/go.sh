#!/bin/sh
# scripts/go.sh - runs go in one of our folders, with the engine that `make go` has put into build/go/prefix.
#
# usage: scripts/go.sh bindings/go test -race .
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
prefix=$root/build/go/prefix
export PKG_CONFIG_PATH="$prefix/lib/pkgconfig" CGO_LDFLAGS="-Wl,-rpath,$prefix/lib"
cd "$root/$1"
shift
exec go "$@"
