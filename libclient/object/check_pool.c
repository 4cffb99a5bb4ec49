/* SPDX-License-Identifier: Apache-2.0 */

/*
 * check_pool.c -- checking the pool's books: blocks, their lists, chunks, slots
 *
 * The block table is looked at in one go under the pool's lock: 32 bytes a block, so a gigabyte takes some
 * hundred microseconds. The chunks are many more; they are looked at a few blocks at a time. Nothing that
 * is read is believed: each number is checked before it is used as an index or an offset, and each list
 * ends after as many steps as there are blocks.
 */

#include "object/check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "mem/blocks.h"
#include "mem/pool.h"

/* Blocks whose chunks are looked at without giving the pool's lock back. */
#define PIECE_BLOCKS 16u

/* Room for the chunks of the smallest class. */
#define SLAB_ROOM_MAX (BLOCK_SIZE / 256u)

/* The lists that a block can be in, by number; 0 is none. */
#define LIST_BIN(bin) (1u + (bin))
#define LIST_SLAB(size_class) (1u + N_BINS + (size_class))
#define LIST_SLOTS (1u + N_BINS + N_CLASSES)
#define LIST_GROUPS (LIST_SLOTS + 1u)
#define LIST_RETIRED (LIST_SLOTS + 2u)

/* What the table adds up to, to be compared with what the pool says. */
struct books {
        uint8_t *lists; /* for each block, the list that it was found in */
        uint64_t n_listed;
        uint64_t n_expected; /* blocks that belong into a list */
        uint64_t n_used_blocks;
        uint64_t used;
        uint64_t n_slots;
};

static struct pool_shm *books_pool(const struct arena *arena)
{
        return &arena->header->pool;
}

static uint64_t frontier(const struct arena *arena)
{
        uint64_t n = word_get(&books_pool(arena)->frontier);

        return n < arena->n_blocks ? n : arena->n_blocks;
}

static uint64_t block_off(const struct arena *arena, uint64_t number)
{
        return arena->data_off + (number << BLOCK_SHIFT);
}

static uint32_t slab_room(uint32_t size_class)
{
        return BLOCK_SIZE / pool_class_size[size_class];
}

/* ---- Chunks and slots by their place ------------------------------------------------------------------ */

static bool is_slab_chunk(const struct block_shm *block, uint32_t inside)
{
        uint32_t size_class = block->size_class;

        return size_class < N_CLASSES && inside % pool_class_size[size_class] == 0 &&
               inside / pool_class_size[size_class] < block->carved &&
               inside / pool_class_size[size_class] < slab_room(size_class);
}

struct chunk_shm *check_chunk_at(const struct arena *arena, uint64_t off)
{
        struct chunk_shm *chunk = arena_at(arena, off, CHUNK_HEAD);
        const struct block_shm *block;
        uint64_t number, size;

        if (!chunk)
                return NULL;
        number = (off - arena->data_off) >> BLOCK_SHIFT;
        if (number >= arena->n_blocks)
                return NULL;
        block = &arena->blocks[number];
        size = chunk_size(chunk) + CHUNK_HEAD;
        if (block->state == BLOCK_SLAB) {
                if (!is_slab_chunk(block, (uint32_t)(off - block_off(arena, number))) ||
                    size != pool_class_size[block->size_class])
                        return NULL;
                return chunk;
        }
        if (block->state != BLOCK_RUN || off != block_off(arena, number) ||
            size != (uint64_t)block->run << BLOCK_SHIFT)
                return NULL;
        return arena_has(arena, off, size) ? chunk : NULL;
}

static enum chunk_list list_of(const struct chunk_shm *chunk)
{
        return (enum chunk_list)(chunk->info >> 40 & 0x7f);
}

struct chunk_shm *check_chunk_around(const struct arena *arena, uint64_t place, uint64_t off, uint64_t size)
{
        const struct block_shm *block;
        struct chunk_shm *chunk;
        uint64_t number, start;

