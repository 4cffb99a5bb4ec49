/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue.c -- the queue kind: its entry in the table of kinds, and how an operation finds and locks what it needs
 *
 * FIFO has two ends with a lock each, so that putters and getters do not meet: the head is the object's own line, the
 * tail that of a second slot. Items are records in a chain of chunks between them (queue_chain.c). What one end
 * must know of the other, it looks up under the other's version, and only when what it has heard before is used up
 * (queue_take.c). LIFO and PRIORITY have the head only, and a stack or a heap of items (queue_table.c), whose
 * bytes are in cells (queue_cells.c). An item under a lease, or one that came back from it, is such an item in a
 * FIFO queue as well (queue_lease.c). Sleepers are in queue_sleep.c, reads without locks in queue_read.c.
 *
 *   line         who locks it
 *   tail         put
 *   head         get, get_lease, ack, task_done
 *   both         give_back, close, poison, delete; whatever else cannot see enough of the other line
 *
 * An operation that runs alone, which is most of them, begins with one line and asks for both when it needs them
 * (queue_run()); in a batch it asks for all that it could need at once (plan()).
 */

#include "object/queue.h"

#include "base/status.h"
#include "mem/pool.h"
#include "object/value.h"

/* ---- Finding ------------------------------------------------------------------------------------------ */

static struct queue_shm *ctl_at(const struct arena *arena, uint64_t ctl)
{
        return arena_at(arena, (ctl & ~QUEUE_FLAGS) + CHUNK_HEAD, sizeof(struct queue_shm));
}

objd_status queue_open(struct lane *lane, struct object_shm *object, struct queue *ret_queue)
{
        struct line_shm *line = &object->line;
        uint64_t tail;

        *ret_queue = (struct queue){
                .lane = lane,
                .arena = lane->arena,
                .object = object,
                .head = queue_head_of(object),
                .order = object_order(word_get(&line->config)),
        };
        ret_queue->shm = ctl_at(lane->arena, word_get(&ret_queue->head->ctl));
        if (!ret_queue->shm)
                return queue_corrupt(ret_queue, "the place of its books");
        if (ret_queue->order != OBJD_FIFO)
                return OBJD_OK;
        tail = word_get(&ret_queue->shm->tail);
        ret_queue->tail = tail % SLOT_SIZE ? NULL : arena_at(lane->arena, tail, SLOT_SIZE);
        return ret_queue->tail && ret_queue->tail != (void *)object &&
                               word_get(&ret_queue->tail->serial) == word_get(&line->serial)
                       ? OBJD_OK
                       : queue_corrupt(ret_queue, "the place of its tail");
}

/*
 * Again until everything belongs to one version. A plan that is made again under its locks comes here with the line locked by
 * itself, for which it would wait until its time-out.
 */
objd_status queue_open_unlocked(struct lane *lane, struct object_shm *object, uint64_t serial,
                                struct queue *ret_queue)
{
        struct line_shm *line = &object->line;

        if (lock_is_held(lane, line)) {
                if (word_get(&line->serial) != serial || object_kind(word_get(&line->config)) != OBJD_QUEUE)
                        return OBJD_E_GONE;
                return queue_open(lane, object, ret_queue);
        }
        for (;;) {
                uint64_t version = lock_read_begin(line);
                objd_status r = OBJD_E_CORRUPT;

                if (!lock_version_is_stable(version)) {
                        r = lock_wait_stable(lane, line);
                        if (r)
                                return r;
                        continue;
                }
                if (word_get(&line->serial) != serial || object_kind(word_get(&line->config)) != OBJD_QUEUE) {
                        if (lock_read_valid(line, version))
                                return OBJD_E_GONE;
                        continue;
                }
                if (ctl_at(lane->arena, word_get(&queue_head_of(object)->ctl)) &&
                    lock_read_valid(line, version))
                        r = queue_open(lane, object, ret_queue);
                if (lock_read_valid(line, version))
                        return r == OBJD_E_CORRUPT ? fail(r, "a queue is damaged: the place of its books")
                                                   : r;
        }
}

/*
 * Where a queue's tail and books are never changes while it lives, so the handle keeps it. The block that the tail's slot
 * is in may only have been retired since if the queue is gone; the next look at a serial tells.
 */
