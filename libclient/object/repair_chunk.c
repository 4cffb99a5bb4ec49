/* SPDX-License-Identifier: Apache-2.0 */
/*
 * repair_chunk.c -- which chunk an object means with an offset, and making its list of them anew
 *
 * What a chunk is stands in three places: in the object that refers to it, in the chunk's head, and in the block table. Two
 * of them that agree put the third one right. That an object's word alone says that there is a chunk is not enough.
 */

#include "object/repair.h"

#include <stdlib.h>

#include "base/sys.h"
#include "mem/pool.h"

/* What a chunk is: of a class, in a slab, or a run of blocks. */
struct shape {
        uint32_t size_class; /* CHUNK_CLASS_RUN */
        uint32_t run;
};

static bool is_taken(const struct repair *repair, uint64_t off)
{
        return check_bit_get(repair->taken, check_bit(repair->arena, off));
}

/* In an object's list, and in no operation's. */
static bool is_of_object(const struct chunk_shm *chunk)
{
        return (chunk->info >> 40 & 0x7f) == CHUNK_OF_OBJECT;
}

static bool shape_fits(const struct arena *arena, uint64_t off, const struct shape *shape)
{
        uint64_t number = repair_block_of(arena, off), inside = off - repair_block_off(arena, number);

        if (shape->size_class == CHUNK_CLASS_RUN)
                return !inside && shape->run && shape->run <= arena_frontier(arena) - number;
        return shape->size_class < N_CLASSES && inside % pool_class_size[shape->size_class] == 0 &&
               inside + pool_class_size[shape->size_class] <= BLOCK_SIZE;
}

static bool shape_by_table(const struct arena *arena, uint64_t off, struct shape *ret_shape)
{
        const struct block_shm *block = &arena->blocks[repair_block_of(arena, off)];

        *ret_shape = (struct shape){ block->size_class, 0 };
        if (block->state == BLOCK_RUN)
                *ret_shape = (struct shape){ CHUNK_CLASS_RUN, block->run };
        else if (block->state != BLOCK_SLAB || block->size_class >= N_CLASSES)
                return false;
        return shape_fits(arena, off, ret_shape);
}

static bool shape_by_head(const struct arena *arena, uint64_t off, const struct chunk_shm *chunk,
                          struct shape *ret_shape)
{
        *ret_shape = (struct shape){ (uint32_t)(chunk->info >> 32) & 0xff, (uint32_t)chunk->info };
        return chunk->info >> 48 == CHUNK_MAGIC &&
               (ret_shape->size_class == CHUNK_CLASS_RUN || !ret_shape->run) &&
               shape_fits(arena, off, ret_shape);
}

/* How many other chunks of its block are heads of that class. */
static uint32_t count_heads(const struct arena *arena, uint64_t off, uint32_t size_class)
{
        uint64_t start = repair_block_off(arena, repair_block_of(arena, off));
        uint32_t n = 0;

        for (uint32_t i = 0; i < BLOCK_SIZE / pool_class_size[size_class]; i++) {
                uint64_t other = start + (uint64_t)i * pool_class_size[size_class];
                const struct chunk_shm *chunk = (const struct chunk_shm *)(arena->base + other);
                struct shape shape;

                n += other != off && shape_by_head(arena, other, chunk, &shape) &&
                     shape.size_class == size_class;
        }
        return n;
}

/*
 * Where the head and the table differ, what else is in the block decides; if nothing does, the larger one: then what lies behind
 * a smaller chunk is free in any case.
 */
static const struct shape *better(const struct arena *arena, uint64_t off, const struct shape *head,
                                  const struct shape *table)
{
        uint32_t n_head, n_table;

        if (head->size_class == CHUNK_CLASS_RUN && table->size_class == CHUNK_CLASS_RUN)
                return head->run > table->run ? head : table;
        n_head = head->size_class == CHUNK_CLASS_RUN ? 0 : count_heads(arena, off, head->size_class);
        n_table = table->size_class == CHUNK_CLASS_RUN ? 0 : count_heads(arena, off, table->size_class);
        if (n_head != n_table)
                return n_head > n_table ? head : table;
        return head->size_class > table->size_class ? head : table;
}

static bool shapes_differ(const struct shape *a, const struct shape *b)
{
        return a->size_class != b->size_class || a->run != b->run;
}

/* Whether the blocks that such a chunk is in are not something else's already. */
static bool is_free_for(const struct repair *repair, uint64_t off, const struct shape *shape)
{
        uint64_t number = repair_block_of(repair->arena, off);
        const struct block_shm *block = &repair->arena->blocks[number];

        if (shape->size_class != CHUNK_CLASS_RUN)
                return repair->held[number] == HELD_NOT ||
                       (repair->held[number] == HELD_SLAB && block->size_class == shape->size_class);
        for (uint32_t i = 0; i < shape->run; i++)
                if (repair->held[number + i] != HELD_NOT)
                        return false;
        return true;
}

