#!/bin/sh
# capi/hide.sh - makes every name of an object local but those that nebula.h shows.
#
# usage: hide.sh <whole.o> <shown.o>
#
# Names that are one in a whole process, of inline variables in C++, can be made local once they are weak.
set -eu
nm --defined-only --format=posix "$1" | awk '$2 == "u" { print $1 }' > "$2.unique"
objcopy --strip-debug --weaken-symbols="$2.unique" "$1" "$2.weak"
objcopy --localize-hidden --wildcard --keep-global-symbol='nebula_*' "$2.weak" "$2"
rm "$1" "$2.unique" "$2.weak"
