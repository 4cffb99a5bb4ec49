/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * list.h -- what the files of the list kind share; list.c says how a list is built
 */

#include <objd.h>

#include "object/kind.h"
#include "object/read.h"
#include "object/value.h"

/* ---- Numbers ------------------------------------------------------------------------------------------ */

#define LEAF_WORDS_MIN 32u    /* 256 bytes: what a list of three small values costs */
#define LEAF_WORDS_MAX 1024u  /* 8 KiB: an insert in the middle moves and notes half its table at most */
#define LIST_INLINE_MAX 2048u /* bytes; so two halves of a leaf always have room for one more value */
#define LIST_INLINE_WORDS (LIST_INLINE_MAX / 8)

/* The state of a leaf, taken apart. */
struct leaf_shape {
        uint32_t n;     /* items */
        uint32_t first; /* of the table: where the first item stands */
        uint32_t low;   /* first word of the values */
        uint32_t dead;  /* words among the values that belong to no item any more */
        uint32_t size;  /* words, with the chunk's head */
        bool reversed;  /* the table's first item is the last of the leaf */
        bool big;       /* there may be values in chunks of their own */
};

#define LIST_HEIGHT_MAX 8u

/* ---- Words ------------------------------------------------------------------------------------------- */

#define LIST_MARK_SHIFT 57
#define LEAF_MARK 0x55ULL
#define NODE_MARK 0x2aULL

static inline uint64_t leaf_state(const struct leaf_shape *shape)
{
        return LEAF_MARK << LIST_MARK_SHIFT | (uint64_t)shape->big << 56 | (uint64_t)shape->reversed << 55 |
               (uint64_t)shape->size << 44 | (uint64_t)shape->dead << 33 | (uint64_t)shape->low << 22 |
               (uint64_t)shape->first << 11 | shape->n;
}

/* Takes a state apart; false if it is none. Afterwards the table and the values lie inside the leaf's size. */
static inline bool leaf_parse(uint64_t state, struct leaf_shape *ret)
{
        *ret = (struct leaf_shape){
                .n = state & 0x7ff,
                .first = state >> 11 & 0x7ff,
                .low = state >> 22 & 0x7ff,
                .dead = state >> 33 & 0x7ff,
                .size = state >> 44 & 0x7ff,
                .reversed = state >> 55 & 1,
                .big = state >> 56 & 1,
        };
        return state >> LIST_MARK_SHIFT == LEAF_MARK && ret->size <= LEAF_WORDS_MAX &&
               ret->low <= ret->size && LEAF_TABLE + ret->first + ret->n <= ret->low &&
               ret->dead <= ret->size - ret->low;
}

static inline uint64_t item_make(objd_type type, uint64_t size)
{
        return (uint64_t)type | size << 24;
}

static inline uint64_t item_at(uint64_t item, uint32_t word)
{
        return (item & ~(0xffffULL << 8)) | (uint64_t)word << 8;
}

static inline objd_type item_type(uint64_t item)
{
        return (objd_type)(item & 0xff);
}

static inline uint32_t item_word(uint64_t item)
{
        return (uint32_t)(item >> 8 & 0xffff);
}

static inline uint64_t item_size(uint64_t item)
{
        return item >> 24;
}

/* Whether two items may be equal, or one may take the other's place: same type and size. */
static inline bool item_is_like(uint64_t a, uint64_t b)
{
        return item_at(a, 0) == item_at(b, 0);
}

static inline bool item_is_big(uint64_t item)
{
        return item_size(item) > LIST_INLINE_MAX;
}

/* Words of the value in the leaf; of a big one, the offset of its chunk. */
static inline uint32_t item_words(uint64_t item)
{
        return item_is_big(item) ? 1 : (uint32_t)(round8(item_size(item)) / 8);
}

static inline bool item_is_inside(uint64_t item, const struct leaf_shape *shape)
{
        return item_word(item) >= shape->low && item_word(item) + item_words(item) <= shape->size;
}

/* Where the k-th item of a leaf stands in its table. */
static inline uint32_t leaf_slot(const struct leaf_shape *shape, uint32_t k)
{
        return shape->first + (shape->reversed ? shape->n - 1 - k : k);
}

static inline uint64_t *leaf_words(struct list_leaf_shm *leaf, uint32_t word)
{
        return (uint64_t *)leaf + word;
}

static inline const uint64_t *leaf_words_const(const struct list_leaf_shm *leaf, uint32_t word)
{
        return (const uint64_t *)leaf + word;
}

/* Words between the table and the values. */
static inline uint32_t leaf_gap(const struct leaf_shape *shape)
{
        return shape->low - LEAF_TABLE - shape->first - shape->n;
}

/* Words that a leaf made anew of the same items would need, without its head. */
static inline uint32_t leaf_live(const struct leaf_shape *shape)
{
        return shape->n + shape->size - shape->low - shape->dead;
}

static inline uint64_t node_state(uint32_t level, uint32_t n)
{
        return NODE_MARK << LIST_MARK_SHIFT | (uint64_t)level << 16 | n;
}