static int compare_places(const void *a, const void *b)
{
        const struct repair_case *x = a, *y = b;

        return x->place < y->place ? -1 : x->place > y->place;
}

/* An object whose own chunks are all known does not have one that it does not refer to, whatever the head says. */
static bool may_be_ours(const struct repair *repair, const struct chunk_shm *chunk, uint64_t place)
{
        const struct repair_case key = { .place = chunk->owner };
        enum chunk_list list = chunk_list_of(chunk);

        if (list != CHUNK_OF_OBJECT && list != CHUNK_TAKEN && list != CHUNK_DOOMED)
                return false;
        return chunk->owner == place || !repair->n_cases ||
               !bsearch(&key, repair->cases, repair->n_cases, sizeof(key), compare_places);
}

static void set_table(const struct arena *arena, uint64_t off, const struct shape *shape)
{
        struct block_shm *block = &arena->blocks[repair_block_of(arena, off)];

        if (shape->size_class == CHUNK_CLASS_RUN) {
                block->state = BLOCK_RUN;
                half_set(&block->run, shape->run);
                return;
        }
        block->state = BLOCK_SLAB;
        block->size_class = (uint8_t)shape->size_class;
        half_set(&block->carved, BLOCK_SIZE / pool_class_size[shape->size_class]);
}

static void set_head(struct chunk_shm *chunk, const struct shape *shape, uint64_t place)
{
        uint64_t info = chunk_info(CHUNK_OF_OBJECT, shape->size_class, shape->run);

        if (chunk->info >> 48 != CHUNK_MAGIC || chunk->owner != place ||
            chunk_list_of(chunk) != CHUNK_OF_OBJECT || chunk_size(chunk) == 0) {
                word_set(&chunk->info, info);
                chunk_make_pinnable(chunk); /* it may be: being looked for in vain costs little */
        } else if ((chunk->info & 0xffffffffffULL) != (info & 0xffffffffffULL)) {
                word_set(&chunk->info,
                         (chunk->info & ~0xffffffffffULL) | (info & 0xffffffffffULL)); /* class and run */
        }
        word_set(&chunk->owner, place);
}

static struct chunk_shm *find_leniently(struct repair *repair, uint64_t off, uint64_t place)
{
        const struct arena *arena = repair->arena;
        struct chunk_shm *chunk = arena_at(arena, off, CHUNK_HEAD);
        struct shape head, table;
        const struct shape *shape = &table;
        bool has_head, has_table;

        if (!chunk || off % CHECK_UNIT || is_taken(repair, off))
                return NULL;
        has_head = shape_by_head(arena, off, chunk, &head);
        has_table = shape_by_table(arena, off, &table);
        if (chunk->info >> 48 == CHUNK_MAGIC && !may_be_ours(repair, chunk, place))
                return NULL;
        if (has_head && (!has_table || !is_free_for(repair, off, &table)))
                shape = &head;
        else if (!has_table)
                return NULL;
        else if (has_head && shapes_differ(&head, &table) &&
                 repair->held[repair_block_of(arena, off)] == HELD_NOT)
                shape = better(arena, off, &head, &table);
        if (has_head && has_table && !is_free_for(repair, off, shape))
                shape = shape == &head ? &table : &head;
        if (!is_free_for(repair, off, shape))
                return NULL;
        set_table(arena, off, shape);
        set_head(chunk, shape, place);
        return chunk;
}

static bool note(struct repair *repair, uint64_t off)
{
        uint64_t *offs =
                repair_grow(repair, repair->offs, repair->n_offs, &repair->room_offs, sizeof(*repair->offs));

        if (!offs)
                return false;
        repair->offs = offs;
        offs[repair->n_offs++] = off;
        return true;
}

struct chunk_shm *repair_find_chunk(struct check *check, uint64_t off)
{
        struct repair *repair = (struct repair *)check;
        uint64_t place = arena_off(check->arena, check->object);
        struct chunk_shm *chunk = check_chunk_at(check->arena, off);

        if (!chunk || !is_of_object(chunk) || chunk->owner != place || is_taken(repair, off))
                chunk = repair->lenient ? find_leniently(repair, off, place) : NULL;
        return chunk && note(repair, off) ? chunk : NULL;
}

