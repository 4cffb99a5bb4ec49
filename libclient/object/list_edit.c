/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_edit.c -- changes of one item
 *
 * Mostly a leaf has room and is changed in place. If it has none, it is made anew, as one or as two leaves, and its
 * parent is told; at the ends of the list a new leaf begins with the new item alone.
 */

#include "object/list.h"

#define CAPACITY (LEAF_WORDS_MAX - LEAF_TABLE)

/* The items of a leaf with one more at `at`, or, if replaces, with another one there. */
struct mix {
        const struct list_leaf_shm *leaf;
        const struct leaf_shape *shape;
        const struct new_item *item;
        uint32_t at;
        bool replaces;
};

static uint32_t mix_len(const struct mix *mix)
{
        return mix->shape->n + !mix->replaces;
}

/* The words that the k-th item of the mix takes, with its slot in the table. */
static objd_status mix_words(const struct list *list, const struct mix *mix, uint32_t k, uint32_t *ret_words)
{
        uint64_t item;
        objd_status r;

        if (k == mix->at) {
                *ret_words = mix->item->words + 1;
                return OBJD_OK;
        }
        r = leaf_item(list, mix->leaf, mix->shape, k - (k > mix->at && !mix->replaces), &item);
        if (r == OBJD_OK)
                *ret_words = item_words(item) + 1;
        return r;
}

static objd_status mix_put(const struct list *list, const struct mix *mix, uint32_t k,
                           struct list_leaf_shm *leaf, struct leaf_shape *shape)
{
        uint64_t item;
        uint32_t words;
        objd_status r = mix_words(list, mix, k, &words);

        if (r)
                return r;
        if (leaf_gap(shape) < words)
                return list_corrupt(list, "the size of a leaf's values");
        if (k == mix->at) {
                leaf_put_new(leaf, shape, mix->item);
                return OBJD_OK;
        }
        r = leaf_item(list, mix->leaf, mix->shape, k - (k > mix->at && !mix->replaces), &item);
        if (r == OBJD_OK)
                leaf_put(leaf, shape, item, leaf_words_const(mix->leaf, item_word(item)));
        return r;
}

/* A new leaf with [from, to) of the mix; where it is and how many items it has become the i-th part of the change. */
static objd_status mix_build(const struct list *list, const struct mix *mix, uint32_t from, uint32_t to,
                             uint32_t words, struct change *change)
{
        struct leaf_shape shape;
        struct list_leaf_shm *leaf;
        objd_status r = leaf_new(list, words, &leaf, &shape);

        for (; r == OBJD_OK && from < to; from++)
                r = mix_put(list, mix, from, leaf, &shape);
        if (r)
                return r;
        leaf_seal(leaf, &shape);
        change->put[change->n_new].off = arena_off(list->arena, leaf);
        change->put[change->n_new++].count = shape.n;
        return OBJD_OK;
}

/* Where to cut the mix so that both parts have about as many words. */
static objd_status mix_middle(const struct list *list, const struct mix *mix, uint32_t live,
                              uint32_t *ret_cut)
{
        uint32_t cut = 0, sum = 0, words;

        while (cut < mix_len(mix) - 1) {
                objd_status r = mix_words(list, mix, cut, &words);

                if (r)
                        return r;
                if (cut && sum + words / 2 > live / 2)
                        break;
                sum += words;
                cut++;
        }
        *ret_cut = cut;
        return OBJD_OK;
}

/* A leaf of its own for an item at either end of the list. That of a prepend fills its table from behind. */
static objd_status begin_leaf(const struct list *list, const struct path *path, const struct new_item *item,
                              bool front, struct change *change)
{
        struct leaf_shape shape;
        struct list_leaf_shm *leaf;
        objd_status r = leaf_new(list, CAPACITY, &leaf, &shape);

        if (r)
                return r;
        leaf_put_new(leaf, &shape, item);
        shape.reversed = front;
        leaf_seal(leaf, &shape);
        change->n_new = 2;
        change->put[front].off = path->off;
        change->put[front].count = path->shape.n;
        change->put[!front].off = arena_off(list->arena, leaf);
        change->put[!front].count = 1;
        return OBJD_OK;
}

