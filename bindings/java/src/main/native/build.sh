#!/bin/sh
# native/build.sh - compiles nebula_jni.c against the engine that pkg-config finds.
#
# usage: build.sh <libnebula_jni.so>    the JDK is that of JAVA_HOME, else of the javac on the path
#
# Where the engine is an archive alone it goes inside; else it is found where it is installed.
set -eu
home=${JAVA_HOME:-$(dirname "$(dirname "$(readlink -f "$(command -v javac)")")")}
libraries=$(pkg-config --variable=libdir nebula)
if [ -e "$libraries/libnebula.so" ]; then
  engine="$(pkg-config --libs nebula) -Wl,-rpath,$libraries"
else
  engine="$(pkg-config --static --libs nebula) -Wl,--exclude-libs,ALL"
fi
mkdir -p "$(dirname "$1")"
exec ${CC:-cc} -std=c11 -O2 -g -fPIC -shared -fvisibility=hidden -Wall -Wextra -o "$1" \
  -I"$home/include" -I"$home/include/linux" "$(dirname "$0")/nebula_jni.c" \
  $(pkg-config --cflags nebula) $engine ${LDFLAGS:-}
