#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# No shell script gives shellcheck anything to say. Without shellcheck the test is skipped; whether it is there is seen
# here and not when the build is configured, for ./demo may have done that before ./check installs shellcheck.
#
# usage: check-shell.sh SOURCE_ROOT
set -euo pipefail
cd "$1"

if ! command -v shellcheck >/dev/null; then
        echo "shellcheck is not here"
        exit 77
fi
mapfile -t scripts < <(find . \( -name .git -o -name 'build*' -type d \) -prune -o -type f -perm -u=x -print | sort |
        xargs awk 'FNR == 1 && /^#!.*[\/ ](ba)?sh$/ { print FILENAME } { nextfile }')
[ ${#scripts[@]} -gt 0 ]
shellcheck "${scripts[@]}"
printf '%s\n' "${scripts[@]}"
