/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_batch.c -- a batch through the daemon: its operations become calls, and what they give comes back into them
 */

#include <stdlib.h>

#include "base/status.h"
#include "base/sys.h"
#include "client/proxy.h"
#include "object/op.h"

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
};

static void fill_call(const struct op *op, struct call *call)
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
}

static objd_status check_ops(const objd_conn *conn, const struct op *ops, size_t n, size_t *failed)
{
        for (*failed = 0; *failed < n; ++*failed)
                if (!object_is_proxied(ops[*failed].object) || ops[*failed].object->conn->rpc != conn->rpc)
                        return fail(OBJD_E_INVAL, "%s: the object belongs to another connection",
                                    op_name[ops[*failed].code]);
        return OBJD_OK;
}

static objd_status take_result(struct op *op, const struct answer *answer)
{
        objd_value *result = &op->result;

        if (op->code == OP_DICT_ADD_INT)
                op->result = objd_int(answer->integer);
        else if (op->code == OP_DICT_ADD_FLOAT)
                op->result = objd_float(answer->real);
        else if (answer->value.type != OBJD_ANY)
                return proxy_copy_values(&answer->value, 1, &result, op->buf);
        return OBJD_OK;
}

static objd_status take_reply(struct op *ops, size_t n, const struct call_reply *reply, size_t *failed)
{
        objd_status r = reply->status;

        if (r) {
                *failed = reply->failed ? reply->failed - 1 : n;
                return fail(r, "%s", reply->sentence ? reply->sentence : "");
        }
        if (reply->n_answers != n)
                return fail(OBJD_E_PROTO, "the daemon's reply has %zu answers to %zu calls", reply->n_answers,
                            n);
        for (size_t i = 0; i < n && r == OBJD_OK; i++)
                r = take_result(&ops[i], &reply->answers[i]);
        return r;
}

objd_status proxy_commit(objd_conn *conn, struct op *ops, size_t n, size_t *ret_failed)
{
        struct call_batch batch = { .atomic = true, .timeout_ns = conn_timeout(conn), .n_calls = n };
        struct rpc_reply reply;
        struct call *calls;
        size_t failed = n;
        objd_status r = check_ops(conn, ops, n, &failed);

        if (r == OBJD_OK && !n)
                return OBJD_OK;
        calls = sys.alloc((n ? n : 1) * sizeof(*calls));
        if (r == OBJD_OK && !calls)
                r = fail(OBJD_E_NOMEM, "no memory for a batch");
        if (r == OBJD_OK) {
                failed = n;
                for (size_t i = 0; i < n; i++)
                        fill_call(&ops[i], &calls[i]);
                batch.calls = calls;
                r = rpc_send(conn->rpc, &batch, proxy_patience(batch.timeout_ns), &reply);
                if (r == OBJD_OK) {
                        r = take_reply(ops, n, &reply.reply, &failed);
                        rpc_reply_free(&reply);
                }
        }
        free(calls);
        if (r && r != OBJD_E_BUSY && ret_failed && failed < n)
                *ret_failed = failed;
        return r;
}
