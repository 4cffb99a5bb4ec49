/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_leaf.c -- the leaves of a list: items and their values in one chunk
 *
 * Values and table slots in the gap of a leaf are filled without notes, and one noted store to the leaf's state makes
 * them part of it: an undone operation puts the state back, and what lies in the gap is nobody's again. That holds
 * only for what has been in the gap since before the operation began. In a batch an earlier step may have
 * put it there, so from the second step on the gap is noted too (list->gap_is_fresh).
 */

#include "object/list.h"

#include <string.h>

#include "mem/pool.h"

/* Notes that one step needs beside what it moves: states, counts, root words, a start in each node. */
#define SPARE_BYTES 256
#define SPARE_NOTES 24

/*
 * A chunk of this list that has at least so many bytes, with its head; NULL if there is none at this offset. One that the
 * operation has freed already is none any more, so a damaged tree in which two ways lead to it is noticed.
 */
static inline struct chunk_shm *chunk_at(const struct list *list, uint64_t off, uint64_t size)
{
        struct chunk_shm *chunk = arena_at(list->arena, off, size);
        enum chunk_list in;

        if (!chunk || word_get(&chunk->owner) != arena_off(list->arena, list->shm))
                return NULL;
        in = chunk_list_of(chunk);
        return in == CHUNK_OF_OBJECT || in == CHUNK_TAKEN ? chunk : NULL;
}

static inline objd_status load_leaf(const struct list *list, uint64_t off, struct list_leaf_shm **ret_leaf,
                                    struct leaf_shape *ret_shape)
{
        struct list_leaf_shm *leaf = (struct list_leaf_shm *)chunk_at(list, off, LEAF_WORDS_MIN * 8);

        if (!leaf || !leaf_parse(word_get(&leaf->state), ret_shape) ||
            !arena_has(list->arena, off, (uint64_t)ret_shape->size * 8))
                return list_corrupt(list, "a leaf");
        *ret_leaf = leaf;
        return OBJD_OK;
}

objd_status leaf_at(const struct list *list, uint64_t off, struct list_leaf_shm **ret_leaf,
                    struct leaf_shape *ret_shape)
{
        return load_leaf(list, off, ret_leaf, ret_shape);
}

objd_status node_at(const struct list *list, uint64_t off, uint32_t level, struct list_node_shm **ret_node,
                    uint32_t *ret_n)
{
        struct list_node_shm *node = (struct list_node_shm *)chunk_at(list, off, sizeof(*node));
        uint32_t n = node ? node_n(word_get(&node->state), level) : 0;

        if (!n)
                return list_corrupt(list, "a node");
        *ret_node = node;
        *ret_n = n;
        return OBJD_OK;
}

objd_status leaf_item(const struct list *list, const struct list_leaf_shm *leaf,
                      const struct leaf_shape *shape, uint32_t k, uint64_t *ret_item)
{
        uint64_t item = word_get(&leaf->table[leaf_slot(shape, k)]);

        if (!item_is_inside(item, shape))
                return list_corrupt(list, "an item");
        *ret_item = item;
        return OBJD_OK;
}

/* ---- New values -------------------------------------------------------------------------------------- */

static inline objd_status measure(struct new_item *item, const struct list *list, const objd_value *value)
{
        objd_status r = value_check_type(value, object_value_type(list->object->config), "value");

        if (r)
                return r;
        *item = (struct new_item){ .item = item_make(value->type, value_encoded_size(value)),
                                   .value = value };
        item->words = item_words(item->item);
        return OBJD_OK;
}

/* Gives a big value its chunk. From here on the item must get into the list, or the operation fail. */
static inline objd_status settle(struct new_item *item, const struct list *list)
{
        uint64_t size = round8(item_size(item->item));
        struct chunk_shm *chunk;
        objd_status r;

        if (!item_is_big(item->item))
                return OBJD_OK;
        r = txn_take(list->lane, list->shm, VALUE_CHUNK_DATA - CHUNK_HEAD + size, &chunk);
        if (r)
                return r;
        chunk_make_pinnable(chunk);
        value_encode_shared(item->value, (uint8_t *)chunk + VALUE_CHUNK_DATA);
        item->big = arena_off(list->arena, chunk);
        return OBJD_OK;
}

objd_status new_item_init(struct new_item *item, const struct list *list, const objd_value *value)
{
        objd_status r = measure(item, list, value);

        return r ? r : settle(item, list);
}