void repair_forget_chunks(struct repair *repair)
{
        for (size_t i = 0; i < repair->n_offs; i++)
                check_bit_clear(repair->check.seen, check_bit(repair->arena, repair->offs[i]));
        repair->n_offs = 0;
}

static bool take(struct repair *repair, uint64_t off)
{
        const struct arena *arena = repair->arena;
        uint64_t number = repair_block_of(arena, off);
        struct shape shape;

        if (!shape_by_table(arena, off, &shape) || !is_free_for(repair, off, &shape) || is_taken(repair, off))
                return false;
        check_bit_set(repair->taken, check_bit(arena, off));
        if (shape.size_class != CHUNK_CLASS_RUN)
                repair->held[number] = HELD_SLAB;
        else
                for (uint32_t i = 0; i < shape.run; i++)
                        repair->held[number + i] = HELD_RUN;
        return true;
}

void repair_leave_chunks(struct repair *repair, size_t n)
{
        while (n--)
                check_bit_clear(repair->taken, check_bit(repair->arena, repair->offs[n]));
}

bool repair_take_chunks(struct repair *repair)
{
        for (size_t i = 0; i < repair->n_offs; i++)
                if (!take(repair, repair->offs[i])) {
                        repair_leave_chunks(repair, i);
                        return false;
                }
        return true;
}

/* Whether the object's list holds just the chunks under way, which are marked as seen. */
static bool list_is_right(const struct repair *repair, const struct object_shm *object)
{
        const struct arena *arena = repair->arena;
        uint64_t memory = 0, prev = 0, off = object->chunks;
        size_t n = 0;

        for (; off && n <= repair->n_offs; n++) {
                const struct chunk_shm *chunk = check_chunk_at(arena, off);

                if (!chunk || !check_bit_get(repair->check.seen, check_bit(arena, off)) ||
                    chunk->prev != prev || !is_of_object(chunk))
                        return false;
                memory += chunk_size(chunk) + CHUNK_HEAD;
                prev = off;
                off = chunk->next;
        }
        return n == repair->n_offs && memory == object->memory;
}

bool repair_link_chunks(struct repair *repair, struct object_shm *object)
{
        const struct arena *arena = repair->arena;
        uint64_t memory = 0, place = arena_off(arena, object);

        if (list_is_right(repair, object))
                return false;
        for (size_t i = 0; i < repair->n_offs; i++) {
                struct chunk_shm *chunk = (struct chunk_shm *)(arena->base + repair->offs[i]);

                word_set(&chunk->owner, place);
                word_set(&chunk->info,
                         (chunk->info & ~(0x3fULL << 40 | 1ULL << 46)) | (uint64_t)CHUNK_OF_OBJECT << 40);
                word_set(&chunk->prev, i ? repair->offs[i - 1] : 0);
                word_set(&chunk->next, i + 1 < repair->n_offs ? repair->offs[i + 1] : 0);
                memory += chunk_size(chunk) + CHUNK_HEAD;
        }
        word_set(&object->chunks, repair->n_offs ? repair->offs[0] : 0);
        word_set(&object->memory, memory);
        return true;
}

/* ---- Chunks by what they say themselves ---------------------------------------------------------------- */

static void offer(const struct arena *arena, uint64_t place, uint64_t off, repair_chunk_fn fn, void *context)
{
        struct chunk_shm *chunk = check_chunk_at(arena, off);

        if (chunk && is_of_object(chunk) && chunk->owner == place)
                fn(context, chunk);
}

void repair_each_chunk(const struct arena *arena, uint64_t place, repair_chunk_fn fn, void *context)
{
        for (uint64_t number = 0; number < arena_frontier(arena); number++) {
                const struct block_shm *block = &arena->blocks[number];
                uint64_t off = repair_block_off(arena, number);

                if (block->state == BLOCK_RUN)
                        offer(arena, place, off, fn, context);
                for (uint32_t i = 0; block->state == BLOCK_SLAB && block->size_class < N_CLASSES &&
                                     i < block->carved && i < BLOCK_SIZE / pool_class_size[block->size_class];
                     i++)
                        offer(arena, place, off + (uint64_t)i * pool_class_size[block->size_class], fn,
                              context);
        }
}

static void note_retained(void *context, struct chunk_shm *chunk)
{
        struct repair *repair = context;
        uint64_t off = arena_off(repair->arena, chunk);

        if (!is_taken(repair, off) && take(repair, off))
                (void)note(repair, off);
}

void repair_retain_chunks(struct repair *repair, uint64_t place)
{
        repair->n_offs = 0;
        repair_each_chunk(repair->arena, place, note_retained, repair);
        (void)repair_link_chunks(repair, repair_object_at(repair->arena, place));
        repair->n_offs = 0;
}