        if (!arena_at(arena, off, size))
                return NULL;
        number = (off - arena->data_off) >> BLOCK_SHIFT;
        block = &arena->blocks[number];
        start = block_off(arena, number);
        if (block->state == BLOCK_SLAB && block->size_class < N_CLASSES) {
                start += (off - start) / pool_class_size[block->size_class] *
                         pool_class_size[block->size_class];
        } else {
                while (number && arena->blocks[number].state != BLOCK_RUN)
                        number--;
                start = block_off(arena, number);
        }
        chunk = check_chunk_at(arena, start);
        return chunk && list_of(chunk) == CHUNK_OF_OBJECT && chunk->owner == place &&
                               off >= start + CHUNK_HEAD &&
                               off + size <= start + CHUNK_HEAD + chunk_size(chunk)
                       ? chunk
                       : NULL;
}

bool check_slot_is_used(const struct arena *arena, uint64_t place)
{
        const struct slot_block_shm *head;
        uint64_t number, slot;

        if (!arena_at(arena, place, SLOT_SIZE) || place % SLOT_SIZE)
                return false;
        number = (place - arena->data_off) >> BLOCK_SHIFT;
        if (number >= arena->n_blocks || arena->blocks[number].state != BLOCK_SLOTS)
                return false;
        head = (const struct slot_block_shm *)(arena->base + block_off(arena, number));
        slot = (place - block_off(arena, number)) / SLOT_SIZE;
        return slot && (word_get(&head->used[slot / 64]) >> slot % 64 & 1);
}

/* ---- The block table ---------------------------------------------------------------------------------- */

/* Follows one list of blocks and notes who is in it. */
static void walk_list(struct check *check, struct books *books, uint32_t head, uint8_t list)
{
        uint64_t n = frontier(check->arena);
        uint32_t prev = 0;

        for (uint32_t next = head; next; next = check->arena->blocks[prev - 1].next) {
                if (next - 1 >= n) {
                        check_fail(check, "a list of blocks leads to block %u, which has never been used",
                                   next - 1);
                        return;
                }
                if (books->lists[next - 1]) {
                        check_fail(check, "block %u is in two lists, or twice in one", next - 1);
                        return;
                }
                if (check->arena->blocks[next - 1].prev != prev)
                        check_fail(check, "block %u does not know the one before it in its list", next - 1);
                books->lists[next - 1] = list;
                books->n_listed++;
                prev = next;
        }
}

static void walk_lists(struct check *check, struct books *books)
{
        const struct pool_shm *pool = books_pool(check->arena);

        for (uint32_t i = 0; i < N_BINS; i++)
                walk_list(check, books, pool->bins[i], (uint8_t)LIST_BIN(i));
        for (uint32_t i = 0; i < N_CLASSES; i++)
                walk_list(check, books, pool->slabs[i], (uint8_t)LIST_SLAB(i));
        walk_list(check, books, pool->slots, LIST_SLOTS);
        walk_list(check, books, pool->groups, LIST_GROUPS);
        walk_list(check, books, pool->retired, LIST_RETIRED);
}

/* Whether the block is in the list that it belongs into; 0 is none. */
static void expect_list(struct check *check, struct books *books, uint64_t number, uint32_t list)
{
        if (list)
                books->n_expected++;
        if (books->lists[number] != list)
                check_fail(check, "block %" PRIu64 ", in state %u, is in list %u instead of %u", number,
                           check->arena->blocks[number].state, books->lists[number], list);
}

/* Length of the run that begins here; 0 (and a report) if it cannot be. */
static uint32_t run_length(struct check *check, uint64_t number)
{
        const struct block_shm *blocks = check->arena->blocks;
        uint32_t n = blocks[number].run;
        uint8_t inner = blocks[number].state == BLOCK_FREE ? BLOCK_FREE_IN : BLOCK_RUN_IN;

        if (!n || n > frontier(check->arena) - number) {
                check_fail(check, "block %" PRIu64 " begins a run of %u blocks, which do not fit", number, n);
                return 0;
        }
        if (n > 1 && blocks[number + n - 1].state != inner)
                check_fail(check, "the run of %u blocks from block %" PRIu64 " does not end as it began", n,
                           number);
        if (n > 1 && inner == BLOCK_FREE_IN && blocks[number + n - 1].run != n)
                check_fail(check, "the free run of %u blocks from block %" PRIu64 " says %u at its end", n,
                           number, blocks[number + n - 1].run);
        return n;
}

