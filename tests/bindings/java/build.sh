#!/bin/sh
# java/build.sh - compiles the conformance program of Java, with the classes that protoc makes, into build/matrix/java.
#
# `make java` comes before. Does nothing where nothing has changed.
set -eu
cd "$(dirname "$0")"
root=$(cd ../../.. && pwd)
built=$root/build/matrix/java
package=$root/build/java/target
if [ -e "$built/.done" ]; then
  changed=$(find *.java ../conformance.proto build.sh "$package/nebula.jar" -newer "$built/.done")
  [ -n "$changed" ] || exit 0
fi
rm -rf "$built"
mkdir -p "$built/source" "$built/classes"
protoc -I .. --java_out="$built/source" ../conformance.proto
classes=$package/nebula.jar:$package/lib/*
# What protoc makes is not ours to complain of.
javac -nowarn -Xlint:none -d "$built/classes" -cp "$classes" $(find "$built/source" -name '*.java')
javac -Xlint:all -Werror -d "$built/classes" -cp "$built/classes:$classes" *.java
touch "$built/.done"
