#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The man pages are well-formed, and name every option and verb that --help names, and no others.
#
# usage: check-man.sh SOURCE_ROOT OBJD OBJCTL
set -euo pipefail

pages=$1/docs/man objd=$2 objctl=$3
status=0
n_formatters=0

complain() {
        echo "$1"
        status=1
}

for page in "$pages"/*.[0-9]; do
        if command -v mandoc >/dev/null; then
                said=$(mandoc -Tlint -Wwarning "$page" 2>&1) || true
                [ -z "$said" ] || complain "$said"
                n_formatters=$((n_formatters + 1))
        fi
        if command -v groff >/dev/null; then
                said=$(groff -mdoc -ww -z -Tutf8 "$page" 2>&1) || true
                [ -z "$said" ] || complain "$page: $said"
                n_formatters=$((n_formatters + 1))
        fi
done
[ "$n_formatters" -gt 0 ] || complain "neither mandoc nor groff is here (scripts/setup check)"

# compare PAGE WHAT-THE-PROGRAM-NAMES WHAT-THE-PAGE-NAMES
compare() {
        local missing strange
        missing=$(comm -23 <(sort -u <<<"$2") <(sort -u <<<"$3"))
        strange=$(comm -13 <(sort -u <<<"$2") <(sort -u <<<"$3"))
        [ -z "$missing" ] || complain "$1 does not name: $missing"
        [ -z "$strange" ] || complain "$1 names what --help does not: $strange"
}

# Options as help texts show them, and as the items of mdoc lists name them.
options() {
        grep -E '^ +(-[a-z], )?--' | grep -oE -- '--[a-z][a-z-]*' || true
}
page_options() {
        grep -E '^\.It Fl ' "$1" | grep -oE -- 'Fl -[a-z][a-z-]*' | sed 's/^Fl /-/' || true
}

compare objd.1 "$("$objd" --help | options)" "$(page_options "$pages/objd.1")"

verbs=$("$objctl" --help | sed -n 's/^  \([a-z][a-z]*\) .*/\1/p')
helps=$("$objctl" --help | options)
for verb in $verbs; do
        helps+=$'\n'$("$objctl" "$verb" --help | options)
done
compare objctl.1 "$helps" "$(page_options "$pages/objctl.1")"
compare objctl.1 "$verbs" "$(sed -n 's/^\.It Cm \([a-z]*\).*/\1/p' "$pages/objctl.1")"

exit $status
