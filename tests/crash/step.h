/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * step.h -- a process whose instructions are counted
 *
 * A victim runs one operation on its own copy of an arena, one instruction at a time, as ptrace has it. Between any two of
 * them it can be killed; or the arena can be copied as it is, which is the same to those who look at the copy
 * and find in it nobody alive, and lets one run stand for a kill at each of its instructions.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "support/image.h"

typedef objd_status (*step_fn)(struct objd_conn *conn, void *context);

struct step_plan {
        const struct image *start;
        step_fn prepare; /* what the victim does before instructions are counted: it opens handles. NULL: nothing, not even a lane */
        step_fn fn;
        void *context;
        uint64_t first,
                stride; /* the arena is looked at before instruction `first`, and then every `stride` of them */
};

/* Gets the arena as it was before instruction `step`, if it has changed since the last time. False ends the run. */
typedef bool (*step_state_fn)(void *context, uint64_t step, const struct image *state);

/*
 * Runs the victim to its end. Gives how many instructions it took; ends the process if the operation fails.
 */
uint64_t step_through(const struct step_plan *plan, step_state_fn on_state, void *context);

/*
 * Runs the victim for this many instructions and kills it with SIGKILL. Gives a descriptor of its arena, or -1 if it
 * was through before that.
 */
int step_and_kill(const struct step_plan *plan, uint64_t steps);

/*
 * The same for a victim that runs at full speed and is killed at a random moment of the operation, of which `entropy` decides.
 * What a victim takes for it on its way to the end is learnt in *duration_ns, which begins as 0. -1: it was not hit inside.
 */
int run_and_kill(const struct step_plan *plan, uint64_t entropy, int64_t *duration_ns);
