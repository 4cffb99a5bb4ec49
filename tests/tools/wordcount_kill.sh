#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# wordcount while its workers are killed and replaced: the counts must still be those of coreutils, word for word, and the
# store must be whole afterwards.
#
# usage: wordcount_kill.sh WORDCOUNT [SEED]
# shellcheck disable=SC1091,SC2154 # daemon.sh is read below, and sets dir and bin_objctl
set -uo pipefail
wordcount=$(realpath "${1:?the path of wordcount}")
cd "$(dirname "$0")" || exit 1
seed=${2:-$RANDOM}
export LC_ALL=C

. ./daemon.sh

fail() {
        echo "wordcount_kill.sh: $*; again with: tests/tools/wordcount_kill.sh $wordcount $seed" >&2
        cat "$dir/log" >&2
        exit 1
}

# Some hundred files of some thousand words: pieces of one text, each with words of its own.
make_files() {
        mkdir "$dir/text"
        awk -v seed="$seed" -v dir="$dir/text" 'BEGIN {
                srand(seed)
                for (file = 0; file < 400; file++) {
                        for (word = 0; word < 3000; word++)
                                printf "%c%c%c%s", 97 + rand() * 26, 97 + rand() * 26, 97 + rand() * 8, \
                                        word % 12 ? " " : "\n" >(dir "/" file)
                        printf "only%c%c", 97 + file % 26, 97 + file / 26 >(dir "/" file)
                        close(dir "/" file)
                }
        }'
}

make_files
start_daemon || exit 1
"$wordcount" --workers 4 --kill-every 7 --seed "$seed" --list "$dir/files" --counts "$dir/counts" "$dir/text" \
        >"$dir/output" || fail "wordcount failed: $(cat "$dir/output")"
cat "$dir/output"
grep -q 'killed and replaced' "$dir/output" || fail "no worker was killed"

xargs -0 cut -b 1- <"$dir/files" | tr -cs '[:alpha:]' '\n' | tr '[:upper:]' '[:lower:]' | sort | uniq -c |
        awk '$2 != "" { print $2, $1 }' >"$dir/expected"
sort "$dir/counts" >"$dir/actual"
diff "$dir/expected" "$dir/actual" >"$dir/difference" || fail "the counts differ: $(head "$dir/difference")"
"$bin_objctl" check || fail "the store is damaged"
