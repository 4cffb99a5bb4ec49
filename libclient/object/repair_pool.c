/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_pool.c -- the pool's books, made anew from what objects have
 *
 * Runs only after repair_mark(). Blocks in which nobody has anything are free; everything else about a block follows from what
 * is had in it. All of it is written over, in whatever state it is: nothing of it is read again but what marking has
 * found to be right.
 */

#include "object/repair.h"

#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "mem/pool.h"
#include "sync/lock.h"

/* What the books add up to. */
struct sums {
        uint64_t n_used_blocks, n_kept, used, n_objects, n_parts;
        uint64_t highest; /* version of a line in a block that is no block of lines any more */
};

static struct pool_shm *pool_of_repair(const struct repair *repair)
{
        return &repair->arena->header->pool;
}

/* First in a list through block_shm.next and .prev. */
static void link_block(const struct arena *arena, uint32_t *head, uint64_t number)
{
        struct block_shm *block = &arena->blocks[number];

        half_set(&block->next, *head);
        half_set(&block->prev, 0);
        if (*head)
                half_set(&arena->blocks[*head - 1].prev, (uint32_t)number + 1);
        half_set(head, (uint32_t)number + 1);
}

/* ---- Free blocks -------------------------------------------------------------------------------------- */

static void note_versions(const struct arena *arena, uint64_t number, struct sums *sums)
{
        const struct line_shm *lines =
                (const struct line_shm *)(arena->base + repair_block_off(arena, number));

        for (uint32_t i = SLOT_SIZE / LINE_SIZE; i < BLOCK_SIZE / LINE_SIZE; i++) {
                uint64_t version = lines[i].word >> LOCK_VERSION_SHIFT;

                if (version > sums->highest && version < 1ULL << 40) /* nobody gets as far: it is damaged */
                        sums->highest = version;
        }
}

static void set_free(struct repair *repair, uint64_t number, struct sums *sums)
{
        struct block_shm *block = &repair->arena->blocks[number];

        if (block->state == BLOCK_SLOTS || block->state == BLOCK_GROUPS || block->state == BLOCK_RETIRED)
                note_versions(repair->arena, number, sums);
        if (block->memory != MEMORY_NONE)
                block->memory = MEMORY_UNKNOWN;
        sums->n_kept += block->memory != MEMORY_NONE;
        block->state = BLOCK_FREE_IN;
}

static void add_free_run(struct repair *repair, uint64_t start, uint64_t end)
{
        const struct arena *arena = repair->arena;
        uint32_t n = (uint32_t)(end - start);

        if (!n)
                return;
        half_set(&arena->blocks[end - 1].run, n);
        half_set(&arena->blocks[start].run, n);
        arena->blocks[start].state = BLOCK_FREE;
        link_block(arena, &pool_of_repair(repair)->bins[31 - (uint32_t)__builtin_clz(n)], start);
}

/* ---- Blocks in use ------------------------------------------------------------------------------------ */

static bool is_taken(const struct repair *repair, uint64_t off)
{
        return check_bit_get(repair->taken, check_bit(repair->arena, off));
}

static void be_in_memory(struct block_shm *block)
{
        if (block->memory != MEMORY_ALL)
                block->memory = MEMORY_UNKNOWN;
}

/* The run that begins here, and that an object has; 0 if there is none. */
static uint64_t keep_run(struct repair *repair, uint64_t number, struct sums *sums)
{
        struct block_shm *block = &repair->arena->blocks[number];

        if (block->state != BLOCK_RUN || !is_taken(repair, repair_block_off(repair->arena, number)))
                return 0;
        for (uint32_t i = 0; i < block->run; i++) {
                be_in_memory(&block[i]);
                if (i)
                        block[i].state = BLOCK_RUN_IN;
        }
        sums->used += (uint64_t)block->run << BLOCK_SHIFT;
        sums->n_used_blocks += block->run;
        return block->run;
}

static struct chunk_shm *slab_chunk(const struct arena *arena, uint64_t number, uint32_t i)
{
        return (struct chunk_shm *)(arena->base + repair_block_off(arena, number) +
                                    (uint64_t)i * pool_class_size[arena->blocks[number].size_class]);
}

