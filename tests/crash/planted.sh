#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# The proof that the tests of deaths can fail: each mistake that is planted in the engine (libclient/base/plant.h) makes a
# test go red, which is green without it. Needs a build with -Dplanted_faults=true.
#
# usage: planted.sh TEST-KILL-STEP TEST-KILL-STOPPED
set -uo pipefail

kill_step=$1
kill_stopped=$2
log=$(mktemp)
trap 'rm -f "$log"' EXIT
n_failed=0
n_caught=0

# run TEST ARGUMENT...: green or not; what it said is in the log.
run() {
        local name=$1
        shift
        case $name in
        step) timeout 1000 "$kill_step" "$@" >"$log" 2>&1 ;;
        stopped) timeout 1000 "$kill_stopped" "$@" >"$log" 2>&1 ;;
        esac
}

# caught FAULT TEST ARGUMENT...
caught() {
        local fault=$1
        shift
        if OBJD_PLANT=$fault run "$@"; then
                echo "$fault: nobody noticed ($*)"
                n_failed=$((n_failed + 1))
        else
                n_caught=$((n_caught + 1))
                echo "$fault: caught by $*: $(grep -m 1 -E ', instruction |error: |hangs|crashes|has failed|not ' "$log" | cut -c 1-150)"
        fi
}

# clean TEST ARGUMENT...
clean() {
        if ! run "$@"; then
                echo "without a fault it is not green: $*"
                tail -n 20 "$log"
                n_failed=$((n_failed + 1))
        fi
}

grow=(step --stride 1 --only 'dict: set of a big value')
replace=(step --stride 2 --only 'dict: replace of a big value by a small one')
create=(step --stride 2 --only 'create: with a long name')
insert=(step --all --only 'list: set of a larger value')
batch=(step --stride 1 --only 'batch: two dicts')
pin=(step --stride 1 --only 'pin')
lock=(step --stride 1 --only 'lock: take')
two=(step --all --no-recovery --only 'two: dict: pop of any')
stopped=(stopped 1)

for test in grow replace create insert batch pin lock two stopped; do
        declare -n args=$test
        clean "${args[@]}"
done

caught note-skipped "${batch[@]}"
caught publish-before-fill "${grow[@]}"
caught wake-forgotten "${stopped[@]}"
caught lane-not-rolled-back "${batch[@]}"
caught living-robbed "${stopped[@]}"
caught living-robbed "${two[@]}"
caught unlock-before-commit "${grow[@]}"
caught intent-after-lock "${grow[@]}"
caught doomed-given-twice "${replace[@]}"
caught count-cleared-first "${insert[@]}"
caught locks-before-words "${insert[@]}"
caught pin-kept "${pin[@]}"
caught client-kept "${lock[@]}"
caught slot-kept "${create[@]}"
caught debts-forgotten "${grow[@]}"

echo "$n_caught mistakes caught, $n_failed not as they should be"
[ "$n_failed" -eq 0 ]
