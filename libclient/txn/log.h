/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * log.h -- undo logs: note old words, roll them back
 */

#include "arena/arena.h"
#include "base/plant.h"

static inline bool log_has_room(const struct log_shm *log, size_t size, size_t n)
{
        return log->capacity - log->used >= size + n * 8;
}

/* Saves size bytes (rounded up to 8) at p. There must be room. */
static inline void log_note(struct arena *arena, struct log_shm *log, const void *p, size_t size)
{
        uint64_t *to = (uint64_t *)(arena->base + log->off + log->used);
        size_t n = round8(size) / 8;

        if (PLANTED(PUBLISH_BEFORE_FILL)) {
                log->used += (n + 1) * 8;
                order_for_death();
        }
        if (n == 1)
                to[0] = word_get(p);
        else
                words_out(to, p, size);
        to[n] = arena_off(arena, p) << 16 | n;
        order_for_death();
        if (!PLANTED(PUBLISH_BEFORE_FILL))
                log->used += (n + 1) * 8;
        order_for_death();
}

/*
 * Puts every saved word back, newest first. May be killed and begun again at any point: a record is
 * only dropped once it has been put back. Offsets are checked, since a log may be damaged: then false, and what its older
 * records would have put back stays as it is.
 */
bool log_roll_back(struct arena *arena, struct log_shm *log);
