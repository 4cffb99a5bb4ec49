/* SPDX-License-Identifier: Apache-2.0 */
/*
 * strike.c -- changing words of an arena: any of them, to any value, but mostly those that mean something, to values
 * that could mean something
 */

#include "damage.h"

#include <stdlib.h>
#include <string.h>

#include "mem/pool.h"
#include "sync/lock.h"

/* A word that can be changed, and whose it is: the number of a handle, or COMMON. */
struct word {
        uint64_t off;
        uint32_t whose;
};

#define COMMON MAX_HANDLES

/* Words of one sort, and how often one of them is chosen. */
struct group {
        uint32_t weight;
        struct word *words;
        size_t n, room;
};

enum {
        HEADER,
        POOL,
        CLIENTS,
        LANES,
        LANE_ARRAYS,
        LANE_LOGS,
        BLOCKS,
        SLOT_HEADS,
        LINES,
        CHUNK_HEADS,
        DATA,
        N_GROUPS
};

static const uint32_t weights[N_GROUPS] = {
        [HEADER] = 3,      [POOL] = 8,         [CLIENTS] = 3, [LANES] = 8,
        [LANE_ARRAYS] = 3, [LANE_LOGS] = 4,    [BLOCKS] = 10, [SLOT_HEADS] = 4,
        [LINES] = 22,      [CHUNK_HEADS] = 10, [DATA] = 30,
};

struct targets {
        struct group groups[N_GROUPS];
        struct group offsets; /* of slots, lines and chunks: what an offset may be changed to */
};

static void add(struct group *group, uint64_t off, uint32_t whose)
{
        if (group->n == group->room) {
                group->room = group->room ? group->room * 2 : 256;
                group->words = realloc(group->words, group->room * sizeof(*group->words));
                if (!group->words)
                        abort();
        }
        group->words[group->n++] = (struct word){ off, whose };
}

static uint64_t *word_at(const struct arena *arena, uint64_t off)
{
        return (uint64_t *)(arena->base + off);
}

static void add_range(struct group *group, uint64_t off, uint64_t size, uint32_t whose)
{
        for (uint64_t i = 0; i < size; i += 8)
                add(group, off + i, whose);
}

/* Words that are not 0, and a few of the others. */
static void add_used(struct group *group, const struct arena *arena, uint64_t off, uint64_t size,
                     uint32_t whose)
{
        for (uint64_t i = 0; i < size; i += 8)
                if (*word_at(arena, off + i) || i % 256 == 0)
                        add(group, off + i, whose);
}

static void add_lane(struct targets *t, const struct arena *arena, uint32_t number)
{
        uint64_t off = arena_off(arena, arena_lane(arena, number));

        add_range(&t->groups[LANES], off, offsetof(struct lane_shm, locks), COMMON);
        add_used(&t->groups[LANE_ARRAYS], arena, off + offsetof(struct lane_shm, locks),
                 offsetof(struct lane_shm, pool_log_bytes) - offsetof(struct lane_shm, locks), COMMON);
        add_used(&t->groups[LANE_LOGS], arena, off + offsetof(struct lane_shm, pool_log_bytes),
                 LANE_POOL_LOG + LANE_LOG, COMMON);
}

/* All lines of an object say so: its own, a queue's tail, a dict's shards. */
static uint32_t whose_serial(const struct subject *subject, uint64_t serial)
{
        for (uint32_t i = 0; i < subject->n_handles; i++)
                if (subject->handles[i].object->serial == serial)
                        return i;
        return COMMON;
}

static uint32_t whose_chunk(const struct subject *subject, const struct chunk_shm *chunk)
{
        for (uint32_t i = 0; i < subject->n_handles; i++)
                if (arena_off(subject->conn.arena, subject->handles[i].object->shm) == chunk->owner)
                        return i;
        return COMMON;
}

