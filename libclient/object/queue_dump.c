/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_dump.c -- what a queue is beyond its configuration, out and in again, and its items in the order of their puts
 *
 * A lease belongs to a client of this store, and means nothing in another one: there its item is one that has come back.
 * So items under a lease are visited where they would be if all leases were over: by the number of their put in a FIFO
 * queue, by priority and number in a PRIORITY queue, on top of a LIFO queue.
 */

#include "object/queue.h"

#include "base/status.h"
#include "object/ranking.h"

/* Numbers of tasks beyond this are no numbers of tasks. */
#define TASKS_MAX (1ULL << 62)

/* The lanes' own lines are frozen: both counters stand still. */
static uint64_t count_items(const struct queue *queue)
{
        uint64_t n = word_get(&queue->shm->items.n) + word_get(&queue->shm->n_leases);

        return queue->tail ? n + word_get(&queue->tail->pushed) - word_get(&queue->head->popped) : n;
}

/* Each item takes a word at least. */
static objd_status open_frozen(struct lane *lane, struct objd_object *object, struct queue *ret_queue)
{
        objd_status r = queue_open(lane, object->shm, ret_queue);

        ret_queue->handle = object;
        if (r == OBJD_OK && (count_items(ret_queue) > arena_limit(lane->arena) / 8 ||
                             word_get(&ret_queue->shm->items.n) > arena_limit(lane->arena) / 8))
                return queue_corrupt(ret_queue, "the number of its items");
        return r;
}

objd_status queue_get_state(struct lane *lane, struct objd_object *object, struct object_state *ret_state)
{
        struct queue queue;
        uint64_t config, pushed;
        objd_status r = open_frozen(lane, object, &queue);

        if (r)
                return r;
        config = word_get(&queue.head->config);
        pushed = word_get(queue.tail ? &queue.tail->pushed : &queue.head->pushed);
        *ret_state = (struct object_state){
                .len = count_items(&queue),
                .unfinished = pushed - word_get(&queue.shm->done),
                .closed = config & QUEUE_CLOSED,
                .poisoned = config & QUEUE_POISONED,
        };
        return ret_state->unfinished <= TASKS_MAX ? OBJD_OK
                                                  : queue_corrupt(&queue, "the number of its tasks");
}

/* As if items had been put and taken, or tasks been finished, before the first of the items that are to come. */
static void set_counters(struct queue *queue, uint64_t before, uint64_t done)
{
        txn_set(queue->lane, &queue->head->popped, before);
        txn_set(queue->lane, &queue->head->pushed, before);
        txn_set(queue->lane, &queue->shm->done, done);
        if (!queue->tail)
                return;
        txn_set(queue->lane, &queue->tail->pushed, before);
        txn_set(queue->lane, &queue->shm->removed, before);
}

objd_status queue_set_state(struct lane *lane, struct objd_object *object, const struct object_state *state)
{
        uint64_t len = state->len, unfinished = state->unfinished;
        struct queue queue;
        objd_status r;

        if (len > TASKS_MAX || unfinished > TASKS_MAX)
                return fail(OBJD_E_INVAL, "a queue cannot have so many items or unfinished tasks");
        r = queue_find(lane, object, &queue);
        if (r)
                return r;
        txn_begin(lane, OP_CREATE);
        r = queue_lock(&queue);
        if (r == OBJD_OK)
                r = object_verify(object);
        if (r == OBJD_OK)
                r = queue_open(lane, object->shm, &queue);
        if (r == OBJD_OK)
                set_counters(&queue, unfinished > len ? unfinished - len : 0,
                             len > unfinished ? len - unfinished : 0);
        if (r) {
                txn_abort(lane);
                return r;
        }
        return txn_commit(lane);
}

/* ---- Items -------------------------------------------------------------------------------------------- */

/* An item's place in a ranking. */
#define IS_LEASED 1ULL

static struct rank rank_of(const struct queue *queue, const struct queue_item_shm *item, uint64_t i,
                           bool leased)
{
        struct rank rank = { .minor = word_get(&item->sequence), .place = i << 1 | leased };

        if (queue->order == OBJD_PRIORITY)
                rank.major = word_get((const uint64_t *)&item->priority) ^ 1ULL << 63;
        if (queue->order == OBJD_LIFO && !leased)
                rank.minor = i;
        if (queue->order == OBJD_LIFO)
                rank.major = leased;
        return rank;
}

