/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_take.c -- putting and taking items, with the lines locked
 *
 * Each end of a FIFO queue keeps what it has heard of the other end: the head how many items were put, the tail how
 * many are gone. Only when that is not enough does it look across, and then under the other line's version, so that
 * it never counts an item whose put may yet be undone. If somebody is changing the other line at each of a few looks,
 * the operation starts over with both lines locked: it must not wait for a line while it holds one.
 */

#include "object/queue.h"

#include "base/status.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "object/value.h"
#include "sync/wait.h"

/* Looks at the other line before it gives up; somebody else's put takes some 20 ns of each. */
#define CROSS_LOOKS 64

const char *queue_label(const struct queue *queue)
{
        return queue->handle ? object_label(queue->handle) : "of a dead client's lease";
}

objd_status queue_corrupt(const struct queue *queue, const char *what)
{
        return fail(OBJD_E_CORRUPT, "queue %s: %s is damaged", queue_label(queue), what);
}

void queue_wake_some(struct queue *queue, uint64_t *word, uint64_t n)
{
        uint64_t old = word_get(word);
        uint32_t sleepers = wake_sleepers(old);

        if (n == 1) {
                txn_set(queue->lane, word, wake_word(sleepers - 1, wake_seq(old) + 1));
                (void)txn_wake_one(queue->lane, (const uint32_t *)word);
        } else {
                txn_set(queue->lane, word, wake_word(0, wake_seq(old) + 1));
                (void)txn_wake(queue->lane, (const uint32_t *)word);
        }
}

/* ---- Looking across ------------------------------------------------------------------------------------ */

objd_status queue_hear_pushed(struct queue *queue, uint64_t *ret_pushed)
{
        struct line_shm *line = queue_tail_line(queue);
        uint64_t pushed = word_get(&queue->head->pushed), heard;

        if (!queue->tail) {
                *ret_pushed = pushed;
                return OBJD_OK;
        }
        if (lock_is_held(queue->lane, line)) {
                heard = word_get(&queue->tail->pushed);
        } else {
                for (int looks = 0;; looks++) {
                        uint64_t version = lock_read_begin(line);

                        heard = word_get(&queue->tail->pushed);
                        if (lock_version_is_stable(version) && lock_read_valid(line, version))
                                break;
                        if (looks == CROSS_LOOKS)
                                return QUEUE_NEEDS_BOTH;
                        wait_relax();
                }
        }
        if (heard != pushed)
                txn_set(queue->lane, &queue->head->pushed, heard);
        *ret_pushed = heard;
        return OBJD_OK;
}

/* How many items are no longer in the queue: popped, and neither come back nor under a lease. */
static uint64_t count_removed(const struct queue *queue)
{
        uint64_t items = queue->tail ? word_get(&queue->shm->items.n) : 0;

        return word_get(&queue->head->popped) - items - word_get(&queue->shm->n_leases);
}

static objd_status hear_removed(struct queue *queue, uint64_t *ret_removed)
{
        struct line_shm *line = queue_head_line(queue);
        uint64_t removed = 0;

        if (lock_is_held(queue->lane, line)) {
                removed = count_removed(queue);
        } else {
                for (int looks = 0;; looks++) {
                        uint64_t version = lock_read_begin(line);

                        removed = count_removed(queue);
                        if (lock_version_is_stable(version) && lock_read_valid(line, version))
                                break;
                        if (looks == CROSS_LOOKS)
                                return QUEUE_NEEDS_BOTH;
                        wait_relax();
                }
        }
        txn_set(queue->lane, &queue->shm->removed, removed);
        *ret_removed = removed;
        return OBJD_OK;
}

/* ---- Put ---------------------------------------------------------------------------------------------- */

static objd_status refuse_put(const struct queue *queue, uint64_t config)
{
        if (config & QUEUE_POISONED)
                return fail(OBJD_E_POISONED, "queue %s is poisoned", queue_label(queue));
        return fail(OBJD_E_CLOSED, "queue %s is closed", queue_label(queue));
}

static objd_status check_room(struct queue *queue, uint64_t pushed, size_t n)
{
        uint64_t bound = word_get(&queue->shm->bound),
                 removed = queue->tail ? word_get(&queue->shm->removed) : 0;
        objd_status r;

        if (!bound)
                return OBJD_OK;
        if (n > bound)
                return fail(OBJD_E_INVAL, "queue %s holds %llu items at most, and %zu cannot be put at once",
                            queue_label(queue), (unsigned long long)bound, n);
        if (queue->tail && pushed - removed + n <= bound)
                return OBJD_OK;
        r = hear_removed(queue, &removed);
        if (r || pushed - removed + n <= bound)
                return r;
        return queue->alone ? OBJD_E_FULL
                            : fail(OBJD_E_FULL, "queue %s is full: %llu items", queue_label(queue),
                                   (unsigned long long)bound);
}

