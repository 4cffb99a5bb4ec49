#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Other users through the daemon: who may is known by a token of the control socket's, and may what the policy says; who may not, or
# brings none, is refused.
# shellcheck disable=SC1091,SC2154 # daemon.sh is read below, and sets dir and bin_objctl
set -uo pipefail

if [ "$(id -u)" != 0 ] || ! command -v setpriv >/dev/null; then
        echo "only root can be other users"
        exit 77
fi
cd "$(dirname "$0")" || exit 1
. ./daemon.sh

# The folder of the build may not be open to others, and from /dev/shm it may be that nothing can be run.
chmod 755 "$dir"
programs=$(mktemp -d)
trap 'clean_up; status=$?; rm -rf "$programs"; exit "$status"' EXIT
chmod 755 "$programs"
cp "$bin_objctl" "$programs/objctl" || exit 1
chmod 755 "$programs/objctl"
if ! setpriv --reuid 61001 --regid 61001 --clear-groups "$programs/objctl" --version >/dev/null; then
        echo "another user can run nothing from $programs"
        exit 77
fi

# as UID URL ARGUMENT...
as() {
        local uid=$1 url=$2
        shift 2
        setpriv --reuid "$uid" --regid "$uid" --clear-groups env HOME=/ "$programs/objctl" --url "$url" "$@" 2>&1
}

# expect STATUS TEXT UID URL ARGUMENT...: how it ends, and what is among what it says
expect() {
        local status=$1 text=$2 said
        shift 2
        said=$(as "$@")
        [ $? = "$status" ] || fail "uid $*: ends otherwise than with $status: $said"
        case $said in
        *"$text"*) ;;
        *) fail "uid $*: says \"$said\", and not \"$text\"" ;;
        esac
}

ipc=ipc://$dir/rpc
shm=shm:$dir/test
local=local:$dir/test
others=(--proxy-uid 61001 --read-only-uid 61002 --proxy-gid 61003 --deny-uid 61004
        --proxy-uid "61006:rw team/* jobs" --proxy-uid "61007:ro team/*" --proxy-gid "61008:rw group/*"
        --proxy-gid "61010:rw later/*" --proxy-uid "61006:rw team/* jobs") # the last says nothing new

printf '%s\n' '{"objd_dump":1}' '{"object":1,"name":"other","kind":"list","len":0}' '{"end":1}' '{"objects":1}' >"$dir/dump"
chmod 644 "$dir/dump"

# Without rules the socket is the daemon's own user's.
start_daemon shm || exit 1
[ "$(stat -c %a "$dir/rpc")" = 600 ] || fail "without rules others may connect"
[ ! -e "$dir/rpc.control" ] || fail "without rules there is a link to the control socket"
"$bin_objctl" --url "$ipc" create dict d || fail "the daemon's own user cannot make a dict"
stop_daemon KILL

start_daemon shm "${others[@]}" || exit 1
[ "$(stat -c %a "$dir/rpc")" = 666 ] || fail "others cannot connect"
for round in 1 2; do
        "$bin_objctl" --url "$ipc" set d own 1 || fail "the daemon's own user cannot set"

        # No handle, and everything through the daemon.
        expect 3 "only through the daemon" 61001 "$shm" ls
        expect 0 "" 61001 "$ipc" set d proxied "$round"
        expect 0 "$round" 61001 "$ipc" get d proxied
        expect 0 '"uid":61001' 61001 "$ipc" clients --json
        expect 0 "no faults" 61001 "$ipc" check
        expect 0 "" 61003 "$ipc" set d group "$round"

        # Who may have a handle that reads may read through the daemon.
        expect 0 "$round" 61002 "$ipc" get d proxied
        expect 1 "only reads" 61002 "$ipc" set d proxied 3
        expect 1 "only reads" 61002 "$ipc" dump --json
        expect 1 "nothing can be loaded by who only reads" 61002 "$ipc" load "$dir/dump"

        # Who may nothing.
        expect 3 "is not among those it is open to" 61004 "$ipc" ls
        expect 3 "is not among those it is open to" 61005 "$ipc" ls

        # Who may use some names, or only read them: by both ways, in the same words.
        for url in "$ipc" "$local"; do
                [ $round = 1 ] || break
                expect 0 "" 61006 "$url" create dict team/a
                expect 0 "" 61006 "$url" set team/a key "$round"
                expect 1 "no right to use an object of the name" 61006 "$url" create dict other
                expect 1 "no right to use an object of the name" 61006 "$url" get d own
                expect 1 "may only use some names" 61006 "$url" dump --json
                expect 1 "no right to use an object of the name \"other\"" 61006 "$url" load "$dir/dump"
                said=$(as 61006 "$url" ls)
                case $said in
                *team/a*) ;;
                *) fail "uid 61006 does not see its object by $url: $said" ;;
                esac
                case $said in
                *"d "*) fail "uid 61006 sees what it may not use by $url: $said" ;;
                esac
                expect 0 "$round" 61007 "$url" get team/a key
                expect 1 "only reads" 61007 "$url" set team/a key 3
                expect 1 "no right to use an object of the name" 61007 "$url" get d own
                expect 0 "" 61008 "$url" create dict group/a
                expect 0 "" 61008 "$url" rm group/a
                expect 1 "no right to use an object of the name" 61008 "$url" get team/a key
                expect 0 "" 61006 "$url" rm team/a
        done
        expect 3 "only through the daemon" 61006 "$shm" ls
        # Of two groups that let it in, the one counts that says nothing of names.
        setpriv --reuid 61009 --regid 61008 --groups 61003 env HOME=/ "$programs/objctl" --url "$local" get d own >/dev/null ||
                fail "a group with names outweighs one without"
        # Of two with names, the one that was named first.
        for name in group/b later/b; do
                setpriv --reuid 61009 --regid 61010 --groups 61008 env HOME=/ "$programs/objctl" --url "$local" create list "$name" 2>/dev/null
        done
        "$bin_objctl" --url "$shm" rm group/b || fail "the group that was named first does not count"
        "$bin_objctl" --url "$shm" rm later/b 2>/dev/null && fail "the group that was named last counts"

        # The next daemon knows only its own tokens, and takes over what the last one has left.
        [ $round = 2 ] && break
        stop_daemon KILL
        [ -L "$dir/rpc.control" ] || fail "there is no link to the control socket"
        start_daemon shm "${others[@]}" || exit 1
done

# Without the way to the control socket there is no token, and without a token nobody is let in, not even root.
rm "$dir/rpc.control"
expect 3 "needs a token" 61001 "$ipc" ls
"$bin_objctl" --url "$ipc" ls >/dev/null 2>&1 && fail "who brings no token is let in"
stop_daemon
[ ! -e "$dir/rpc" ] || fail "the socket is left"
exit "$failed"