static const struct queue_lease_shm *lease_at(const struct queue *queue, uint64_t i)
{
        return table_at(queue->arena, &queue->shm->leases, i, sizeof(struct queue_lease_shm));
}

static objd_status offer_all(const struct queue *queue, struct ranking *ranking)
{
        uint64_t n_items = word_get(&queue->shm->items.n), n_leases = word_get(&queue->shm->leases.n);

        for (uint64_t i = 0; i < n_items; i++) {
                const struct queue_item_shm *item =
                        table_at(queue->arena, &queue->shm->items, i, sizeof(*item));

                if (!item)
                        return queue_corrupt(queue, "the table of items");
                ranking_offer(ranking, rank_of(queue, item, i, false));
        }
        for (uint64_t i = 0; i < n_leases; i++) {
                const struct queue_lease_shm *lease = lease_at(queue, i);

                if (!lease)
                        return queue_corrupt(queue, "its table of leases");
                if (word_get(&lease->id))
                        ranking_offer(ranking, rank_of(queue, &lease->item, i, true));
        }
        return OBJD_OK;
}

static objd_status visit_rank(const struct queue *queue, const struct rank *rank, visit_fn fn, void *context)
{
        struct visit visit = { .leased = rank->place & IS_LEASED,
                               .has_priority = queue->order == OBJD_PRIORITY };
        const struct queue_lease_shm *lease;
        const struct queue_item_shm *from;
        struct queue_item_shm item;

        if (visit.leased) {
                lease = lease_at(queue, rank->place >> 1);
                from = lease ? &lease->item : NULL;
        } else {
                from = table_at(queue->arena, &queue->shm->items, rank->place >> 1, sizeof(*from));
        }
        if (!from)
                return queue_corrupt(queue, "the table of items");
        words_out(&item, from, sizeof(item));
        visit.priority = item.priority;
        visit.type = item_type(item.head);
        visit.bytes = item_bytes(queue->arena, &item);
        visit.size = item_size(item.head);
        return visit.bytes ? fn(context, &visit) : queue_corrupt(queue, "an item");
}

static objd_status visit_tables(const struct queue *queue, visit_fn fn, void *context)
{
        uint64_t n = word_get(&queue->shm->items.n) + word_get(&queue->shm->n_leases);
        struct ranking ranking;
        objd_status r = ranking_init(&ranking, n, RANKING_ROOM);

        if (r)
                return r;
        do {
                ranking_begin_turn(&ranking);
                r = offer_all(queue, &ranking);
                ranking_end_turn(&ranking);
                for (size_t i = 0; i < ranking.len && r == OBJD_OK; i++)
                        r = visit_rank(queue, &ranking.ranks[i], fn, context);
        } while (r == OBJD_OK && ranking.more);
        ranking_deinit(&ranking);
        return r;
}

static objd_status visit_chain(const struct queue *queue, visit_fn fn, void *context)
{
        uint64_t pos = word_get(&queue->head->pos),
                 left = word_get(&queue->tail->pushed) - word_get(&queue->head->popped);
        bool linked = false;
        objd_status r = OBJD_OK;

        while (left && r == OBJD_OK) {
                struct record record;

                if (!chain_record(queue->arena, pos, &record))
                        return queue_corrupt(queue, "an item");
                pos = record.next;
                if (item_place(record.head) == QUEUE_LINK) {
                        /* Every chunk has an item; two links in a row may be a circle. */
                        if (linked)
                                return queue_corrupt(queue, "a link between its chunks");
                        linked = true;
                        continue;
                }
                linked = false;
                left--;
                r = fn(context, &(struct visit){ .type = item_type(record.head),
                                                 .bytes = record.bytes,
                                                 .size = item_size(record.head) });
        }
        return r;
}

objd_status queue_visit(struct lane *lane, struct objd_object *object, visit_fn fn, void *context)
{
        struct queue queue;
        objd_status r = open_frozen(lane, object, &queue);

        if (r == OBJD_OK)
                r = visit_tables(&queue, fn, context);
        return r || !queue.tail ? r : visit_chain(&queue, fn, context);
}