/* Into words that nobody can reach. */
static inline void store_value(const struct new_item *item, uint64_t *to)
{
        if (item->big)
                word_set(to, item->big);
        else if (item->words)
                value_encode_shared(item->value, to);
}

/* ---- Leaves that nobody can reach yet ---------------------------------------------------------------- */

objd_status leaf_new(const struct list *list, uint32_t words, struct list_leaf_shm **ret_leaf,
                     struct leaf_shape *ret_shape)
{
        uint64_t want = (uint64_t)(words + LEAF_TABLE) * 8, size;
        struct chunk_shm *chunk;
        objd_status r;

        if (want < LEAF_WORDS_MIN * 8)
                want = LEAF_WORDS_MIN * 8;
        r = txn_take(list->lane, list->shm, want - CHUNK_HEAD, &chunk);
        if (r)
                return r;
        size = (chunk_size(chunk) + CHUNK_HEAD) / 8;
        if (size < want / 8)
                return list_corrupt(list, "a new chunk");
        if (size > LEAF_WORDS_MAX)
                size = LEAF_WORDS_MAX;
        *ret_leaf = (struct list_leaf_shm *)chunk;
        *ret_shape = (struct leaf_shape){ .low = (uint32_t)size, .size = (uint32_t)size };
        return OBJD_OK;
}

/* Room for a value below the others. An empty one stands at the end, where no later change of `low` reaches it. */
static inline uint64_t place_value(struct leaf_shape *shape, uint64_t item)
{
        uint32_t words = item_words(item);

        shape->low -= words;
        shape->big |= item_is_big(item);
        return item_at(item, words ? shape->low : shape->size);
}

void leaf_put(struct list_leaf_shm *leaf, struct leaf_shape *shape, uint64_t item, const uint64_t *value)
{
        uint32_t words = item_words(item);

        item = place_value(shape, item);
        for (uint32_t i = 0; i < words; i++)
                word_set(leaf_words(leaf, shape->low + i), word_get(value + i));
        word_set(&leaf->table[shape->first + shape->n++], item);
}

void leaf_put_new(struct list_leaf_shm *leaf, struct leaf_shape *shape, const struct new_item *item)
{
        uint64_t placed = place_value(shape, item->item);

        store_value(item, leaf_words(leaf, shape->low));
        word_set(&leaf->table[shape->first + shape->n++], placed);
}

objd_status leaf_put_all(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                         const struct list_leaf_shm *from, const struct leaf_shape *from_shape)
{
        for (uint32_t k = 0; k < from_shape->n; k++) {
                uint64_t item;
                objd_status r = leaf_item(list, from, from_shape, k, &item);

                if (r)
                        return r;
                if (leaf_gap(shape) < item_words(item) + 1)
                        return list_corrupt(list, "the size of a leaf's values");
                leaf_put(leaf, shape, item, leaf_words_const(from, item_word(item)));
        }
        return OBJD_OK;
}

void leaf_seal(struct list_leaf_shm *leaf, const struct leaf_shape *shape)
{
        word_set(&leaf->state, leaf_state(shape));
}

/* ---- Changes in place -------------------------------------------------------------------------------- */

bool leaf_has_room(const struct leaf_shape *shape, uint32_t words)
{
        uint32_t gap = leaf_gap(shape);

        return gap > words || (gap == words && shape->first);
}

/* Before the gap is written: see the top of this file. */
static void note_gap(const struct list *list, const uint64_t *p, uint32_t words)
{
        if (!list->gap_is_fresh && words)
                txn_note(list->lane, p, (size_t)words * 8);
}

/*
 * Puts n table slots down, of which those before `top` are or were in use. The others are gap.
 */
static void write_slots(const struct list *list, struct list_leaf_shm *leaf, uint32_t from,
                        const uint64_t *slots, uint32_t n, uint32_t top)
{
        uint32_t n_used = from + n <= top ? n : from < top ? top - from : 0;

        if (!list->gap_is_fresh)
                n_used = n;
        if (n_used)
                txn_note(list->lane, &leaf->table[from], (size_t)n_used * 8);
        words_in(&leaf->table[from], slots, (size_t)n * 8);
}

/*
 * Opens the table at slot q for one more item, and puts it there: those behind it go up, or those before it
 * down if there is room. An insert before all others moves everybody up by more than one, so that the
 * next ones have nothing to move.
 */
