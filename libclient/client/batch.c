/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch.c -- exported: lists of operations
 *
 * A batch keeps copies of all its arguments in blocks of its own, in the encoded form that value.h describes, so
 * that nothing that the caller passed has to live on.
 */

#include "client/batch.h"

#include <stdlib.h>
#include <string.h>

#include "arena/word.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/near.h"
#include "client/proxy.h"
#include "object/value.h"

#define FIRST_OPS 16
#define BLOCK_BYTES 4096u

/* Where copies of arguments live; never moved, since values point into it. */
struct block {
        struct block *next;
        size_t used, size;
        uint64_t words[];
};

objd_status objd_batch_new(objd_conn *conn, objd_batch **ret_batch)
{
        objd_batch *batch;

        if (!conn || !ret_batch)
                return fail(OBJD_E_INVAL, "objd_batch_new: conn and ret_batch must be given");
        batch = sys.alloc(sizeof(*batch));
        if (!batch)
                return fail(OBJD_E_NOMEM, "no memory for a batch");
        batch->conn = conn;
        *ret_batch = batch;
        return OBJD_OK;
}

/* Of the last run. */
void batch_forget_outcome(objd_batch *batch)
{
        for (size_t i = 0; i < batch->len; i++) {
                free(batch->turns[i].sentence);
                batch->turns[i].sentence = NULL;
        }
        free(batch->sentence);
        batch->sentence = NULL;
}

static void clear(objd_batch *batch)
{
        batch_forget_outcome(batch);
        for (size_t i = 0; i < batch->len; i++)
                free(batch->ops[i].scratch);
        while (batch->blocks) {
                struct block *next = batch->blocks->next;

                free(batch->blocks);
                batch->blocks = next;
        }
        batch->len = batch->n_waiting = 0;
        batch->state = BATCH_OPEN;
}

void objd_batch_clear(objd_batch *batch)
{
        if (batch && batch->state != BATCH_SUBMITTED)
                clear(batch);
}

void batch_destroy(objd_batch *batch)
{
        clear(batch);
        for (size_t i = 0; i < batch->room; i++)
                objd_buf_free(&batch->results[i]);
        free(batch->results);
        free(batch->turns);
        free(batch->ops);
        free(batch);
}

/* One that is submitted is given up, unless it is a parent process's: that one works with a copy of its own. */
void objd_batch_free(objd_batch *batch)
{
        if (!batch)
                return;
        if (batch->state != BATCH_SUBMITTED || batch->fork_generation != fork_generation())
                batch_destroy(batch);
        else if (batch->conn->rpc)
                proxy_give_up(batch);
        else
                near_give_up(batch);
}

/* ---- Filling ------------------------------------------------------------------------------------------ */

static void *copy_room(objd_batch *batch, size_t size)
{
        struct block *block = batch->blocks;

        size = round8(size);
        if (!block || block->size - block->used < size) {
                size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;

                block = sys.alloc(sizeof(*block) + room);
                if (!block)
                        return NULL;
                block->size = room;
                block->next = batch->blocks;
                batch->blocks = block;
        }
        block->used += size;
        return (uint8_t *)block->words + block->used - size;
}

/* A copy of a value and of all that it points to. NULL stays NULL. */
static objd_status copy_value(objd_batch *batch, const objd_value *value, const objd_value **ret_copy)
{
        objd_value *copy;
        uint64_t size;
        void *bytes;
        objd_status r;

        *ret_copy = NULL;
        if (!value)
                return OBJD_OK;
        r = value_check(value);
        if (r)
                return r;
        size = value_encoded_size(value);
        copy = copy_room(batch, sizeof(*copy));
        bytes = copy_room(batch, size ? size : 8);
        if (!copy || !bytes)
                return fail(OBJD_E_NOMEM, "no memory for a batch");
        value_encode(value, bytes);
        r = value_decode(value->type, bytes, size, copy);
        if (r == OBJD_OK)
                *ret_copy = copy;
        return r;
}

static objd_status make_place(objd_batch *batch)
{
        size_t room = batch->room ? 2 * batch->room : FIRST_OPS;
        struct op *ops;
        struct turn *turns;
        objd_buf *results;

        if (batch->len < batch->room)
                return OBJD_OK;
        ops = sys.resize(batch->ops, room * sizeof(*ops));
        if (!ops)
                return fail(OBJD_E_NOMEM, "no memory for a batch");
        batch->ops = ops;
        turns = sys.resize(batch->turns, room * sizeof(*turns));
        if (!turns)
                return fail(OBJD_E_NOMEM, "no memory for a batch");
        batch->turns = turns;
        results = sys.resize(batch->results, room * sizeof(*results));
        if (!results)
                return fail(OBJD_E_NOMEM, "no memory for a batch");
        memset(results + batch->room, 0, (room - batch->room) * sizeof(*results));
        batch->results = results;
        batch->room = room;
        return OBJD_OK;
}

