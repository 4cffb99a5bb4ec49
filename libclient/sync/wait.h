/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * wait.h -- sleeping on a word of the arena
 *
 * No sleep lasts longer than WAIT_SLICE_NS, since a wake may have been owed by somebody who is dead by now:
 * the sleeper looks at the dead lanes itself after each slice.
 */

#include <objd.h>

#include "txn/lane.h"

#define WAIT_SLICE_NS 20000000LL

/*
 * Waits until the 32-bit word is no longer `seen`: spins for as long as that has been worth it for this lane, then
 * sleeps. Lets the lane's epoch go meanwhile, so the caller must look everything up again. It may return early
 * for no reason. Recovers the dead after a slice in which nothing came.
 * @return OBJD_OK (look again), OBJD_E_TIMEOUT (deadline_ns, monotonic, has passed)
 */
objd_status wait_while(struct lane *lane, const uint32_t *word, uint32_t seen, int64_t deadline_ns);

/* Wakes up to n sleepers. A system call; callers know from their own flag whether anybody sleeps. */
void wait_wake(struct arena *arena, const uint32_t *word, int n);
