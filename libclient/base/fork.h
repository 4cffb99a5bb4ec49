/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * fork.h -- noticing that this process is a child
 *
 * A page that the kernel wipes in every child (MADV_WIPEONFORK), also of a raw clone(), tells a child from
 * its parent at the price of two loads.
 */

#include <stdint.h>

/*
 * Where the generation stands; in the wiped page once there is one. 0 there: nobody has asked in this process
 * yet.
 */
extern uint64_t *fork_word;

/* Finds out the generation of a process that has not asked before. */
uint64_t fork_notice(void);

/* Grows with every generation of processes on the way from the first user of the library; never 0. */
static inline uint64_t fork_generation(void)
{
        /*
         * Whoever sees the page's address must see its zeros; later the word is only ever set from 0 to one
         * value.
         */
        uint64_t generation =
                __atomic_load_n(__atomic_load_n(&fork_word, __ATOMIC_ACQUIRE), __ATOMIC_RELAXED);

        return __builtin_expect(generation != 0, 1) ? generation : fork_notice();
}
