/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_cells.c -- where the bytes of items are that are not in a chain
 *
 * Up to 8 bytes stand in the item itself. Up to QUEUE_CELL_MAX bytes they are in a cell, one of many of the same size in a
 * page; pages with room are in a list for each size. Everything longer has a chunk of its own.
 *
 * A cell that was freed may have been freed by this very operation, which may yet be undone, so that its bytes
 * still count: they are noted before they are overwritten.
 */

#include "object/queue.h"

#include "mem/pool.h"
#include "object/value.h"

#define CELL_SHIFT 48
#define PAGE_MASK ((1ULL << CELL_SHIFT) - 1)

const uint32_t queue_cell_size[QUEUE_CELL_SIZES] = { 16, 32, 64, 96, 128, QUEUE_CELL_MAX };

static uint32_t size_index(uint64_t size)
{
        uint32_t i = 0;

        while (queue_cell_size[i] < size)
                i++;
        return i;
}

static uint64_t cells_a_page(uint64_t cell)
{
        return (QUEUE_CELL_PAGE - sizeof(struct queue_cells_shm)) / cell;
}

/*
 * A page by its chunk's offset, and the size of its cells, which is read once: whoever scribbles cannot change it between a
 * check and a use. NULL if it is damaged.
 */
static struct queue_cells_shm *page_at(const struct arena *arena, uint64_t off, uint64_t *ret_cell)
{
        struct queue_cells_shm *page = arena_at(arena, off + CHUNK_HEAD, QUEUE_CELL_PAGE);
        uint64_t cell = page ? word_get(&page->cell) : 0;

        *ret_cell = cell;
        return cell && cell <= QUEUE_CELL_MAX && !(cell & 7) ? page : NULL;
}

static uint64_t *cell_at(struct queue_cells_shm *page, uint64_t cell, uint64_t number)
{
        return (uint64_t *)((uint8_t *)(page + 1) + number * cell);
}

static uint64_t counts(uint32_t used, uint32_t ever)
{
        return (uint64_t)ever << 32 | used;
}

/* ---- The lists of pages with room ---------------------------------------------------------------------- */

static objd_status page_link(struct queue *queue, uint64_t *list, uint64_t off, struct queue_cells_shm *page)
{
        uint64_t cell;
        struct queue_cells_shm *first = word_get(list) ? page_at(queue->arena, word_get(list), &cell) : NULL;

        if (word_get(list) && !first)
                return queue_corrupt(queue, "a page of items");
        txn_set(queue->lane, &page->next, word_get(list));
        txn_set(queue->lane, &page->prev, 0);
        if (first)
                txn_set(queue->lane, &first->prev, off);
        txn_set(queue->lane, list, off);
        return OBJD_OK;
}

static objd_status page_unlink(struct queue *queue, uint64_t *list, struct queue_cells_shm *page)
{
        uint64_t next_off = word_get(&page->next), prev_off = word_get(&page->prev), cell;
        struct queue_cells_shm *next = next_off ? page_at(queue->arena, next_off, &cell) : NULL;
        struct queue_cells_shm *prev = prev_off ? page_at(queue->arena, prev_off, &cell) : NULL;

        if ((next_off && !next) || (prev_off && !prev))
                return queue_corrupt(queue, "a page of items");
        txn_set(queue->lane, prev ? &prev->next : list, next_off);
        if (next)
                txn_set(queue->lane, &next->prev, prev_off);
        return OBJD_OK;
}

/* A new page is reached only through the list word, so it is filled without notes. */
static objd_status page_make(struct queue *queue, uint64_t *list, uint32_t cell)
{
        struct chunk_shm *chunk;
        struct queue_cells_shm *page;
        objd_status r = txn_take(queue->lane, queue->object, QUEUE_CELL_PAGE, &chunk);

        if (r)
                return r;
        page = chunk_data(chunk);
        word_set(&page->cell, cell);
        word_set(&page->n, 0);
        word_set(&page->free, 0);
        word_set(&page->next, 0);
        word_set(&page->prev, 0);
        txn_set(queue->lane, list, arena_off(queue->arena, chunk));
        return OBJD_OK;
}

/* ---- Cells -------------------------------------------------------------------------------------------- */

/* Takes the first free cell of a page with room and fills it. */
static objd_status cell_fill(struct queue *queue, struct queue_cells_shm *page, uint64_t cell,
                             const void *bytes, uint64_t size, uint64_t *ret_number)
{
        uint64_t n = word_get(&page->n), free = word_get(&page->free);
        uint32_t used = (uint32_t)n, ever = (uint32_t)(n >> 32);
        uint64_t number = free ? free - 1 : ever;

        if (number >= cells_a_page(cell) || size > cell)
                return queue_corrupt(queue, "a page of items");
        if (free)
                txn_set(queue->lane, &page->free, word_get(cell_at(page, cell, number)));
        else
                ever++;
        txn_set(queue->lane, &page->n, counts(used + 1, ever));
        txn_write(queue->lane, cell_at(page, cell, number), bytes, size);
        *ret_number = number;
        return OBJD_OK;
}

static objd_status cell_take(struct queue *queue, const void *bytes, uint64_t size, uint64_t *ret_place)
{
        uint32_t index = size_index(size);
        uint64_t *list = &queue->shm->cells[index], number = 0, cell;
        struct queue_cells_shm *page;
        objd_status r;

        if (!word_get(list)) {
                r = page_make(queue, list, queue_cell_size[index]);
                if (r)
                        return r;
        }
        page = page_at(queue->arena, word_get(list), &cell);
        if (!page)
                return queue_corrupt(queue, "a page of items");
        *ret_place = word_get(list);
        r = cell_fill(queue, page, cell, bytes, size, &number);
        if (r)
                return r;
        *ret_place |= number << CELL_SHIFT;
        if ((uint32_t)word_get(&page->n) < cells_a_page(cell))
                return OBJD_OK;
        return page_unlink(queue, list, page);
}

