/* SPDX-License-Identifier: Apache-2.0 */

/*
 * check_leaks.c -- checking that nothing is missing: what is given out belongs to somebody
 */

#include "object/check.h"

#include <inttypes.h>

#include "base/status.h"
#include "mem/blocks.h"
#include "mem/pool.h"

/* Groups that nobody has named are looked up among all objects, which takes a while for each. */
#define LOOKED_UP 16

/* How often the sum is tried before the store counts as too busy for it. */
#define SUM_ATTEMPTS 5

static uint64_t n_blocks_used(const struct arena *arena)
{
        uint64_t n = word_get(&arena->header->pool.frontier);

        return n < arena->n_blocks ? n : arena->n_blocks;
}

static uint64_t block_off(const struct arena *arena, uint64_t number)
{
        return arena->data_off + (number << BLOCK_SHIFT);
}

/*
 * ---- Slots and groups
 * ---------------------------------------------------------------------------------------
 */

/*
 * Whether an operation under way has taken this slot or group, or is about to free it. Under the pool's
 * lock.
 */
static bool is_in_a_lane(const struct arena *arena, uint64_t entry)
{
        for (uint32_t number = 1; number < N_LANES; number++) {
                const struct lane_shm *lane = arena_lane(arena, number);

                if (!arena_has_lane(arena, number))
                        continue;
                for (uint32_t i = 0; i < half_get(&lane->n_new_slots) && i < LANE_SLOTS; i++)
                        if (word_get(&lane->new_slots[i]) == entry)
                                return true;
                for (uint32_t i = 0; i < half_get(&lane->n_dead_slots) && i < LANE_SLOTS; i++)
                        if (word_get(&lane->dead_slots[i]) == entry)
                                return true;
        }
        return false;
}

objd_status check_unnamed_slot(struct check *check, uint64_t place)
{
        const struct object_shm *object = (const struct object_shm *)(check->arena->base + place);
        objd_status r = pool_begin(check->lane);

        if (r)
                return r;
        if (check_slot_is_used(check->arena, place) && !word_get(&object->line.serial) &&
            !is_in_a_lane(check->arena, place))
                check_fail(check, "the slot is given out, but there is no object in it");
        return pool_end(check->lane, OBJD_OK);
}

/* The object with this serial, if there is one. */
static bool has_object(const struct arena *arena, uint64_t serial)
{
        for (uint64_t number = 0; number < n_blocks_used(arena); number++) {
                if (arena->blocks[number].state != BLOCK_SLOTS)
                        continue;
                for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK; slot++) {
                        uint64_t place = block_off(arena, number) + slot * SLOT_SIZE;
                        const struct object_shm *object = (const struct object_shm *)(arena->base + place);

                        if (check_slot_is_used(arena, place) && word_get(&object->line.serial) == serial &&
                            object_kind(word_get(&object->line.config)))
                                return true;
                }
        }
        return false;
}

static bool group_is_used(const struct arena *arena, uint64_t off)
{
        uint64_t number = (off - arena->data_off) >> BLOCK_SHIFT;
        const struct slot_block_shm *head =
                (const struct slot_block_shm *)(arena->base + block_off(arena, number));
        uint64_t slot = (off - block_off(arena, number)) / SLOT_SIZE;

        return arena->blocks[number].state == BLOCK_GROUPS &&
               (word_get(&head->used[slot / 64]) >> slot % 64 & 1);
}

/* A group that no object named: its object may have taken it after it was looked at, or be gone with it. */
static objd_status look_at_group(struct check *check, uint64_t off)
{
        const struct line_shm *lines = (const struct line_shm *)(check->arena->base + off);
        objd_status r = check_enter(check);

        if (r)
                return r;
        check_label(check, "(group at %#" PRIx64 ")", off);
        r = pool_begin(check->lane);
        if (r == OBJD_OK) {
                uint64_t serial = word_get(&lines[0].serial);

                if (group_is_used(check->arena, off) && !is_in_a_lane(check->arena, off | SLOT_IS_GROUP) &&
                    (!serial || !has_object(check->arena, serial)))
                        check_fail(check, "it is given out, but no object has it");
                r = pool_end(check->lane, OBJD_OK);
        }
        check_leave(check);
        return r;
}

