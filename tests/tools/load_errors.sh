#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# objctl load where it cannot be: a file with a fault, a full store, no right to it. Nothing is loaded, and it says the same by every way.
# shellcheck disable=SC1091,SC2154 # daemon.sh is read below, and sets dir, tcp and bin_objctl
set -uo pipefail
cd "$(dirname "$0")" || exit 1
. ./daemon.sh

# One file for the daemon, and each client has its own.
for key in '' --read-only '--prefix team/*'; do
        # shellcheck disable=SC2086 # no words are none
        (set -f && "$bin_objctl" keygen $key "$dir/tcp.key" >/dev/null) || exit 1
done
umask 077
for n in 1 2 3; do
        grep -v '^#' "$dir/tcp.key" | sed -n "${n}p" >"$dir/key$n"
done
start_daemon tcp --size 8M || exit 1
shm=shm:$dir/test
ways=("$shm" "local:$dir/test" "ipc://$dir/rpc" "$tcp?key=$dir/key1")

# list NAME LEN FORMAT: a file with a list of so many items
list() {
        echo '{"objd_dump":1}'
        echo "{\"object\":1,\"name\":\"$1\",\"kind\":\"list\",\"len\":$2}"
        # shellcheck disable=SC2059 # it is a format
        printf "$3\n" $(seq "$2")
        echo '{"end":1}'
        echo '{"objects":1}'
}
text=$(head -c 1000 /dev/zero | tr '\0' x)
list small 3 '[%d]' >"$dir/small"
list cut 1000 '[%d]' | head -n 800 >"$dir/cut"
list fault 1000 '[%d]' | sed '700s/.*/[1/' >"$dir/fault"
list two 1000 '["%d"]' | sed -e 's/"list"/"dict"/' -e 's/^\["\([0-9]*\)"\]/["\1",1]/' -e '700s/.*/["3",1]/' -e '701s/.*/[1/' >"$dir/two"
list full 10000 "[\"%d $text\"]" >"$dir/full"

# expect FILE TEXT URL...: the load fails, with that in its one sentence, and nothing is there
expect() {
        local file=$1 text=$2 said
        shift 2
        for url in "$@"; do
                said=$("$bin_objctl" --url "$url" load "$dir/$file" 2>&1)
                [ $? = 1 ] || fail "load $file by $url does not end with 1: $said"
                case $said in
                *$'\n'*) fail "load $file by $url says more than a sentence: $said" ;;
                "objctl: $dir/$file:"*"$text"*) ;;
                *) fail "load $file by $url says \"$said\", and not \"$text\"" ;;
                esac
                said=$("$bin_objctl" --url "$shm" ls)
                [ -z "$said" ] || fail "load $file by $url leaves $said"
        done
}

expect fault "700: byte 3: the line is no JSON (unexpected end of data)" "${ways[@]}"
expect two "700: the dict has this key already" "${ways[@]}"
expect cut "801: the file ends in the middle of object 1: it has been cut" "${ways[@]}"
expect full "; delete something, or load it into a larger store (objd --size)" "${ways[@]}"
expect small " nothing can be loaded by who only reads; connect as a user, or with a key, that may write" "$shm?read-only" "$tcp?key=$dir/key2"
expect small "2: no right to use an object of the name \"small\"" "$tcp?key=$dir/key3"

# Once it has room, or the right, it is.
for url in "${ways[@]}"; do
        said=$("$bin_objctl" --url "$url" load "$dir/small" 2>&1) || fail "load small by $url: $said"
        "$bin_objctl" --url "$url" rm small || fail "$url loads nothing"
done
list team/small 3 '[%d]' | "$bin_objctl" --url "$tcp?key=$dir/key3" load >/dev/null || fail "who may use some names cannot load one"
"$bin_objctl" --url "$shm" check >/dev/null || fail "there are faults"
exit "$failed"