static objd_status put_items(struct queue *queue, const struct op *op, uint64_t pushed)
{
        for (size_t i = 0; i < op->n; i++) {
                struct queue_item_shm item = { .priority = op->u.integer, .sequence = pushed + i };
                objd_status r = queue_reserve(queue);

                if (r == OBJD_OK)
                        r = item_store(queue, &op->value[i], &item);
                if (r == OBJD_OK)
                        r = items_push(queue, &item);
                if (r)
                        return r;
        }
        txn_set(queue->lane, &queue->head->pushed, pushed + op->n);
        return OBJD_OK;
}

objd_status queue_put(struct queue *queue, struct op *op)
{
        uint64_t config = word_get(queue->tail ? &queue->tail->config : &queue->head->config);
        uint64_t pushed = word_get(queue->tail ? &queue->tail->pushed : &queue->head->pushed);
        objd_status r;

        if (config & (QUEUE_CLOSED | QUEUE_POISONED))
                return refuse_put(queue, config);
        r = txn_reserve(queue->lane, 128, 16);
        if (r == OBJD_OK)
                r = check_room(queue, pushed, op->n);
        if (r == OBJD_E_FULL)
                op->seen = word_get(&queue->head->popped);
        if (r)
                return r;
        r = queue->tail ? chain_put(queue, op->value, op->n) : put_items(queue, op, pushed);
        if (r == OBJD_OK)
                queue_wake(queue, queue_getters(queue), op->n);
        return r;
}

/* ---- Get ---------------------------------------------------------------------------------------------- */

objd_status queue_deliver(struct op *op, uint64_t head, const void *bytes)
{
        uint64_t size = item_size(head);
        objd_status r;

        if (op->items)
                return items_add(op->items, OBJD_ANY, NULL, 0, item_type(head), bytes, size);
        r = buf_grow(op->buf, size);
        if (r)
                return r;
        words_out(op->buf->data, bytes, size);
        return value_decode(item_type(head), op->buf->data, size, &op->result);
}

/* Whether an item can be had, and where: in the table of items, or in the chain. */
static objd_status find_item(struct queue *queue, bool *ret_in_chain)
{
        uint64_t popped = word_get(&queue->head->popped), pushed;
        objd_status r;

        *ret_in_chain = false;
        if (!queue->tail)
                return word_get(&queue->shm->items.n) ? OBJD_OK : OBJD_E_EMPTY;
        if (__builtin_expect(word_get(&queue->head->ctl) & QUEUE_RETURNED, 0))
                return OBJD_OK;
        *ret_in_chain = true;
        if (popped != word_get(&queue->head->pushed))
                return OBJD_OK;
        r = queue_hear_pushed(queue, &pushed);
        return r ? r : popped != pushed ? OBJD_OK : OBJD_E_EMPTY;
}

/* Takes the next item out of the table of items; its bytes are still there. */
static objd_status pop_item(struct queue *queue, struct queue_item_shm *ret_item)
{
        objd_status r = queue_reserve(queue);

        if (r == OBJD_OK)
                r = items_pop(queue, ret_item);
        if (r)
                return r;
        if (!queue->tail)
                txn_set(queue->lane, &queue->head->popped, word_get(&queue->head->popped) + 1);
        else if (!word_get(&queue->shm->items.n))
                txn_set(queue->lane, &queue->head->ctl, word_get(&queue->head->ctl) & ~QUEUE_RETURNED);
        return OBJD_OK;
}

static objd_status get_from_table(struct queue *queue, struct op *op)
{
        struct queue_item_shm item;
        const void *bytes;
        objd_status r = pop_item(queue, &item);

        if (r)
                return r;
        bytes = item_bytes(queue->arena, &item);
        if (!bytes)
                return queue_corrupt(queue, "an item");
        r = queue_deliver(op, item.head, bytes);
        return r ? r : item_drop(queue, &item);
}

static void step_over(struct queue *queue, const struct record *record)
{
        uint64_t words[2] = { word_get(&queue->head->popped) + 1, record->next };

        txn_write(queue->lane, &queue->head->popped, words, sizeof(words));
}

static objd_status free_chunk(struct queue *queue, uint64_t off)
{
        struct chunk_shm *chunk = arena_at(queue->arena, off, CHUNK_HEAD);

        return chunk ? txn_free(queue->lane, chunk) : queue_corrupt(queue, "an item");
}

static objd_status get_from_chain(struct queue *queue, struct op *op)
{
        struct record record;
        objd_status r = chain_next(queue, word_get(&queue->head->pos), &record);

        if (r == OBJD_OK)
                r = queue_deliver(op, record.head, record.bytes);
        if (r == OBJD_OK && record.chunk)
                r = free_chunk(queue, record.chunk);
        if (r == OBJD_OK)
                step_over(queue, &record);
        return r;
}

