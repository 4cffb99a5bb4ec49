/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_sleep.c -- waiting for an item, for room, or for the last task
 *
 * Whoever waits for an item counts itself among the sleepers in the getters' wake word, which stands in the line that
 * putters lock anyway; who waits for room, in the line that getters lock. It does so with that line locked, tries once
 * more, and sleeps on the word's sequence. A putter that locks the line before that is seen by the try; one that locks
 * it after sees the sleeper, raises the sequence and wakes one. So no wake is lost, and a putter that sees nobody makes no
 * system call.
 *
 * A wake takes one off the count, whoever it was that woke up. The count may be too high (a sleeper was killed,
 * or had woken by itself), which costs one system call that wakes nobody; where it may be too low, a sleeper that finds it 0
 * counts itself again, at the latest after its slice.
 */

#include "object/queue.h"

#include "base/status.h"
#include "sync/wait.h"

static struct line_shm *wake_line(const struct queue *queue, enum queue_waiter waiter)
{
        return waiter == QUEUE_GETTER && queue->tail ? queue_tail_line(queue) : queue_head_line(queue);
}

static uint64_t *wake_word_of(const struct queue *queue, enum queue_waiter waiter)
{
        switch (waiter) {
        case QUEUE_GETTER:
                return queue_getters(queue);
        case QUEUE_PUTTER:
                return &queue->head->putters;
        default:
                return &queue->shm->joiners;
        }
}

/* Finds the queue and locks the line of the wake word; a transaction has begun. */
static objd_status begin(struct lane *lane, struct objd_object *object, enum queue_waiter waiter,
                         struct queue *ret_queue)
{
        struct line_shm *line;
        objd_status r = queue_find(lane, object, ret_queue);

        if (r)
                return r;
        line = wake_line(ret_queue, waiter);
        txn_begin(lane, OP_NONE);
        r = lock_take(lane, line);
        if (r == OBJD_OK && word_get(&line->serial) != object->serial)
                r = object_gone(object);
        if (r == OBJD_OK && waiter == QUEUE_JOINER)
                r = queue_open(lane, object->shm, ret_queue);
        if (r)
                txn_abort(lane);
        return r;
}

objd_status queue_arm(struct lane *lane, struct objd_object *object, struct queue_sleeper *sleeper)
{
        struct queue queue;
        uint64_t *word, value;
        objd_status r = begin(lane, object, sleeper->waiter, &queue);

        if (r)
                return r;
        word = wake_word_of(&queue, sleeper->waiter);
        value = word_get(word);
        sleeper->seen = wake_seq(value);
        if (sleeper->armed && wake_sleepers(value)) {
                txn_abort(lane);
                return OBJD_OK;
        }
        txn_set(lane, word, wake_word(wake_sleepers(value) + 1, wake_seq(value)));
        r = txn_commit(lane);
        sleeper->armed = r == OBJD_OK;
        return r;
}

objd_status queue_sleep(struct lane *lane, struct objd_object *object, struct queue_sleeper *sleeper,
                        int64_t deadline_ns)
{
        struct queue queue;
        const uint64_t *word;
        bool woken;
        objd_status r = queue_find(lane, object, &queue);

        if (r == OBJD_OK && sleeper->waiter == QUEUE_JOINER)
                r = queue_open_unlocked(lane, object->shm, object->serial, &queue);
        if (r)
                return r == OBJD_E_GONE ? object_gone(object) : r;
        word = wake_word_of(&queue, sleeper->waiter);
        r = wait_sleep(lane, (const uint32_t *)word, sleeper->seen, deadline_ns, &woken);
        /* The wake that came may have been meant for somebody else, who then is counted once too often: harmless. */
        if (r == OBJD_OK && woken)
                sleeper->armed = false;
        return r;
}

objd_status queue_wake_half(struct lane *lane, struct objd_object *object, enum queue_waiter waiter,
                            const uint32_t **ret_half)
{
        struct queue queue;
        objd_status r = queue_find(lane, object, &queue);

        if (r == OBJD_OK && waiter == QUEUE_JOINER)
                r = queue_open_unlocked(lane, object->shm, object->serial, &queue);
        if (r)
                return r == OBJD_E_GONE ? object_gone(object) : r;
        *ret_half = (const uint32_t *)wake_word_of(&queue, waiter);
        return OBJD_OK;
}

void queue_disarm(struct lane *lane, struct objd_object *object, struct queue_sleeper *sleeper)
{
        struct queue queue;
        uint64_t *word, value;

        if (!sleeper->armed || begin(lane, object, sleeper->waiter, &queue))
                return;
        sleeper->armed = false;
        word = wake_word_of(&queue, sleeper->waiter);
        value = word_get(word);
        if (wake_seq(value) == sleeper->seen && wake_sleepers(value)) {
                txn_set(lane, word, wake_word(wake_sleepers(value) - 1, wake_seq(value)));
                (void)txn_commit(lane);
        } else {
                txn_abort(lane);
        }
}

bool queue_spin(struct lane *lane, struct objd_object *object, enum queue_waiter waiter, uint64_t seen,
                int64_t deadline_ns)
{
        const uint64_t *word;
        struct queue queue;

        if (queue_find(lane, object, &queue))
                return true;
        if (waiter == QUEUE_PUTTER)
                word = &queue.head->popped;
        else
                word = queue.tail ? &queue.tail->pushed : &queue.head->pushed;
        return wait_spin(lane, (const uint32_t *)word, (uint32_t)seen, deadline_ns);
}
