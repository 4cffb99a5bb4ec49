/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_check.c -- whether a list is what list.h says
 */

#include "object/list.h"

#include <stdlib.h>
#include <string.h>

#include "mem/pool.h"
#include "object/check.h"

/* What is known on the way through one list. */
struct walk {
        struct check *check;
        const struct arena *arena;
        uint64_t last; /* the leaf that was met last */
};

#define N_WORD_BITS (LEAF_WORDS_MAX / 64)

/* Marks words of a leaf as some value's; false if one of them is another's already. */
static bool claim_words(uint64_t *used, uint32_t from, uint32_t n)
{
        for (uint32_t i = from; i < from + n; i++) {
                if (used[i / 64] >> (i % 64) & 1)
                        return false;
                used[i / 64] |= 1ULL << (i % 64);
        }
        return true;
}

static void check_big(struct walk *walk, uint64_t off, uint64_t item)
{
        uint64_t size = VALUE_CHUNK_DATA + round8(item_size(item));
        const uint8_t *chunk = arena_at(walk->arena, off, size);
        objd_value value;

        if (!check_chunk(walk->check, off, size - CHUNK_HEAD) || !chunk)
                return;
        if (value_decode(item_type(item), chunk + VALUE_CHUNK_DATA, item_size(item), &value))
                check_fail(walk->check, "the big value at %#llx makes no sense", (unsigned long long)off);
}

static void check_item(struct walk *walk, const struct list_leaf_shm *leaf, uint64_t off, uint64_t item)
{
        uint64_t bytes[LIST_INLINE_WORDS];
        objd_value value;

        if (item_is_big(item)) {
                check_big(walk, word_get(leaf_words_const(leaf, item_word(item))), item);
                return;
        }
        words_out(bytes, leaf_words_const(leaf, item_word(item)), item_size(item));
        if (value_decode(item_type(item), bytes, item_size(item), &value))
                check_fail(walk->check, "a value in the leaf at %#llx makes no sense",
                           (unsigned long long)off);
}

static void check_table(struct walk *walk, const struct list_leaf_shm *leaf, uint64_t off,
                        const struct leaf_shape *shape)
{
        uint64_t used[N_WORD_BITS] = { 0 };
        uint32_t n_words = 0;

        for (uint32_t k = 0; k < shape->n; k++) {
                uint64_t item = word_get(&leaf->table[leaf_slot(shape, k)]);

                if (!item_is_inside(item, shape) || !claim_words(used, item_word(item), item_words(item))) {
                        check_fail(walk->check, "item %u of the leaf at %#llx overlaps others", k,
                                   (unsigned long long)off);
                        return;
                }
                if (item_is_big(item) && !shape->big)
                        check_fail(walk->check, "the leaf at %#llx has a big value and does not say so",
                                   (unsigned long long)off);
                n_words += item_words(item);
                check_item(walk, leaf, off, item);
        }
        if (n_words + shape->dead != shape->size - shape->low)
                check_fail(walk->check,
                           "the leaf at %#llx has %u words of values and %u dead ones, and says %u",
                           (unsigned long long)off, n_words, shape->dead, shape->size - shape->low);
}

static void check_leaf(struct walk *walk, uint64_t off, uint64_t count)
{
        struct leaf_shape shape;
        const struct list_leaf_shm *leaf;

        if (!check_chunk(walk->check, off, LEAF_WORDS_MIN * 8 - CHUNK_HEAD))
                return;
        walk->last = off;
        leaf = arena_at(walk->arena, off, LEAF_WORDS_MIN * 8);
        if (!leaf || !leaf_parse(word_get(&leaf->state), &shape) ||
            !arena_has(walk->arena, off, (uint64_t)shape.size * 8) ||
            chunk_size(&leaf->chunk) < (uint64_t)shape.size * 8 - CHUNK_HEAD) {
                check_fail(walk->check, "the leaf at %#llx has a damaged head", (unsigned long long)off);
                return;
        }
        if (shape.n != count)
                check_fail(walk->check, "the leaf at %#llx has %u items where there should be %llu",
                           (unsigned long long)off, shape.n, (unsigned long long)count);
        check_table(walk, leaf, off, &shape);
}

static void check_node(struct walk *walk, uint64_t off, uint32_t level, uint64_t count)
{
        const struct list_node_shm *node;
        uint64_t zero;
        uint32_t n;

        if (!level) {
                check_leaf(walk, off, count);
                return;
        }
        if (!check_chunk(walk->check, off, sizeof(*node) - CHUNK_HEAD))
                return;
        node = arena_at(walk->arena, off, sizeof(*node));
        n = node ? node_n(word_get(&node->state), level) : 0;
        if (!n) {
                check_fail(walk->check, "the node at %#llx has a damaged head", (unsigned long long)off);
                return;
        }
        zero = word_get(&node->entry[0].start);
        for (uint32_t i = 0; i < n; i++) {
                uint64_t from = word_get(&node->entry[i].start) - zero;
                uint64_t to = i + 1 < n ? word_get(&node->entry[i + 1].start) - zero : count;

                if (from >= to || to > count) {
                        check_fail(walk->check,
                                   "the node at %#llx counts from %llu to %llu of %llu under child %u",
                                   (unsigned long long)off, (unsigned long long)from, (unsigned long long)to,
                                   (unsigned long long)count, i);
                        return;
                }
                check_node(walk, word_get(&node->entry[i].child), level - 1, to - from);
        }
}

/* Recursion ends: levels only go down, and check_chunk() lets nothing be met twice. */
void list_check(struct check *check, struct object_shm *object)
{
        struct walk walk = { .check = check, .arena = check->arena };
        const uint64_t *root = object->line.root;
        uint64_t len = word_get(&root[LIST_LEN]), tree = word_get(&root[LIST_TREE]);
        uint64_t height = word_get(&root[LIST_HEIGHT]), last = word_get(&root[LIST_LAST]);

        if (!tree && (len || height || last)) {
                check_fail(check, "the list has no tree, and length %llu, height %llu, last leaf %#llx",
                           (unsigned long long)len, (unsigned long long)height, (unsigned long long)last);
                return;
        }
        if (!tree)
                return;
        if (height > LIST_HEIGHT_MAX || (!len && height)) {
                check_fail(check, "the list has length %llu and height %llu", (unsigned long long)len,
                           (unsigned long long)height);
                return;
        }
        check_node(&walk, tree, (uint32_t)height, len);
        if (walk.last != last)
                check_fail(check, "the last leaf is at %#llx and not at %#llx", (unsigned long long)walk.last,
                           (unsigned long long)last);
}
