#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the commands of a transcript against a private daemon and compares what they say with what the transcript says.
# In a transcript a line "$ COMMAND" is run; what follows it is its output, stdout and stderr together, and, if it
# is not 0, its exit status as "[STATUS]". What differs from run to run is replaced: the store's folder by DIR, refs by
# #REF, the numbers of processes and users by PID and UID, amounts of memory by SIZE.
#
# usage: transcript.sh FILE              says how the output differs, and ends with 1 if it does
#        transcript.sh --write FILE      writes the output into the file, to be read before it is committed
#        transcript.sh --way WAY FILE    the same as without, but objctl reaches the store through the daemon, by local, ipc or tcp
# shellcheck disable=SC1091,SC2154 # daemon.sh is read below, and sets dir and bin_objctl
set -uo pipefail

write=false
if [ "$1" = --write ]; then
        write=true
        shift
fi
way=shm
if [ "$1" = --way ]; then
        way=$2
        shift 2
fi
file=$(realpath -e "$1") || exit 1
cd "$(dirname "$0")" || exit 1

. ./daemon.sh
start_daemon "$way" || exit 1

objctl() {
        "$bin_objctl" "$@"
}

normalise() {
        sed -E -e '/^\$ /b' -e "s|$dir|DIR|g" -e 's/#[0-9]+\.[0-9]+/#REF/g' -e 's/"ref":"[0-9]+\.[0-9]+"/"ref":"REF"/g' \
                -e 's/"pid":[0-9]+/"pid":PID/g' -e 's/"uid":[0-9]+/"uid":UID/g' -e 's/process [0-9]+/process PID/g' \
                -e 's/"since_ns":[0-9]+/"since_ns":TIME/g' -e 's/"memory":[0-9]+/"memory":SIZE/g' \
                -e 's/ +[0-9.]+ ([KMG]i)?B( |$)/  SIZE\2/g'
}

# Comments, commands and the blank lines before them stay; output is what the commands say now.
replay() {
        local line status blank=false
        while IFS= read -r line; do
                case $line in
                '$ '* | '#'*)
                        if $blank; then echo; fi
                        printf '%s\n' "$line"
                        ;;
                esac
                if [[ $line == '$ '* ]]; then
                        eval "${line#\$ }" 2>&1 </dev/null
                        status=$?
                        [ $status = 0 ] || echo "[$status]"
                fi
                if [ -z "$line" ]; then blank=true; else blank=false; fi
        done <"$file"
}

replay >"$dir/raw"
normalise <"$dir/raw" >"$dir/actual"
if $write; then
        cp "$dir/actual" "$file"
        exit 0
fi
diff -u --label "$file" --label "what it says now" "$file" "$dir/actual"