/*
 * How large the list's only leaf should become, with its head, or 0 if it should become two. It doubles when it is
 * more than half full of what is alive, and only loses what is dead otherwise.
 */
static uint32_t only_leaf_words(const struct leaf_shape *shape, uint32_t live)
{
        uint32_t want = live * 2 > shape->size ? shape->size * 2 : shape->size;

        if (live > CAPACITY || (shape->size >= LEAF_WORDS_MAX && live > CAPACITY / 4 * 3))
                return 0;
        if (want < live + LEAF_TABLE)
                want = live + LEAF_TABLE;
        return want < LEAF_WORDS_MAX ? want : LEAF_WORDS_MAX;
}

/* Makes the leaf anew with the mix in it. index is where the new item comes in the list of len items. */
static objd_status rebuild(const struct list *list, const struct path *path, const struct mix *mix,
                           uint64_t index, uint64_t len)
{
        uint32_t live = leaf_live(mix->shape) + mix->item->words + 1, want, cut;
        uint32_t i = path->height;
        struct change change = { .at = i ? path->at[i - 1] : 0, .n_old = 1, .delta = !mix->replaces };
        uint64_t old = 0;
        objd_status r = OBJD_OK;

        if (mix->replaces)
                r = leaf_item(list, mix->leaf, mix->shape, mix->at, &old);
        if (r)
                return r;
        if (mix->replaces)
                live -= item_words(old) + 1;
        want = i ? live <= CAPACITY / 4 * 3 ? LEAF_WORDS_MAX : 0 : only_leaf_words(mix->shape, live);
        if (!want && !mix->replaces && (index == len || index == 0)) {
                r = begin_leaf(list, path, mix->item, index == 0, &change);
                return r ? r : tree_splice(list, path, &change);
        }
        if (want) {
                r = mix_build(list, mix, 0, mix_len(mix), want - LEAF_TABLE, &change);
        } else {
                r = mix_middle(list, mix, live, &cut);
                if (r == OBJD_OK)
                        r = mix_build(list, mix, 0, cut, CAPACITY, &change);
                if (r == OBJD_OK)
                        r = mix_build(list, mix, cut, mix_len(mix), CAPACITY, &change);
        }
        if (r == OBJD_OK && mix->replaces)
                r = leaf_free_big(list, mix->leaf, mix->shape, mix->at, 1);
        if (r == OBJD_OK)
                r = txn_free(list->lane, &path->leaf->chunk);
        return r ? r : tree_splice(list, path, &change);
}

static objd_status set_len(const struct list *list, uint64_t len)
{
        objd_status r = txn_reserve(list->lane, 8, 1);

        if (r == OBJD_OK)
                txn_set(list->lane, &list->root[LIST_LEN], len);
        return r;
}

/* The first item of a list that has not even an empty leaf. */
static objd_status plant(const struct list *list, const struct new_item *item)
{
        struct leaf_shape shape;
        struct list_leaf_shm *leaf;
        struct tree_leaf tree;
        objd_status r = leaf_new(list, item->words + 1, &leaf, &shape);

        if (r)
                return r;
        leaf_put_new(leaf, &shape, item);
        leaf_seal(leaf, &shape);
        tree = (struct tree_leaf){ arena_off(list->arena, leaf), 1 };
        return tree_build(list, &tree, 1);
}

static objd_status insert_inside(struct list *list, uint64_t index, uint64_t len, const struct new_item *item)
{
        struct path path;
        struct mix mix;
        objd_status r = tree_find(list, index == len && len ? len - 1 : index, &path);

        if (r)
                return r;
        if (index == len && len)
                path.k++;
        if (leaf_has_room(&path.shape, item->words)) {
                r = leaf_insert(list, path.leaf, &path.shape, path.k, item);
                return r ? r : tree_shift(list, &path, path.height, 1);
        }
        mix = (struct mix){ .leaf = path.leaf, .shape = &path.shape, .item = item, .at = path.k };
        return rebuild(list, &path, &mix, index, len);
}

