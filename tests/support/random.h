/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * random.h -- random numbers whose seed is printed and can be given
 *
 * Knuth's multiplier and a mixing step: good enough to choose test cases, and the same everywhere.
 */

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct random {
        uint64_t state;
};

/* A sequence from $OBJD_TEST_SEED, or from the clock; says which, and how to have it again. */
static inline struct random random_begin(const char *program)
{
        const char *given = getenv("OBJD_TEST_SEED");
        struct timespec ts;
        uint64_t seed;

        (void)clock_gettime(CLOCK_REALTIME, &ts);
        seed = given ? strtoull(given, NULL, 0) : (uint64_t)ts.tv_sec * 1000000007 + (uint64_t)ts.tv_nsec;
        printf("seed %" PRIu64 "; again with: OBJD_TEST_SEED=%" PRIu64 " %s\n", seed, seed, program);
        return (struct random){ seed };
}

static inline uint64_t random_next(struct random *random)
{
        uint64_t x;

        random->state = random->state * 6364136223846793005ULL + 1442695040888963407ULL;
        x = random->state;
        x ^= x >> 33;
        x *= 0xff51afd7ed558ccdULL;
        return x ^ x >> 29;
}

/* 0 .. n - 1 */
static inline uint64_t random_below(struct random *random, uint64_t n)
{
        return random_next(random) % n;
}

static inline void random_fill(struct random *random, void *dst, size_t size)
{
        for (size_t i = 0; i < size; i++)
                ((uint8_t *)dst)[i] = (uint8_t)(random_next(random) >> 24);
}
