#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Counts the words of this machine's documents and headers with objd, compares the result with a count by coreutils, and
# looks into the store with objctl. Nothing stays behind.
#
# usage: demo.sh BUILD_FOLDER [FOLDER...]
set -euo pipefail

build=$(cd "${1:?usage: demo.sh BUILD_FOLDER [FOLDER...]}" && pwd)
shift
[ $# -gt 0 ] || set -- /usr/share/common-licenses /usr/share/doc /usr/include
folders=()
for folder in "$@"; do
        if [ -d "$folder" ]; then folders+=("$folder"); fi
done

dir=$(mktemp -d /dev/shm/objd-demo-XXXXXX)
daemon=
clean_up() {
        if [ -n "$daemon" ]; then
                kill "$daemon" 2>/dev/null || true
                wait "$daemon" || true
        fi
        rm -rf "$dir"
}
trap clean_up EXIT
export OBJD_URL=shm:$dir/demo LC_ALL=C
PATH=$build/daemon:$build/tools:$build/examples:$PATH

# Prints a command as one would type it, and runs it.
run() {
        printf '\n$ %s\n' "$*"
        "$@"
}

say() {
        printf '\n== %s\n' "$*"
}

# The same count without objd. Each file ends with a line end here (cut sees to it), so that no word spans two.
count_by_coreutils() {
        xargs -0 -r cut -b 1- <"$1" | tr -cs '[:alpha:]' '\n' | tr '[:upper:]' '[:lower:]' | cut -b 1-1024 |
                sort --parallel="$(nproc)" -S 256M | uniq -c | awk '$2 != "" { print $2, $1 }'
}

say "A daemon of our own, whose store lies in $dir"
objd --dir "$dir" --name demo --log-level warning &
daemon=$!
for _ in $(seq 100); do
        if [ -S "$dir/demo.sock" ]; then break; fi
        sleep 0.05
done

say "Workers take files from a queue and count their words into a dict; both are in the store"
run wordcount --list "$dir/files" --counts "$dir/counts" "${folders[@]}"

say "The same files, counted by tr, sort and uniq"
SECONDS=0
count_by_coreutils "$dir/files" >"$dir/expected"
sort "$dir/counts" >"$dir/actual"
total() {
        awk '{ n += $2 } END { printf "%d words, %d different ones", n, NR }' "$1"
}
printf 'objd:       %s\ncoreutils:  %s, in %d s\n' "$(total "$dir/actual")" "$(total "$dir/expected")" "$SECONDS"
if ! cmp -s "$dir/expected" "$dir/actual"; then
        echo "The counts differ:"
        diff "$dir/expected" "$dir/actual" | head -n 20
        exit 1
fi
echo "Every word has the same count."

say "The store lives on after its workers. This is what is in it"
run objctl ls
run objctl dump wordcount.counts --limit 20
run objctl get wordcount.counts the
run objctl stats
run objctl check
