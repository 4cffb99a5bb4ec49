/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_batch.c -- a batch through the daemon, committed or submitted: its operations become calls, and what they give comes back into
 * them
 */

#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "client/batch.h"
#include "client/proxy.h"

static const enum call_code code_of[N_OPS] = {
        [OP_DICT_SET] = CALL_DICT_SET,
        [OP_DICT_SET_NEW] = CALL_DICT_SET_NEW,
        [OP_DICT_CAS] = CALL_DICT_CAS,
        [OP_DICT_ADD_INT] = CALL_DICT_ADD_INT,
        [OP_DICT_ADD_FLOAT] = CALL_DICT_ADD_FLOAT,
        [OP_DICT_GET] = CALL_DICT_GET,
        [OP_DICT_DEL] = CALL_DICT_DEL,
        [OP_DICT_POP] = CALL_DICT_POP,
        [OP_LIST_APPEND] = CALL_LIST_APPEND,
        [OP_LIST_PREPEND] = CALL_LIST_PREPEND,
        [OP_LIST_INSERT] = CALL_LIST_INSERT,
        [OP_LIST_SET] = CALL_LIST_SET,
        [OP_LIST_GET] = CALL_LIST_GET,
        [OP_LIST_DEL] = CALL_LIST_DEL,
        [OP_LIST_POP] = CALL_LIST_POP,
        [OP_QUEUE_PUT] = CALL_QUEUE_PUT,
        [OP_QUEUE_GET] = CALL_QUEUE_GET,
        [OP_QUEUE_ACK] = CALL_QUEUE_ACK,
        [OP_QUEUE_TASK_DONE] = CALL_QUEUE_TASK_DONE,
        [OP_QUEUE_LEASE] = CALL_QUEUE_GET_LEASE,
        [OP_LOCK_TAKE] = CALL_LOCK_TAKE,
        [OP_LOCK_GIVE] = CALL_LOCK_GIVE,
};

static void fill_call(const struct op *op, const struct turn *turn, struct call *call)
{
        *call = (struct call){
                .code = code_of[op->code],
                .thread = rpc_thread(),
                .object = proxy_ref_of(op->object),
                .keys = op->key,
                .n_keys = op->key ? 1 : 0,
                .values = op->value,
                .n_values = op->value ? 1 : 0,
                .expected = op->expected,
                .index = op->index,
        };
        if (op->code == OP_DICT_ADD_FLOAT)
                call->real = op->u.real;
        else if (op->code == OP_QUEUE_ACK)
                call->lease = op->u.lease;
        else
                call->integer = op->u.integer;
        if (!turn)
                return;
        /* Each by itself, as the proxied functions send it. */
        call->timeout_ns = turn->timeout_ns;
        if (op->code == OP_QUEUE_LEASE)
                call->integer = turn->lease_ns;
        else if (op->code == OP_QUEUE_PUT && object_order(op->object->config) == OBJD_PRIORITY)
                call->code = CALL_QUEUE_PUT_PRIORITY;
        else if (op->code == OP_LOCK_TAKE)
                rpc_remember_thread(op->object->conn->rpc);
}

static objd_status fill_calls(const objd_batch *batch, struct call **ret_calls)
{
        struct call *calls = sys.resize(NULL, batch->len * sizeof(*calls)); /* each is set whole */

        if (!calls)
                return fail(OBJD_E_NOMEM, "no memory for a batch");
        for (size_t i = 0; i < batch->len; i++)
                fill_call(&batch->ops[i], batch->how == OBJD_IN_TURN ? &batch->turns[i] : NULL, &calls[i]);
        *ret_calls = calls;
        return OBJD_OK;
}

static objd_status check_ops(const objd_batch *batch, size_t *failed)
{
        for (size_t i = 0; i < batch->len; i++)
                if (!object_is_proxied(batch->ops[i].object) ||
                    batch->ops[i].object->conn->rpc != batch->conn->rpc) {
                        *failed = i;
                        return fail(OBJD_E_INVAL, "%s: the object belongs to another connection",
                                    op_name[batch->ops[i].code]);
                }
        return OBJD_OK;
}

/* ---- What comes back --------------------------------------------------------------------------------------- */

static objd_status take_result(struct op *op, struct turn *turn, const struct answer *answer)
{
        objd_value *result = &op->result;

        if (op->code == OP_DICT_ADD_INT)
                op->result = objd_int(answer->integer);
        else if (op->code == OP_DICT_ADD_FLOAT)
                op->result = objd_float(answer->real);
        else if (op->code == OP_LOCK_TAKE)
                op->result = objd_int((int64_t)answer->number);
        else if (op->code == OP_QUEUE_LEASE)
                turn->lease = answer->number;
        return answer->value.type == OBJD_ANY ? OBJD_OK
                                              : proxy_copy_values(&answer->value, 1, &result, op->buf);
}

