/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * leaks.h -- what a test must not leave behind in its process: descriptors and children
 */

#include <stddef.h>

#define LEAKS_FD_MAX 4096

/* The descriptors that are open at one moment. */
struct leaks {
        unsigned char open[LEAKS_FD_MAX];
};

void leaks_begin(struct leaks *leaks);

/* Fails the test, and says what it is, if a descriptor is open that was not, or if there is a child. */
void leaks_end(const struct leaks *leaks);

/* How many descriptors process pid has open. */
size_t leaks_count_fds(int pid);
