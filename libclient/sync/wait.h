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
 * Waiting until the 32-bit word is no longer `seen` has two halves, between which a caller says that it is about to sleep.
 * wait_spin() goes on for as long as that has been worth it for this lane; it keeps the epoch, writes nothing, and tells whether
 * the word has changed; it returns at once where spinning has not been worth it, or with one processor. wait_sleep() sleeps
 * at most WAIT_SLICE_NS and tells whether it may have been woken, as opposed to having slept to the end, after which it
 * recovers the dead. It lets the lane's epoch go meanwhile, so the caller must look everything up again.
 * @return OBJD_OK (look again), OBJD_E_TIMEOUT (deadline_ns, monotonic, has passed)
 */
bool wait_spin(struct lane *lane, const uint32_t *word, uint32_t seen, int64_t deadline_ns);
objd_status wait_sleep(struct lane *lane, const uint32_t *word, uint32_t seen, int64_t deadline_ns,
                       bool *ret_woken);

/* How many processors this process may run on; with one of them, whoever spins keeps out the one it waits for. */
int wait_processors(void);

/* A moment's rest for the processor between two looks at a word. */
static inline void wait_relax(void)
{
#if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
#elif defined(__aarch64__)
        __asm__ volatile("yield");
#endif
}

/* Wakes up to n sleepers. A system call; callers know from their own flag whether anybody sleeps. */
void wait_wake(struct arena *arena, const uint32_t *word, int n);
