#!/bin/sh
# scripts/node.sh - runs node with our package and what its tests use, which `make node` has put into build/node.
#
# usage: scripts/node.sh examples/1_hello/node/hello.js
#        scripts/node.sh --test bindings/node/test/
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
NODE_PATH=${NODE_PATH:+$NODE_PATH:}$root/build/node/node_modules exec node "$@"