/* How many children; 0 if this is no state of a node of that level. */
static inline uint32_t node_n(uint64_t state, uint32_t level)
{
        uint32_t n = state & 0xffff;

        return state == node_state(level, n) && n <= NODE_MAX ? n : 0;
}

/* The scale of a node whose last child starts `span` items behind the first. Rounded up: a guess may be one too far. */
static inline uint64_t node_scale(uint32_t n, uint64_t span)
{
        return n > 1 && span ? ((uint64_t)(n - 1) << 32) / span + 1 : 0;
}

/*
 * The child under which item `index` of a node is: a guess as if all children had the same number of items,
 * which is nearly right in a list that has been appended to, and a search from there.
 */
static inline uint32_t node_search(const struct list_node_shm *node, uint32_t n, uint64_t index)
{
        uint64_t target = index + word_get(&node->entry[0].start);
        uint64_t guess = index * word_get(&node->scale) >> 32;
        uint32_t at = guess < n ? (uint32_t)guess : n - 1, low, high;

        if (at && (int64_t)(target - word_get(&node->entry[at].start)) < 0)
                at--;
        if ((int64_t)(target - word_get(&node->entry[at].start)) >= 0) {
                for (uint32_t i = 0; i < 3; i++, at++)
                        if (at + 1 == n || (int64_t)(target - word_get(&node->entry[at + 1].start)) < 0)
                                return at;
                low = at, high = n;
        } else {
                low = 0, high = at;
        }
        while (high - low > 1) {
                uint32_t middle = (low + high) / 2;

                if ((int64_t)(target - word_get(&node->entry[middle].start)) >= 0)
                        low = middle;
                else
                        high = middle;
        }
        return low;
}

/* ---- A list under its lock --------------------------------------------------------------------------- */

/* One list during one operation that changes it. */
struct list {
        struct lane *lane;
        struct arena *arena;
        struct objd_object *object; /* for sentences */
        struct object_shm *shm;
        uint64_t *root;
        bool gap_is_fresh; /* nothing has been noted yet, so what is unreachable now was so before the operation */
};

/* From the topmost node to a leaf and an item in it. node[0] is the topmost; size[i] is how many items node[i] has. */
struct path {
        uint32_t height;
        struct list_node_shm *node[LIST_HEIGHT_MAX];
        uint32_t at[LIST_HEIGHT_MAX];
        uint64_t size[LIST_HEIGHT_MAX + 1];
        uint64_t off; /* of the leaf */
        struct list_leaf_shm *leaf;
        struct leaf_shape shape;
        uint32_t k; /* the item's place in the leaf */
};

/* A value on its way into a list. */
struct new_item {
        uint64_t item;  /* without its place */
        uint32_t words; /* in the leaf */
        const objd_value *value;
        uint64_t big; /* chunk_off, if it has a chunk of its own */
};

/* A leaf or node in its parent: n_old children from `at` on are replaced by these. delta is the change of items. */
struct change {
        uint32_t at, n_old, n_new;
        struct {
                uint64_t off, count;
        } put[2];
        uint64_t delta;
};

void list_open(struct list *list, struct lane *lane, struct objd_object *object);
objd_status list_corrupt(const struct list *list, const char *what);

/* list_leaf.c: leaves and what is in them */

/* Checks the value's type, and puts a big one into a chunk of its own. @return OBJD_OK, OBJD_E_TYPE, OBJD_E_NOMEM */
objd_status new_item_init(struct new_item *item, const struct list *list, const objd_value *value);

/* The leaf at this offset if it is one of this list's. @return OBJD_OK, OBJD_E_CORRUPT */
objd_status leaf_at(const struct list *list, uint64_t off, struct list_leaf_shm **ret_leaf,
                    struct leaf_shape *ret_shape);

/* A new leaf with room for that many words behind its head; nobody can reach it yet. */
objd_status leaf_new(const struct list *list, uint32_t words, struct list_leaf_shm **ret_leaf,
                     struct leaf_shape *ret_shape);

/* Puts items at the end of the table of a leaf that nobody can reach yet, and writes its state down. */
void leaf_put(struct list_leaf_shm *leaf, struct leaf_shape *shape, uint64_t item, const uint64_t *value);
void leaf_put_new(struct list_leaf_shm *leaf, struct leaf_shape *shape, const struct new_item *item);
objd_status leaf_put_all(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                         const struct list_leaf_shm *from, const struct leaf_shape *from_shape);
void leaf_seal(struct list_leaf_shm *leaf, const struct leaf_shape *shape);

/* The k-th item. @return OBJD_OK, OBJD_E_CORRUPT */
objd_status leaf_item(const struct list *list, const struct list_leaf_shm *leaf,
                      const struct leaf_shape *shape, uint32_t k, uint64_t *ret_item);

/* Whether a value of that many words fits as it is. */
bool leaf_has_room(const struct leaf_shape *shape, uint32_t words);

/*
 * Change a leaf in place. Each brings shape up to date. leaf_insert() needs leaf_has_room().
 */
objd_status leaf_insert(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                        uint32_t k, const struct new_item *item);
objd_status leaf_remove(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                        uint32_t k, uint32_t n);

