/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_bulk.c -- changes of many items at once: slices, clear, sort
 */

#include "object/list.h"

#include <stdlib.h>
#include <string.h>

#include "base/sys.h"

static objd_status set_empty(const struct list *list)
{
        objd_status r = txn_reserve(list->lane, 64, 8);

        if (r)
                return r;
        for (uint32_t i = LIST_LEN; i <= LIST_LAST; i++)
                txn_set(list->lane, &list->root[i], 0);
        return OBJD_OK;
}

objd_status list_clear(struct list *list)
{
        uint64_t off = word_get(&list->root[LIST_TREE]), height = word_get(&list->root[LIST_HEIGHT]);
        objd_status r;

        if (!off)
                return OBJD_OK;
        if (height > LIST_HEIGHT_MAX)
                return list_corrupt(list, "the height");
        r = set_empty(list);
        return r ? r : tree_free(list, off, (uint32_t)height, true);
}

/* After a cut the leaf on either side of it may be small. */
static objd_status merge_at(const struct list *list, uint64_t index)
{
        struct path path;
        bool done;
        objd_status r = tree_find(list, index, &path);

        return r ? r : tree_merge_leaf(list, &path, 0, &done);
}

objd_status list_slice_del(struct list *list, uint64_t start, uint64_t stop)
{
        uint64_t len = word_get(&list->root[LIST_LEN]), left = len - (stop - start);
        objd_status r;

        if (!left)
                return list_clear(list);
        r = tree_prune(list, start, stop);
        if (r == OBJD_OK)
                r = txn_reserve(list->lane, 8, 1);
        if (r)
                return r;
        txn_set(list->lane, &list->root[LIST_LEN], left);
        if (start)
                r = merge_at(list, start - 1);
        if (r == OBJD_OK && start < left)
                r = merge_at(list, start);
        return r;
}

/* ---- Sorting ----------------------------------------------------------------------------------------- */

/* One item on its way through the sort: what it is, where its words are, and the start of its order as a number. */
struct sortable {
        uint64_t item;
        const uint64_t *words; /* in the old leaf; a big value's offset */
        uint64_t key;
};

struct sort {
        const struct list *list;
        bool descending;
        struct sortable *from, *to;
};

static objd_status value_of(const struct list *list, const struct sortable *s, objd_value *ret_value)
{
        const void *bytes = s->words;

        if (item_is_big(s->item)) {
                bytes = arena_at(list->arena, word_get(s->words),
                                 VALUE_CHUNK_DATA + round8(item_size(s->item)));
                if (!bytes)
                        return list_corrupt(list, "the place of a big value");
                bytes = (const uint8_t *)bytes + VALUE_CHUNK_DATA;
        }
        return value_decode(item_type(s->item), bytes, item_size(s->item), ret_value);
}

/* A number that orders values of one type as far as eight bytes can; equal numbers say nothing, except for INT. */
static uint64_t key_of(const objd_value *value)
{
        unsigned char start[8] = { 0 };
        uint64_t key;

        if (value->type == OBJD_INT)
                return (uint64_t)value->u.integer ^ 1ULL << 63;
        if ((value->type != OBJD_STR && value->type != OBJD_BYTES) || !value->size)
                return 0;
        memcpy(start, value->data, value->size < 8 ? value->size : 8);
        memcpy(&key, start, 8);
        return __builtin_bswap64(key);
}

/* Collects all items, and sees that each can be read: the sort itself cannot fail. */
static objd_status collect(const struct list *list, uint64_t len, struct sortable *to)
{
        for (uint64_t index = 0; index < len;) {
                struct path path;
                objd_status r = tree_find(list, index, &path);

                for (uint32_t k = 0; r == OBJD_OK && k < path.shape.n; k++, index++, to++) {
                        objd_value value;

                        r = leaf_item(list, path.leaf, &path.shape, k, &to->item);
                        if (r)
                                break;
                        to->words = leaf_words_const(path.leaf, item_word(to->item));
                        r = value_of(list, to, &value);
                        if (r == OBJD_OK)
                                to->key = key_of(&value);
                }
                if (r)
                        return r;
        }
        return OBJD_OK;
}

/* Bytes as they lie in a leaf, in the order of value_compare(). */
static int compare_bytes(const struct sortable *a, const struct sortable *b)
{
        uint64_t a_size = item_size(a->item), b_size = item_size(b->item);
        int c = memcmp(a->words, b->words, a_size < b_size ? a_size : b_size);

        return c ? c : (a_size > b_size) - (a_size < b_size);
}