objd_status list_insert(struct list *list, uint64_t index, const objd_value *value)
{
        uint64_t len = word_get(&list->root[LIST_LEN]);
        struct new_item item;
        bool done = false;
        objd_status r = index == len ? leaf_append(list, value, &done) : OBJD_OK;

        if (r || done)
                return r;
        r = new_item_init(&item, list, value);
        if (r == OBJD_OK)
                r = word_get(&list->root[LIST_TREE]) ? insert_inside(list, index, len, &item)
                                                     : plant(list, &item);
        return r ? r : set_len(list, len + 1);
}

objd_status list_replace(struct list *list, uint64_t index, const objd_value *value)
{
        struct new_item item;
        struct path path;
        struct mix mix;
        bool done;
        objd_status r = new_item_init(&item, list, value);

        if (r == OBJD_OK)
                r = tree_find(list, index, &path);
        if (r == OBJD_OK)
                r = leaf_replace(list, path.leaf, &path.shape, path.k, &item, &done);
        if (r || done)
                return r;
        mix = (struct mix){
                .leaf = path.leaf, .shape = &path.shape, .item = &item, .at = path.k, .replaces = true
        };
        return rebuild(list, &path, &mix, index, 0);
}

/* A leaf that has just lost its last item goes, unless it is a small list's only one, which is likely to be filled again. */
static objd_status drop_leaf(const struct list *list, const struct path *path)
{
        struct change change = { .at = path->height ? path->at[path->height - 1] : 0,
                                 .n_old = 1,
                                 .delta = -1ULL };
        objd_status r;

        if (!path->height && path->shape.size <= 2 * LEAF_WORDS_MIN)
                return OBJD_OK;
        r = txn_free(list->lane, &path->leaf->chunk);
        return r ? r : tree_splice(list, path, &change);
}

/* The common pop: the last leaf keeps enough items, and no node knows how many it has. */
static objd_status delete_last_fast(const struct list *list, bool *ret_done)
{
        struct leaf_shape shape;
        struct list_leaf_shm *leaf;
        objd_status r = leaf_at(list, word_get(&list->root[LIST_LAST]), &leaf, &shape);

        *ret_done = r == OBJD_OK && shape.n > 1 && leaf_live(&shape) > LEAF_WORDS_MAX / 2;
        return *ret_done ? leaf_remove(list, leaf, &shape, shape.n - 1, 1) : r;
}

objd_status list_delete(struct list *list, uint64_t index)
{
        uint64_t len = word_get(&list->root[LIST_LEN]);
        struct path path;
        bool done = false;
        objd_status r = OBJD_OK;

        if (index + 1 == len)
                r = delete_last_fast(list, &done);
        if (r == OBJD_OK && !done) {
                r = tree_find(list, index, &path);
                if (r == OBJD_OK)
                        r = leaf_remove(list, path.leaf, &path.shape, path.k, 1);
                if (r)
                        return r;
                if (!path.shape.n) {
                        r = drop_leaf(list, &path);
                } else {
                        r = tree_merge_leaf(list, &path, -1ULL, &done);
                        if (r == OBJD_OK && !done)
                                r = tree_shift(list, &path, path.height, -1ULL);
                }
        }
        return r ? r : set_len(list, len - 1);
}

objd_status list_extend(struct list *list, const objd_value *values, size_t n)
{
        objd_status r = OBJD_OK;

        while (n && r == OBJD_OK) {
                uint64_t len = word_get(&list->root[LIST_LEN]), last = word_get(&list->root[LIST_LAST]);
                struct leaf_shape shape;
                struct list_leaf_shm *leaf;
                size_t done = 0;

                if (last) {
                        r = leaf_at(list, last, &leaf, &shape);
                        if (r == OBJD_OK)
                                r = leaf_append_run(list, leaf, &shape, values, n, &done);
                        if (r == OBJD_OK && done)
                                r = set_len(list, len + done);
                }
                if (r == OBJD_OK && done < n) {
                        r = list_insert(list, len + done, &values[done]);
                        done++;
                }
                values += done;
                n -= done;
        }
        return r;
}