static void add_slots(struct subject *subject, uint64_t off, bool groups)
{
        const struct arena *arena = subject->conn.arena;
        const struct slot_block_shm *head = (const struct slot_block_shm *)(arena->base + off);
        struct targets *t = subject->targets;

        add_range(&t->groups[SLOT_HEADS], off, SLOT_SIZE, COMMON);
        for (uint32_t number = 1; number < SLOTS_PER_BLOCK; number++) {
                uint64_t slot = off + number * SLOT_SIZE;
                const struct line_shm *line = (const struct line_shm *)(arena->base + slot);

                if (!(head->used[number / 64] >> number % 64 & 1))
                        continue;
                add(&t->offsets, slot, COMMON);
                if (groups)
                        add(&t->offsets, slot + LINE_SIZE, COMMON);
                add_used(&t->groups[LINES], arena, slot, SLOT_SIZE, whose_serial(subject, line->serial));
        }
}

static void add_chunk(struct subject *subject, uint64_t off)
{
        const struct arena *arena = subject->conn.arena;
        struct chunk_shm *chunk = (struct chunk_shm *)(arena->base + off);
        uint32_t whose = whose_chunk(subject, chunk);
        struct targets *t = subject->targets;

        add_range(&t->groups[CHUNK_HEADS], off, CHUNK_HEAD, whose);
        add(&t->offsets, off, COMMON);
        if (chunk_list_of(chunk) != CHUNK_FREE)
                add_used(&t->groups[DATA], arena, off + CHUNK_HEAD, chunk_size(chunk), whose);
}

static void add_block(struct subject *subject, uint64_t number)
{
        const struct arena *arena = subject->conn.arena;
        const struct block_shm *block = &arena->blocks[number];
        uint64_t off = arena->data_off + (number << BLOCK_SHIFT);

        add_range(&subject->targets->groups[BLOCKS], arena_off(arena, block), sizeof(*block), COMMON);
        if (block->state == BLOCK_SLOTS || block->state == BLOCK_GROUPS)
                add_slots(subject, off, block->state == BLOCK_GROUPS);
        if (block->state == BLOCK_RUN)
                add_chunk(subject, off);
        for (uint32_t i = 0; block->state == BLOCK_SLAB && i < block->carved; i++)
                add_chunk(subject, off + (uint64_t)i * pool_class_size[block->size_class]);
}

void strike_prepare(struct subject *subject)
{
        const struct arena *arena = subject->conn.arena;
        const struct header_shm *header = arena->header;
        struct targets *t = calloc(1, sizeof(*t));

        if (!t)
                abort();
        subject->targets = t;
        for (int i = 0; i < N_GROUPS; i++)
                t->groups[i].weight = weights[i];
        add_range(&t->groups[HEADER], 0, offsetof(struct header_shm, pool), COMMON);
        add_range(&t->groups[POOL], offsetof(struct header_shm, pool), sizeof(struct pool_shm), COMMON);
        add_range(&t->groups[CLIENTS], header->clients_off, (header->clients_high + 1) * CLIENT_SIZE, COMMON);
        for (uint32_t i = 1; i < header->lanes_high; i++)
                add_lane(t, arena, i);
        for (uint64_t i = 0; i < header->pool.frontier; i++)
                add_block(subject, i);
}

void strike_free(struct subject *subject)
{
        for (int i = 0; i < N_GROUPS; i++)
                free(subject->targets->groups[i].words);
        free(subject->targets->offsets.words);
        free(subject->targets);
}

static struct word choose_word(const struct targets *t, struct random *random)
{
        uint64_t sum = 0, pick;

        for (int i = 0; i < N_GROUPS; i++)
                sum += t->groups[i].n ? t->groups[i].weight : 0;
        pick = random_below(random, sum);
        for (int i = 0; i < N_GROUPS; i++) {
                uint64_t weight = t->groups[i].n ? t->groups[i].weight : 0;

                if (pick < weight)
                        return t->groups[i].words[random_below(random, t->groups[i].n)];
                pick -= weight;
        }
        return (struct word){ 0, COMMON };
}

