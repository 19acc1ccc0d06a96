#!/bin/sh
# build.sh - compiles the addon into build/, against the nebula that pkg-config finds and the headers of this Node.
#
# npm runs it at install where no addon came with the package that could be loaded. It needs a C++ compiler and fetches
# nothing: Node's headers are where nodejs.org's and NodeSource's packages have them, beside node, or where Debian's
# libnode-dev does. Where nebula is an archive alone it goes inside, and what a package has comes about.
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
    -Wl,-z,now -Wl,--version-script=src/addon.map ${LDFLAGS:-}
}
libraries=$(pkg-config --variable=libdir nebula)
if [ -e "$libraries/libnebula.so" ]; then
  compile loader "-ldl -Wl,-rpath,$libraries"
  compile addon "$(pkg-config --libs nebula) -Wl,-rpath,$libraries"
else
  compile addon "$(pkg-config --static --libs nebula)"
fi