objd_status batch_check_open(const objd_batch *batch)
{
        switch (batch->state) {
        case BATCH_OPEN:
                return OBJD_OK;
        case BATCH_DONE:
                return fail(OBJD_E_INVAL, "the batch has been committed; clear it first");
        default:
                return fail(OBJD_E_INVAL, "the batch is submitted; collect it first");
        }
}

/* Appends an operation; key, value and expected are copied. */
static objd_status add_turn(objd_batch *batch, objd_object *object, struct op op, struct turn turn)
{
        objd_status r;

        if (!batch || !object)
                return fail(OBJD_E_INVAL, "%s in a batch: batch and object must be given", op_name[op.code]);
        r = batch_check_open(batch);
        if (r)
                return r;
        op.object = object;
        r = copy_value(batch, op.key, &op.key);
        if (r == OBJD_OK)
                r = copy_value(batch, op.value, &op.value);
        if (r == OBJD_OK)
                r = copy_value(batch, op.expected, &op.expected);
        if (r == OBJD_OK)
                r = make_place(batch);
        if (r)
                return r;
        batch->turns[batch->len] = turn;
        batch->ops[batch->len++] = op;
        return OBJD_OK;
}

static objd_status add(objd_batch *batch, objd_object *object, struct op op)
{
        return add_turn(batch, object, op, (struct turn){ .timeout_ns = OBJD_NOWAIT });
}

static objd_status add_with(objd_batch *batch, objd_object *object, const void *needed, struct op op)
{
        return needed ? add(batch, object, op)
                      : fail(OBJD_E_INVAL, "%s in a batch: an argument is NULL", op_name[op.code]);
}

/* One that can only be run in turn. */
static objd_status add_waiting(objd_batch *batch, objd_object *object, struct op op, struct turn turn)
{
        objd_status r;

        if (turn.timeout_ns < OBJD_FOREVER)
                return fail(OBJD_E_INVAL, "%s in a batch: a timeout of %lld ns", op_name[op.code],
                            (long long)turn.timeout_ns);
        r = add_turn(batch, object, op, turn);
        if (r == OBJD_OK)
                batch->n_waiting++;
        return r;
}

/* ---- The operations ----------------------------------------------------------------------------------- */

objd_status objd_batch_dict_set(objd_batch *batch, objd_object *dict, const objd_value *key,
                                const objd_value *value)
{
        return add_with(batch, dict, key && value ? key : NULL,
                        (struct op){ .code = OP_DICT_SET, .key = key, .value = value });
}

objd_status objd_batch_dict_set_new(objd_batch *batch, objd_object *dict, const objd_value *key,
                                    const objd_value *value)
{
        return add_with(batch, dict, key && value ? key : NULL,
                        (struct op){ .code = OP_DICT_SET_NEW, .key = key, .value = value });
}

objd_status objd_batch_dict_cas(objd_batch *batch, objd_object *dict, const objd_value *key,
                                const objd_value *expected, const objd_value *value)
{
        return add_with(batch, dict, key,
                        (struct op){ .code = OP_DICT_CAS, .key = key, .value = value, .expected = expected });
}

objd_status objd_batch_dict_add_int(objd_batch *batch, objd_object *dict, const objd_value *key,
                                    int64_t delta)
{
        return add_with(batch, dict, key,
                        (struct op){ .code = OP_DICT_ADD_INT, .key = key, .u.integer = delta });
}

objd_status objd_batch_dict_add_float(objd_batch *batch, objd_object *dict, const objd_value *key,
                                      double delta)
{
        return add_with(batch, dict, key,
                        (struct op){ .code = OP_DICT_ADD_FLOAT, .key = key, .u.real = delta });
}

objd_status objd_batch_dict_get(objd_batch *batch, objd_object *dict, const objd_value *key)
{
        return add_with(batch, dict, key, (struct op){ .code = OP_DICT_GET, .key = key });
}

objd_status objd_batch_dict_del(objd_batch *batch, objd_object *dict, const objd_value *key)
{
        return add_with(batch, dict, key, (struct op){ .code = OP_DICT_DEL, .key = key });
}

