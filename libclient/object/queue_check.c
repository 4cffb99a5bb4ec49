/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_check.c -- walking everything that a queue consists of
 *
 * Both lines are frozen. Every chunk that is met is reported to the checker once, so pages of cells, which many items
 * share, are collected from the items first.
 */

#include "object/check.h"

#include <inttypes.h>
#include <stdlib.h>

#include "base/sys.h"
#include "mem/pool.h"
#include "object/queue.h"
#include "object/value.h"

#define CELL_SHIFT 48
#define PAGE_MASK ((1ULL << CELL_SHIFT) - 1)
#define HEAP_WAYS 4u
#define INDEX_MASK ((1ULL << 20) - 1)

struct queue_checker {
        struct check *check;
        struct queue queue;
        uint64_t *cells; /* places of items that are in cells */
        size_t n_cells, room;
        bool no_memory;
};

/* ---- Items -------------------------------------------------------------------------------------------- */

static void remember_cell(struct queue_checker *c, uint64_t place)
{
        if (c->n_cells == c->room) {
                size_t room = c->room ? 2 * c->room : 256;
                uint64_t *cells = sys.resize(c->cells, room * sizeof(*cells));

                if (!cells) {
                        c->no_memory = true;
                        return;
                }
                c->cells = cells;
                c->room = room;
        }
        c->cells[c->n_cells++] = place;
}

static bool type_is_known(objd_type type)
{
        return type >= OBJD_NIL && type <= OBJD_REF;
}

static void check_value_chunk(struct queue_checker *c, uint64_t off, uint64_t size)
{
        if (size > VALUE_ENCODED_MAX)
                check_fail(c->check, "an item has %" PRIu64 " bytes, more than any can have", size);
        else
                (void)check_chunk(c->check, off, VALUE_CHUNK_DATA - CHUNK_HEAD + round8(size));
}

static void check_item(struct queue_checker *c, const struct queue_item_shm *item)
{
        uint64_t size = item_size(item->head);

        if (!type_is_known(item_type(item->head)))
                check_fail(c->check, "an item is of type %d, which there is not", (int)item_type(item->head));
        switch (item_place(item->head)) {
        case QUEUE_HERE:
                if (size > 8)
                        check_fail(c->check, "an item of %" PRIu64 " bytes stands where 8 fit", size);
                break;
        case QUEUE_CELL:
                if (size > QUEUE_CELL_MAX)
                        check_fail(c->check, "an item of %" PRIu64 " bytes is in a cell", size);
                remember_cell(c, item->place);
                break;
        case QUEUE_CHUNK:
                check_value_chunk(c, item->place, size);
                break;
        default:
                check_fail(c->check, "an item is in no known place");
        }
}

/* The chunks of a table. Returns whether its entries can be read. */
static bool check_table(struct queue_checker *c, const struct queue_table_shm *table, uint64_t size,
                        const char *what)
{
        uint64_t n = word_get(&table->n), n_pages = word_get(&table->pages), per_page = QUEUE_PAGE / size;
        uint64_t dir = word_get(&table->dir);
        const uint64_t *entries;

        if (!dir) {
                if (n || n_pages)
                        check_fail(c->check, "the table of %s has no directory", what);
                return !n && !n_pages;
        }
        if (n_pages > c->queue.arena->n_blocks << (BLOCK_SHIFT - 8) || n > n_pages * per_page) {
                check_fail(c->check, "the table of %s has %" PRIu64 " entries in %" PRIu64 " pages", what, n,
                           n_pages);
                return false;
        }
        if (!check_chunk(c->check, dir, n_pages * 8))
                return false;
        entries = (const uint64_t *)(c->queue.arena->base + dir + CHUNK_HEAD);
        for (uint64_t page = 0; page < n_pages; page++) {
                uint64_t used = n > page * per_page ? n - page * per_page : 0;

                if (used > per_page)
                        used = per_page;
                if (!check_chunk(c->check, word_get(&entries[page]), page ? QUEUE_PAGE : used * size))
                        return false;
        }
        return true;
}