/* Chunks that have never been given out stay so; all others that nobody has are free. */
static void list_free_chunks(struct repair *repair, uint64_t number, uint32_t carved)
{
        struct block_shm *block = &repair->arena->blocks[number];
        uint32_t free = 0;

        for (uint32_t i = carved; i--;) {
                struct chunk_shm *chunk = slab_chunk(repair->arena, number, i);

                if (is_taken(repair, arena_off(repair->arena, chunk)))
                        continue;
                word_set(&chunk->next, free);
                word_set(&chunk->prev, 0);
                word_set(&chunk->owner, 0);
                word_set(&chunk->info, chunk_info(CHUNK_FREE, block->size_class, 0));
                free = i + 1;
        }
        half_set(&block->free, free);
}

static uint64_t keep_slab(struct repair *repair, uint64_t number, struct sums *sums)
{
        struct block_shm *block = &repair->arena->blocks[number];
        uint32_t room, used = 0, last = 0;

        if (block->state != BLOCK_SLAB || block->size_class >= N_CLASSES)
                return 0;
        room = BLOCK_SIZE / pool_class_size[block->size_class];
        for (uint32_t i = 0; i < room; i++)
                if (is_taken(repair, arena_off(repair->arena, slab_chunk(repair->arena, number, i)))) {
                        used++;
                        last = i + 1;
                }
        if (!used)
                return 0;
        if (block->carved > room || block->carved < last)
                half_set(&block->carved, room);
        list_free_chunks(repair, number, block->carved);
        half_set(&block->n_used, used);
        if (used < room)
                link_block(repair->arena, &pool_of_repair(repair)->slabs[block->size_class], number);
        be_in_memory(block);
        sums->used += (uint64_t)used * pool_class_size[block->size_class];
        sums->n_used_blocks++;
        return 1;
}

static void clear_line(struct line_shm *line)
{
        if (line->serial)
                word_set(&line->serial, 0);
        if (line->config)
                word_set(&line->config, 0);
}

/* Of a further line only the line is used. What it says that it has, as an object would, is damage, or came from one. */
static void have_nothing(struct object_shm *part)
{
        if (part->chunks)
                word_set(&part->chunks, 0);
        if (part->memory)
                word_set(&part->memory, 0);
}

/* A slot is in use if its line is somebody's; a group if its first one is. */
static uint64_t keep_slots(struct repair *repair, uint64_t number, struct sums *sums)
{
        struct object_shm *slots = repair_object_at(repair->arena, repair_block_off(repair->arena, number));
        struct slot_block_shm *head = (struct slot_block_shm *)(void *)slots;
        uint64_t used[8] = { 1 };
        uint32_t n = 0;

        if (repair->arena->blocks[number].state != BLOCK_SLOTS)
                return 0;
        for (uint32_t slot = 1; slot < SLOTS_PER_BLOCK; slot++) {
                if (!repair_has_lines(repair, arena_off(repair->arena, &slots[slot]))) {
                        clear_line(&slots[slot].line);
                        continue;
                }
                used[slot / 64] |= 1ULL << slot % 64;
                n++;
                if (object_kind(slots[slot].line.config)) {
                        sums->n_objects++;
                } else {
                        sums->n_parts++;
                        have_nothing(&slots[slot]);
                }
        }
        if (!n)
                return 0;
        for (uint32_t i = 0; i < 8; i++)
                word_set(&head->used[i], used[i]);
        word_set(&head->n_used, n);
        if (n < SLOTS_PER_BLOCK - 1)
                link_block(repair->arena, &pool_of_repair(repair)->slots, number);
        be_in_memory(&repair->arena->blocks[number]);
        sums->used += (uint64_t)n * SLOT_SIZE;
        sums->n_used_blocks++;
        return 1;
}

static uint64_t keep_groups(struct repair *repair, uint64_t number, struct sums *sums)
{
        uint64_t off = repair_block_off(repair->arena, number);
        struct line_shm *lines = (struct line_shm *)(repair->arena->base + off);
        struct slot_block_shm *head = (struct slot_block_shm *)(void *)lines;
        uint64_t used[8] = { UINT32_MAX };
        uint32_t n = 0;

        if (repair->arena->blocks[number].state != BLOCK_GROUPS)
                return 0;
        for (uint32_t group = 1; group < SLOTS_PER_BLOCK / GROUP_SLOTS; group++) {
                if (!repair_has_lines(repair, off + group * GROUP_LINES * LINE_SIZE)) {
                        for (uint32_t i = 0; i < GROUP_LINES; i++)
                                clear_line(&lines[group * GROUP_LINES + i]);
                        continue;
                }
                used[group / 2] |= (uint64_t)UINT32_MAX << group % 2 * 32;
                n++;
        }
        if (!n)
                return 0;
        for (uint32_t i = 0; i < 8; i++)
                word_set(&head->used[i], used[i]);
        word_set(&head->n_used, n);
        if (n < SLOTS_PER_BLOCK / GROUP_SLOTS - 1)
                link_block(repair->arena, &pool_of_repair(repair)->groups, number);
        be_in_memory(&repair->arena->blocks[number]);
        sums->used += (uint64_t)n * GROUP_SLOTS * SLOT_SIZE;
        sums->n_used_blocks++;
        return 1;
}

