#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The README's program does what the README says: it is taken out as printed, compiled against the installed library
# in the way that is printed beside it, and run.
#
# In README.md stand one ```c block, the program; and one ```console block, which compiles it as its first command,
# runs it as its second, and shows what comes out.
#
# usage: check-readme.sh SOURCE_ROOT BUILD_ROOT
set -euo pipefail

readme=$1/README.md build=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

block() { # LANGUAGE: prints the only block of this language
        if [ "$(grep -c "^\`\`\`$1\$" "$readme")" -ne 1 ]; then
                echo "README.md must have exactly one block of $1" >&2
                return 1
        fi
        sed -n "/^\`\`\`$1\$/,/^\`\`\`\$/p" "$readme" | sed '1d;$d'
}

block c >"$work/words.c"
block console >"$work/session"
sed -n 's/^\$ //p' "$work/session" >"$work/commands"
sed '/^\$ /d' "$work/session" >"$work/expected"
if [ "$(wc -l <"$work/commands")" -ne 2 ] || [ ! -s "$work/expected" ]; then
        echo "README.md: the console block must have two commands and what they print"
        exit 1
fi

DESTDIR=$work/root meson install -C "$build" --no-rebuild --quiet
pc=$(find "$work/root" -name objd.pc)
library=$(find "$work/root" -name libobjd.so)

# The .pc file speaks of the place where the library will be; the root in which it lies for now goes in front.
system_pc=$(pkg-config --variable=pcfiledir libsodium)
export PKG_CONFIG_LIBDIR=${pc%/*}:$system_pc PKG_CONFIG_SYSROOT_DIR=$work/root
export PKG_CONFIG_ALLOW_SYSTEM_CFLAGS=1 PKG_CONFIG_ALLOW_SYSTEM_LIBS=1
export LD_LIBRARY_PATH=${library%/*}

cd "$work"
# Two lines of shell from our own README.
bash -e -o pipefail commands >printed
diff --unified --label README.md --label printed expected printed
echo "the README's program printed what the README shows"
