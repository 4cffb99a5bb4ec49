/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * forklock.h -- a private lock that a fork cannot leave held
 *
 * For the few lists that the threads of a process share, all of them off the hot paths. The holder is named by
 * the process's fork generation: a child that finds its parent's takes it over, since the thread that held it
 * does not exist in the child. (What it guards may be half changed then; its users only push at the front.)
 */

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#include "base/fork.h"

struct forklock {
        uint64_t holder; /* atomic: fork generation, 0 is free */
};

static inline bool forklock_try(struct forklock *lock)
{
        uint64_t mine = fork_generation();
        uint64_t holder = __atomic_load_n(&lock->holder, __ATOMIC_RELAXED);

        return holder != mine && __atomic_compare_exchange_n(&lock->holder, &holder, mine, false,
                                                             __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

static inline void forklock_take(struct forklock *lock)
{
        while (!forklock_try(lock))
                nanosleep(&(struct timespec){ .tv_nsec = 20000 }, NULL);
}

static inline void forklock_give(struct forklock *lock)
{
        __atomic_store_n(&lock->holder, 0, __ATOMIC_RELEASE);
}