static void check_items(struct queue_checker *c)
{
        const struct queue_table_shm *items = &c->queue.shm->items;
        struct queue_item_shm item, above;

        if (!check_table(c, items, sizeof(item), "items"))
                return;
        for (uint64_t i = 0; i < word_get(&items->n); i++) {
                words_out(&item, table_at(c->queue.arena, items, i, sizeof(item)), sizeof(item));
                check_item(c, &item);
                if (c->queue.order == OBJD_LIFO || !i)
                        continue;
                words_out(&above, table_at(c->queue.arena, items, (i - 1) / HEAP_WAYS, sizeof(above)),
                          sizeof(above));
                if (item_is_before(&item, &above))
                        check_fail(c->check, "item %" PRIu64 " of the heap comes before the one above it", i);
        }
        if (c->queue.tail && !word_get(&items->n) != !(word_get(&c->queue.head->ctl) & QUEUE_RETURNED))
                check_fail(c->check, "%" PRIu64 " items have come back, and its head says otherwise",
                           word_get(&items->n));
}

/* ---- Leases ------------------------------------------------------------------------------------------- */

static const struct queue_lease_shm *lease_at(const struct queue_checker *c, uint64_t i)
{
        return table_at(c->queue.arena, &c->queue.shm->leases, i, sizeof(struct queue_lease_shm));
}

static void check_free_leases(struct queue_checker *c, uint64_t expected)
{
        uint64_t next = word_get(&c->queue.shm->free_lease), n = word_get(&c->queue.shm->leases.n), met = 0;

        for (; next && next <= n && met <= expected; met++) {
                const struct queue_lease_shm *lease = lease_at(c, next - 1);

                if (word_get(&lease->id))
                        check_fail(c->check, "lease %" PRIu64 " is among the free ones",
                                   word_get(&lease->id));
                next = word_get(&lease->next_free);
        }
        if (next || met != expected)
                check_fail(c->check, "the list of free leases has another length than %" PRIu64, expected);
}

static void check_leases(struct queue_checker *c)
{
        const struct queue_shm *shm = c->queue.shm;
        uint64_t n = word_get(&shm->leases.n), used = 0;

        if (!check_table(c, &shm->leases, sizeof(struct queue_lease_shm), "leases"))
                return;
        for (uint64_t i = 0; i < n; i++) {
                const struct queue_lease_shm *lease = lease_at(c, i);
                uint64_t id = word_get(&lease->id);
                struct queue_item_shm item;

                if (!id)
                        continue;
                used++;
                if ((id & INDEX_MASK) != i || id >> 20 > word_get(&shm->next_lease))
                        check_fail(c->check, "lease %" PRIu64 " is not one that was given", id);
                words_out(&item, &lease->item, sizeof(item));
                check_item(c, &item);
        }
        if (used != word_get(&shm->n_leases))
                check_fail(c->check, "it counts %" PRIu64 " leases and has %" PRIu64,
                           word_get(&shm->n_leases), used);
        if (!used != !(word_get(&c->queue.head->ctl) & QUEUE_LEASED))
                check_fail(c->check, "it has %" PRIu64 " leases, and its head says otherwise", used);
        check_free_leases(c, n - used);
}

/* ---- Cells -------------------------------------------------------------------------------------------- */

static int compare_places(const void *a, const void *b)
{
        uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b, page_x = x & PAGE_MASK,
                 page_y = y & PAGE_MASK;

        if (page_x != page_y)
                return page_x < page_y ? -1 : 1;
        return x < y ? -1 : x > y;
}

static uint64_t cells_a_page(uint64_t cell)
{
        return (QUEUE_CELL_PAGE - sizeof(struct queue_cells_shm)) / cell;
}

/* The free cells of a page, which are those that have been in use and are no more. */
static void check_free_cells(struct queue_checker *c, const struct queue_cells_shm *page, uint64_t cell)
{
        uint64_t n = word_get(&page->n), ever = n >> 32, expected = ever - (uint32_t)n,
                 next = word_get(&page->free), met = 0;

        for (; next && next <= ever && met <= expected; met++)
                next = word_get((const uint64_t *)(page + 1) + (next - 1) * cell / 8);
        if (next || met != expected)
                check_fail(c->check, "a page's list of free cells has another length than %" PRIu64,
                           expected);
}