/* All of them, or one that says why not; in turn each has a status. */
static objd_status take_answers(objd_batch *batch, const struct answer *answers)
{
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < batch->len && r == OBJD_OK; i++) {
                const struct answer *answer = &answers[i];

                if (answer->status == OBJD_OK || answer->status == OBJD_E_OWNER_DIED)
                        r = take_result(&batch->ops[i], &batch->turns[i], answer);
                if (answer->status && batch->how == OBJD_IN_TURN)
                        batch_end_turn(batch, i,
                                       fail(answer->status, "%s", answer->sentence ? answer->sentence : ""));
        }
        return r;
}

static objd_status take_reply(objd_batch *batch, const struct call_reply *reply, size_t *failed)
{
        objd_status r = reply->status;

        *failed = batch->len;
        if (r) {
                *failed = reply->failed ? reply->failed - 1 : batch->len;
                return fail(r, "%s", reply->sentence ? reply->sentence : "");
        }
        if (reply->n_answers != batch->len)
                return fail(OBJD_E_PROTO, "the daemon's reply has %zu answers to %zu calls", reply->n_answers,
                            batch->len);
        return take_answers(batch, reply->answers);
}

/* ---- Committing, submitting -------------------------------------------------------------------------------- */

static objd_status send(objd_batch *batch, const struct call_batch *about, size_t *failed)
{
        struct call_batch message = *about;
        struct rpc_reply reply;
        struct call *calls;
        objd_status r = fill_calls(batch, &calls);

        if (r)
                return r;
        message.calls = calls;
        r = rpc_send(batch->conn->rpc, &message, proxy_patience(message.timeout_ns), &reply);
        free(calls);
        if (r == OBJD_OK) {
                r = take_reply(batch, &reply.reply, failed);
                rpc_reply_free(&reply);
        }
        return r;
}

objd_status proxy_commit(objd_batch *batch, size_t *ret_failed)
{
        const struct call_batch about = { .atomic = true,
                                          .timeout_ns = conn_timeout(batch->conn),
                                          .n_calls = batch->len };
        size_t failed = batch->len;
        objd_status r = check_ops(batch, &failed);

        if (r == OBJD_OK && batch->len)
                r = send(batch, &about, &failed);
        if (r && r != OBJD_E_BUSY && failed < batch->len)
                *ret_failed = failed;
        return r;
}

objd_status proxy_submit(objd_batch *batch)
{
        struct call_batch message = { .atomic = batch->how == OBJD_AT_ONCE,
                                      .timeout_ns = batch->holder_ns,
                                      .n_calls = batch->len };
        struct call *calls;
        objd_status r = fill_calls(batch, &calls);

        if (r)
                return r;
        message.calls = calls;
        /* From here on it may be collected by others. */
        batch->state = BATCH_SUBMITTED;
        r = rpc_submit(batch->conn->rpc, &message, proxy_patience(batch->holder_ns), batch, &batch->ticket);
        if (r)
                batch->state = BATCH_OPEN;
        free(calls);
        return r;
}

objd_status proxy_collect(objd_conn *conn, int64_t timeout_ns, objd_batch **ret_batch)
{
        struct rpc_ticket *ticket;
        struct rpc_reply reply;
        objd_batch *batch;
        size_t failed;
        objd_status r = rpc_collect(conn->rpc, timeout_ns, &ticket);

        if (r)
                return r;
        batch = rpc_ticket_context(ticket);
        failed = batch->len;
        r = rpc_ticket_reply(ticket, &reply);
        if (r == OBJD_OK) {
                r = take_reply(batch, &reply.reply, &failed);
                rpc_reply_free(&reply);
        }
        batch_end(batch, r, r == OBJD_E_BUSY ? batch->len : failed);
        rpc_ticket_free(ticket);
        batch->ticket = NULL;
        *ret_batch = batch;
        return OBJD_OK;
}

objd_status proxy_collect_fd(objd_conn *conn, int *ret_fd)
{
        return rpc_collect_fd(conn->rpc, ret_fd);
}

void proxy_cancel(objd_batch *batch)
{
        rpc_cancel(batch->conn->rpc, batch->ticket);
}

static void free_batch(void *context)
{
        batch_destroy(context);
}

void proxy_give_up(objd_batch *batch)
{
        rpc_give_up(batch->conn->rpc, batch->ticket, free_batch);
}
