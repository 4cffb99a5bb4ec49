/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * arith.h -- sums and products of sizes that somebody else chose
 */

#include <stdbool.h>
#include <stdint.h>

/* Both return false, and leave *ret alone, if the result needs more than 64 bits. */
static inline bool add_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
        uint64_t sum;

        if (__builtin_add_overflow(a, b, &sum))
                return false;
        *ret = sum;
        return true;
}

static inline bool mul_u64(uint64_t a, uint64_t b, uint64_t *ret)
{
        uint64_t product;

        if (__builtin_mul_overflow(a, b, &product))
                return false;
        *ret = product;
        return true;
}