/* A page with `used` cells in which items were found, the highest of them `last`. */
static void check_page(struct queue_checker *c, uint64_t off, uint64_t used, uint64_t last)
{
        const struct queue_cells_shm *page;
        uint64_t cell, n;

        if (!check_chunk(c->check, off, QUEUE_CELL_PAGE))
                return;
        page = (const struct queue_cells_shm *)(c->queue.arena->base + off + CHUNK_HEAD);
        cell = word_get(&page->cell);
        n = word_get(&page->n);
        if (!cell || cell > QUEUE_CELL_MAX || (cell & 7)) {
                check_fail(c->check, "a page has cells of %" PRIu64 " bytes", cell);
                return;
        }
        if ((uint32_t)n != used || n >> 32 > cells_a_page(cell) || n >> 32 < used ||
            (used && last >= n >> 32))
                check_fail(c->check, "a page counts %u cells in use of %" PRIu64 ", and %" PRIu64 " are",
                           (uint32_t)n, n >> 32, used);
        else
                check_free_cells(c, page, cell);
}

static void check_cells(struct queue_checker *c)
{
        size_t start = 0;

        if (c->n_cells)
                qsort(c->cells, c->n_cells, sizeof(*c->cells), compare_places);
        for (size_t i = 1; i <= c->n_cells; i++) {
                if (i < c->n_cells && c->cells[i] == c->cells[i - 1])
                        check_fail(c->check, "two items are in one cell");
                if (i < c->n_cells && (c->cells[i] & PAGE_MASK) == (c->cells[start] & PAGE_MASK))
                        continue;
                check_page(c, c->cells[start] & PAGE_MASK, i - start, c->cells[i - 1] >> CELL_SHIFT);
                start = i;
        }
}

