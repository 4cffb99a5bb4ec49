/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_read.c -- reads of a list without its lock
 *
 * What is loaded may be torn: a leaf may be freed and used for something else under the reader's eyes. So before
 * an offset is followed the version is looked at again, and a leaf's shape is believed only after it. Inside
 * the leaf everything is bounded by that shape. What passes all this and still makes no sense is damage; an attempt
 * says OBJD_E_CORRUPT in both cases, and only if the version stands is it told to the caller, with a sentence.
 *
 * Reads of many items try without the lock once or twice, and then freeze it: writers wait for them, readers do not.
 */

#include "object/list.h"

#include <stdlib.h>
#include <string.h>

#include "base/sys.h"
#include "object/plain.h"

/* A read of more items than this is not tried again and again under writers' hands. */
#define LONG_READ 256
#define LONG_READ_TRIES 2

/* What a get is made of is compiled as one function: calls and what they keep in memory cost as much as the rest. */
#define HOT inline __attribute__((always_inline))

/* How much a walk takes out of the list at once. */
#define WALK_ITEMS 128
#define WALK_BYTES (256u << 10)

/* Where a value's bytes are: in the leaf, or in a chunk of its own. */
struct list_place {
        uint64_t chunk; /* chunk_off of a big value, else 0 */
        const uint64_t *bytes;
        objd_type type;
        uint64_t size;
};

/* A leaf, and the index of its first item. */
struct spot {
        const struct list_leaf_shm *leaf;
        struct leaf_shape shape;
        uint64_t start;
};

static objd_status damaged(const struct objd_object *object)
{
        return fail(OBJD_E_CORRUPT, "list %s is damaged", object_label(object));
}

static uint64_t load_len(const struct read *read)
{
        return word_get(&read->line->root[LIST_LEN]);
}

/* Makes the leaf at `off` believed, or not. */
static HOT objd_status load_leaf(const struct read *read, uint64_t off, struct spot *spot)
{
        const struct list_leaf_shm *leaf = arena_at(read->arena, off, LEAF_WORDS_MIN * 8);

        if (!leaf || !leaf_parse(word_get(&leaf->state), &spot->shape) || !read_holds(read) ||
            !arena_has(read->arena, off, (uint64_t)spot->shape.size * 8))
                return OBJD_E_CORRUPT;
        spot->leaf = leaf;
        return OBJD_OK;
}

/* The leaf that has item `index` of `len`. */
static HOT objd_status find_leaf(const struct read *read, uint64_t len, uint64_t index, struct spot *spot)
{
        uint64_t off = word_get(&read->line->root[LIST_TREE]),
                 level = word_get(&read->line->root[LIST_HEIGHT]);
        uint64_t count = len, rest = index;
        objd_status r;

        if (level > LIST_HEIGHT_MAX)
                return OBJD_E_CORRUPT;
        for (; level; level--) {
                const struct list_node_shm *node =
                        read_holds(read) ? arena_at(read->arena, off, sizeof(*node)) : NULL;
                uint32_t n = node ? node_n(word_get(&node->state), (uint32_t)level) : 0, at;
                uint64_t zero, from, to;

                if (!n)
                        return OBJD_E_CORRUPT;
                at = node_search(node, n, rest);
                zero = word_get(&node->entry[0].start);
                from = word_get(&node->entry[at].start) - zero;
                to = at + 1 < n ? word_get(&node->entry[at + 1].start) - zero : count;
                if (rest < from || rest >= to || to > count)
                        return OBJD_E_CORRUPT;
                rest -= from;
                count = to - from;
                off = word_get(&node->entry[at].child);
        }
        if (!read_holds(read))
                return OBJD_E_CORRUPT;
        r = load_leaf(read, off, spot);
        spot->start = index - rest;
        return r == OBJD_OK && spot->shape.n != count ? OBJD_E_CORRUPT : r;
}

/* Where the leaf's k-th item has its bytes. They lie in the leaf, or in a chunk that is the value's as of this version. */
static HOT objd_status find_item(const struct read *read, const struct spot *spot, uint32_t k,
                                 struct list_place *ret_place)
{
        uint64_t item = word_get(&spot->leaf->table[leaf_slot(&spot->shape, k)]), chunk;
        const uint64_t *words;

