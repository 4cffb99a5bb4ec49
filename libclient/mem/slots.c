/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slots.c -- blocks of object slots and of shard groups, and giving memory back to the system
 *
 * These blocks are type-stable: a line in them is a lock word as long as the block is what it is. When the last slot of
 * one has been freed, the block is retired: its state says so, which stops everybody who comes later, and
 * retire_count tells the handles to look. It becomes common memory only after everybody who came earlier has
 * left (blocks_grace), and its versions live on in version_floor, from which the next block of lines starts.
 */

#include "base/status.h"
#include "mem/blocks.h"
#include "txn/txn.h"

/* Chunks in limbo that one trim tries; the rest is for the next one. */
#define TRY_CHUNKS 64

static uint32_t *list_of(struct lane *lane, uint64_t flags)
{
        return flags & SLOT_IS_GROUP ? &pool_of(lane)->groups : &pool_of(lane)->slots;
}

/* What such a slot counts as. */
static uint64_t *count_of(struct lane *lane, uint64_t flags)
{
        return flags & SLOT_IS_PART ? &pool_of(lane)->n_parts : &pool_of(lane)->n_objects;
}

static uint32_t width_of(uint64_t flags)
{
        return flags & SLOT_IS_GROUP ? GROUP_SLOTS : 1;
}

static uint64_t mask_of(uint64_t flags, uint32_t slot)
{
        return (flags & SLOT_IS_GROUP ? 0xffffffffULL : 1ULL) << (slot % 64);
}

/* The slots that can be given out: slot 0 is the head, and a group needs all of its 32. */
static uint64_t room_of(uint64_t flags)
{
        return flags & SLOT_IS_GROUP ? SLOTS_PER_BLOCK / GROUP_SLOTS - 1 : SLOTS_PER_BLOCK - 1;
}

static objd_status make_block(struct lane *lane, uint64_t flags, uint32_t *ret_number)
{
        struct pool_shm *pool = pool_of(lane);
        struct line_shm *lines;
        uint32_t number;
        objd_status r = run_take(lane, 1, &number);

        if (r)
                return r;
        r = run_commit(lane, number, 1);
        if (r)
                return r;
        lines = (struct line_shm *)block_data(lane, number);
        for (uint32_t i = 0; i < BLOCK_SIZE / LINE_SIZE; i++)
                for (uint32_t word = 0; word < LINE_SIZE / 8; word++)
                        word_set((uint64_t *)&lines[i] + word,
                                 word ? 0 : pool->version_floor << LOCK_VERSION_SHIFT);
        word_set(&lines[0].word, flags & SLOT_IS_GROUP ? 0xffffffffULL : 1); /* used[0]: the head itself */
        word_set(&lines[1].word, 0); /* n_used: it stands where another block has a lock word */
        pool_set8(lane, &block_at(lane, number)->state, flags & SLOT_IS_GROUP ? BLOCK_GROUPS : BLOCK_SLOTS);
        *ret_number = number;
        return block_link(lane, list_of(lane, flags), number);
}

static bool is_block_of(struct lane *lane, uint64_t flags, uint32_t number)
{
        return number < arena_frontier(lane->arena) &&
               block_at(lane, number)->state == (flags & SLOT_IS_GROUP ? BLOCK_GROUPS : BLOCK_SLOTS);
}

static uint32_t find_slot(const struct slot_block_shm *head, uint64_t flags)
{
        for (uint32_t slot = width_of(flags); slot < SLOTS_PER_BLOCK; slot += width_of(flags))
                if (!(head->used[slot / 64] & mask_of(flags, slot)))
                        return slot;
                else if (!(flags & SLOT_IS_GROUP) && head->used[slot / 64] == UINT64_MAX)
                        slot |= 63;
        return 0;
}

