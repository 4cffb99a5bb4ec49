/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_salvage.c -- what can be read of a damaged queue
 *
 * Items in tables are read each for itself; those under a lease come back, since who had them is dead. The chain of a FIFO
 * queue is read from the head's position up to the tail's. If it is broken in between, or the position is lost, the rest is
 * found from the tail backwards, as many items as the queue counts.
 */

#include "object/queue.h"

#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "object/repair.h"
#include "object/salvage.h"
#include "object/value.h"

#define CELL_SHIFT 48
#define PAGE_MASK ((1ULL << CELL_SHIFT) - 1)

/* What is known of the queue. */
struct remains {
        struct salvage *salvage;
        struct queue_head_shm *head;
        const struct queue_tail_shm *tail; /* NULL: not FIFO, or lost */
        const struct queue_shm *shm;
        objd_order order;
};

struct ranked {
        uint64_t major, minor; /* smaller is put first */
        const struct queue_item_shm *item;
};

/* ---- The books ------------------------------------------------------------------------------------------ */

/* Any slot that says that it is this queue's tail. */
static const struct queue_tail_shm *find_tail(const struct salvage *salvage)
{
        const struct arena *arena = salvage->arena;

        for (uint64_t number = 0; number < arena_frontier(arena); number++) {
                const struct object_shm *slots = repair_object_at(arena, repair_block_off(arena, number));

                if (arena->blocks[number].state != BLOCK_SLOTS)
                        continue;
                for (uint32_t i = 1; i < SLOTS_PER_BLOCK; i++)
                        if (slots[i].line.serial == salvage->object->line.serial &&
                            !object_kind(slots[i].line.config))
                                return (const struct queue_tail_shm *)(const void *)&slots[i];
        }
        return NULL;
}

struct search {
        const struct remains *remains;
        const struct queue_shm *shm;
        uint32_t n;
};

static bool is_table(const struct salvage *salvage, const struct queue_table_shm *table)
{
        return table->dir ? salvage_chunk(salvage, table->dir, table->pages * 8) != NULL
                          : !table->n && !table->pages;
}

/* Whether a chunk can be the queue's books: bound and tail are said twice, and what it refers to is there. */
static bool are_books(const struct remains *remains, const struct chunk_shm *chunk)
{
        const struct salvage *salvage = remains->salvage;
        const struct queue_shm *shm = (const struct queue_shm *)(const void *)(chunk + 1);
        uint64_t tail = remains->tail ? arena_off(salvage->arena, remains->tail) : 0;

        return chunk_size(chunk) >= sizeof(*shm) && shm->bound == salvage->object->sequence &&
               shm->tail == tail && is_table(salvage, &shm->items) && is_table(salvage, &shm->leases);
}

static void look_for_books(void *context, struct chunk_shm *chunk)
{
        struct search *search = context;

        if (!are_books(search->remains, chunk))
                return;
        search->shm = chunk_data(chunk);
        search->n++;
}

static void find_books(struct remains *remains)
{
        struct search search = { .remains = remains };
        uint64_t off = remains->head->ctl & ~QUEUE_FLAGS;
        struct chunk_shm *chunk = salvage_chunk(remains->salvage, off, sizeof(struct queue_shm));

        if (!chunk && remains->tail)
                chunk = salvage_chunk(remains->salvage, remains->tail->ctl & ~QUEUE_FLAGS,
                                      sizeof(struct queue_shm));
        if (chunk) {
                remains->shm = chunk_data(chunk);
                return;
        }
        repair_each_chunk(remains->salvage->arena,
                          arena_off(remains->salvage->arena, remains->salvage->object), look_for_books,
                          &search);
        remains->shm = search.n == 1 ? search.shm : NULL;
}

/* ---- Tables --------------------------------------------------------------------------------------------- */

static const void *bytes_of(const struct remains *remains, const struct queue_item_shm *item)
{
        uint64_t size = item_size(item->head);

        switch (item_place(item->head)) {
        case QUEUE_HERE:
                return size <= 8 ? &item->place : NULL;
        case QUEUE_CELL:
                return salvage_chunk(remains->salvage, item->place & PAGE_MASK, QUEUE_CELL_PAGE)
                               ? item_bytes(remains->salvage->arena, item)
                               : NULL;
        case QUEUE_CHUNK:
                return salvage_value(remains->salvage, item->place, size);
        default:
                return NULL;
        }
}

static struct ranked rank(const struct remains *remains, const struct queue_item_shm *item, uint64_t i,
                          bool leased)
{
        struct ranked ranked = { .minor = item->sequence, .item = item };

        if (remains->order == OBJD_PRIORITY)
                ranked.major = (uint64_t)item->priority ^ 1ULL << 63;
        if (remains->order == OBJD_LIFO) {
                ranked.major = leased;
                ranked.minor = leased ? item->sequence : i;
        }
        return ranked;
}