        if (!item_is_inside(item, &spot->shape))
                return OBJD_E_CORRUPT;
        words = leaf_words_const(spot->leaf, item_word(item));
        *ret_place = (struct list_place){ .bytes = words, .type = item_type(item), .size = item_size(item) };
        if (!item_is_big(item))
                return OBJD_OK;
        chunk = word_get(words);
        if (!read_holds(read))
                return OBJD_E_CORRUPT;
        words = arena_at(read->arena, chunk, VALUE_CHUNK_DATA + round8(item_size(item)));
        if (!words)
                return OBJD_E_CORRUPT;
        ret_place->chunk = chunk;
        ret_place->bytes = words + VALUE_CHUNK_DATA / 8;
        return OBJD_OK;
}

static HOT objd_status find_index(const struct read *read, uint64_t len, uint64_t index,
                                  struct list_place *ret_place)
{
        struct spot spot;
        objd_status r = find_leaf(read, len, index, &spot);

        return r ? r : find_item(read, &spot, (uint32_t)(index - spot.start), ret_place);
}

/* ---- One item ---------------------------------------------------------------------------------------- */

/* A copy on its way out. Scalars need no buffer. */
struct copy {
        int64_t index;
        objd_buf *buf;
        uint64_t len;
        objd_type type;
        uint64_t size;
        uint64_t scalar[2];
};

static inline bool is_scalar(objd_type type)
{
        return type <= OBJD_FLOAT || type == OBJD_REF;
}

static HOT objd_status copy_out(const struct arena *arena, const struct list_place *place, struct copy *copy)
{
        copy->type = place->type;
        copy->size = place->size;
        if (is_scalar(place->type)) {
                if (place->size > sizeof(copy->scalar))
                        return OBJD_E_CORRUPT;
                words_out(copy->scalar, place->bytes, place->size);
                return OBJD_OK;
        }
        if (__builtin_expect(copy->buf->size <= place->size, 0)) {
                objd_status r = buf_grow(copy->buf, place->size);

                if (r)
                        return r;
        }
        if (__builtin_expect(!place->chunk && plain_may_copy(arena, place->bytes, place->size, copy->buf), 1))
                plain_copy_out(copy->buf->data, place->bytes, place->size);
        else
                words_out(copy->buf->data, place->bytes, place->size);
        return OBJD_OK;
}

static inline objd_status copy_decode(const struct copy *copy, objd_value *ret_value)
{
        const void *bytes = is_scalar(copy->type) ? (const void *)copy->scalar : copy->buf->data;

        return plain_decode(copy->type, bytes, copy->size, ret_value);
}

static objd_status try_get(struct read *read, void *context)
{
        struct copy *copy = context;
        struct list_place place;
        uint64_t index;
        objd_status r;

        copy->len = load_len(read);
        r = list_resolve(copy->index, copy->len, &index);
        if (r)
                return r;
        r = find_index(read, copy->len, index, &place);
        return r ? r : copy_out(read->arena, &place, copy);
}

objd_status list_get(struct objd_object *object, int64_t index, objd_value *ret_value, objd_buf *buf)
{
        struct copy copy = { .index = index, .buf = buf };
        objd_status r = read_object(object, OP_LIST_GET, LOCK_READ_RETRIES, try_get, &copy);

        if (__builtin_expect(r == OBJD_OK, 1))
                return copy_decode(&copy, ret_value);
        if (r == OBJD_E_RANGE)
                return list_out_of_range(object, index, copy.len);
        return r == OBJD_E_CORRUPT ? damaged(object) : r;
}

/* ---- Pins --------------------------------------------------------------------------------------------- */

struct pin {
        struct copy copy;
        uint64_t *place;   /* the lane's word for it */
        const void *bytes; /* of a big value */
};

/*
 * The pin is written before the version is looked at again, with a full fence between; whoever frees the chunk has taken
 * the lock, and passed a full fence, before it looks for pins: one of the two sees the other.
 */
