/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_table.c -- rows of entries in pages, and the heap or stack of items that is one of them
 *
 * A table grows and shrinks by a page at its end, so that no put and no get ever copies more than the directory (8
 * bytes for every 8 KiB of entries) or a first page that was smaller. A page is only given back when a second one is
 * empty too, so that a table that grows and shrinks by one entry does not take and give pages all the time.
 *
 * Entries behind n may have been in use when the operation began, so everything is written through the log.
 */

#include "object/queue.h"

#include "mem/pool.h"

/* The first page and the first directory are chunks of the smallest size. */
#define SMALL_BYTES 224u

/* Four children: half as many levels as with two, and they lie in two cache lines. */
#define HEAP_WAYS 4u
#define HEAP_LEVELS 24u

static struct chunk_shm *chunk_at(const struct queue *queue, uint64_t off)
{
        return arena_at(queue->arena, off, CHUNK_HEAD);
}

static uint64_t *dir_entry(const struct queue *queue, const struct queue_table_shm *table, uint64_t page)
{
        return arena_at(queue->arena, word_get(&table->dir) + CHUNK_HEAD + page * 8, 8);
}

/* Moves the directory to a chunk with room for n pages. */
static objd_status move_dir(struct queue *queue, struct queue_table_shm *table, uint64_t n)
{
        struct chunk_shm *old = word_get(&table->dir) ? chunk_at(queue, word_get(&table->dir)) : NULL;
        uint64_t n_pages = word_get(&table->pages);
        struct chunk_shm *chunk;
        objd_status r;

        if ((n_pages && (!old || chunk_size(old) / 8 < n_pages)) || n < n_pages)
                return queue_corrupt(queue, "the directory of a table");
        r = txn_take(queue->lane, queue->object, n * 8, &chunk);
        if (r)
                return r;
        if (n_pages)
                words_across(chunk_data(chunk), chunk_data(old), n_pages * 8);
        txn_set(queue->lane, &table->dir, arena_off(queue->arena, chunk));
        return old ? txn_free(queue->lane, old) : OBJD_OK;
}

static objd_status add_page(struct queue *queue, struct queue_table_shm *table, uint64_t page)
{
        const struct chunk_shm *dir = word_get(&table->dir) ? chunk_at(queue, word_get(&table->dir)) : NULL;
        uint64_t room = dir ? chunk_size(dir) / 8 : 0;
        struct chunk_shm *chunk;
        uint64_t *entry;
        objd_status r;

        if (page >= room) {
                r = move_dir(queue, table, room ? 2 * room : SMALL_BYTES / 8);
                if (r)
                        return r;
        }
        r = txn_take(queue->lane, queue->object, page ? QUEUE_PAGE : SMALL_BYTES, &chunk);
        if (r)
                return r;
        entry = dir_entry(queue, table, page);
        if (!entry)
                return queue_corrupt(queue, "the directory of a table");
        txn_set(queue->lane, entry, arena_off(queue->arena, chunk));
        txn_set(queue->lane, &table->pages, page + 1);
        return OBJD_OK;
}

/* The first page is too small for entry n: a copy of full size takes its place. */
static objd_status widen_first(struct queue *queue, struct queue_table_shm *table, struct chunk_shm *old,
                               uint64_t size)
{
        struct chunk_shm *chunk;
        objd_status r = txn_take(queue->lane, queue->object, QUEUE_PAGE, &chunk);

        if (r)
                return r;
        words_across(chunk_data(chunk), chunk_data(old), chunk_size(old) / size * size);
        txn_set(queue->lane, dir_entry(queue, table, 0), arena_off(queue->arena, chunk));
        return txn_free(queue->lane, old);
}

objd_status table_reserve(struct queue *queue, struct queue_table_shm *table, uint64_t size)
{
        uint64_t n = word_get(&table->n), per_page = QUEUE_PAGE / size, page = n / per_page;
        struct chunk_shm *first;
        const uint64_t *entry;

        if (page > word_get(&table->pages))
                return queue_corrupt(queue, "a table's number of pages");
        if (page == word_get(&table->pages))
                return add_page(queue, table, page);
        if (page)
                return OBJD_OK;
        entry = dir_entry(queue, table, 0);
        first = entry ? chunk_at(queue, word_get(entry)) : NULL;
        if (!first || !chunk_size(first))
                return queue_corrupt(queue, "a table's first page");
        return n < chunk_size(first) / size ? OBJD_OK : widen_first(queue, table, first, size);
}

