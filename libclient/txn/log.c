/* SPDX-License-Identifier: Apache-2.0 */
/*
 * log.c -- putting old words back
 */

#include "txn/log.h"

/*
 * Whether the arena has these words, and operations change them: in the header where its constants end, in a lane or the block table,
 * or in a block that has been in use.
 */
static bool is_ours(const struct arena *arena, uint64_t off, uint64_t size)
{
        const uint64_t lanes_off = arena_off(arena, arena->lanes),
                       first = offsetof(struct header_shm, retire_count);

        if (off & 7 || size > arena->mapped || off > arena->mapped - size)
                return false;
        return (off >= first && off + size <= sizeof(struct header_shm)) ||
               (off >= lanes_off && off + size <= arena->data_off) || arena_has(arena, off, size);
}

bool log_roll_back(struct arena *arena, struct log_shm *log)
{
        uint64_t used = log->used, start = log->off;
        bool whole = used <= log->capacity && !(used & 7) && is_ours(arena, start, used);

        if (!whole)
                used = 0;
        if (PLANTED(COUNT_CLEARED_FIRST))
                log->used = 0;
        while (used >= 8) {
                const uint64_t *end = (const uint64_t *)(arena->base + start + used);
                uint64_t off = end[-1] >> 16, n = end[-1] & 0xffff;

                whole = (n + 1) * 8 <= used && is_ours(arena, off, n * 8);
                if (!whole)
                        break;
                for (uint64_t i = 0; i < n; i++)
                        word_set((uint64_t *)(arena->base + off) + i, *(end - 1 - n + i));
                used -= (n + 1) * 8;
                order_for_death();
                if (!PLANTED(COUNT_CLEARED_FIRST))
                        log->used = used;
                order_for_death();
        }
        log->used = 0;
        order_for_death();
        return whole;
}
