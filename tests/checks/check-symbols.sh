#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# What libobjd.so exports, what objd.h marks OBJD_PUBLIC and what libobjd.sym lists are the same functions.
#
# usage: check-symbols.sh libobjd.so objd.h libobjd.sym
set -euo pipefail
export LC_ALL=C

library=$1 header=$2 list=$3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

sed -n 's/^OBJD_PUBLIC [^(]*[ *]\(objd_[a-z0-9_]*\)(.*/\1/p' "$header" | sort >"$work/objd.h"
sed -n 's/^ *\(objd_[a-z0-9_]*\);.*/\1/p' "$list" | sort >"$work/libobjd.sym"
# The version node is a symbol of its own, of type A.
nm --dynamic --defined-only "$library" | awk '$2 != "A" { sub(/@.*/, "", $3); print $3 }' | sort >"$work/libobjd.so"

n_marks=$(grep -c '^OBJD_PUBLIC' "$header")
n_read=$(wc -l <"$work/objd.h")
if [ "$n_marks" -ne "$n_read" ] || [ "$n_read" -eq 0 ]; then
        echo "objd.h has $n_marks marks, but $n_read functions were read: a name must stand in the line of its mark"
        exit 1
fi

bad=0
for other in libobjd.sym libobjd.so; do
        if ! diff --unified=0 --label objd.h --label "$other" "$work/objd.h" "$work/$other"; then
                bad=1
        fi
done
[ "$bad" -eq 0 ] && echo "$n_read functions"
exit "$bad"
