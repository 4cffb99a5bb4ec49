#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Two hosts with a cable between them (network namespaces and a veth pair): a daemon on one, two clients that count on the
# other. The link goes down for five seconds, the daemon is killed and replaced, both at once; the clients go on each
# time, and in the end every addition has been made once.
#
# usage: network.sh NET-COUNTER
# shellcheck disable=SC1091,SC2034,SC2154 # daemon.sh is read below; it sets dir, bin_daemon and bin_objctl, and uses daemon_pid
set -uo pipefail
counter=$(realpath "${1:?the path of net-counter}")
cd "$(dirname "$0")/../tools" || exit 1

. ./daemon.sh

host=objd-test-$$-host guest=objd-test-$$-guest
url=tcp://10.77.0.1:7707
counters=()

clean_up_hosts() {
        clean_up
        local status=$?
        kill -KILL "${counters[@]}" 2>/dev/null
        ip netns del "$host" 2>/dev/null
        ip netns del "$guest" 2>/dev/null
        exit "$status"
}
trap clean_up_hosts EXIT

fail() {
        echo "network.sh: $*" >&2
        tail -n 40 "$dir/log" >&2
        exit 1
}

make_hosts() {
        ip netns add "$host" && ip netns add "$guest" &&
                ip -n "$host" link add cable type veth peer name cable netns "$guest" &&
                ip -n "$host" address add 10.77.0.1/24 dev cable && ip -n "$guest" address add 10.77.0.2/24 dev cable &&
                ip -n "$host" link set lo up && ip -n "$guest" link set lo up && plug in
}

# plug in|out
plug() {
        local state=up
        [ "$1" = in ] || state=down
        ip -n "$host" link set cable "$state" && ip -n "$guest" link set cable "$state"
}

# Not ready when this returns: the clients wait for it.
start_host() {
        ip netns exec "$host" "$bin_daemon" --dir "$dir" --name test --rpc "$url" --keys "$dir/keys" 2>>"$dir/log" &
        daemon_pid=$!
}

start_counter() {
        ip netns exec "$guest" env OBJD_KEY_FILE="$dir/keys" "$counter" "$url" "$1" "$dir/$1" 2>>"$dir/log" &
        counters+=($!)
}

# progress KEY: how far that client is.
progress() {
        [ -s "$dir/$1" ] || { echo 0 && return; }
        od -An -t d8 "$dir/$1" | tr -d ' '
}

# Waits until each client is so many additions further.
await_more() {
        local more=$1 key before
        for key in one two; do
                before=$(progress $key)
                for _ in $(seq 1200); do
                        [ $(($(progress $key) - before)) -ge "$more" ] && continue 2
                        kill -0 "${counters[@]}" 2>/dev/null || fail "a client has ended"
                        sleep 0.1
                done
                fail "client $key stands at $(progress $key), for two minutes"
        done
}

if [ "$(id -u)" -ne 0 ] || ! make_hosts 2>"$dir/log"; then
        echo "network.sh: this needs root and network namespaces: $(cat "$dir/log" 2>/dev/null)"
        exit 77
fi
"$bin_objctl" keygen "$dir/keys" >/dev/null || fail "no key"
start_host
start_counter one
start_counter two
await_more 100
echo "the cable is pulled for five seconds"
plug out
sleep 1
stood=$(progress one)
sleep 4
[ "$(progress one)" = "$stood" ] || fail "an answer came without a cable"
plug in || fail "no cable"
await_more 100
echo "the daemon is killed"
stop_daemon KILL
start_host
await_more 100
echo "the cable is pulled, and the daemon killed meanwhile"
plug out
stop_daemon KILL
start_host
sleep 5
plug in || fail "no cable"
await_more 100
kill -TERM "${counters[@]}"
for pid in "${counters[@]}"; do
        wait "$pid" || fail "a client ended with $?"
done
for key in one two; do
        sum=$("$bin_objctl" get counted $key) || fail "no sum: $sum"
        [ "$sum" = "$(progress $key)" ] || fail "$key: the store has $sum, the client was told $(progress $key)"
        echo "$key: $sum additions, each made once"
done
"$bin_objctl" check || fail "the store is damaged"