static void insert_slot(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                        uint32_t q, uint64_t item)
{
        uint32_t gap = leaf_gap(shape), behind = shape->n - q, top = shape->first + shape->n,
                 first = shape->first;
        uint64_t slots[LEAF_WORDS_MAX];
        bool down = first && (!gap || q < behind);
        uint32_t n_moved = down ? q : behind, step = 1;

        for (uint32_t i = 0; i < n_moved; i++)
                slots[i + !down] = word_get(&leaf->table[first + (down ? i : q + i)]);
        slots[down ? n_moved : 0] = item;
        if (!down && q == 0 && behind > 8)
                step += gap / 2 < behind ? gap / 2 : behind;
        shape->first += down ? -1u : step - 1;
        shape->n++;
        if (down && !q)
                top = 0; /* what is before the first item is gap, too */
        write_slots(list, leaf, shape->first + (down ? 0 : q), slots, n_moved + 1, top);
}

objd_status leaf_insert(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                        uint32_t k, const struct new_item *item)
{
        uint32_t q = shape->reversed ? shape->n - k : k;
        uint64_t placed;
        size_t words = shape->n + 2 + (list->gap_is_fresh ? 0 : item->words);
        objd_status r = txn_reserve(list->lane, words * 8 + SPARE_BYTES, SPARE_NOTES);

        if (r)
                return r;
        placed = place_value(shape, item->item);
        note_gap(list, leaf_words(leaf, shape->low), item->words);
        store_value(item, leaf_words(leaf, shape->low));
        insert_slot(list, leaf, shape, q, placed);
        txn_set(list->lane, &leaf->state, leaf_state(shape));
        return OBJD_OK;
}

/* Puts an item behind all others, where it is not yet reachable. */
static inline void fill_gap(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                            const struct new_item *item)
{
        note_gap(list, leaf_words(leaf, shape->low - item->words), item->words);
        note_gap(list, &leaf->table[shape->first + shape->n], 1);
        leaf_put_new(leaf, shape, item);
}

static inline objd_status reserve_gap(const struct list *list, uint32_t words)
{
        return txn_reserve(list->lane, (list->gap_is_fresh ? 0 : words * 8) + SPARE_BYTES, SPARE_NOTES);
}

/* In one function, for this is what most calls on most lists do. */
objd_status leaf_append(struct list *list, const objd_value *value, bool *ret_done)
{
        uint64_t last = word_get(&list->root[LIST_LAST]);
        struct list_leaf_shm *leaf = NULL;
        struct leaf_shape shape;
        struct new_item item;
        objd_status r;

        *ret_done = false;
        if (!last)
                return OBJD_OK;
        r = measure(&item, list, value);
        if (r == OBJD_OK)
                r = load_leaf(list, last, &leaf, &shape);
        if (r || shape.reversed || leaf_gap(&shape) <= item.words)
                return r;
        r = settle(&item, list);
        if (r == OBJD_OK)
                r = reserve_gap(list, item.words);
        if (r)
                return r;
        fill_gap(list, leaf, &shape, &item);
        txn_set(list->lane, &leaf->state, leaf_state(&shape));
        txn_set(list->lane, &list->root[LIST_LEN], word_get(&list->root[LIST_LEN]) + 1);
        *ret_done = true;
        return OBJD_OK;
}

objd_status leaf_append_run(struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                            const objd_value *values, size_t n, size_t *ret_done)
{
        size_t done = 0;
        objd_status r = reserve_gap(list, 0);

        for (; r == OBJD_OK && done < n && !shape->reversed; done++) {
                struct new_item item;

                r = measure(&item, list, &values[done]);
                if (r || leaf_gap(shape) <= item.words)
                        break;
                r = settle(&item, list);
                if (r == OBJD_OK && !list->gap_is_fresh)
                        r = reserve_gap(list, item.words);
                if (r)
                        break;
                fill_gap(list, leaf, shape, &item);
        }
        if (r)
                return r;
        if (done)
                txn_set(list->lane, &leaf->state, leaf_state(shape));
        *ret_done = done;
        return OBJD_OK;
}

