/* SPDX-License-Identifier: Apache-2.0 */

/*
 * check_leaks.c -- checking that nothing is missing: what is given out belongs to somebody
 */

#include "object/check.h"

#include <inttypes.h>

#include "base/status.h"
#include "mem/blocks.h"
#include "mem/pool.h"

/* Lines that nobody has named are looked up among all objects, which takes a while for each. */
#define LINES_LOOKED_UP 16

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

/* ---- Slots and groups --------------------------------------------------------------------------------- */

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
                        if ((word_get(&lane->new_slots[i]) & ~SLOT_IS_PART) == entry)
                                return true;
                for (uint32_t i = 0; i < half_get(&lane->n_dead_slots) && i < LANE_SLOTS; i++)
                        if ((word_get(&lane->dead_slots[i]) & ~SLOT_IS_PART) == entry)
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

bool check_is_further_line(const struct object_shm *object)
{
        return !object_kind(word_get(&object->line.config));
}

/* Whether there is an object with this serial. */
static bool has_object(const struct arena *arena, uint64_t serial)
{
        for (uint64_t number = 0; number < n_blocks_used(arena); number++) {
                if (arena->blocks[number].state != BLOCK_SLOTS)
                        continue;
                for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK; slot++) {
                        uint64_t place = block_off(arena, number) + slot * SLOT_SIZE;
                        const struct object_shm *object = (const struct object_shm *)(arena->base + place);

                        if (check_slot_is_used(arena, place) && word_get(&object->line.serial) == serial &&
                            !check_is_further_line(object))
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

/* Whether at this place of a block there are further lines of an object, in a slot or (at its first slot) in a group. */
static bool has_further_lines(const struct arena *arena, uint64_t off, bool group)
{
        const struct object_shm *object = (const struct object_shm *)(arena->base + off);

        if (group)
                return group_is_used(arena, off);
        return check_slot_is_used(arena, off) && word_get(&object->line.serial) &&
               check_is_further_line(object);
}

/* Lines that no object named: their object may have taken them after it was looked at, or be gone with them. */
static objd_status look_up_owner(struct check *check, uint64_t off, bool group)
{
        const struct line_shm *lines = (const struct line_shm *)(check->arena->base + off);
        objd_status r = check_enter(check);

        if (r)
                return r;
        check_label(check, "(%s at %#" PRIx64 ")", group ? "group" : "slot", off);
        r = pool_begin(check->lane);
        if (r == OBJD_OK) {
                uint64_t serial = word_get(&lines[0].serial);

                if (has_further_lines(check->arena, off, group) &&
                    !is_in_a_lane(check->arena, off | (group ? SLOT_IS_GROUP : 0)) &&
                    (!serial || !has_object(check->arena, serial)))
                        check_fail(check, "it is given out, but no object has it");
                r = pool_end(check->lane, OBJD_OK);
        }
        check_leave(check);
        return r;
}

static bool is_named(const struct check *check, uint64_t off)
{
        uint64_t bit = (off - check->arena->data_off) / LINE_SIZE;

        return check->lines[bit / 8] >> bit % 8 & 1;
}

static objd_status look_at_lines_of(struct check *check, uint64_t number, int *n_looked_up)
{
        const bool groups = check->arena->blocks[number].state == BLOCK_GROUPS;
        const uint32_t step = groups ? GROUP_SLOTS : 1;
        objd_status r = OBJD_OK;

        for (uint32_t slot = step; slot < SLOTS_PER_BLOCK && r == OBJD_OK; slot += step) {
                uint64_t off = block_off(check->arena, number) + slot * SLOT_SIZE;

                if (is_named(check, off) || !has_further_lines(check->arena, off, groups))
                        continue;
                if (++*n_looked_up > LINES_LOOKED_UP)
                        return OBJD_OK;
                r = look_up_owner(check, off, groups);
        }
        return r;
}

objd_status check_further_lines(struct check *check)
{
        const struct arena *arena = check->arena;
        int n_looked_up = 0;
        objd_status r = OBJD_OK;

        for (uint64_t number = 0; number < n_blocks_used(arena) && r == OBJD_OK; number++)
                if (arena->blocks[number].state == BLOCK_GROUPS || arena->blocks[number].state == BLOCK_SLOTS)
                        r = look_at_lines_of(check, number, &n_looked_up);
        return r;
}

/* ---- The sum ------------------------------------------------------------------------------------------ */

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
