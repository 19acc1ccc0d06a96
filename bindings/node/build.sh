#!/bin/sh
# build.sh - compiles the addon into build/, against the nebula that pkg-config finds and the headers of this Node.
#
# npm runs it at install. It needs a C++ compiler and fetches nothing: Node's headers are where nodejs.org's and
# NodeSource's packages have them, beside node, or where Debian's libnode-dev does.
set -eu
cd "$(dirname "$0")"
node=$(node -p 'path.dirname(path.dirname(process.execPath))')
for headers in "$node/include/node" /usr/include/nodejs/src /usr/include/node ''; do
  [ ! -f "$headers/node_api.h" ] || break
done
[ -n "$headers" ] || { echo "nebula: no node_api.h beside $node; on Debian: apt-get install libnode-dev" >&2; exit 1; }
pkg-config --exists nebula || { echo 'nebula: pkg-config finds no nebula; make install puts it there' >&2; exit 1; }

mkdir -p build
compile() {
  ${CXX:-c++} -std=c++20 -O2 -Wall -Wextra -fPIC -fvisibility=hidden -shared -DNAPI_VERSION=8 -isystem "$headers" \
    $(pkg-config --cflags nebula) "src/$1.cc" -o "build/$1.node" $2 \
    -Wl,-z,now -Wl,--version-script=src/addon.map -Wl,-rpath,"$(pkg-config --variable=libdir nebula)"
}
compile loader -ldl
compile addon "$(pkg-config --libs nebula)"
