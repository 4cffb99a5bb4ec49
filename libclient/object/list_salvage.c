/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_salvage.c -- what can be read of a damaged list
 *
 * The order of the items is that of the tree. It is gone through from its top; what hangs from a word that leads nowhere is left
 * out. If the root does not lead to the top, the top is the node that no other node refers to, if there is only one.
 */

#include "object/list.h"

#include <string.h>

#include "mem/pool.h"
#include "object/repair.h"
#include "object/salvage.h"

/* ---- Parts ---------------------------------------------------------------------------------------------- */

static bool parse_leaf(const struct chunk_shm *chunk, struct leaf_shape *ret_shape)
{
        const struct list_leaf_shm *leaf = (const struct list_leaf_shm *)(const void *)chunk;

        return chunk_size(chunk) + CHUNK_HEAD >= LEAF_WORDS_MIN * 8 && leaf_parse(leaf->state, ret_shape) &&
               chunk_size(chunk) + CHUNK_HEAD >= (uint64_t)ret_shape->size * 8;
}

/* How many children; 0 if it is no node. */
static uint32_t parse_node(const struct chunk_shm *chunk, uint32_t *ret_level)
{
        const struct list_node_shm *node = (const struct list_node_shm *)(const void *)chunk;

        if (chunk_size(chunk) + CHUNK_HEAD < sizeof(*node))
                return 0;
        *ret_level = node->state >> 16 & 0xffff;
        return *ret_level && *ret_level <= LIST_HEIGHT_MAX ? node_n(node->state, *ret_level) : 0;
}

static bool is_part(const struct chunk_shm *chunk, uint32_t *ret_level)
{
        struct leaf_shape shape;

        *ret_level = 0;
        return parse_leaf(chunk, &shape) || parse_node(chunk, ret_level);
}

/* ---- The walk ------------------------------------------------------------------------------------------- */

static objd_status give_item(struct salvage *salvage, const struct list_leaf_shm *leaf, uint64_t item)
{
        struct visit visit = { .type = item_type(item), .size = item_size(item) };
        const uint64_t *words = leaf_words_const(leaf, item_word(item));

        visit.bytes = item_is_big(item) ? salvage_value(salvage, *words, item_size(item)) : words;
        return visit.bytes ? salvage->fn(salvage->context, &visit) : OBJD_OK;
}

static objd_status give_leaf(struct salvage *salvage, const struct chunk_shm *chunk)
{
        const struct list_leaf_shm *leaf = (const struct list_leaf_shm *)(const void *)chunk;
        struct leaf_shape shape;
        objd_status r = OBJD_OK;

        if (!parse_leaf(chunk, &shape))
                return OBJD_OK;
        for (uint32_t k = 0; k < shape.n && r == OBJD_OK; k++) {
                uint64_t item = leaf->table[leaf_slot(&shape, k)];

                if (item_is_inside(item, &shape))
                        r = give_item(salvage, leaf, item);
        }
        return r;
}

/* Levels only go down, so this ends; and nothing is given twice. */
static objd_status give_part(struct salvage *salvage, uint64_t off, uint32_t level_max)
{
        struct chunk_shm *chunk = salvage_chunk(salvage, off, 0);
        const struct list_node_shm *node = (const struct list_node_shm *)(const void *)chunk;
        objd_status r = OBJD_OK;
        uint32_t n, level;

        if (!chunk || !salvage_is_first(salvage, chunk))
                return OBJD_OK;
        n = parse_node(chunk, &level);
        if (!n || level > level_max)
                return give_leaf(salvage, chunk);
        for (uint32_t i = 0; i < n && r == OBJD_OK; i++)
                r = give_part(salvage, node->entry[i].child, level - 1);
        return r;
}

/* ---- The top -------------------------------------------------------------------------------------------- */

struct tops {
        struct salvage *salvage;
        uint64_t off; /* of the highest so far */
        uint32_t level, n;
};

static void mark_children(void *context, struct chunk_shm *chunk)
{
        const struct list_node_shm *node = (const struct list_node_shm *)(const void *)chunk;
        struct tops *tops = context;
        uint32_t level, n = parse_node(chunk, &level);

        for (uint32_t i = 0; i < n; i++) {
                struct chunk_shm *child = salvage_chunk(tops->salvage, node->entry[i].child, 0);

                if (child)
                        (void)salvage_is_first(tops->salvage, child);
        }
}

static void look_at_top(void *context, struct chunk_shm *chunk)
{
        const struct salvage *salvage = ((struct tops *)context)->salvage;
        uint64_t off = arena_off(salvage->arena, chunk);
        struct tops *tops = context;
        uint32_t level;

        if (!is_part(chunk, &level) || check_bit_get(salvage->seen, check_bit(salvage->arena, off)))
                return;
        if (!tops->n || level > tops->level)
                *tops = (struct tops){ tops->salvage, off, level, 0 };
        tops->n += level == tops->level;
}

static uint64_t find_top(struct salvage *salvage)
{
        uint64_t place = arena_off(salvage->arena, salvage->object),
                 said = salvage->object->line.root[LIST_TREE];
        struct chunk_shm *chunk = salvage_chunk(salvage, said, 0);
        struct tops tops = { .salvage = salvage };
        uint32_t level;

        if (chunk && is_part(chunk, &level) && level == salvage->object->line.root[LIST_HEIGHT])
                return said;
        repair_each_chunk(salvage->arena, place, mark_children, &tops);
        repair_each_chunk(salvage->arena, place, look_at_top, &tops);
        memset(salvage->seen, 0, check_bits_size(salvage->arena));
        return tops.n == 1 ? tops.off : said;
}

objd_status list_salvage(struct salvage *salvage)
{
        uint64_t n = salvage->object->line.root[LIST_LEN];

        salvage->n_said = n < arena_limit(salvage->arena) / 8 ? n : 0;
        return give_part(salvage, find_top(salvage), LIST_HEIGHT_MAX);
}