static objd_status try_pin(struct read *read, void *context)
{
        struct pin *pin = context;
        struct list_place place;
        uint64_t index;
        objd_status r;

        word_set_release(pin->place, 0);
        pin->bytes = NULL;
        pin->copy.len = load_len(read);
        r = list_resolve(pin->copy.index, pin->copy.len, &index);
        if (r == OBJD_OK)
                r = find_index(read, pin->copy.len, index, &place);
        if (r)
                return r;
        if (!place.chunk)
                return copy_out(read->arena, &place, &pin->copy);
        pin->copy.type = place.type;
        pin->copy.size = place.size;
        pin->bytes = place.bytes;
        word_set_release(pin->place, place.chunk);
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return OBJD_OK;
}

objd_status list_pin(struct objd_object *object, int64_t index, struct lane_shm *lane, uint32_t place,
                     objd_value *ret_value, objd_buf *buf)
{
        struct pin pin = { .copy = { .index = index, .buf = buf }, .place = &lane->pins[place] };
        objd_status r = read_object(object, OP_LIST_GET, LOCK_READ_RETRIES, try_pin, &pin);

        if (r == OBJD_E_RANGE)
                return list_out_of_range(object, index, pin.copy.len);
        if (r)
                return r == OBJD_E_CORRUPT ? damaged(object) : r;
        if (pin.bytes)
                return value_decode(pin.copy.type, pin.bytes, pin.copy.size, ret_value);
        return copy_decode(&pin.copy, ret_value);
}

/* ---- Length ------------------------------------------------------------------------------------------- */

static objd_status try_len(struct read *read, void *context)
{
        *(uint64_t *)context = load_len(read);
        return OBJD_OK;
}

objd_status list_len(struct objd_object *object, uint64_t *ret_len)
{
        uint64_t len = 0;
        objd_status r = read_object(object, OP_LIST_GET, LOCK_READ_RETRIES, try_len, &len);

        if (r == OBJD_OK)
                *ret_len = len;
        return r;
}

/* ---- Under the lock ---------------------------------------------------------------------------------- */

/* The same reads by whoever holds the lock: its version stands still meanwhile. */
static struct read locked_read(const struct list *list)
{
        struct line_shm *line = &list->shm->line;

        return (struct read){ .lane = list->lane,
                              .arena = list->arena,
                              .object = list->object,
                              .line = line,
                              .version = lock_read_begin(line) };
}

objd_status list_locked_get(const struct list *list, uint64_t index, objd_value *ret_value, objd_buf *buf)
{
        struct read read = locked_read(list);
        struct copy copy = { .buf = buf };
        struct list_place place;
        objd_status r = find_index(&read, load_len(&read), index, &place);

        if (r == OBJD_OK)
                r = copy_out(read.arena, &place, &copy);
        if (r == OBJD_E_CORRUPT)
                return damaged(list->object);
        return r ? r : copy_decode(&copy, ret_value);
}

/* ---- Slices ------------------------------------------------------------------------------------------ */

struct slice {
        int64_t start, stop;
        uint64_t max_bytes; /* stop early when there are so many */
        struct items_builder builder;
};

static objd_status slice_leaf(const struct read *read, const struct spot *spot, uint64_t from, uint64_t to,
                              struct slice *slice)
{
        for (; from < to && slice->builder.used < slice->max_bytes; from++) {
                struct list_place place;
                objd_status r = find_item(read, spot, (uint32_t)(from - spot->start), &place);

                if (r == OBJD_OK)
                        r = items_add(&slice->builder, OBJD_ANY, NULL, 0, place.type, place.bytes,
                                      place.size);
                if (r)
                        return r;
        }
        return OBJD_OK;
}