objd_status queue_find(struct lane *lane, struct objd_object *object, struct queue *ret_queue)
{
        uint64_t retired = word_get_acquire(&lane->arena->header->retire_count);
        objd_status r;

        if (__builtin_expect(word_get_acquire(&object->cache[1]) == retired + 1, 1)) {
                uint8_t *base = lane->arena->base;
                uint64_t tail = word_get(&object->cache[0]);

                *ret_queue = (struct queue){
                        .lane = lane,
                        .arena = lane->arena,
                        .object = object->shm,
                        .handle = object,
                        .head = queue_head_of(object->shm),
                        .tail = tail ? (struct queue_tail_shm *)(base + tail) : NULL,
                        .order = object_order(object->config),
                };
                return OBJD_OK;
        }
        r = object_touch(object);
        if (r == OBJD_OK)
                r = queue_open_unlocked(lane, object->shm, object->serial, ret_queue);
        if (r)
                return r == OBJD_E_GONE ? object_gone(object) : r;
        ret_queue->handle = object;
        word_set(&object->cache[0], ret_queue->tail ? arena_off(lane->arena, ret_queue->tail) : 0);
        word_set_release(&object->cache[1], retired + 1);
        return OBJD_OK;
}

static objd_status both_lines(struct queue *queue,
                              objd_status (*take)(struct lane *lane, struct line_shm *line))
{
        struct line_shm *first = queue_head_line(queue), *second = queue_tail_line(queue);
        objd_status r;

        if (second && second < first) {
                first = second;
                second = queue_head_line(queue);
        }
        r = take(queue->lane, first);
        return r || !second ? r : take(queue->lane, second);
}

objd_status queue_lock(struct queue *queue)
{
        return both_lines(queue, lock_take);
}

objd_status queue_freeze(struct queue *queue)
{
        struct line_shm *const lines[2] = { queue_head_line(queue), queue_tail_line(queue) };

        if (queue->lane->read_only)
                return lock_freeze_for_reader(queue->lane, lines, queue->tail ? 2 : 1);
        return both_lines(queue, lock_freeze);
}

/* ---- Applying ----------------------------------------------------------------------------------------- */

static objd_status set_state(struct queue *queue, uint64_t state)
{
        txn_set(queue->lane, &queue->head->config, word_get(&queue->head->config) | state);
        if (queue->tail)
                txn_set(queue->lane, &queue->tail->config, word_get(&queue->tail->config) | state);
        queue_wake(queue, queue_getters(queue), UINT64_MAX);
        queue_wake(queue, &queue->head->putters, UINT64_MAX);
        if (state == QUEUE_POISONED)
                queue_wake(queue, &queue->shm->joiners, UINT64_MAX);
        return OBJD_OK;
}

static objd_status apply_to(struct queue *queue, struct op *op)
{
        switch (op->code) {
        case OP_QUEUE_PUT:
                return queue_put(queue, op);
        case OP_QUEUE_GET:
                return queue_get(queue, op);
        case OP_QUEUE_LEASE:
                return lease_take(queue, op);
        case OP_QUEUE_ACK:
                return lease_ack(queue, op->u.lease);
        case OP_QUEUE_GIVE_BACK:
                return lease_give_back(queue, op->u.lease);
        case OP_QUEUE_TASK_DONE:
                return queue_task_done(queue);
        case OP_QUEUE_CLOSE:
                return set_state(queue, QUEUE_CLOSED);
        case OP_QUEUE_POISON:
                return set_state(queue, QUEUE_POISONED);
        default:
                return fail(OBJD_E_NOTSUP, "queue %s: %s is no operation of a batch", queue_label(queue),
                            op_name[op->code]);
        }
}

/* ---- One operation alone ------------------------------------------------------------------------------- */

/* Which lines it takes to begin with; a queue of another order than FIFO has the head only. */
enum lines { HEAD, TAIL, BOTH };

static enum lines first_lines(enum op_code code)
{
        switch (code) {
        case OP_QUEUE_PUT:
                return TAIL;
        case OP_QUEUE_GIVE_BACK:
        case OP_QUEUE_CLOSE:
        case OP_QUEUE_POISON:
                return BOTH;
        default:
                return HEAD;
        }
}

/* With the line locked: whose it is, and where the books are. */
static objd_status verify_line(struct queue *queue, const struct line_shm *line)
{
        if (__builtin_expect(word_get(&line->serial) != queue->handle->serial, 0))
                return object_gone(queue->handle);
        if (__builtin_expect(word_get(&line->config) & OBJECT_POISONED, 0))
                return fail(OBJD_E_CORRUPT, "queue %s is damaged beyond repair; delete it",
                            queue_label(queue));
        queue->shm = ctl_at(queue->arena, word_get(&line->root[4]));
        return queue->shm ? OBJD_OK : queue_corrupt(queue, "the place of its books");
}

