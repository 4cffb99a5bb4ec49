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

enum step_victim {
        STEP_ATTACHED, /* a process of its own that has mapped the arena, as most are */
        STEP_FORKED,   /* a child of one that has a lane: it finds its parent's connection in its memory */
        STEP_BARE /* one that knows nothing but the file: conn->control is its descriptor, and nothing else is set */
};

struct step_plan {
        const struct image *start;
        enum step_victim victim;
        bool beside; /* those in the image who are alive stay so: the victim works beside them */
        step_fn prepare; /* what the victim does before instructions are counted: it opens handles. NULL: nothing, not even a lane */
        step_fn fn;
        void *context;
        uint64_t first;     /* the arena is looked at from this instruction on, */
        uint64_t stride;    /* at every so many of the places where it has changed; 1: all */
        uint64_t compare;   /* whether it has is found out every so many instructions; 0 is 1 */
        int64_t timeout_ns; /* how long the operation waits for the living; 0: as long as it does by itself */
};

/* Gets the arena as it was before instruction `step`. False ends the run. */
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
 * Two victims in one arena, the first one's. Both are prepared, first the first; then the first does a part of its operation, and
 * then the second does its own, beside the first, which is stopped, or behind it, if it is killed there.
 */
struct step_pair {
        const struct step_plan *first, *second;
        uint64_t steps; /* instructions of the first; UINT64_MAX: all */
        bool killed;
};

/* How the second has come out. */
struct step_end {
        bool through;       /* it has returned, */
        objd_status status; /* with this */
        bool robbed;        /* it has changed something in the lane of the first, which was alive */
        bool waits;         /* it waits for the first, and would for as long as that is stopped */
};

/*
 * The first one's way while the second is ready: its states, as step_through() shows them. Gives how many instructions it has
 * taken, and both to their deaths.
 */
uint64_t step_first(const struct step_pair *pair, step_state_fn on_state, void *context);

/*
 * The second one's way: its states, and before them the arena as the first has left it, and after them as the second leaves it, by
 * when *ret_end is set. It may fail, and wait for the first: that is seen after some sleeps, and ends it.
 */
uint64_t step_second(const struct step_pair *pair, step_state_fn on_state, void *context,
                     struct step_end *ret_end);

/* The second does so many instructions (UINT64_MAX: all), then both are killed. Gives a descriptor of their arena. */
int step_and_kill_both(const struct step_pair *pair, uint64_t steps);

/* Runs it to its end at full speed, which is one more death. Gives a descriptor of its arena. */
int run_to_end(const struct step_plan *plan);

/*
 * Kills a victim that runs at full speed at a random moment of the operation, of which `entropy` decides.
 * The least that a victim took for it on its way to the end is learnt in *duration_ns, which begins as 0. -1: it was not hit
 * inside.
 */
int run_and_kill(const struct step_plan *plan, uint64_t entropy, int64_t *duration_ns);

/* Whoever steps and who is stepped run in turn, which is fastest if they do so on the same processor: this process, and who it starts. */
void step_on_one_processor(void);