objd_status check_groups(struct check *check)
{
        const struct arena *arena = check->arena;
        objd_status r = OBJD_OK;

        for (uint64_t number = 0; number < n_blocks_used(arena) && r == OBJD_OK; number++) {
                if (arena->blocks[number].state != BLOCK_GROUPS)
                        continue;
                for (uint32_t slot = GROUP_SLOTS; slot < SLOTS_PER_BLOCK && r == OBJD_OK;
                     slot += GROUP_SLOTS) {
                        uint64_t off = block_off(arena, number) + slot * SLOT_SIZE;
                        uint64_t bit = (off - arena->data_off) / (GROUP_SLOTS * SLOT_SIZE);

                        if ((check->groups[bit / 8] >> bit % 8 & 1) || !group_is_used(arena, off))
                                continue;
                        if (check->n_looked_up++ >= LOOKED_UP)
                                return OBJD_OK;
                        r = look_at_group(check, off);
                }
        }
        return r;
}

/*
 * ---- The sum
 * ------------------------------------------------------------------------------------------------
 */

/* Bytes of the chunks in a list that belongs to no object. It is as long as there are chunks, at most. */
static uint64_t sum_list(const struct arena *arena, uint64_t off)
{
        uint64_t n_max = n_blocks_used(arena) * (BLOCK_SIZE / 256), sum = 0;

        for (uint64_t i = 0; off && i < n_max; i++) {
                const struct chunk_shm *chunk = check_chunk_at(arena, off);

                if (!chunk)
                        break;
                sum += chunk_size(chunk) + CHUNK_HEAD;
                off = word_get(&chunk->next);
        }
        return sum;
}

static uint64_t sum_slots(const struct arena *arena, uint64_t number)
{
        uint64_t sum = 0;

        for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK; slot++) {
                uint64_t place = block_off(arena, number) + slot * SLOT_SIZE;

                if (check_slot_is_used(arena, place))
                        sum += SLOT_SIZE +
                               word_get(&((const struct object_shm *)(arena->base + place))->memory);
        }
        return sum;
}

static uint64_t sum_groups(const struct arena *arena, uint64_t number)
{
        const struct slot_block_shm *head =
                (const struct slot_block_shm *)(arena->base + block_off(arena, number));

        return word_get(&head->n_used) * GROUP_SLOTS * SLOT_SIZE;
}

/* What all owners say that they have. */
static uint64_t sum_all(const struct arena *arena)
{
        uint64_t sum = sum_list(arena, word_get(&arena->header->pool.limbo));

        for (uint64_t number = 0; number < n_blocks_used(arena); number++)
                if (arena->blocks[number].state == BLOCK_SLOTS)
                        sum += sum_slots(arena, number);
                else if (arena->blocks[number].state == BLOCK_GROUPS)
                        sum += sum_groups(arena, number);
        for (uint32_t i = 1; i < N_LANES; i++) {
                const struct lane_shm *lane = arena_lane(arena, i);

                if (arena_has_lane(arena, i))
                        sum += sum_list(arena, word_get(&lane->taken)) +
                               sum_list(arena, word_get(&lane->doomed)) +
                               sum_list(arena, word_get(&lane->log_chunk));
        }
        return sum;
}

/*
 * What is given out must be what its owners have. The sum is read without a lock, and counts only if the
 * pool has not changed meanwhile; in a store that is never quiet for so long, it is left out.
 */
objd_status check_sum(struct check *check)
{
        const struct pool_shm *pool = &check->arena->header->pool;
        objd_status r = check_enter(check);

        if (r)
                return r;
        check_label(check, "(blocks)");
        for (int i = 0; i < SUM_ATTEMPTS; i++) {
                uint64_t version = lock_read_begin(&pool->line);
                uint64_t used = word_get(&pool->used), sum = sum_all(check->arena);

                if (!lock_version_is_stable(version) || !lock_read_valid(&pool->line, version))
                        continue;
                if (sum != used)
                        check_fail(check, "%" PRIu64 " bytes are given out, but their owners have %" PRIu64,
                                   used, sum);
                break;
        }
        check_leave(check);
        return OBJD_OK;
}
