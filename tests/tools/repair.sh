#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# objctl check --repair and objd --recover: a store in use is refused; one whose daemon has been killed, and whose header, block
# table and pool are damaged, is given back whole; a second repair finds nothing to do.
# shellcheck disable=SC1091,SC2154 # daemon.sh is read below, and sets dir, daemon_pid and bin_objctl
set -uo pipefail
cd "$(dirname "$0")" || exit 1

. ./daemon.sh

fail() {
        echo "repair.sh: $*" >&2
        cat "$dir/log" "$dir/said" >&2
        exit 1
}

# expect STATUS TEXT COMMAND...: the command ends so, and says this.
expect() {
        local status=$1 text=$2 got
        shift 2
        "$@" >"$dir/said" 2>&1
        got=$?
        [ $got -eq "$status" ] || fail "$* ended with $got instead of $status"
        grep -qF -- "$text" "$dir/said" || fail "$* did not say: $text"
}

# word NUMBER: of the header.
word() {
        od -An -t u8 -j $(($1 * 8)) -N 8 "$dir/test.arena" | tr -d ' '
}

# put OFFSET BYTES: as printf has them.
put() {
        # shellcheck disable=SC2059
        printf "$2" | dd of="$dir/test.arena" bs=1 seek="$1" conv=notrunc status=none || fail "cannot write"
}

# The magic number; the state of the block of objects and of the slab behind it.
damage() {
        table=$(word 10)
        put 0 'xxxxxxxx'
        put "$table" 'M'
        put $((table + 32)) '\001'
}

: >"$dir/said"
start_daemon || exit 1
"$bin_objctl" create dict numbers >/dev/null || fail "no dict"
for i in 1 2 3; do "$bin_objctl" set numbers "key $i" "$i" >/dev/null || fail "no entry"; done
"$bin_objctl" create queue jobs >/dev/null || fail "no queue"
"$bin_objctl" put jobs 'a job' >/dev/null || fail "no item"
"$bin_objctl" dump --json >"$dir/before" 2>/dev/null || fail "no dump"

# A large object that is gone leaves a free run, whose blocks inside must not be counted.
"$bin_objctl" create list gone >/dev/null
"$bin_objctl" push gone "$(head -c 100000 /dev/zero | tr "\0" x)" >/dev/null
"$bin_objctl" push gone "$(head -c 120000 /dev/zero | tr "\0" x)" >/dev/null
"$bin_objctl" rm gone >/dev/null || fail "no free run"

expect 1 "stop its daemon and its clients first" "$bin_objctl" check --repair
stop_daemon KILL
expect 0 "no faults" "$bin_objctl" check --repair
damage
expect 3 "its first bytes are not an arena's" "$bin_objctl" check
expect 0 "no faults any more" "$bin_objctl" check --repair
grep -q "(header): mended: header: magic" "$dir/said" || fail "the header was not mended"
grep -q "(blocks): mended: block 0 is in state 77" "$dir/said" || fail "the block table was not mended"
expect 0 "no faults" "$bin_objctl" check --repair
grep -q "any more" "$dir/said" && fail "a second repair found something"
"$bin_objctl" dump --json >"$dir/after" 2>/dev/null
cmp -s "$dir/before" "$dir/after" || fail "the store is not what it was"

# The daemon does the same before it takes the store up.
damage
"$bin_daemon" --dir "$dir" --name test --recover 2>>"$dir/log" &
daemon_pid=$!
for _ in $(seq 1000); do
        "$bin_objctl" stats --json 2>/dev/null | grep -q '"daemon":true' && break
        kill -0 "$daemon_pid" 2>/dev/null || fail "the daemon does not start"
        sleep 0.1
done
grep -q -- "--recover: the store has no faults" "$dir/log" || fail "the daemon did not repair the store"
grep -q -- "--recover: mended: (blocks): block 0 is in state 77" "$dir/log" || fail "the daemon did not say what it mended"
"$bin_objctl" dump --json >"$dir/after" 2>/dev/null
cmp -s "$dir/before" "$dir/after" || fail "the store is not what it was, under the daemon"