static objd_status try_slice(struct read *read, void *context)
{
        struct slice *slice = context;
        uint64_t len = load_len(read), index = list_clip(slice->start, len),
                 stop = list_clip(slice->stop, len);

        items_cut(&slice->builder, 0);
        if (index < stop && stop - index > LONG_READ)
                read->max_tries = LONG_READ_TRIES;
        while (index < stop && slice->builder.used < slice->max_bytes) {
                struct spot spot;
                uint64_t end;
                objd_status r = find_leaf(read, len, index, &spot);

                if (r)
                        return r;
                end = spot.start + spot.shape.n;
                r = slice_leaf(read, &spot, index, end < stop ? end : stop, slice);
                if (r)
                        return r;
                index = end;
        }
        return OBJD_OK;
}

static objd_status read_slice(struct objd_object *object, struct slice *slice, objd_items **ret_items)
{
        objd_status r = read_object(object, OP_LIST_GET, LOCK_READ_RETRIES, try_slice, slice);

        if (r == OBJD_E_CORRUPT)
                r = damaged(object);
        if (r == OBJD_OK)
                r = items_finish(&slice->builder, ret_items);
        items_discard(&slice->builder);
        return r;
}

objd_status list_slice(struct objd_object *object, int64_t start, int64_t stop, objd_items **ret_items)
{
        struct slice slice = { .start = start, .stop = stop, .max_bytes = UINT64_MAX };

        return read_slice(object, &slice, ret_items);
}

/* In pieces, and without the list's lock or epoch while fn runs, since nobody knows how long that takes. */
objd_status list_walk(struct objd_object *object, uint64_t limit, walk_fn fn, void *context)
{
        objd_status r = OBJD_OK;

        for (uint64_t index = 0; index < limit && r == OBJD_OK;) {
                uint64_t n = limit - index < WALK_ITEMS ? limit - index : WALK_ITEMS;
                struct slice slice = { .start = (int64_t)index,
                                       .stop = (int64_t)(index + n),
                                       .max_bytes = WALK_BYTES };
                objd_items *items;

                r = read_slice(object, &slice, &items);
                if (r)
                        return r;
                if (!items->len)
                        index = limit;
                for (size_t i = 0; i < items->len && r == OBJD_OK; i++, index++)
                        r = fn(context, NULL, &items->item[i].value);
                objd_items_free(items);
        }
        return r;
}

/* ---- Frozen ------------------------------------------------------------------------------------------- */

static objd_status visit_leaf(const struct read *read, const struct spot *spot, visit_fn fn, void *context)
{
        objd_status r = OBJD_OK;

        for (uint32_t k = 0; k < spot->shape.n && r == OBJD_OK; k++) {
                struct list_place place;

                if (find_item(read, spot, k, &place))
                        return damaged(read->object);
                r = fn(context,
                       &(struct visit){ .type = place.type, .bytes = place.bytes, .size = place.size });
        }
        return r;
}

objd_status list_visit(struct lane *lane, struct objd_object *object, visit_fn fn, void *context)
{
        struct line_shm *line = &object->shm->line;
        struct read read = { .lane = lane,
                             .arena = lane->arena,
                             .object = object,
                             .line = line,
                             .version = lock_read_begin(line) };
        uint64_t len = load_len(&read);
        objd_status r = OBJD_OK;

        /* A damaged tree may lead in circles; there are never more items than words. */
        if (len > arena_limit(lane->arena) / 8)
                return damaged(object);
        for (uint64_t index = 0; index < len && r == OBJD_OK;) {
                struct spot spot;

                if (find_leaf(&read, len, index, &spot) || spot.start != index)
                        return damaged(object);
                index += spot.shape.n;
                r = visit_leaf(&read, &spot, fn, context);
        }
        return r;
}

/* ---- Looking for a value ----------------------------------------------------------------------------- */

/* Equal values have equal types and bytes, so the value is encoded once and compared as words. */
struct needle {
        uint64_t item;
        uint64_t *words;
        uint64_t small[32];
};

struct search {
        const struct needle *needle;
        int64_t start, stop;
        bool all; /* count them all, and do not stop at the first */
        bool found;
        uint64_t index; /* of the first */
        uint64_t n;
};