static objd_status cell_give(struct queue *queue, uint64_t place)
{
        uint64_t off = place & PAGE_MASK, number = place >> CELL_SHIFT, cell;
        struct queue_cells_shm *page = page_at(queue->arena, off, &cell);
        uint32_t used = page ? (uint32_t)word_get(&page->n) : 0;
        uint64_t *list, room;
        objd_status r;

        if (!used)
                return queue_corrupt(queue, "a page of items");
        room = cells_a_page(cell);
        if (number >= room)
                return queue_corrupt(queue, "the place of an item");
        list = &queue->shm->cells[size_index(cell)];
        txn_set(queue->lane, cell_at(page, cell, number), word_get(&page->free));
        txn_set(queue->lane, &page->free, number + 1);
        txn_set(queue->lane, &page->n, word_get(&page->n) - 1);
        if (used == room)
                return page_link(queue, list, off, page);
        /* An empty page goes, unless it is the only one with room, which the next put would want at once. */
        if (used > 1 || (!word_get(&page->next) && !word_get(&page->prev)))
                return OBJD_OK;
        r = page_unlink(queue, list, page);
        return r ? r : txn_free(queue->lane, (struct chunk_shm *)(queue->arena->base + off));
}

/* ---- Items -------------------------------------------------------------------------------------------- */

objd_status value_chunk(struct queue *queue, const objd_value *value, uint64_t size,
                        struct chunk_shm **ret_chunk)
{
        objd_status r = txn_take(queue->lane, queue->object, VALUE_CHUNK_DATA - CHUNK_HEAD + size, ret_chunk);

        if (r == OBJD_OK)
                value_encode_shared(value, (uint8_t *)*ret_chunk + VALUE_CHUNK_DATA);
        return r;
}

/* Up to QUEUE_CELL_MAX bytes, padded to 8. */
static objd_status store_small(struct queue *queue, objd_type type, const uint64_t *bytes, uint64_t size,
                               struct queue_item_shm *ret_item)
{
        if (size <= 8) {
                ret_item->head = item_head(type, QUEUE_HERE, size);
                ret_item->place = size ? bytes[0] : 0;
                return OBJD_OK;
        }
        ret_item->head = item_head(type, QUEUE_CELL, size);
        return cell_take(queue, bytes, size, &ret_item->place);
}

objd_status item_store(struct queue *queue, const objd_value *value, struct queue_item_shm *ret_item)
{
        uint64_t size = value_encoded_size(value), bytes[QUEUE_CELL_MAX / 8];
        struct chunk_shm *chunk;
        objd_status r;

        if (size <= QUEUE_CELL_MAX) {
                value_encode(value, bytes);
                return store_small(queue, value->type, bytes, size, ret_item);
        }
        r = value_chunk(queue, value, size, &chunk);
        if (r)
                return r;
        ret_item->head = item_head(value->type, QUEUE_CHUNK, size);
        ret_item->place = arena_off(queue->arena, chunk);
        return OBJD_OK;
}

objd_status item_store_bytes(struct queue *queue, objd_type type, const void *shared, uint64_t size,
                             struct queue_item_shm *ret_item)
{
        uint64_t bytes[QUEUE_CELL_MAX / 8];
        struct chunk_shm *chunk;
        objd_status r;

        if (size <= QUEUE_CELL_MAX) {
                words_out(bytes, shared, size);
                return store_small(queue, type, bytes, size, ret_item);
        }
        r = txn_take(queue->lane, queue->object, VALUE_CHUNK_DATA - CHUNK_HEAD + size, &chunk);
        if (r)
                return r;
        words_across((uint8_t *)chunk + VALUE_CHUNK_DATA, shared, size);
        ret_item->head = item_head(type, QUEUE_CHUNK, size);
        ret_item->place = arena_off(queue->arena, chunk);
        return OBJD_OK;
}

const void *item_bytes(const struct arena *arena, const struct queue_item_shm *item)
{
        uint64_t size = item_size(item->head), number = item->place >> CELL_SHIFT, cell;
        struct queue_cells_shm *page;

        switch (item_place(item->head)) {
        case QUEUE_HERE:
                return size <= 8 ? &item->place : NULL;
        case QUEUE_CELL:
                page = page_at(arena, item->place & PAGE_MASK, &cell);
                return page && size <= cell && number < cells_a_page(cell) ? cell_at(page, cell, number)
                                                                           : NULL;
        case QUEUE_CHUNK:
                return size <= VALUE_ENCODED_MAX
                               ? arena_at(arena, item->place + VALUE_CHUNK_DATA, round8(size))
                               : NULL;
        default:
                return NULL;
        }
}

objd_status item_drop(struct queue *queue, const struct queue_item_shm *item)
{
        struct chunk_shm *chunk;

        switch (item_place(item->head)) {
        case QUEUE_HERE:
                return OBJD_OK;
        case QUEUE_CELL:
                return cell_give(queue, item->place);
        case QUEUE_CHUNK:
                chunk = arena_at(queue->arena, item->place, CHUNK_HEAD);
                if (chunk)
                        return txn_free(queue->lane, chunk);
                break;
        default:
                break;
        }
        return queue_corrupt(queue, "an item");
}