static int compare(const struct sort *sort, const struct sortable *a, const struct sortable *b)
{
        objd_type type = item_type(a->item);
        objd_value left, right;

        if (type == item_type(b->item)) {
                if (a->key != b->key)
                        return a->key < b->key ? -1 : 1;
                if (type == OBJD_INT)
                        return 0;
                if ((type == OBJD_STR || type == OBJD_BYTES) && !item_is_big(a->item) &&
                    !item_is_big(b->item))
                        return compare_bytes(a, b);
        }
        if (value_of(sort->list, a, &left) || value_of(sort->list, b, &right))
                return 0;
        return value_compare(&left, &right);
}

static bool in_order(const struct sort *sort, const struct sortable *a, const struct sortable *b)
{
        int order = compare(sort, a, b);

        return sort->descending ? order >= 0 : order <= 0;
}

/* Merges the sorted runs [a, b) and [b, c) of `from` into `to`. Equal items keep their order. */
static void merge_runs(const struct sort *sort, size_t a, size_t b, size_t c)
{
        struct sortable *to = sort->to + a;
        size_t left = a, right = b;

        if (b < c && in_order(sort, &sort->from[b - 1], &sort->from[b])) {
                memcpy(to, sort->from + a, (c - a) * sizeof(*to));
                return;
        }
        while (left < b && right < c)
                if (in_order(sort, &sort->from[left], &sort->from[right]))
                        *to++ = sort->from[left++];
                else
                        *to++ = sort->from[right++];
        memcpy(to, sort->from + left, (b - left) * sizeof(*to));
        memcpy(to + (b - left), sort->from + right, (c - right) * sizeof(*to));
}

/* A merge sort from below. Afterwards the sorted items are in `from`. */
static void sort_run(struct sort *sort, size_t n)
{
        for (size_t run = 1; run < n; run *= 2) {
                struct sortable *swap = sort->from;

                for (size_t a = 0; a < n; a += 2 * run) {
                        size_t b = a + run < n ? a + run : n, c = b + run < n ? b + run : n;

                        merge_runs(sort, a, b, c);
                }
                sort->from = sort->to;
                sort->to = swap;
        }
}

/* Fills new leaves with the items in their order; *ret_n of them. */
static objd_status fill_leaves(const struct list *list, const struct sortable *from, size_t n,
                               struct tree_leaf *to, size_t *ret_n)
{
        uint64_t words = 0;
        size_t n_leaves = 0;

        for (size_t i = 0; i < n; i++)
                words += item_words(from[i].item) + 1;
        for (size_t i = 0; i < n; n_leaves++) {
                uint32_t want =
                        words < LEAF_WORDS_MAX - LEAF_TABLE ? (uint32_t)words : LEAF_WORDS_MAX - LEAF_TABLE;
                struct leaf_shape shape;
                struct list_leaf_shm *leaf;
                objd_status r = leaf_new(list, want, &leaf, &shape);

                if (r)
                        return r;
                for (; i < n && leaf_gap(&shape) > item_words(from[i].item); i++) {
                        leaf_put(leaf, &shape, from[i].item, from[i].words);
                        words -= item_words(from[i].item) + 1;
                }
                leaf_seal(leaf, &shape);
                to[n_leaves] = (struct tree_leaf){ arena_off(list->arena, leaf), shape.n };
        }
        *ret_n = n_leaves;
        return OBJD_OK;
}

/* New leaves and nodes beside the old ones, which go when the root has changed. Big values stay where they are. */
static objd_status replace_tree(const struct list *list, const struct sortable *items, size_t n,
                                struct tree_leaf *leaves)
{
        uint64_t old = word_get(&list->root[LIST_TREE]), height = word_get(&list->root[LIST_HEIGHT]);
        size_t n_leaves;
        objd_status r = fill_leaves(list, items, n, leaves, &n_leaves);

        if (r == OBJD_OK)
                r = tree_build(list, leaves, n_leaves);
        return r ? r : tree_free(list, old, (uint32_t)height, false);
}

objd_status list_sort(struct list *list, bool descending)
{
        uint64_t len = word_get(&list->root[LIST_LEN]);
        struct sort sort = { .list = list, .descending = descending };
        struct sortable *memory;
        objd_status r;

        if (len < 2)
                return OBJD_OK;
        memory = sys.alloc(len * 2 * sizeof(*memory));
        if (!memory)
                return fail(OBJD_E_NOMEM, "list %s: no memory to sort %llu items", object_label(list->object),
                            (unsigned long long)len);
        sort.from = memory;
        sort.to = memory + len;
        r = collect(list, len, memory);
        if (r == OBJD_OK) {
                sort_run(&sort, len);
                /* The other half of the memory is free now, and larger than what the leaves need. */
                r = replace_tree(list, sort.from, len, (struct tree_leaf *)sort.to);
        }
        free(memory);
        return r;
}