objd_status leaf_free_big(const struct list *list, const struct list_leaf_shm *leaf,
                          const struct leaf_shape *shape, uint32_t k, uint32_t n)
{
        if (!shape->big)
                return OBJD_OK;
        for (; n; n--, k++) {
                struct chunk_shm *chunk;
                uint64_t item;
                objd_status r = leaf_item(list, leaf, shape, k, &item);

                if (r)
                        return r;
                if (!item_is_big(item))
                        continue;
                chunk = chunk_at(list, word_get(leaf_words_const(leaf, item_word(item))), VALUE_CHUNK_DATA);
                r = chunk ? txn_free(list->lane, chunk) : list_corrupt(list, "the place of a big value");
                if (r)
                        return r;
        }
        return OBJD_OK;
}

/* Closes the table over m slots from q on, moving whichever side is shorter. */
static void remove_slots(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                         uint32_t q, uint32_t m)
{
        uint32_t behind = shape->n - q - m, n = q < behind ? q : behind;
        uint32_t from = shape->first + (q < behind ? 0 : q + m), to = from + (q < behind ? m : -m);
        uint64_t moved[LEAF_WORDS_MAX];

        for (uint32_t i = 0; i < n; i++)
                moved[i] = word_get(&leaf->table[from + i]);
        if (n)
                txn_write(list->lane, &leaf->table[to], moved, (size_t)n * 8);
        if (q < behind)
                shape->first += m;
        shape->n -= m;
}

objd_status leaf_remove(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                        uint32_t k, uint32_t n)
{
        uint32_t q = shape->reversed ? shape->n - k - n : k;
        objd_status r = leaf_free_big(list, leaf, shape, k, n);

        if (r == OBJD_OK)
                r = txn_reserve(list->lane, (size_t)shape->n * 8 + SPARE_BYTES, SPARE_NOTES);
        for (uint32_t i = 0; r == OBJD_OK && i < n; i++) {
                uint64_t item;

                r = leaf_item(list, leaf, shape, k + i, &item);
                if (r)
                        break;
                if (n == 1 && item_word(item) == shape->low)
                        shape->low += item_words(
                                item); /* it came last: pushing and popping leaves nothing behind */
                else
                        shape->dead += item_words(item);
        }
        if (r)
                return r;
        if (shape->dead > shape->size - shape->low)
                return list_corrupt(list, "the values of a leaf");
        remove_slots(list, leaf, shape, q, n);
        if (!shape->n)
                *shape = (struct leaf_shape){ .low = shape->size, .size = shape->size };
        txn_set(list->lane, &leaf->state, leaf_state(shape));
        return OBJD_OK;
}

/* The new value over the old one, which takes as many words or more. */
static void overwrite(const struct list *list, struct list_leaf_shm *leaf, const struct new_item *item,
                      uint32_t word)
{
        uint64_t bytes[LIST_INLINE_WORDS + 1];

        if (item->big)
                bytes[0] = item->big;
        else
                value_encode(item->value, bytes);
        txn_write(list->lane, leaf_words(leaf, word), bytes, (size_t)item->words * 8);
}

objd_status leaf_replace(const struct list *list, struct list_leaf_shm *leaf, struct leaf_shape *shape,
                         uint32_t k, const struct new_item *item, bool *ret_done)
{
        uint64_t old, placed, *slot = &leaf->table[leaf_slot(shape, k)];
        struct leaf_shape before = *shape;
        objd_status r = leaf_item(list, leaf, shape, k, &old);

        if (r == OBJD_OK)
                r = txn_reserve(list->lane, LIST_INLINE_MAX + SPARE_BYTES, SPARE_NOTES);
        if (r)
                return r;
        if (item->words > item_words(old) && leaf_gap(shape) < item->words) {
                *ret_done = false;
                return OBJD_OK;
        }
        r = leaf_free_big(list, leaf, shape, k, 1);
        if (r)
                return r;
        if (item->words > item_words(old)) {
                placed = place_value(shape, item->item);
                note_gap(list, leaf_words(leaf, shape->low), item->words);
                store_value(item, leaf_words(leaf, shape->low));
                shape->dead += item_words(old);
        } else {
                placed = item_at(item->item, item->words ? item_word(old) : shape->size);
                if (item->words)
                        overwrite(list, leaf, item, item_word(old));
                shape->big |= item_is_big(placed);
                shape->dead += item_words(old) - item->words;
        }
        if (placed != old)
                txn_set(list->lane, slot, placed);
        if (leaf_state(shape) != leaf_state(&before))
                txn_set(list->lane, &leaf->state, leaf_state(shape));
        *ret_done = true;
        return OBJD_OK;
}