static bool is_page_of_items(const struct queue_checker *c, uint64_t off)
{
        size_t low = 0, high = c->n_cells;

        while (low < high) {
                size_t middle = low + (high - low) / 2;

                if ((c->cells[middle] & PAGE_MASK) < off)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low < c->n_cells && (c->cells[low] & PAGE_MASK) == off;
}

/* The pages with room for cells of one size: those without any items are met only here. */
static void check_page_list(struct queue_checker *c, uint32_t size)
{
        uint64_t off = word_get(&c->queue.shm->cells[size]), prev = 0;
        uint64_t limit = c->queue.arena->n_blocks << (BLOCK_SHIFT - 12);

        for (; off && limit; limit--) {
                const struct queue_cells_shm *page =
                        arena_at(c->queue.arena, off + CHUNK_HEAD, QUEUE_CELL_PAGE);

                if (!is_page_of_items(c, off)) {
                        uint64_t faults = c->check->n_errors;

                        check_page(c, off, 0, 0);
                        if (c->check->n_errors != faults)
                                return;
                }
                if (!page || word_get(&page->cell) != queue_cell_size[size] ||
                    word_get(&page->prev) != prev ||
                    (uint32_t)word_get(&page->n) >= cells_a_page(queue_cell_size[size])) {
                        check_fail(c->check, "the list of pages with room for %u bytes is damaged",
                                   queue_cell_size[size]);
                        return;
                }
                prev = off;
                off = word_get(&page->next);
        }
        if (off)
                check_fail(c->check, "the list of pages with room for %u bytes does not end",
                           queue_cell_size[size]);
}

/* ---- The chain ---------------------------------------------------------------------------------------- */

static bool is_inside(const struct arena *arena, uint64_t pos, uint64_t off)
{
        return pos >= off + CHUNK_HEAD &&
               pos <= off + CHUNK_HEAD + chunk_size((const struct chunk_shm *)(arena->base + off));
}

/* The records of one chunk, from pos on; which chunk it is, is only known at its end. Returns whether to go on. */
static bool check_records(struct queue_checker *c, uint64_t *pos, uint64_t *left, bool *linked)
{
        const struct queue_shm *shm = c->queue.shm;
        uint64_t start = *pos, off = word_get(&shm->chunk);
        struct record record;

        *linked = false;
        while (*left && !*linked) {
                if (!chain_record(c->queue.arena, *pos, &record)) {
                        check_fail(c->check, "the item at %#" PRIx64 " is damaged", *pos);
                        return false;
                }
                *linked = item_place(record.head) == QUEUE_LINK;
                if (*linked) {
                        off = record.chunk;
                        break;
                }
                if (!type_is_known(item_type(record.head)))
                        check_fail(c->check, "an item is of type %d, which there is not",
                                   (int)item_type(record.head));
                if (record.chunk)
                        check_value_chunk(c, record.chunk, item_size(record.head));
                *pos = record.next;
                --*left;
        }
        if (!check_chunk(c->check, off, 0))
                return false;
        if (!is_inside(c->queue.arena, start, off) || !is_inside(c->queue.arena, *pos, off)) {
                check_fail(c->check, "its chain runs out of the chunk at %#" PRIx64, off);
                return false;
        }
        if (*linked)
                *pos = record.next;
        return true;
}

static void check_chain(struct queue_checker *c)
{
        const struct queue_head_shm *head = c->queue.head;
        const struct queue_tail_shm *tail = c->queue.tail;
        uint64_t pos = word_get(&head->pos), popped = word_get(&head->popped),
                 pushed = word_get(&tail->pushed);
        uint64_t left = pushed - popped, chunk = word_get(&c->queue.shm->chunk);
        bool linked;

        if (popped > pushed || word_get(&head->pushed) > pushed || word_get(&head->pushed) < popped) {
                check_fail(c->check, "it counts %" PRIu64 " items put and %" PRIu64 " taken", pushed, popped);
                return;
        }
        do
                if (!check_records(c, &pos, &left, &linked))
                        return;
        while (linked);
        if (pos != word_get(&tail->pos))
                check_fail(c->check, "its last item ends at %#" PRIx64 ", and its tail is at %#" PRIx64, pos,
                           word_get(&tail->pos));
        if (!is_inside(c->queue.arena, pos, chunk) ||
            word_get(&tail->end) !=
                    chunk + CHUNK_HEAD +
                            chunk_size((const struct chunk_shm *)(c->queue.arena->base + chunk)) - CHAIN_LINK)
                check_fail(c->check, "its tail is not where its last chunk is");
}

static void check_tail(struct queue_checker *c)
{
        const struct queue_tail_shm *tail = c->queue.tail;
        uint64_t state = QUEUE_CLOSED | QUEUE_POISONED;

        if (word_get(&tail->serial) != word_get(&c->queue.head->serial))
                check_fail(c->check, "its tail says that it belongs to another object");
        if ((word_get(&tail->config) & state) != (word_get(&c->queue.head->config) & state) ||
            object_kind(word_get(&tail->config)))
                check_fail(c->check, "its tail and its head differ in what they say about it");
        if ((word_get(&tail->ctl) ^ word_get(&c->queue.head->ctl)) & ~QUEUE_FLAGS)
                check_fail(c->check, "its tail and its head have different books");
        if (!word_get(&c->queue.shm->bound) != !(word_get(&tail->ctl) & QUEUE_BOUNDED))
                check_fail(c->check, "its tail and its books differ in whether it has a bound");
}

void queue_check(struct check *check, struct object_shm *object)
{
        struct queue_checker c = { .check = check };

        if (!check_chunk(check, word_get(&queue_head_of(object)->ctl) & ~QUEUE_FLAGS,
                         sizeof(struct queue_shm)))
                return;
        if (queue_open(check->lane, object, &c.queue)) {
                check_fail(check, "its tail cannot be where it says");
                return;
        }
        if (word_get(&c.queue.shm->bound) != word_get(&object->sequence))
                check_fail(check, "it has two different bounds");
        check_items(&c);
        check_leases(&c);
        check_cells(&c);
        for (uint32_t size = 0; size < QUEUE_CELL_SIZES; size++)
                check_page_list(&c, size);
        if (c.queue.tail) {
                check_tail(&c);
                check_chain(&c);
        }
        if (c.no_memory)
                check_fail(check, "there was no memory to check all of it");
        free(c.cells);
}