static int compare_ranked(const void *a, const void *b)
{
        const struct ranked *x = a, *y = b;

        if (x->major != y->major)
                return x->major < y->major ? -1 : 1;
        return x->minor < y->minor ? -1 : x->minor > y->minor;
}

/* How many entries a table can have at most. */
static uint64_t entries_of(const struct remains *remains, const struct queue_table_shm *table, uint64_t size)
{
        uint64_t room = table->pages < arena_limit(remains->salvage->arena) >> 8
                                ? table->pages * (QUEUE_PAGE / size)
                                : 0;

        return table->n < room ? table->n : room;
}

static size_t collect(const struct remains *remains, struct ranked *ranked)
{
        const struct arena *arena = remains->salvage->arena;
        const struct queue_table_shm *items = &remains->shm->items, *leases = &remains->shm->leases;
        uint64_t n_items = entries_of(remains, items, sizeof(struct queue_item_shm)),
                 n_leases = entries_of(remains, leases, sizeof(struct queue_lease_shm));
        size_t n = 0;

        for (uint64_t i = 0; i < n_items; i++) {
                const struct queue_item_shm *item = table_at(arena, items, i, sizeof(*item));

                if (item && bytes_of(remains, item))
                        ranked[n++] = rank(remains, item, i, false);
        }
        for (uint64_t i = 0; i < n_leases; i++) {
                const struct queue_lease_shm *lease = table_at(arena, leases, i, sizeof(*lease));

                if (lease && lease->id && bytes_of(remains, &lease->item))
                        ranked[n++] = rank(remains, &lease->item, i, true);
        }
        return n;
}

static objd_status give_tables(const struct remains *remains)
{
        const struct queue_shm *shm = remains->shm;
        uint64_t room = entries_of(remains, &shm->items, sizeof(struct queue_item_shm)) +
                        entries_of(remains, &shm->leases, sizeof(struct queue_lease_shm));
        struct ranked *ranked = sys.alloc((room + 1) * sizeof(*ranked));
        objd_status r = OBJD_OK;
        size_t n;

        if (!ranked)
                return fail(OBJD_E_NOMEM, "no memory to copy a queue");
        n = collect(remains, ranked);
        if (n)
                qsort(ranked, n, sizeof(*ranked), compare_ranked);
        for (size_t i = 0; i < n && r == OBJD_OK; i++) {
                const struct queue_item_shm *item = ranked[i].item;

                r = remains->salvage->fn(remains->salvage->context,
                                         &(struct visit){ .has_priority = remains->order == OBJD_PRIORITY,
                                                          .priority = item->priority,
                                                          .type = item_type(item->head),
                                                          .bytes = bytes_of(remains, item),
                                                          .size = item_size(item->head) });
        }
        free(ranked);
        return r;
}

/* ---- The chain ------------------------------------------------------------------------------------------ */

/* The record at pos, if all of it lies in the queue's chunks. */
static bool record_at(const struct remains *remains, uint64_t pos, struct record *ret_record)
{
        struct salvage *salvage = remains->salvage;

        if (!chain_record(salvage->arena, pos, ret_record))
                return false;
        if (item_place(ret_record->head) == QUEUE_LINK)
                return salvage_chunk_around(salvage, pos, CHAIN_LINK);
        return salvage_chunk_around(salvage, pos, ret_record->next - pos) &&
               (!ret_record->chunk || salvage_value(salvage, ret_record->chunk, item_size(ret_record->head)));
}

/*
 * Goes along the chain to the tail, or as far as it can be read, and gives what comes after the first `skip` items.
 * *ret_n: how many items there were; *ret_end: whether it came to the tail.
 */
static objd_status follow(const struct remains *remains, uint64_t pos, uint64_t skip, uint64_t *ret_n,
                          bool *ret_end)
{
        struct salvage *salvage = remains->salvage;
        uint64_t end = remains->tail->pos, limit = arena_limit(salvage->arena) / 8;
        struct record record;
        objd_status r = OBJD_OK;

        for (*ret_n = 0; pos != end && limit-- && r == OBJD_OK && record_at(remains, pos, &record);
             pos = record.next)
                if (item_place(record.head) != QUEUE_LINK && ++*ret_n > skip)
                        r = salvage->fn(salvage->context, &(struct visit){ .type = item_type(record.head),
                                                                           .bytes = record.bytes,
                                                                           .size = item_size(record.head) });
        *ret_end = pos == end;
        return r;
}

