#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# objd.h compiles alone, twice in a row, as strict C99 and as C++11, with each compiler that is here; its initialisers
# work in both; its version is the build's.
#
# usage: check-header.sh objd.h VERSION
set -euo pipefail

header=$1 version=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/use.c" <<'END'
#include "objd.h"
#include "objd.h"

objd_status use(objd_conn *conn, objd_object **ret_object);

objd_status use(objd_conn *conn, objd_object **ret_object)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value = objd_int(INT64_MAX);

        config.order = OBJD_PRIORITY;
        config.value_type = value.type;
        objd_buf_free(&buf);
        return objd_create(conn, "name", OBJD_QUEUE, &config, ret_object);
}
END
cp "$work/use.c" "$work/use.cpp"

flags=(-pedantic -Wall -Wextra -Werror -fsyntax-only -I "$(dirname "$header")")
n_compilers=0

compile() { # COMPILER STANDARD FILE
        if ! command -v "$1" >/dev/null; then
                echo "$1 is not here and was left out"
                return
        fi
        "$1" "-std=$2" "${flags[@]}" "$work/$3"
        echo "$1 -std=$2: good"
        n_compilers=$((n_compilers + 1))
}

compile gcc c99 use.c
compile clang c99 use.c
compile g++ c++11 use.cpp
compile clang++ c++11 use.cpp
[ "$n_compilers" -gt 0 ]

constant() {
        sed -n "s/^#define OBJD_VERSION_$1 \([0-9]*\)$/\1/p" "$header"
}
in_header=$(constant MAJOR).$(constant MINOR).$(constant PATCH)
if [ "$in_header" != "$version" ]; then
        echo "objd.h says $in_header, meson.build says $version"
        exit 1
fi
