#!/bin/sh
# java/run.sh - runs the conformance program of Java, which build.sh has compiled.
#
# usage: run.sh serve <url>... | call <target>
set -eu
root=$(cd "$(dirname "$0")/../../.." && pwd)
package=$root/build/java/target
exec java -cp "$root/build/matrix/java/classes:$package/nebula.jar:$package/lib/*" \
  org.example.nebula.conformance.Program "$@"