static_assert(offsetof(struct queue_head_shm, ctl) == offsetof(struct line_shm, root[4]),
              "verify_line() takes either");
static_assert(offsetof(struct queue_tail_shm, ctl) == offsetof(struct line_shm, root[4]),
              "verify_line() takes either");

static objd_status attempt(struct queue *queue, struct op *op, enum lines lines)
{
        struct line_shm *line =
                queue->tail && lines == TAIL ? queue_tail_line(queue) : queue_head_line(queue);
        objd_status r;

        txn_begin(queue->lane, op->code);
        r = lines == BOTH ? queue_lock(queue) : lock_take(queue->lane, line);
        if (r == OBJD_OK)
                r = verify_line(queue, line);
        if (r == OBJD_OK)
                r = apply_to(queue, op);
        if (r == OBJD_OK)
                return txn_commit(queue->lane);
        txn_abort(queue->lane);
        return r;
}

objd_status queue_run(struct lane *lane, struct op *op)
{
        enum lines lines = first_lines(op->code);
        struct queue queue;
        objd_status r = queue_find(lane, op->object, &queue);

        if (r)
                return r;
        queue.alone = true;
        for (uint32_t turn = 0; turn < OP_PLANS_MAX; turn++) {
                r = attempt(&queue, op, lines);
                if (__builtin_expect(r != QUEUE_NEEDS_BOTH && r != QUEUE_NEEDS_LOOK, 1))
                        return r;
                if (r == QUEUE_NEEDS_BOTH) {
                        lines = BOTH;
                        continue;
                }
                r = lease_look(lane, op->object, false);
                if (r)
                        return r;
        }
        return queue_corrupt(&queue, "its lines contradict each other");
}

/* ---- In a batch --------------------------------------------------------------------------------------- */

static objd_status plan(struct lane *lane, struct op *op, struct plan *plan)
{
        struct queue queue;
        objd_status r = queue_find(lane, op->object, &queue);
        bool tail_only;

        if (r)
                return r;
        tail_only = op->code == OP_QUEUE_PUT && queue.tail && !(word_get(&queue.tail->ctl) & QUEUE_BOUNDED);
        if (!tail_only)
                r = plan_add(plan, queue_head_line(&queue));
        if (r == OBJD_OK && queue.tail && op->code != OP_QUEUE_ACK)
                r = plan_add(plan, queue_tail_line(&queue));
        return r;
}

static objd_status check_put(const struct queue *queue, const struct op *op)
{
        if (op->u.integer && queue->order != OBJD_PRIORITY)
                return fail(OBJD_E_INVAL, "queue %s has no priorities", queue_label(queue));
        for (size_t i = 0; i < op->n; i++) {
                objd_status r =
                        value_check_type(&op->value[i], object_value_type(op->object->config), "value");

                if (r)
                        return r;
        }
        return OBJD_OK;
}

static objd_status apply(struct lane *lane, struct op *op)
{
        struct queue queue;
        objd_status r = queue_find(lane, op->object, &queue);

        if (r == OBJD_OK)
                r = verify_line(&queue, queue.tail && op->code == OP_QUEUE_PUT ? queue_tail_line(&queue)
                                                                               : queue_head_line(&queue));
        if (r == OBJD_OK && op->code == OP_QUEUE_PUT)
                r = check_put(&queue, op);
        return r ? r : apply_to(&queue, op);
}

/* ---- Making and deleting ------------------------------------------------------------------------------- */

static objd_status check_config(const objd_config *config)
{
        if (config->key_type || config->lock_flags)
                return fail(OBJD_E_INVAL,
                            "a queue has a value type, an order and a bound, and no key type or lock flags");
        if ((unsigned)config->order > OBJD_PRIORITY)
                return fail(OBJD_E_INVAL, "there is no order %d of a queue", (int)config->order);
        return OBJD_OK;
}

/*
 * The tail, and the first chunk of the chain, which both ends begin in. The tail's line need not be locked: it is found through the
 * object's line only, which is, until after the commit. It must not be: this would be out of order, and somebody who
 * has meant what was in the slot before may hold it and wait for us.
 */
