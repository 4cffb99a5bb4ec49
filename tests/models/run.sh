#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
#
# Runs the models of the protocols through spin: run.sh [MODEL...], all of them by default.
#
# Each model is searched completely and must hold. Then it is searched again in variants that leave out one
# thing the protocol needs; in those spin must find the fault, or the model would not have noticed had the
# thing not mattered. What a variant leaves out is said at the top of the model. One line a search; exit
# status 1 on any surprise.

set -u

models=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
surprises=0

# One search: what spin says about the model with these flags. Compiling for speed would take longer than it
# saves. $1 safety: assertions, and ends that are none (somebody waits for ever); cycles: executions that
# never end
search() {
    local kind=$1 model=$2 flags=$3 define=-DSAFETY option=-m1000000

    if [ "$kind" = cycles ]; then
        define=-DNP
        option='-m1000000 -l'
    fi
    # shellcheck disable=SC2086 # flags and option are lists of words
    (cd "$work" && rm -f pan pan.* && spin -a $flags "$models/$model.pml" &&
        "${CC:-cc}" -O0 -w "$define" -DCOLLAPSE -DMEMLIM=1000 -o pan pan.c && timeout 120 ./pan $option) 2>&1
}

say() {
    printf '%-9s %-8s %-32s %s\n' "$1" "$2" "$3" "$4"
}

surprise() {
    say SURPRISE "$1" "$2" "$3"
    printf '%s\n' "$4" | tail -n 30
    surprises=$((surprises + 1))
}

# What was found, in a few words: "holds, N states", or the fault.
verdict() {
    if ! grep -q 'errors: ' <<<"$1"; then
        echo 'no verdict'
    elif grep -q 'errors: 0$' <<<"$1"; then
        if grep -qE 'search not completed|depth too small|out of memory|memory limit' <<<"$1"; then
            echo 'search not complete'
        else
            sed -nE 's/^ *([0-9]+) states, stored.*/holds, \1 states/p' <<<"$1"
        fi
    else
        sed -nE 's/^pan:1: (.*) \(at depth.*/\1/p' <<<"$1"
    fi
}

holds() {
    local out found

    out=$(search "$1" "$2" "$3")
    found=$(verdict "$out")
    case $found in
    holds*) say ok "$2" "$3" "$found$([ "$1" = cycles ] && echo ', always ends')" ;;
    *) surprise "$2" "$3" "${found:-no verdict}" "$out" ;;
    esac
}

# $1: how it must fail
fails() {
    local out found

    out=$(search safety "$2" "$3")
    found=$(verdict "$out")
    case $found in
    $1*) say ok "$2" "$3" "fails as it must: $found" ;;
    *) surprise "$2" "$3" "should fail ($1): ${found:-no verdict}" "$out" ;;
    esac
}

run_seqlock() {
    holds safety seqlock ''
    for flag in NO_RELEASE_FENCE NO_ACQUIRE_FENCE RELAXED_BEGIN RELAXED_SWAP RELAXED_UNLOCK; do
        fails 'assertion violated' seqlock -D$flag
    done
}

run_lane() {
    holds safety lane ''
    holds cycles lane ''
    for flag in STORE_BEFORE_NOTE COUNT_BEFORE_RECORD DROP_BEFORE_RESTORE RELEASE_BEFORE_ROLLBACK \
        COMMIT_BEFORE_LAST NO_RECOVERER CLAIM_CLEARS_RECOVERER; do
        fails 'assertion violated' lane -D$flag
    done
    for flag in SWAP_BEFORE_INTENT NO_SECOND_LOOK; do
        fails 'invalid end state' lane -D$flag
    done
}

run_epoch() {
    holds safety epoch ''
    for flag in NO_MEMBARRIER OWN_FENCE_ONLY NO_WAIT BARRIER_FIRST LANES_FIRST RELAXED_LEAVE; do
        fails 'assertion violated' epoch -D$flag
    done
}

run_wake() {
    holds safety wake ''
    holds safety wake -DGIVE_UP
    for flag in NO_COMPARE BIT_AFTER_LOOK NO_VOUCH NO_HAND_ON; do
        fails 'invalid end state' wake -D$flag
    done
    fails 'invalid end state' wake '-DGIVE_UP -DLEAVE_SILENTLY'
}

if ! command -v spin >/dev/null; then
    echo "run.sh: there is no spin; scripts/setup check installs it" >&2
    exit 1
fi
[ $# -gt 0 ] || set -- seqlock lane epoch wake
for model in "$@"; do
    if ! declare -F "run_$model" >/dev/null; then
        echo "run.sh: there is no model $model" >&2
        exit 1
    fi
    "run_$model"
done
[ "$surprises" -eq 0 ]