static uint64_t look_at_free_run(struct check *check, struct books *books, uint64_t number)
{
        uint32_t n = run_length(check, number);

        if (!n)
                return 1;
        expect_list(check, books, number, LIST_BIN(31 - (uint32_t)__builtin_clz(n)));
        if (number + n < frontier(check->arena) && check->arena->blocks[number + n].state == BLOCK_FREE)
                check_fail(check, "the free runs at blocks %" PRIu64 " and %" PRIu64 " are not joined",
                           number, number + n);
        return n;
}

static uint64_t look_at_run(struct check *check, struct books *books, uint64_t number)
{
        uint32_t n = run_length(check, number);

        expect_list(check, books, number, 0);
        books->n_used_blocks += n;
        books->used += (uint64_t)n << BLOCK_SHIFT;
        return n ? n : 1;
}

static void look_at_slab(struct check *check, struct books *books, uint64_t number)
{
        const struct block_shm *block = &check->arena->blocks[number];
        uint32_t room;

        books->n_used_blocks++;
        if (block->size_class >= N_CLASSES) {
                check_fail(check, "block %" PRIu64 " is a slab of class %u, which there is not", number,
                           block->size_class);
                return;
        }
        room = slab_room(block->size_class);
        if (!block->n_used || block->n_used > block->carved || block->carved > room)
                check_fail(check,
                           "block %" PRIu64 " is a slab of %u chunks, of which it has cut %u and given %u",
                           number, room, block->carved, block->n_used);
        expect_list(check, books, number, block->n_used < room ? LIST_SLAB(block->size_class) : 0);
        books->used += (uint64_t)block->n_used * pool_class_size[block->size_class];
}

/* Slots in use by the bitmap, without the head; groups are counted as such. */
static uint32_t count_used(struct check *check, uint64_t number, bool groups)
{
        const struct slot_block_shm *head =
                (const struct slot_block_shm *)(check->arena->base + block_off(check->arena, number));
        uint32_t n = 0;

        for (uint32_t i = 0; i < 8; i++) {
                uint64_t bits = head->used[i];

                if (!groups) {
                        n += (uint32_t)__builtin_popcountll(bits);
                        continue;
                }
                for (uint32_t half = 0; half < 2; half++) {
                        uint32_t mask = (uint32_t)(bits >> 32 * half);

                        n += mask != 0;
                        if (mask && mask != UINT32_MAX)
                                check_fail(check, "block %" PRIu64 ": group %u is in use in part", number,
                                           2 * i + half);
                }
        }
        if (!(head->used[0] & 1))
                check_fail(check, "block %" PRIu64 ": its own head counts as free", number);
        return n ? n - 1 : 0;
}

static void look_at_slots(struct check *check, struct books *books, uint64_t number, bool groups)
{
        const struct slot_block_shm *head =
                (const struct slot_block_shm *)(check->arena->base + block_off(check->arena, number));
        uint32_t room = groups ? SLOTS_PER_BLOCK / GROUP_SLOTS - 1 : SLOTS_PER_BLOCK - 1;
        uint32_t n = count_used(check, number, groups);

        if (!n || head->n_used != n)
                check_fail(check, "block %" PRIu64 " of %s says that %" PRIu64 " are in use, but they are %u",
                           number, groups ? "groups" : "objects", head->n_used, n);
        expect_list(check, books, number, n == room ? 0 : groups ? LIST_GROUPS : LIST_SLOTS);
        books->n_used_blocks++;
        books->used += (uint64_t)n * (groups ? GROUP_SLOTS : 1) * SLOT_SIZE;
        books->n_slots += groups ? 0 : n;
}

/* Looks at what begins with this block and gives the number of its blocks. */
static uint64_t look_at_block(struct check *check, struct books *books, uint64_t number)
{
        switch (check->arena->blocks[number].state) {
        case BLOCK_FREE:
                return look_at_free_run(check, books, number);
        case BLOCK_RUN:
                return look_at_run(check, books, number);
        case BLOCK_SLAB:
                look_at_slab(check, books, number);
                return 1;
        case BLOCK_SLOTS:
        case BLOCK_GROUPS:
                look_at_slots(check, books, number, check->arena->blocks[number].state == BLOCK_GROUPS);
                return 1;
        case BLOCK_RETIRED:
                expect_list(check, books, number, LIST_RETIRED);
                books->n_used_blocks++;
                return 1;
        default:
                check_fail(check, "block %" PRIu64 " is in state %u, but belongs to no run", number,
                           check->arena->blocks[number].state);
                return 1;
        }
}

