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
#define SPARE_BLOCKS 64u

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

/* The last block: kept for what comes next, unless it is a large one, or there are enough. */
static void put_block_away(objd_batch *batch)
{
        struct block *block = batch->blocks;

        batch->blocks = block->next;
        if (block->size > BLOCK_BYTES || batch->n_spare == SPARE_BLOCKS) {
                free(block);
                return;
        }
        block->next = batch->spare;
        batch->spare = block;
        batch->n_spare++;
}

static void clear(objd_batch *batch)
{
        batch_forget_outcome(batch);
        while (batch->blocks)
                put_block_away(batch);
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
        while (batch->spare) {
                struct block *next = batch->spare->next;

                free(batch->spare);
                batch->spare = next;
        }
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

static struct block *add_block(objd_batch *batch, size_t size)
{
        size_t room = size > BLOCK_BYTES ? size : BLOCK_BYTES;
        struct block *block = batch->spare;

        if (block && room == BLOCK_BYTES) {
                batch->spare = block->next;
                batch->n_spare--;
        } else {
                block = sys.resize(NULL, sizeof(*block) + room);
                if (!block)
                        return NULL;
        }
        *block = (struct block){ .size = room, .next = batch->blocks };
        batch->blocks = block;
        return block;
}

static void *copy_room(objd_batch *batch, size_t size)
{
        struct block *block = batch->blocks;

        size = round8(size);
        if (!block || block->size - block->used < size)
                block = add_block(batch, size);
        if (!block)
                return NULL;
        block->used += size;
        return (uint8_t *)block->words + block->used - size;
}

/* Both nearly always are bytes: no more is copied of such a value than what it has. */
static objd_status copy_bytes(objd_batch *batch, const objd_value *value, const objd_value **ret_copy)
{
        objd_value *copy = copy_room(batch, sizeof(*copy));
        void *bytes = copy_room(batch, value->size ? value->size : 8);

        if (!copy || !bytes)
                return fail(OBJD_E_NOMEM, "no memory for a batch");
        if (value->size)
                memcpy(bytes, value->data, value->size);
        copy->type = value->type;
        copy->data = bytes;
        copy->size = value->size;
        *ret_copy = copy;
        return OBJD_OK;
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
        if (value->type == OBJD_BYTES || value->type == OBJD_STR)
                return copy_bytes(batch, value, ret_copy);
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

/* What an operation is asked for with. */
struct request {
        enum op_code code;
        const objd_value *key, *value, *expected; /* are copied */
        size_t n;
        int64_t index;
        int64_t integer;
        double real;
        uint64_t lease;
        int64_t timeout_ns, lease_ns; /* of one that waits */
};

static objd_status copy_values(objd_batch *batch, const struct request *request, struct op *op)
{
        objd_status r = copy_value(batch, request->key, &op->key);

        if (r == OBJD_OK)
                r = copy_value(batch, request->value, &op->value);
        return r == OBJD_OK ? copy_value(batch, request->expected, &op->expected) : r;
}

/* Appends an operation. */
static objd_status add_turn(objd_batch *batch, objd_object *object, const struct request *request)
{
        struct op *op;
        objd_status r;

        if (!batch || !object)
                return fail(OBJD_E_INVAL, "%s in a batch: batch and object must be given",
                            op_name[request->code]);
        r = batch_check_open(batch);
        if (r == OBJD_OK)
                r = make_place(batch);
        if (r)
                return r;
        op = &batch->ops[batch->len];
        op_init(op, request->code, object);
        r = copy_values(batch, request, op);
        if (r)
                return r;
        op->n = request->n;
        op->index = request->index;
        if (op->code == OP_DICT_ADD_FLOAT)
                op->u.real = request->real;
        else if (op->code == OP_QUEUE_ACK)
                op->u.lease = request->lease;
        else
                op->u.integer = request->integer;
        batch->turns[batch->len++] =
                (struct turn){ .timeout_ns = request->timeout_ns, .lease_ns = request->lease_ns };
        return OBJD_OK;
}

static objd_status add(objd_batch *batch, objd_object *object, struct request request)
{
        request.timeout_ns = OBJD_NOWAIT;
        return add_turn(batch, object, &request);
}

static objd_status add_with(objd_batch *batch, objd_object *object, const void *needed,
                            struct request request)
{
        return needed ? add(batch, object, request)
                      : fail(OBJD_E_INVAL, "%s in a batch: an argument is NULL", op_name[request.code]);
}

/* One that can only be run in turn. */
static objd_status add_waiting(objd_batch *batch, objd_object *object, struct request request)
{
        objd_status r;

        if (request.timeout_ns < OBJD_FOREVER)
                return fail(OBJD_E_INVAL, "%s in a batch: a timeout of %lld ns", op_name[request.code],
                            (long long)request.timeout_ns);
        r = add_turn(batch, object, &request);
        if (r == OBJD_OK)
                batch->n_waiting++;
        return r;
}

/* ---- The operations ----------------------------------------------------------------------------------- */

objd_status objd_batch_dict_set(objd_batch *batch, objd_object *dict, const objd_value *key,
                                const objd_value *value)
{
        return add_with(batch, dict, key && value ? key : NULL,
                        (struct request){ .code = OP_DICT_SET, .key = key, .value = value });
}

objd_status objd_batch_dict_set_new(objd_batch *batch, objd_object *dict, const objd_value *key,
                                    const objd_value *value)
{
        return add_with(batch, dict, key && value ? key : NULL,
                        (struct request){ .code = OP_DICT_SET_NEW, .key = key, .value = value });
}

objd_status objd_batch_dict_cas(objd_batch *batch, objd_object *dict, const objd_value *key,
                                const objd_value *expected, const objd_value *value)
{
        return add_with(
                batch, dict, key,
                (struct request){ .code = OP_DICT_CAS, .key = key, .value = value, .expected = expected });
}

objd_status objd_batch_dict_add_int(objd_batch *batch, objd_object *dict, const objd_value *key,
                                    int64_t delta)
{
        return add_with(batch, dict, key,
                        (struct request){ .code = OP_DICT_ADD_INT, .key = key, .integer = delta });
}

objd_status objd_batch_dict_add_float(objd_batch *batch, objd_object *dict, const objd_value *key,
                                      double delta)
{
        return add_with(batch, dict, key,
                        (struct request){ .code = OP_DICT_ADD_FLOAT, .key = key, .real = delta });
}

objd_status objd_batch_dict_get(objd_batch *batch, objd_object *dict, const objd_value *key)
{
        return add_with(batch, dict, key, (struct request){ .code = OP_DICT_GET, .key = key });
}

objd_status objd_batch_dict_del(objd_batch *batch, objd_object *dict, const objd_value *key)
{
        return add_with(batch, dict, key, (struct request){ .code = OP_DICT_DEL, .key = key });
}

objd_status objd_batch_dict_pop(objd_batch *batch, objd_object *dict, const objd_value *key)
{
        return add_with(batch, dict, key, (struct request){ .code = OP_DICT_POP, .key = key });
}

objd_status objd_batch_list_append(objd_batch *batch, objd_object *list, const objd_value *value)
{
        return add_with(batch, list, value,
                        (struct request){ .code = OP_LIST_APPEND, .value = value, .n = 1 });
}

objd_status objd_batch_list_prepend(objd_batch *batch, objd_object *list, const objd_value *value)
{
        return add_with(batch, list, value,
                        (struct request){ .code = OP_LIST_PREPEND, .value = value, .n = 1 });
}

objd_status objd_batch_list_insert(objd_batch *batch, objd_object *list, int64_t index,
                                   const objd_value *value)
{
        return add_with(batch, list, value,
                        (struct request){ .code = OP_LIST_INSERT, .index = index, .value = value, .n = 1 });
}

objd_status objd_batch_list_set(objd_batch *batch, objd_object *list, int64_t index, const objd_value *value)
{
        return add_with(batch, list, value,
                        (struct request){ .code = OP_LIST_SET, .index = index, .value = value, .n = 1 });
}

objd_status objd_batch_list_get(objd_batch *batch, objd_object *list, int64_t index)
{
        return add(batch, list, (struct request){ .code = OP_LIST_GET, .index = index });
}

objd_status objd_batch_list_del(objd_batch *batch, objd_object *list, int64_t index)
{
        return add(batch, list, (struct request){ .code = OP_LIST_DEL, .index = index });
}

objd_status objd_batch_list_pop(objd_batch *batch, objd_object *list, int64_t index)
{
        return add(batch, list, (struct request){ .code = OP_LIST_POP, .index = index });
}

objd_status objd_batch_queue_put(objd_batch *batch, objd_object *queue, const objd_value *value,
                                 int64_t priority)
{
        return add_with(
                batch, queue, value,
                (struct request){ .code = OP_QUEUE_PUT, .value = value, .n = 1, .integer = priority });
}

objd_status objd_batch_queue_get(objd_batch *batch, objd_object *queue)
{
        return add(batch, queue, (struct request){ .code = OP_QUEUE_GET, .n = 1 });
}

objd_status objd_batch_queue_ack(objd_batch *batch, objd_object *queue, uint64_t lease)
{
        return add(batch, queue, (struct request){ .code = OP_QUEUE_ACK, .lease = lease });
}

objd_status objd_batch_queue_task_done(objd_batch *batch, objd_object *queue)
{
        return add(batch, queue, (struct request){ .code = OP_QUEUE_TASK_DONE });
}

/* ---- Those that wait ---------------------------------------------------------------------------------- */

objd_status objd_batch_queue_put_wait(objd_batch *batch, objd_object *queue, const objd_value *value,
                                      int64_t priority, int64_t timeout_ns)
{
        if (!value)
                return fail(OBJD_E_INVAL, "%s in a batch: an argument is NULL", op_name[OP_QUEUE_PUT]);
        return add_waiting(batch, queue,
                           (struct request){ .code = OP_QUEUE_PUT,
                                             .value = value,
                                             .n = 1,
                                             .integer = priority,
                                             .timeout_ns = timeout_ns });
}

objd_status objd_batch_queue_get_wait(objd_batch *batch, objd_object *queue, int64_t timeout_ns)
{
        return add_waiting(batch, queue,
                           (struct request){ .code = OP_QUEUE_GET, .n = 1, .timeout_ns = timeout_ns });
}

objd_status objd_batch_queue_get_lease(objd_batch *batch, objd_object *queue, int64_t lease_ns,
                                       int64_t timeout_ns)
{
        return add_waiting(
                batch, queue,
                (struct request){
                        .code = OP_QUEUE_LEASE, .n = 1, .timeout_ns = timeout_ns, .lease_ns = lease_ns });
}

objd_status objd_batch_lock_take(objd_batch *batch, objd_object *lock, int64_t timeout_ns)
{
        return add_waiting(batch, lock, (struct request){ .code = OP_LOCK_TAKE, .timeout_ns = timeout_ns });
}

objd_status objd_batch_lock_give(objd_batch *batch, objd_object *lock)
{
        return add_waiting(batch, lock, (struct request){ .code = OP_LOCK_GIVE, .timeout_ns = OBJD_NOWAIT });
}