static const uint64_t special[] = {
        0,
        1,
        2,
        7,
        8,
        UINT64_MAX,
        UINT64_MAX - 1,
        UINT64_MAX - 7,
        INT64_MAX,
        1ULL << 63,
        UINT32_MAX,
        1ULL << 32,
        (1ULL << 32) - 8,
        1ULL << 31,
        1ULL << 16,
        65535,
        1ULL << 48,
        0x0101010101010101ULL,
        BLOCK_SIZE,
        SLOT_SIZE,
        CHUNK_HEAD,
        511,
        4095,
        4096,
        CHUNK_MAGIC << 48,
};

/* Somewhere that an offset could lead to. */
static uint64_t some_offset(const struct subject *subject, uint64_t self, struct random *random)
{
        const struct arena *arena = subject->conn.arena;
        const struct group *offsets = &subject->targets->offsets;

        switch (random_below(random, 8)) {
        case 0:
                return self;
        case 1:
                return self & ~63ULL;
        case 2:
                return self & ~(uint64_t)(BLOCK_SIZE - 1);
        case 3:
                return arena->data_off + (random_below(random, arena->n_blocks + 2) << BLOCK_SHIFT) -
                       (random_below(random, 3) ? 0 : 8 * random_below(random, 40));
        case 4:
                return random_below(random, arena->mapped + 4096) & ~7ULL;
        default:
                return offsets->words[random_below(random, offsets->n)].off +
                       (random_below(random, 4) ? 0 : 8 * random_below(random, 40));
        }
}

/* One field of a packed word: some bits of it become another small number. */
static uint64_t change_bits(uint64_t old, struct random *random)
{
        uint32_t width = 1 + (uint32_t)random_below(random, 32), shift = (uint32_t)random_below(random, 64);
        uint64_t mask = ((1ULL << width) - 1) << shift, value;

        switch (random_below(random, 5)) {
        case 0:
                value = 0;
                break;
        case 1:
                value = UINT64_MAX;
                break;
        case 2:
                value = random_below(random, 20) << shift;
                break;
        case 3:
                value = old + ((random_below(random, 5) - 2) << shift);
                break;
        default:
                value = random_next(random);
        }
        return (old & ~mask) | (value & mask);
}

static uint64_t new_value(const struct subject *subject, uint64_t off, struct random *random)
{
        const struct arena *arena = subject->conn.arena;
        const struct targets *t = subject->targets;
        uint64_t old = *word_at(arena, off);

        switch (random_below(random, 14)) {
        case 0:
        case 1:
                return special[random_below(random, sizeof(special) / sizeof(special[0]))];
        case 2:
                return old ^ 1ULL << random_below(random, 64);
        case 3:
                return old + random_below(random, 33) - 16;
        case 4:
                return old + (random_below(random, 17) - 8) * 64;
        case 5: /* low flags and high fields stay: many words hold an offset and more */
                return some_offset(subject, off, random) | (old & 0xffff00000000003fULL);
        case 6:
        case 7:
                return some_offset(subject, off, random);
        case 8: /* what stands somewhere else */
                return *word_at(arena, choose_word(t, random).off);
        case 9: /* what stands beside it */
                return *word_at(arena, off ^ 8);
        case 10:
                return (old & ~0xffULL << 56) | random_next(random) << 56;
        case 11:
                return random_next(random);
        default:
                return change_bits(old, random);
        }
}

static size_t how_many(struct random *random)
{
        uint64_t pick = random_below(random, 16);

        return pick < 9    ? 1
               : pick < 12 ? 2
               : pick < 15 ? 1 + random_below(random, 5)
                           : 1 + random_below(random, 24);
}

void strike(struct subject *subject, struct random *random, bool print)
{
        struct arena *arena = subject->conn.arena;

        subject->struck = 0;
        subject->struck_common = false;
        for (size_t n = how_many(random); n; n--) {
                struct word word = choose_word(subject->targets, random);
                uint64_t old = *word_at(arena, word.off), value = new_value(subject, word.off, random);

                if (print)
                        printf("at %#" PRIx64 ": %#" PRIx64 " becomes %#" PRIx64 "\n", word.off, old, value);
                *word_at(arena, word.off) = value;
                if (word.whose == COMMON)
                        subject->struck_common = true;
                else
                        subject->struck |= 1U << word.whose;
        }
}
