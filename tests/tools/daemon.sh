# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# A private daemon for a shell script: source this, then start_daemon. It keeps its store, "test", in a folder of its own on
# a tmpfs, which goes when the script ends; OBJD_URL says where.

bin_daemon=${OBJD_TEST_BIN_DAEMON:?the path of objd}
bin_objctl=${OBJD_TEST_BIN_OBJCTL:?the path of objctl}

dir=$(mktemp -d /dev/shm/objd-test-XXXXXX)
daemon_pid=
export OBJD_URL=shm:$dir/test

# An address of this machine that is this script's alone, so no port can be taken.
tcp=tcp://127.$(($$ >> 16 & 127)).$(($$ >> 8 & 255)).$(($$ & 255)):24707

# fail TEXT: says what is wrong, and goes on to the next thing; the script ends with "exit $failed". Who cannot go on has another.
failed=0
fail() {
        echo "$*" >&2
        failed=1
}

# start_daemon [WAY [OPTION...]]: returns when it answers, or has ended. OBJD_URL leads to it by this way: shm (a mapping), or
# through the daemon by local, ipc or tcp, with a key.
start_daemon() {
        local way=${1:-shm}
        [ $# = 0 ] || shift
        OBJD_URL=shm:$dir/test
        if [ "$way" = tcp ]; then
                [ -f "$dir/tcp.key" ] || "$bin_objctl" keygen "$dir/tcp.key" >/dev/null || return 1
                set -- --rpc "$tcp" --keys "$dir/tcp.key" "$@"
        fi
        "$bin_daemon" --dir "$dir" --name test --rpc "ipc://$dir/rpc" "$@" 2>>"$dir/log" &
        daemon_pid=$!
        for _ in $(seq 1000); do
                [ -S "$dir/test.sock" ] && "$bin_objctl" stats --json 2>/dev/null | grep -q '"daemon":true' && break
                kill -0 "$daemon_pid" 2>/dev/null || break
                sleep 0.01
        done
        if kill -0 "$daemon_pid" 2>/dev/null; then
                case $way in
                local) OBJD_URL=local:$dir/test ;;
                ipc) OBJD_URL=ipc://$dir/rpc ;;
                tcp) OBJD_URL=$tcp?key=$dir/tcp.key ;;
                esac
                return 0
        fi
        echo "the daemon does not start:" >&2
        cat "$dir/log" >&2
        return 1
}

# stop_daemon [SIGNAL]: fails if a daemon that was not killed does not end well
stop_daemon() {
        local pid=$daemon_pid
        [ -n "$pid" ] || return 0
        kill -s "${1:-TERM}" "$pid"
        daemon_pid=
        wait "$pid" 2>/dev/null || [ "${1:-}" = KILL ]
}

# A daemon that does not end well, or has something to say of its memory at its end, fails the script.
clean_up() {
        local status=$?
        stop_daemon || {
                echo "the daemon does not end well:" >&2
                cat "$dir/log" >&2
                status=1
        }
        rm -rf "$dir"
        return "$status"
}
trap 'clean_up; exit $?' EXIT
