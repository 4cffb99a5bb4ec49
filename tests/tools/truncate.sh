#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Somebody cuts the arena's file short, under a daemon that runs and under a dump: both say so and end, with status 1.
# shellcheck disable=SC1091,SC2154 # daemon.sh is read below, and sets dir, daemon_pid and bin_objctl
set -uo pipefail
cd "$(dirname "$0")" || exit 1

. ./daemon.sh

fail() {
        echo "truncate.sh: $*" >&2
        cat "$dir/log" "$dir/said" >&2
        exit 1
}

# wait_for PID: gives its exit status; a process that does not end is killed.
wait_for() {
        for _ in $(seq 600); do
                kill -0 "$1" 2>/dev/null || break
                sleep 0.1
        done
        kill -KILL "$1" 2>/dev/null
        wait "$1"
}

fill() {
        "$bin_objctl" create list long >/dev/null || fail "no list"
        for i in $(seq 8); do
                "$bin_objctl" push long "$(head -c 100000 /dev/zero | tr "\0" x)" >/dev/null || fail "no item $i"
        done
}

# The daemon sees it at its next look.
expect_end_of_daemon() {
        wait_for "$daemon_pid"
        [ $? -eq 1 ] || fail "the daemon did not end with status 1"
        daemon_pid=
        grep -q "cut the arena's file short" "$dir/log" || fail "the daemon did not say what happened"
        : >"$dir/log"
}

: >"$dir/said"
start_daemon || exit 1
fill

# The dump stands still while the file loses its blocks: the pipe is full.
mkfifo "$dir/pipe"
"$bin_objctl" dump --json long >"$dir/pipe" 2>"$dir/said" &
dump=$!
exec 3<"$dir/pipe"
head -c 1 <&3 >/dev/null
before=$(stat --format=%b "$dir/test.arena")
truncate -s $((131 << 19)) "$dir/test.arena" # 65.5 MiB, in the middle of the items
[ "$(stat --format=%b "$dir/test.arena")" -lt "$before" ] || fail "nothing was cut off that there was"
cat <&3 >/dev/null
exec 3<&-
wait_for $dump
[ $? -eq 1 ] || fail "the dump did not end with status 1"
grep -q "cut the arena's file short" "$dir/said" || fail "the dump did not say what happened"
expect_end_of_daemon

# The next one finds that even its own lane is gone, when a client has come and left.
rm "$dir/test.arena"
start_daemon || exit 1
truncate -s 8192 "$dir/test.arena"
"$bin_objctl" ls >/dev/null 2>&1
expect_end_of_daemon