static objd_status needle_init(struct needle *needle, const objd_value *value)
{
        uint64_t size = value_encoded_size(value);

        needle->item = item_make(value->type, size);
        needle->words = needle->small;
        if (round8(size) > sizeof(needle->small))
                needle->words = sys.alloc(round8(size));
        if (!needle->words)
                return fail(OBJD_E_NOMEM, "no memory for a copy of the value to look for");
        value_encode(value, needle->words);
        return OBJD_OK;
}

static void needle_deinit(struct needle *needle)
{
        if (needle->words != needle->small)
                free(needle->words);
}

static bool equals(const struct needle *needle, const struct list_place *place)
{
        const uint64_t *words = place->bytes;

        for (uint64_t i = 0; i < round8(item_size(needle->item)) / 8; i++)
                if (word_get(words + i) != needle->words[i])
                        return false;
        return true;
}

static objd_status search_leaf(const struct read *read, const struct spot *spot, uint64_t from, uint64_t to,
                               struct search *search)
{
        for (; from < to; from++) {
                uint32_t k = (uint32_t)(from - spot->start);
                struct list_place place;
                objd_status r;

                if (!item_is_like(word_get(&spot->leaf->table[leaf_slot(&spot->shape, k)]),
                                  search->needle->item))
                        continue;
                r = find_item(read, spot, k, &place);
                if (r)
                        return r;
                /* The table may have changed since it was found to be alike: the sizes must still be the same. */
                if (place.size != item_size(search->needle->item) || !equals(search->needle, &place))
                        continue;
                if (!search->found)
                        search->index = from;
                search->found = true;
                search->n++;
                if (!search->all)
                        return OBJD_OK;
        }
        return OBJD_OK;
}

static objd_status try_search(struct read *read, void *context)
{
        struct search *search = context;
        uint64_t len = load_len(read), index = list_clip(search->start, len),
                 stop = list_clip(search->stop, len);

        search->found = false;
        search->n = 0;
        if (index < stop && stop - index > LONG_READ)
                read->max_tries = LONG_READ_TRIES;
        while (index < stop && (search->all || !search->found)) {
                struct spot spot;
                uint64_t end;
                objd_status r = find_leaf(read, len, index, &spot);

                if (r)
                        return r;
                end = spot.start + spot.shape.n;
                r = search_leaf(read, &spot, index, end < stop ? end : stop, search);
                if (r)
                        return r;
                index = end;
        }
        return OBJD_OK;
}

static objd_status search_object(struct objd_object *object, const objd_value *value, struct search *search)
{
        struct needle needle;
        objd_status r = needle_init(&needle, value);

        if (r)
                return r;
        search->needle = &needle;
        r = read_object(object, OP_LIST_GET, LOCK_READ_RETRIES, try_search, search);
        needle_deinit(&needle);
        return r == OBJD_E_CORRUPT ? damaged(object) : r;
}

static objd_status not_found(const struct objd_object *object)
{
        return fail(OBJD_E_NOTFOUND, "list %s: there is no such item", object_label(object));
}

objd_status list_index(struct objd_object *object, const objd_value *value, int64_t start, int64_t stop,
                       uint64_t *ret_index)
{
        struct search search = { .start = start, .stop = stop };
        objd_status r = search_object(object, value, &search);

        if (r)
                return r;
        if (!search.found)
                return not_found(object);
        *ret_index = search.index;
        return OBJD_OK;
}

objd_status list_count(struct objd_object *object, const objd_value *value, uint64_t *ret_count)
{
        struct search search = { .stop = OBJD_LIST_END, .all = true };
        objd_status r = search_object(object, value, &search);

        if (r == OBJD_OK)
                *ret_count = search.n;
        return r;
}

objd_status list_locked_index(const struct list *list, const objd_value *value, uint64_t *ret_index)
{
        struct search search = { .stop = OBJD_LIST_END };
        struct read read = locked_read(list);
        struct needle needle;
        objd_status r = needle_init(&needle, value);

        if (r)
                return r;
        search.needle = &needle;
        r = try_search(&read, &search);
        needle_deinit(&needle);
        if (r)
                return r == OBJD_E_CORRUPT ? damaged(list->object) : r;
        if (!search.found)
                return not_found(list->object);
        *ret_index = search.index;
        return OBJD_OK;
}