objd_status objd_batch_dict_pop(objd_batch *batch, objd_object *dict, const objd_value *key)
{
        return add_with(batch, dict, key, (struct op){ .code = OP_DICT_POP, .key = key });
}

objd_status objd_batch_list_append(objd_batch *batch, objd_object *list, const objd_value *value)
{
        return add_with(batch, list, value, (struct op){ .code = OP_LIST_APPEND, .value = value, .n = 1 });
}

objd_status objd_batch_list_prepend(objd_batch *batch, objd_object *list, const objd_value *value)
{
        return add_with(batch, list, value, (struct op){ .code = OP_LIST_PREPEND, .value = value, .n = 1 });
}

objd_status objd_batch_list_insert(objd_batch *batch, objd_object *list, int64_t index,
                                   const objd_value *value)
{
        return add_with(batch, list, value,
                        (struct op){ .code = OP_LIST_INSERT, .index = index, .value = value, .n = 1 });
}

objd_status objd_batch_list_set(objd_batch *batch, objd_object *list, int64_t index, const objd_value *value)
{
        return add_with(batch, list, value,
                        (struct op){ .code = OP_LIST_SET, .index = index, .value = value, .n = 1 });
}

objd_status objd_batch_list_get(objd_batch *batch, objd_object *list, int64_t index)
{
        return add(batch, list, (struct op){ .code = OP_LIST_GET, .index = index });
}

objd_status objd_batch_list_del(objd_batch *batch, objd_object *list, int64_t index)
{
        return add(batch, list, (struct op){ .code = OP_LIST_DEL, .index = index });
}

objd_status objd_batch_list_pop(objd_batch *batch, objd_object *list, int64_t index)
{
        return add(batch, list, (struct op){ .code = OP_LIST_POP, .index = index });
}

objd_status objd_batch_queue_put(objd_batch *batch, objd_object *queue, const objd_value *value,
                                 int64_t priority)
{
        return add_with(batch, queue, value,
                        (struct op){ .code = OP_QUEUE_PUT, .value = value, .n = 1, .u.integer = priority });
}

objd_status objd_batch_queue_get(objd_batch *batch, objd_object *queue)
{
        return add(batch, queue, (struct op){ .code = OP_QUEUE_GET, .n = 1 });
}

objd_status objd_batch_queue_ack(objd_batch *batch, objd_object *queue, uint64_t lease)
{
        return add(batch, queue, (struct op){ .code = OP_QUEUE_ACK, .u.lease = lease });
}

objd_status objd_batch_queue_task_done(objd_batch *batch, objd_object *queue)
{
        return add(batch, queue, (struct op){ .code = OP_QUEUE_TASK_DONE });
}

/* ---- Those that wait ---------------------------------------------------------------------------------- */

objd_status objd_batch_queue_put_wait(objd_batch *batch, objd_object *queue, const objd_value *value,
                                      int64_t priority, int64_t timeout_ns)
{
        if (!value)
                return fail(OBJD_E_INVAL, "%s in a batch: an argument is NULL", op_name[OP_QUEUE_PUT]);
        return add_waiting(batch, queue,
                           (struct op){ .code = OP_QUEUE_PUT, .value = value, .n = 1, .u.integer = priority },
                           (struct turn){ .timeout_ns = timeout_ns });
}

objd_status objd_batch_queue_get_wait(objd_batch *batch, objd_object *queue, int64_t timeout_ns)
{
        return add_waiting(batch, queue, (struct op){ .code = OP_QUEUE_GET, .n = 1 },
                           (struct turn){ .timeout_ns = timeout_ns });
}

objd_status objd_batch_queue_get_lease(objd_batch *batch, objd_object *queue, int64_t lease_ns,
                                       int64_t timeout_ns)
{
        return add_waiting(batch, queue, (struct op){ .code = OP_QUEUE_LEASE, .n = 1 },
                           (struct turn){ .timeout_ns = timeout_ns, .lease_ns = lease_ns });
}

objd_status objd_batch_lock_take(objd_batch *batch, objd_object *lock, int64_t timeout_ns)
{
        return add_waiting(batch, lock, (struct op){ .code = OP_LOCK_TAKE },
                           (struct turn){ .timeout_ns = timeout_ns });
}

objd_status objd_batch_lock_give(objd_batch *batch, objd_object *lock)
{
        return add_waiting(batch, lock, (struct op){ .code = OP_LOCK_GIVE },
                           (struct turn){ .timeout_ns = OBJD_NOWAIT });
}