static objd_status take_slots(struct lane *lane, uint64_t flags, uint64_t *ret_off)
{
        struct lane_shm *shm = lane->shm;
        uint32_t number = *list_of(lane, flags) - 1, slot;
        struct slot_block_shm *head;
        struct object_shm *object;
        objd_status r = *list_of(lane, flags) ? OBJD_OK : make_block(lane, flags, &number);

        if (r)
                return r;
        if (!is_block_of(lane, flags, number))
                return block_damaged(number);
        head = (struct slot_block_shm *)block_data(lane, number);
        slot = find_slot(head, flags);
        if (!slot)
                return fail(OBJD_E_CORRUPT, "the block of objects %u is damaged", number);
        pool_set(lane, &head->used[slot / 64], head->used[slot / 64] | mask_of(flags, slot));
        pool_set(lane, &head->n_used, head->n_used + 1);
        if (head->n_used == room_of(flags))
                r = block_unlink(lane, list_of(lane, flags), number);
        if (r)
                return r;
        object = (struct object_shm *)head + slot;
        if (!(flags & SLOT_IS_GROUP)) {
                pool_set(lane, &object->chunks, 0);
                pool_set(lane, &object->memory, 0);
                pool_add(lane, count_of(lane, flags), 1);
        }
        pool_add(lane, &pool_of(lane)->used, (uint64_t)width_of(flags) * SLOT_SIZE);
        word_set(&shm->new_slots[shm->n_new_slots], arena_off(lane->arena, object) | flags);
        pool_set32(lane, &shm->n_new_slots, shm->n_new_slots + 1);
        *ret_off = arena_off(lane->arena, object);
        return OBJD_OK;
}

objd_status pool_take_slots(struct lane *lane, uint64_t flags, uint64_t *ret_off)
{
        if (lane->shm->n_new_slots >= LANE_SLOTS)
                return fail(OBJD_E_LIMIT, "one operation cannot make more than %u objects", LANE_SLOTS);
        for (int attempt = 0;; attempt++) {
                objd_status r = pool_begin(lane);

                if (r == OBJD_OK)
                        r = pool_end(lane, take_slots(lane, flags, ret_off));
                if (r != OBJD_E_NOMEM || attempt)
                        return r;
                pool_trim(lane);
        }
}

/* From now on nobody finds the block; who has found it before is waited for later. */
static objd_status retire(struct lane *lane, uint32_t number)
{
        pool_set8(lane, &block_at(lane, number)->state, BLOCK_RETIRED);
        /*
         * Not noted, and so never undone: a handle that has looked at this count must see another one at the next
         * retirement. After a death it is too high, which costs each handle one look.
         */
        (void)__atomic_fetch_add(&lane->arena->header->retire_count, 1, __ATOMIC_RELEASE);
        return block_link(lane, &pool_of(lane)->retired, number);
}

static uint64_t highest_version(struct lane *lane, uint32_t number)
{
        const struct line_shm *lines = (const struct line_shm *)block_data(lane, number);
        uint64_t highest = 0;

        for (uint32_t i = SLOT_SIZE / LINE_SIZE; i < BLOCK_SIZE / LINE_SIZE; i++)
                if (word_get(&lines[i].word) >> LOCK_VERSION_SHIFT > highest)
                        highest = word_get(&lines[i].word) >> LOCK_VERSION_SHIFT;
        return highest;
}

/*
 * After a grace, with the lock held since before it: retired blocks are free blocks. Nobody can raise a version in one any
 * more, so it is now that the highest is known.
 */
static objd_status reclaim(struct lane *lane, uint32_t number)
{
        struct pool_shm *pool = pool_of(lane);
        uint64_t highest;
        objd_status r;

        if (number >= arena_frontier(lane->arena) || block_at(lane, number)->state != BLOCK_RETIRED)
                return block_damaged(number);
        highest = highest_version(lane, number);
        if (highest >= pool->version_floor)
                pool_set(lane, &pool->version_floor, highest + 1);
        r = block_unlink(lane, &pool->retired, number);
        if (r == OBJD_OK)
                r = run_give(lane, number, 1);
        if (r == OBJD_OK && blocks_keep_too_many(lane)) {
                pool_checkpoint(lane);
                (void)blocks_punch(lane, number, 1);
        }
        return r;
}