/* ---- All of it ---------------------------------------------------------------------------------------- */

static uint64_t keep_block(struct repair *repair, uint64_t number, struct sums *sums)
{
        uint64_t n = keep_run(repair, number, sums);

        if (!n)
                n = keep_slab(repair, number, sums);
        if (!n)
                n = keep_slots(repair, number, sums);
        return n ? n : keep_groups(repair, number, sums);
}

static void keep_or_free(struct repair *repair, struct sums *sums)
{
        uint64_t end = arena_frontier(repair->arena), free = 0, n;

        for (uint64_t number = 0; number < end; number += n) {
                n = keep_block(repair, number, sums);
                if (n) {
                        add_free_run(repair, free, number);
                        free = number + n;
                } else {
                        set_free(repair, number, sums);
                        n = 1;
                }
        }
        add_free_run(repair, free, end);
}

objd_status repair_sweep(struct repair *repair)
{
        struct pool_shm *pool = pool_of_repair(repair);
        struct sums sums = { 0 };

        pool->limbo = 0;
        pool->retired = 0;
        pool->slots = 0;
        pool->groups = 0;
        memset(pool->bins, 0, sizeof(pool->bins));
        memset(pool->slabs, 0, sizeof(pool->slabs));
        keep_or_free(repair, &sums);
        word_set(&pool->n_used_blocks, sums.n_used_blocks);
        word_set(&pool->n_kept, sums.n_kept);
        word_set(&pool->used, sums.used);
        word_set(&pool->n_objects, sums.n_objects);
        word_set(&pool->n_parts, sums.n_parts);
        if (pool->version_floor <= sums.highest || pool->version_floor >= 1ULL << 40)
                word_set(&pool->version_floor, sums.highest + 1);
        return OBJD_OK;
}

/* The blocks that what begins with this one takes up, by its first words; 0 if they are zeros, as if it had never been used. */
static uint64_t blocks_at(const struct arena *arena, uint64_t number)
{
        struct chunk_shm chunk = { 0 };
        uint64_t left = arena->n_blocks - number;

        if (pread(arena->fd, &chunk, sizeof(chunk), (off_t)repair_block_off(arena, number)) !=
            (ssize_t)sizeof(chunk))
                return 0;
        if (chunk.info >> 48 == CHUNK_MAGIC && (chunk.info >> 32 & 0xff) == CHUNK_CLASS_RUN &&
            (uint32_t)chunk.info && (uint32_t)chunk.info <= left)
                return (uint32_t)chunk.info;
        return chunk.next || chunk.prev || chunk.owner || chunk.info;
}

/* The table may say less than the blocks themselves. Those that have no memory are not read, since that would give them some. */
void repair_frontier(struct repair *repair)
{
        struct arena *arena = repair->arena;
        struct pool_shm *pool = pool_of_repair(repair);
        uint64_t frontier = arena_frontier(arena), number = frontier;

        while (number < arena->n_blocks) {
                off_t data = lseek(arena->fd, (off_t)repair_block_off(arena, number), SEEK_DATA);
                uint64_t n;

                if (data < 0)
                        break;
                number = repair_block_of(arena, (uint64_t)data);
                n = blocks_at(arena, number);
                number += n ? n : 1;
                if (n)
                        frontier = number;
        }
        if (frontier == pool->frontier && pool->table_ready >= frontier &&
            pool->table_ready <= arena->n_blocks)
                return;
        if (arena_commit(arena, arena_off(arena, arena->blocks), frontier * sizeof(struct block_shm)))
                return;
        word_set(&pool->frontier, frontier);
        word_set(&pool->table_ready, frontier);
}