static void look_at_table(struct check *check, struct books *books)
{
        const struct pool_shm *pool = books_pool(check->arena);
        uint64_t n = frontier(check->arena);

        if (pool->frontier > check->arena->n_blocks || pool->n_blocks != check->arena->n_blocks)
                check_fail(check,
                           "the pool says that %" PRIu64 " of %" PRIu64
                           " blocks have been used, the arena has %" PRIu64,
                           pool->frontier, pool->n_blocks, check->arena->n_blocks);
        if (pool->table_ready < n)
                check_fail(check, "only %" PRIu64 " of %" PRIu64 " entries of the block table have memory",
                           pool->table_ready, n);
        walk_lists(check, books);
        for (uint64_t number = 0; number < n;)
                number += look_at_block(check, books, number);
        if (books->n_listed != books->n_expected)
                check_fail(check, "%" PRIu64 " blocks are in lists, but %" PRIu64 " belong there",
                           books->n_listed, books->n_expected);
        if (books->n_used_blocks != pool->n_used_blocks)
                check_fail(check, "the pool says that %" PRIu64 " blocks are in use, but they are %" PRIu64,
                           pool->n_used_blocks, books->n_used_blocks);
        if (books->used != pool->used)
                check_fail(check, "the pool says that %" PRIu64 " bytes are in use, but they are %" PRIu64,
                           pool->used, books->used);
        if (books->n_slots != pool->n_objects + pool->n_parts)
                check_fail(check,
                           "the pool says that there are %" PRIu64 " objects with %" PRIu64
                           " further slots, but %" PRIu64 " slots are in use",
                           pool->n_objects, pool->n_parts, books->n_slots);
}

objd_status check_blocks(struct check *check)
{
        struct books books = { .lists = sys.alloc(check->arena->n_blocks) };
        objd_status r;

        if (!books.lists)
                return fail(OBJD_E_NOMEM, "no memory to check the arena's blocks");
        check_label(check, "(blocks)");
        r = check_enter(check);
        if (r == OBJD_OK) {
                r = pool_begin(check->lane);
                if (r == OBJD_OK) {
                        look_at_table(check, &books);
                        r = pool_end(check->lane, OBJD_OK);
                }
                check_leave(check);
        }
        free(books.lists);
        return r;
}

/* ---- The chunks of each block ------------------------------------------------------------------------- */

/* Whether some lane's list of this kind begins with the chunk. */
static bool begins_lane_list(const struct arena *arena, enum chunk_list list, uint64_t off)
{
        for (uint32_t i = 1; i < N_LANES; i++) {
                const struct lane_shm *lane;

                if (!arena_has_lane(arena, i))
                        continue;
                lane = arena_lane(arena, i);
                if (word_get(list == CHUNK_TAKEN    ? &lane->taken
                             : list == CHUNK_DOOMED ? &lane->doomed
                                                    : &lane->log_chunk) == off)
                        return true;
        }
        return false;
}

static bool begins_its_list(const struct arena *arena, const struct chunk_shm *chunk, uint64_t off)
{
        switch (list_of(chunk)) {
        case CHUNK_OF_OBJECT:
                return check_slot_is_used(arena, chunk->owner) &&
                       ((const struct object_shm *)(arena->base + chunk->owner))->chunks == off;
        case CHUNK_TAKEN:
        case CHUNK_DOOMED:
        case CHUNK_OF_LOG:
                return begins_lane_list(arena, list_of(chunk), off);
        case CHUNK_IN_LIMBO:
                return books_pool(arena)->limbo == off;
        case CHUNK_FREE:
                break;
        }
        return false;
}

/* That the chunk stands in the list that it says: its neighbours, or the head of the list, say so too. */
static void look_at_links(struct check *check, const struct chunk_shm *chunk, uint64_t off)
{
        const struct arena *arena = check->arena;
        const struct chunk_shm *next = chunk->next ? check_chunk_at(arena, chunk->next) : NULL;
        const struct chunk_shm *prev = chunk->prev ? check_chunk_at(arena, chunk->prev) : NULL;

        if (list_of(chunk) == CHUNK_FREE || list_of(chunk) > CHUNK_IN_LIMBO) {
                check_fail(check, "the chunk at %#" PRIx64 " is given out, but belongs to nobody", off);
                return;
        }
        /* One in limbo may be all that is left of its object. */
        if (list_of(chunk) != CHUNK_OF_LOG && list_of(chunk) != CHUNK_IN_LIMBO &&
            !check_slot_is_used(arena, chunk->owner))
                check_fail(check,
                           "the chunk at %#" PRIx64 " says that it belongs to an object at %#" PRIx64
                           ", where there is none",
                           off, chunk->owner);
        if (chunk->next && (!next || next->prev != off))
                check_fail(check,
                           "the chunk at %#" PRIx64 " is followed by %#" PRIx64 ", which does not know it",
                           off, chunk->next);
        if (chunk->prev ? !prev || prev->next != off : !begins_its_list(arena, chunk, off))
                check_fail(check, "the chunk at %#" PRIx64 " is in no list", off);
}