/* A chunk of the chain that can be read from its beginning to its link, or to the tail. */
struct piece {
        uint64_t off, next; /* 0: the tail is here */
        uint64_t n;         /* items */
};

struct pieces {
        const struct remains *remains;
        struct piece *piece;
        size_t n, room;
};

static void add_piece(struct pieces *pieces, const struct piece *piece)
{
        if (pieces->n == pieces->room) {
                size_t room = pieces->room ? 2 * pieces->room : 64;
                struct piece *grown = sys.resize(pieces->piece, room * sizeof(*grown));

                if (!grown)
                        return;
                pieces->piece = grown;
                pieces->room = room;
        }
        pieces->piece[pieces->n++] = *piece;
}

static void look_at_piece(void *context, struct chunk_shm *chunk)
{
        struct pieces *pieces = context;
        const struct remains *remains = pieces->remains;
        struct piece piece = { .off = arena_off(remains->salvage->arena, chunk) };
        uint64_t pos = piece.off + CHUNK_HEAD, end = pos + chunk_size(chunk);
        struct record record;

        for (; pos != remains->tail->pos; pos = record.next, piece.n++) {
                if (pos < piece.off || pos >= end || !record_at(remains, pos, &record))
                        return;
                if (item_place(record.head) == QUEUE_LINK) {
                        if (record.chunk != piece.off)
                                return;
                        piece.next = record.next - CHUNK_HEAD;
                        break;
                }
        }
        add_piece(pieces, &piece);
}

static int compare_next(const void *a, const void *b)
{
        const struct piece *x = a, *y = b;

        return x->next < y->next ? -1 : x->next > y->next;
}

static const struct piece *before(const struct pieces *pieces, uint64_t off)
{
        const struct piece key = { .next = off };

        return pieces->n ? bsearch(&key, pieces->piece, pieces->n, sizeof(key), compare_next) : NULL;
}

/* From the tail backwards: the last `want` items, or as many as there are. */
static objd_status give_end(const struct remains *remains, uint64_t want)
{
        struct pieces pieces = { .remains = remains };
        const struct piece *piece, *first = NULL;
        uint64_t n = 0;
        objd_status r = OBJD_OK;
        bool end;

        repair_each_chunk(remains->salvage->arena,
                          arena_off(remains->salvage->arena, remains->salvage->object), look_at_piece,
                          &pieces);
        if (pieces.n)
                qsort(pieces.piece, pieces.n, sizeof(*pieces.piece), compare_next);
        piece = before(&pieces, 0);
        for (size_t i = 0; piece && n < want && i < pieces.n; i++) {
                first = piece;
                n += piece->n;
                piece = before(&pieces, first->off);
        }
        if (first)
                r = follow(remains, first->off + CHUNK_HEAD, n > want ? n - want : 0, &n, &end);
        free(pieces.piece);
        return r;
}

static objd_status give_chain(const struct remains *remains)
{
        uint64_t left = remains->tail->pushed - remains->head->popped, n;
        bool end;
        objd_status r = follow(remains, remains->head->pos, 0, &n, &end);

        if (r || end)
                return r;
        if (left > arena_limit(remains->salvage->arena) / 8)
                left = UINT64_MAX;
        return n < left ? give_end(remains, left - n) : OBJD_OK;
}

/* ---- All of it ------------------------------------------------------------------------------------------ */

static void read_state(const struct remains *remains)
{
        struct salvage *salvage = remains->salvage;
        uint64_t most = arena_limit(salvage->arena) / 8, config = salvage->object->line.config,
                 pushed = remains->tail ? remains->tail->pushed : remains->head->pushed, n;

        n = remains->shm->items.n + remains->shm->n_leases;
        if (remains->tail)
                n += pushed - remains->head->popped;
        salvage->n_said = n < most ? n : 0;
        salvage->bound = salvage->object->sequence;
        salvage->state = (struct object_state){ .unfinished = pushed - remains->shm->done,
                                                .closed = config & QUEUE_CLOSED,
                                                .poisoned = config & QUEUE_POISONED };
}

objd_status queue_salvage(struct salvage *salvage)
{
        struct remains remains = { .salvage = salvage,
                                   .head = queue_head_of(salvage->object),
                                   .order = object_order(salvage->object->line.config) };
        objd_status r;

        if (remains.order == OBJD_FIFO)
                remains.tail = find_tail(salvage);
        find_books(&remains);
        if (!remains.shm) {
                salvage->n_said = 1; /* whatever was in it */
                return OBJD_OK;
        }
        read_state(&remains);
        r = give_tables(&remains);
        return r || !remains.tail ? r : give_chain(&remains);
}