/* Appends to the list's last leaf, if that has room behind its table: no node knows how many items it has. */
objd_status leaf_append(struct list *list, const objd_value *value, bool *ret_done);

/* The same with as many of n values as there is room for, without the list's length. */
objd_status leaf_append_run(struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                            const objd_value *values, size_t n, size_t *ret_done);

/* Gives the k-th item another value if the leaf has room for it; *ret_done says whether. */
objd_status leaf_replace(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                         uint32_t k, const struct new_item *item, bool *ret_done);

/* Frees the chunks of the leaf's big values. */
objd_status leaf_free_big(const struct list *list, const struct list_leaf_shm *leaf,
                          const struct leaf_shape *shape, uint32_t k, uint32_t n);

/* list_tree.c: nodes, and the way through them */

objd_status tree_find(const struct list *list, uint64_t index, struct path *ret_path);

/* The items in the leaf have become `delta` more: says so in all nodes of the path from `height` levels on upwards. */
objd_status tree_shift(const struct list *list, const struct path *path, uint32_t height, uint64_t delta);

/* Replaces children of the path's lowest node, and goes on upwards as far as that takes. */
objd_status tree_splice(const struct list *list, const struct path *path, struct change *change);

/* Joins the path's leaf, in which `delta` items more are than its node says, with a neighbour if both are small. */
objd_status tree_merge_leaf(const struct list *list, const struct path *path, uint64_t delta, bool *ret_done);

/* Frees all chunks below, with or without those of big values. */
objd_status tree_free(const struct list *list, uint64_t off, uint32_t level, bool with_values);

/* Takes the items [from, to) out of the tree; not all of them. */
objd_status tree_prune(const struct list *list, uint64_t from, uint64_t to);

objd_status tree_reverse(const struct list *list);

/* Makes the nodes above n leaves, which `leaf` describes (and which is overwritten), and makes them the list's tree. */
struct tree_leaf {
        uint64_t off, count;
};
objd_status tree_build(const struct list *list, struct tree_leaf *leaf, size_t n);

objd_status node_at(const struct list *list, uint64_t off, uint32_t level, struct list_node_shm **ret_node,
                    uint32_t *ret_n);

/* list_edit.c: one item */

objd_status list_insert(struct list *list, uint64_t index, const objd_value *value);
objd_status list_replace(struct list *list, uint64_t index, const objd_value *value);
objd_status list_delete(struct list *list, uint64_t index);
objd_status list_extend(struct list *list, const objd_value *values, size_t n);

/* list_bulk.c: many */

objd_status list_slice_del(struct list *list, uint64_t start, uint64_t stop);
objd_status list_clear(struct list *list);
objd_status list_sort(struct list *list, bool descending);

/* list_read.c: reads by handle, and the same under the lock */

objd_status list_get(struct objd_object *object, int64_t index, objd_value *ret_value, objd_buf *buf);
objd_status list_slice(struct objd_object *object, int64_t start, int64_t stop, objd_items **ret_items);
objd_status list_len(struct objd_object *object, uint64_t *ret_len);
objd_status list_index(struct objd_object *object, const objd_value *value, int64_t start, int64_t stop,
                       uint64_t *ret_index);
objd_status list_count(struct objd_object *object, const objd_value *value, uint64_t *ret_count);
/* As kind.h has them: with the list frozen by the lane. */
objd_status list_visit(struct lane *lane, struct objd_object *object, visit_fn fn, void *context);

objd_status list_walk(struct objd_object *object, uint64_t limit, walk_fn fn, void *context);

/* For a pin: a big value's chunk gets into the lane's place, a small value is copied to buf and the place stays 0. */
objd_status list_pin(struct objd_object *object, int64_t index, struct lane_shm *lane, uint32_t place,
                     objd_value *ret_value, objd_buf *buf);

objd_status list_locked_get(const struct list *list, uint64_t index, objd_value *ret_value, objd_buf *buf);
objd_status list_locked_index(const struct list *list, const objd_value *value, uint64_t *ret_index);

/* The item that a caller's index means. @return OBJD_OK, OBJD_E_RANGE, without a sentence */
static inline objd_status list_resolve(int64_t index, uint64_t len, uint64_t *ret_index)
{
        uint64_t i = index < 0 ? len + (uint64_t)index : (uint64_t)index;

        if (i >= len)
                return OBJD_E_RANGE;
        *ret_index = i;
        return OBJD_OK;
}

/* An end of a slice, cut to what is there. */
static inline uint64_t list_clip(int64_t index, uint64_t len)
{
        if (index >= 0)
                return (uint64_t)index < len ? (uint64_t)index : len;
        return (uint64_t) - (index + 1) < len ? len + (uint64_t)index : 0;
}

objd_status list_out_of_range(const struct objd_object *object, int64_t index, uint64_t len);

/* list_check.c */
struct check;
void list_check(struct check *check, struct object_shm *object);

/* As kind.h has it (list_salvage.c). */
objd_status list_salvage(struct salvage *salvage);
