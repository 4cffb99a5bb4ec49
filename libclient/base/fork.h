/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * fork.h -- noticing that this process is a child
 *
 * A page that the kernel wipes in every child (MADV_WIPEONFORK), also of a raw clone(), tells a child from
 * its parent at the price of one load.
 */

#include <stdint.h>

/* Grows with every generation of processes on the way from the first user of the library; never 0. */
uint64_t fork_generation(void);