static objd_status create_chain(struct lane *lane, struct object_shm *object, struct queue_shm *shm,
                                uint64_t ctl)
{
        struct queue_head_shm *head = queue_head_of(object);
        struct queue_tail_shm *tail;
        struct object_shm *slot;
        struct chunk_shm *chunk;
        objd_status r = txn_take_part(lane, &slot);

        if (r == OBJD_OK)
                r = txn_take(lane, object, CHAIN_FIRST, &chunk);
        if (r)
                return r;
        tail = (struct queue_tail_shm *)&slot->line;
        txn_set(lane, &tail->serial, word_get(&object->line.serial));
        word_set(&tail->config, 0);
        word_set(&tail->pushed, 0);
        word_set(&tail->pos, arena_off(lane->arena, chunk) + CHUNK_HEAD);
        word_set(&tail->end, arena_off(lane->arena, chunk) + CHUNK_HEAD + chunk_size(chunk) - CHAIN_LINK);
        word_set(&tail->getters, 0);
        word_set(&tail->ctl, ctl | (word_get(&object->sequence) ? QUEUE_BOUNDED : 0));
        word_set(&slot->sequence, 0);
        word_set(&slot->owner, 0);
        word_set((uint64_t *)(void *)&slot->name_size, 0);
        word_set(&head->pos, word_get(&tail->pos));
        word_set(&shm->chunk, arena_off(lane->arena, chunk));
        word_set(&shm->tail, arena_off(lane->arena, slot));
        return OBJD_OK;
}

static objd_status create(struct lane *lane, struct object_shm *object, const objd_config *config)
{
        struct queue_head_shm *head = queue_head_of(object);
        struct chunk_shm *chunk;
        struct queue_shm *shm;
        objd_status r = txn_take(lane, object, sizeof(*shm), &chunk);

        if (r)
                return r;
        shm = chunk_data(chunk);
        for (size_t i = 0; i < sizeof(*shm) / 8; i++)
                word_set((uint64_t *)shm + i, 0);
        word_set(&shm->bound, config->bound);
        word_set(&object->sequence, config->bound);
        word_set(&head->popped, 0);
        word_set(&head->getters, 0);
        word_set(&head->pushed, 0);
        word_set(&head->putters, 0);
        word_set(&head->ctl, arena_off(lane->arena, chunk));
        return config->order == OBJD_FIFO ? create_chain(lane, object, shm, arena_off(lane->arena, chunk))
                                          : OBJD_OK;
}

static objd_status plan_destroy(struct lane *lane, struct object_shm *object, struct plan *plan)
{
        struct line_shm *line = &object->line;
        bool held = lock_is_held(lane, line);
        struct queue queue;
        objd_status r;

        if (held)
                r = queue_open(lane, object, &queue);
        else
                r = queue_open_unlocked(lane, object, word_get(&line->serial), &queue);
        /* Whatever it is by now, once it is locked somebody asks again. */
        if (r == OBJD_E_GONE && !held)
                return OBJD_OK;
        return r || !queue.tail ? r : plan_add(plan, queue_tail_line(&queue));
}

/* Sleepers are woken whether they are counted or not, and find the queue gone. */
static objd_status destroy(struct lane *lane, struct object_shm *object)
{
        struct queue queue;
        uint64_t *words[3];
        objd_status r = queue_open(lane, object, &queue);

        if (r == OBJD_OK)
                r = txn_reserve(lane, 128, 16);
        if (r)
                return r;
        words[0] = queue_getters(&queue);
        words[1] = &queue.head->putters;
        words[2] = &queue.shm->joiners;
        for (size_t i = 0; i < 3; i++) {
                txn_set(lane, words[i], wake_word(0, wake_seq(word_get(words[i])) + 1));
                (void)txn_wake(lane, (const uint32_t *)words[i]);
        }
        if (!queue.tail)
                return OBJD_OK;
        txn_set(lane, &queue.tail->serial, 0);
        return txn_free_part(lane, (struct object_shm *)queue.tail);
}

static void get_config(const struct object_shm *object, objd_config *ret_config)
{
        ret_config->bound = word_get(&object->sequence);
}

const struct kind queue_kind = {
        .kind = OBJD_QUEUE,
        .name = "queue",
        .check_config = check_config,
        .create = create,
        .plan_destroy = plan_destroy,
        .destroy = destroy,
        .plan = plan,
        .apply = apply,
        .len = queue_len,
        .get_config = get_config,
        .walk = queue_walk,
        .get_state = queue_get_state,
        .set_state = queue_set_state,
        .visit = queue_visit,
        .check = queue_check,
        .salvage = queue_salvage,
};