static objd_status give_slots(struct lane *lane, uint64_t entry, uint32_t *n_slots)
{
        uint64_t flags = entry & SLOT_FLAGS, off = entry & ~SLOT_FLAGS;
        struct object_shm *object = arena_at(lane->arena, off, SLOT_SIZE);
        uint32_t number, slot;
        struct slot_block_shm *head;
        objd_status r = OBJD_OK;

        if (!object)
                return fail(OBJD_E_CORRUPT, "there is no object at %#llx", (unsigned long long)off);
        number = block_of(lane->arena, object);
        head = (struct slot_block_shm *)block_data(lane, number);
        slot = (uint32_t)((uint64_t)((uint8_t *)object - (uint8_t *)head) / SLOT_SIZE);
        if (block_at(lane, number)->state != (flags & SLOT_IS_GROUP ? BLOCK_GROUPS : BLOCK_SLOTS) ||
            slot < width_of(flags) || slot % width_of(flags) || object != (struct object_shm *)head + slot ||
            (head->used[slot / 64] & mask_of(flags, slot)) != mask_of(flags, slot) || !head->n_used)
                return fail(OBJD_E_CORRUPT, "the block of objects %u is damaged", number);
        pool_set32(lane, n_slots, *n_slots - 1);
        if (head->n_used == room_of(flags))
                r = block_link(lane, list_of(lane, flags), number);
        if (r)
                return r;
        pool_set(lane, &head->used[slot / 64], head->used[slot / 64] & ~mask_of(flags, slot));
        pool_set(lane, &head->n_used, head->n_used - 1);
        if (!(flags & SLOT_IS_GROUP))
                pool_add(lane, count_of(lane, flags), (uint64_t)0 - 1);
        pool_add(lane, &pool_of(lane)->used, (uint64_t)0 - (uint64_t)width_of(flags) * SLOT_SIZE);
        if (head->n_used)
                return OBJD_OK;
        r = block_unlink(lane, list_of(lane, flags), number);
        if (r == OBJD_OK)
                r = retire(lane, number);
        if (r)
                return r;
        pool_checkpoint(lane);
        return blocks_grace(lane) ? reclaim(lane, number) : OBJD_OK;
}

objd_status pool_give_slots(struct lane *lane, uint64_t entry, uint32_t *n_slots)
{
        objd_status r = pool_begin(lane);

        return r ? r : pool_end(lane, give_slots(lane, entry, n_slots));
}

/* ---- Trimming ----------------------------------------------------------------------------------------- */

static void reclaim_retired(struct lane *lane)
{
        struct pool_shm *pool = pool_of(lane);
        objd_status r = OBJD_OK;

        if (pool_begin(lane))
                return;
        if (pool->retired && blocks_grace(lane))
                while (pool->retired && r == OBJD_OK) {
                        r = reclaim(lane, pool->retired - 1);
                        if (r == OBJD_OK)
                                pool_checkpoint(lane);
                }
        (void)pool_end(lane, r); /* fails only where the table is damaged */
}

static bool punch_next(struct lane *lane)
{
        uint32_t first, n;
        bool punched = false;

        if (pool_begin(lane))
                return false;
        if (blocks_find_kept(lane, UINT64_MAX, &first, &n) && blocks_grace(lane))
                punched = blocks_punch(lane, first, n);
        (void)pool_end(lane, OBJD_OK);
        return punched;
}

/* Chunks that were pinned when they were freed; each is tried once, and goes to the list's head again if it still is. */
static void empty_limbo(struct lane *lane)
{
        struct pool_shm *pool = pool_of(lane);
        uint64_t first = word_get(&pool->limbo), off = first;

        for (int i = 0; off && i < TRY_CHUNKS; i++) {
                struct chunk_shm *chunk = arena_at(lane->arena, off, CHUNK_HEAD);

                if (!chunk || pool_give(lane, chunk))
                        return;
                off = word_get(&pool->limbo);
                if (off == first || chunk == arena_at(lane->arena, off, CHUNK_HEAD))
                        return;
        }
}

void pool_trim(struct lane *lane)
{
        if (lane_is_stand_in(lane))
                return;
        empty_limbo(lane);
        reclaim_retired(lane);
        /* Each turn frees some, so it ends; unless somebody writes that they have memory, again and again. */
        for (uint64_t i = 0; i < arena_frontier(lane->arena) && punch_next(lane); i++)
                ;
}