/* op->seen: what a getter that waits has to see change. */
static objd_status refuse_get(const struct queue *queue, struct op *op)
{
        op->seen = word_get(&queue->head->pushed);
        if (word_get(&queue->head->config) & QUEUE_CLOSED)
                return fail(OBJD_E_CLOSED, "queue %s is closed, and nothing is left in it",
                            queue_label(queue));
        return queue->alone ? OBJD_E_EMPTY : fail(OBJD_E_EMPTY, "queue %s is empty", queue_label(queue));
}

/* What every take has to ask before it looks for an item. */
static objd_status may_take(struct queue *queue)
{
        if (word_get(&queue->head->config) & QUEUE_POISONED)
                return refuse_put(queue, QUEUE_POISONED);
        if (__builtin_expect(word_get(&queue->head->ctl) & QUEUE_LEASED, 0) && queue->alone &&
            lease_look_is_due(queue))
                return QUEUE_NEEDS_LOOK;
        return OBJD_OK;
}

objd_status queue_get(struct queue *queue, struct op *op)
{
        size_t n = 0, max = op->n ? op->n : 1;
        bool in_chain;
        objd_status r = may_take(queue);

        while (r == OBJD_OK && n < max) {
                r = txn_reserve(queue->lane, 128, 16);
                if (r == OBJD_OK)
                        r = find_item(queue, &in_chain);
                if (r == OBJD_OK)
                        r = in_chain ? get_from_chain(queue, op) : get_from_table(queue, op);
                if (r == OBJD_OK)
                        n++;
        }
        if (n && (r == OBJD_E_EMPTY || r == QUEUE_NEEDS_BOTH))
                r = OBJD_OK;
        if (r == OBJD_E_EMPTY)
                return refuse_get(queue, op);
        if (r == OBJD_OK)
                queue_made_room(queue, n);
        return r;
}

/* ---- For leases --------------------------------------------------------------------------------------- */

static objd_status move_from_chain(struct queue *queue, struct queue_item_shm *ret_item)
{
        struct queue_item_shm item = { .sequence = word_get(&queue->head->popped) };
        struct record record;
        objd_status r = queue_reserve(queue);

        if (r == OBJD_OK)
                r = chain_next(queue, word_get(&queue->head->pos), &record);
        if (r)
                return r;
        if (record.chunk) {
                item.head = record.head;
                item.place = record.chunk;
        } else {
                r = item_store_bytes(queue, item_type(record.head), record.bytes, item_size(record.head),
                                     &item);
                if (r)
                        return r;
        }
        step_over(queue, &record);
        *ret_item = item;
        return OBJD_OK;
}

objd_status queue_take_item(struct queue *queue, struct op *op, struct queue_item_shm *ret_item)
{
        bool in_chain;
        objd_status r = may_take(queue);

        if (r == OBJD_OK)
                r = find_item(queue, &in_chain);
        if (r == OBJD_E_EMPTY)
                return refuse_get(queue, op);
        if (r)
                return r;
        return in_chain ? move_from_chain(queue, ret_item) : pop_item(queue, ret_item);
}

objd_status queue_put_back(struct queue *queue, const struct queue_item_shm *item)
{
        objd_status r = items_push(queue, item);

        if (r)
                return r;
        if (!queue->tail)
                txn_set(queue->lane, &queue->head->popped, word_get(&queue->head->popped) - 1);
        else if (!(word_get(&queue->head->ctl) & QUEUE_RETURNED))
                txn_set(queue->lane, &queue->head->ctl, word_get(&queue->head->ctl) | QUEUE_RETURNED);
        queue_wake(queue, queue_getters(queue), 1);
        return OBJD_OK;
}

/* ---- Unfinished tasks ---------------------------------------------------------------------------------- */

void queue_count_done(struct queue *queue)
{
        uint64_t done = word_get(&queue->shm->done) + 1;

        txn_set(queue->lane, &queue->shm->done, done);
        if (done == word_get(&queue->head->pushed) && wake_sleepers(word_get(&queue->shm->joiners)))
                queue_wake_some(queue, &queue->shm->joiners, UINT64_MAX);
}

objd_status queue_task_done(struct queue *queue)
{
        uint64_t done = word_get(&queue->shm->done), pushed = word_get(&queue->head->pushed);

        /* At what was heard last, there may be more; whether this is the last one is only known with the newest number. */
        if (done + 1 >= pushed) {
                objd_status r = queue_hear_pushed(queue, &pushed);

                if (r)
                        return r;
        }
        if (done >= pushed)
                return fail(OBJD_E_INVAL, "queue %s has no unfinished task", queue_label(queue));
        queue_count_done(queue);
        return OBJD_OK;
}
