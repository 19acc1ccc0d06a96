#!/bin/sh
# scripts/java.sh - runs java with the package that `make java` has built on its class path, before what CLASSPATH says.
#
# usage: scripts/java.sh examples/1_hello/java/Hello.java
set -eu
built=$(cd "$(dirname "$0")/.." && pwd)/build/java/target
exec java -cp "$built/nebula.jar:$built/lib/*${CLASSPATH:+:$CLASSPATH}" "$@"