objd_status table_trim(struct queue *queue, struct queue_table_shm *table, uint64_t size)
{
        uint64_t per_page = QUEUE_PAGE / size, n_pages = word_get(&table->pages);
        uint64_t needed = (word_get(&table->n) + per_page - 1) / per_page;
        const struct chunk_shm *dir;
        struct chunk_shm *last;
        const uint64_t *entry;
        objd_status r;

        if (n_pages < needed + 2)
                return OBJD_OK;
        entry = dir_entry(queue, table, n_pages - 1);
        last = entry ? chunk_at(queue, word_get(entry)) : NULL;
        dir = chunk_at(queue, word_get(&table->dir));
        if (!last || !dir)
                return queue_corrupt(queue, "a table's last page");
        txn_set(queue->lane, &table->pages, n_pages - 1);
        r = txn_free(queue->lane, last);
        if (r || chunk_size(dir) <= SMALL_BYTES || chunk_size(dir) / 8 / 4 < n_pages)
                return r;
        return move_dir(queue, table, chunk_size(dir) / 8 / 2);
}

/* ---- The heap and the stack ---------------------------------------------------------------------------- */

static struct queue_item_shm *item_at(const struct queue *queue, uint64_t i)
{
        return table_at(queue->arena, &queue->shm->items, i, sizeof(struct queue_item_shm));
}

static objd_status item_get(const struct queue *queue, uint64_t i, struct queue_item_shm *ret_item)
{
        const struct queue_item_shm *item = item_at(queue, i);

        if (!item)
                return queue_corrupt(queue, "the table of items");
        words_out(ret_item, item, sizeof(*item));
        return OBJD_OK;
}

static objd_status item_set(struct queue *queue, uint64_t i, const struct queue_item_shm *item)
{
        struct queue_item_shm *to = item_at(queue, i);

        if (!to)
                return queue_corrupt(queue, "the table of items");
        txn_write(queue->lane, to, item, sizeof(*item));
        return OBJD_OK;
}

/* Writes item to place i, or as far up as it belongs; what it passes moves down. */
static objd_status sift_up(struct queue *queue, uint64_t i, const struct queue_item_shm *item)
{
        struct queue_item_shm above;
        objd_status r;

        for (; i; i = (i - 1) / HEAP_WAYS) {
                r = item_get(queue, (i - 1) / HEAP_WAYS, &above);
                if (r)
                        return r;
                if (!item_is_before(item, &above))
                        break;
                r = item_set(queue, i, &above);
                if (r)
                        return r;
        }
        return item_set(queue, i, item);
}

/* The one of i's children that comes out first, if it does so before *item; else i itself. */
static objd_status first_below(const struct queue *queue, uint64_t i, uint64_t n,
                               const struct queue_item_shm *item, struct queue_item_shm *ret_first,
                               uint64_t *ret_place)
{
        struct queue_item_shm first = *item, child;
        uint64_t place = i;

        for (uint64_t c = HEAP_WAYS * i + 1; c <= HEAP_WAYS * i + HEAP_WAYS && c < n; c++) {
                objd_status r = item_get(queue, c, &child);

                if (r)
                        return r;
                if (item_is_before(&child, &first)) {
                        first = child;
                        place = c;
                }
        }
        *ret_first = first;
        *ret_place = place;
        return OBJD_OK;
}

/* Writes item to the top of a heap of n, or as far down as it belongs. */
static objd_status sift_down(struct queue *queue, uint64_t n, const struct queue_item_shm *item)
{
        struct queue_item_shm first;
        uint64_t i = 0, place;

        for (;;) {
                objd_status r = first_below(queue, i, n, item, &first, &place);

                if (r || place == i)
                        return r ? r : item_set(queue, i, item);
                r = item_set(queue, i, &first);
                if (r)
                        return r;
                i = place;
        }
}

objd_status queue_reserve(struct queue *queue)
{
        /* Each level of the heap, a cell of the largest size, and some words of books. */
        return txn_reserve(queue->lane, HEAP_LEVELS * sizeof(struct queue_item_shm) + QUEUE_CELL_MAX + 256,
                           HEAP_LEVELS + 32);
}

objd_status items_push(struct queue *queue, const struct queue_item_shm *item)
{
        struct queue_table_shm *items = &queue->shm->items;
        uint64_t n = word_get(&items->n);
        objd_status r = table_reserve(queue, items, sizeof(*item));

        if (r)
                return r;
        txn_set(queue->lane, &items->n, n + 1);
        return queue->order == OBJD_LIFO ? item_set(queue, n, item) : sift_up(queue, n, item);
}

/* The heap's top goes; its last item takes that place and sinks from there. */
objd_status items_pop(struct queue *queue, struct queue_item_shm *ret_item)
{
        struct queue_table_shm *items = &queue->shm->items;
        uint64_t n = word_get(&items->n) - 1;
        struct queue_item_shm last, top;
        objd_status r = item_get(queue, n, &last);

        if (r)
                return r;
        top = last;
        if (queue->order != OBJD_LIFO && n) {
                r = item_get(queue, 0, &top);
                if (r == OBJD_OK)
                        r = sift_down(queue, n, &last);
                if (r)
                        return r;
        }
        txn_set(queue->lane, &items->n, n);
        *ret_item = top;
        return table_trim(queue, items, sizeof(top));
}
