/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * refusals.h -- what the daemon refuses of those who work through it, by reason: counted in the arena, for people to see
 *
 * The first are the reasons of sealed links (seal.h), by the same numbers; behind them is what has nothing to do with seals.
 */

#include <assert.h>

#include "arena/arena.h"
#include "rpc/seal.h"

enum refusal {
        REFUSAL_NO_CHANNEL = SEAL_N_REASONS, /* sealed frames from a connection without a channel */
        REFUSAL_BUSY,                        /* a hello while too many have yet to prove their keys */
        REFUSAL_OTHERS_SESSION,              /* a frame of a session that belongs to another key or user */
        REFUSAL_MESSAGE, /* what came was answered with a refusal: not sound, over a limit, of no session, no token */
        REFUSALS
};

_Static_assert(REFUSALS <= N_REFUSALS, "the arena has room to count them");

/* "wrong-key", "no-channel" */
const char *refusal_name(unsigned refusal);

static inline void refusal_count(uint64_t *counts, unsigned refusal)
{
        (void)__atomic_fetch_add(&counts[refusal], 1, __ATOMIC_RELAXED);
}