/* Marks the free chunks of a slab. False if the list of them is damaged. */
static bool mark_free(struct check *check, uint64_t number, uint8_t free_chunks[SLAB_ROOM_MAX],
                      uint32_t *ret_n)
{
        const struct block_shm *block = &check->arena->blocks[number];
        const uint8_t *data = check->arena->base + block_off(check->arena, number);
        uint64_t next = block->free;

        for (*ret_n = 0; next; ++*ret_n) {
                const struct chunk_shm *chunk;

                if (next > block->carved || next > SLAB_ROOM_MAX || free_chunks[next - 1])
                        return false;
                free_chunks[next - 1] = 1;
                chunk = (const struct chunk_shm *)(data + (next - 1) * pool_class_size[block->size_class]);
                if (list_of(chunk) != CHUNK_FREE)
                        return false;
                next = chunk->next;
        }
        return true;
}

static void look_at_slab_chunks(struct check *check, uint64_t number)
{
        const struct block_shm *block = &check->arena->blocks[number];
        uint8_t free_chunks[SLAB_ROOM_MAX] = { 0 };
        uint32_t n_free;

        if (block->size_class >= N_CLASSES || block->carved > slab_room(block->size_class))
                return; /* the table's own check has said so */
        if (!mark_free(check, number, free_chunks, &n_free)) {
                check_fail(check, "the list of free chunks of block %" PRIu64 " is damaged", number);
                return;
        }
        if (block->carved - n_free != block->n_used)
                check_fail(check, "block %" PRIu64 " says that %u chunks are given out, but %u are", number,
                           block->n_used, block->carved - n_free);
        for (uint32_t i = 0; i < block->carved; i++) {
                uint64_t off =
                        block_off(check->arena, number) + (uint64_t)i * pool_class_size[block->size_class];
                const struct chunk_shm *chunk = check_chunk_at(check->arena, off);

                if (free_chunks[i])
                        continue;
                if (chunk)
                        look_at_links(check, chunk, off);
                else
                        check_fail(check, "the head of the chunk at %#" PRIx64 " is damaged", off);
        }
}

static void look_at_run_chunk(struct check *check, uint64_t number)
{
        uint64_t off = block_off(check->arena, number);
        const struct chunk_shm *chunk = check_chunk_at(check->arena, off);

        if (chunk)
                look_at_links(check, chunk, off);
        else
                check_fail(check, "the head of the chunk of %u blocks at %#" PRIx64 " is damaged",
                           check->arena->blocks[number].run, off);
}

/* The chunks that begin in these blocks. Blocks inside a run are in no state that a first block can have. */
static void look_at_piece(struct check *check, uint64_t start, uint64_t end)
{
        for (uint64_t number = start; number < end; number++)
                if (check->arena->blocks[number].state == BLOCK_SLAB)
                        look_at_slab_chunks(check, number);
                else if (check->arena->blocks[number].state == BLOCK_RUN)
                        look_at_run_chunk(check, number);
}

objd_status check_chunks(struct check *check)
{
        objd_status r = OBJD_OK;

        check_label(check, "(blocks)");
        for (uint64_t start = 0; start < frontier(check->arena) && r == OBJD_OK; start += PIECE_BLOCKS) {
                r = check_enter(check);
                if (r)
                        return r;
                r = pool_begin(check->lane);
                if (r == OBJD_OK) {
                        uint64_t end = start + PIECE_BLOCKS, n = frontier(check->arena);

                        look_at_piece(check, start, end < n ? end : n);
                        r = pool_end(check->lane, OBJD_OK);
                }
                check_leave(check);
        }
        return r;
}
