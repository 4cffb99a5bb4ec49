/* SPDX-License-Identifier: Apache-2.0 */
/*
 * batch_run.c -- exported: running a batch, and what came of it
 *
 * By handle, near.h does what is submitted; without a mapping, a batch is a message to the daemon (proxy.h).
 */

#include "client/batch.h"

#include <string.h>

#include "base/status.h"
#include "client/near.h"
#include "client/proxy.h"

/* ---- Running ------------------------------------------------------------------------------------------ */

void batch_begin(objd_batch *batch, objd_how how)
{
        batch_forget_outcome(batch);
        batch->how = how;
        batch->at = 0;
        batch->began_ns = 0;
        batch->waits = NEAR_RUNS;
        batch->cancelled = false;
        for (size_t i = 0; i < batch->len; i++) {
                batch->ops[i].buf = &batch->results[i];
                batch->ops[i].result.type = OBJD_NIL;
                batch->ops[i].line = NULL;
                batch->turns[i].status = OBJD_OK;
        }
}

void batch_end(objd_batch *batch, objd_status outcome, size_t failed)
{
        batch->outcome = outcome;
        batch->failed = failed;
        batch->sentence = outcome ? strdup(objd_last_error()) : NULL;
}

void batch_end_turn(objd_batch *batch, size_t place, objd_status status)
{
        batch->turns[place].status = status;
        batch->turns[place].sentence = status ? strdup(objd_last_error()) : NULL;
}

objd_status objd_batch_commit(objd_batch *batch, size_t *ret_failed)
{
        size_t failed;
        objd_status r;

        if (!batch)
                return fail(OBJD_E_INVAL, "objd_batch_commit: batch must be given");
        r = batch_check_open(batch);
        if (r == OBJD_OK && batch->n_waiting)
                r = fail(OBJD_E_INVAL,
                         "the batch has operations that wait; only objd_submit() runs them, in turn");
        if (r)
                return r;
        batch_begin(batch, OBJD_AT_ONCE);
        failed = batch->len;
        r = batch->conn->rpc ? proxy_commit(batch, &failed)
                             : op_run(batch->conn, batch->ops, batch->len, &failed);
        if (r && ret_failed && failed < batch->len)
                *ret_failed = failed;
        batch_end(batch, r, failed);
        batch->state = r ? BATCH_OPEN : BATCH_DONE;
        return r;
}

objd_status objd_batch_outcome(const objd_batch *batch, size_t *ret_failed)
{
        if (!batch)
                return fail(OBJD_E_INVAL, "objd_batch_outcome: batch must be given");
        if (batch->state == BATCH_SUBMITTED)
                return fail(OBJD_E_INVAL, "the batch is submitted; collect it first");
        if (!batch->outcome)
                return batch->state == BATCH_DONE ? OBJD_OK
                                                  : fail(OBJD_E_INVAL, "the batch has not been committed");
        if (ret_failed && batch->failed < batch->len)
                *ret_failed = batch->failed;
        return fail(batch->outcome, "%s", batch->sentence ? batch->sentence : "");
}

static objd_status check_place(const objd_batch *batch, size_t place)
{
        if (batch->state != BATCH_DONE)
                return fail(OBJD_E_INVAL, "the batch has not been committed");
        if (place >= batch->len)
                return fail(OBJD_E_RANGE, "the batch has %zu operations, and there is no place %zu",
                            batch->len, place);
        return OBJD_OK;
}

static objd_status status_at(const objd_batch *batch, size_t place)
{
        const struct turn *turn = &batch->turns[place];

        return turn->status ? fail(turn->status, "%s", turn->sentence ? turn->sentence : "") : OBJD_OK;
}

objd_status objd_batch_result(const objd_batch *batch, size_t place, objd_value *ret_value)
{
        objd_status r;

        if (!batch || !ret_value)
                return fail(OBJD_E_INVAL, "objd_batch_result: batch and ret_value must be given");
        r = check_place(batch, place);
        if (r == OBJD_OK)
                r = status_at(batch, place);
        else
                return r;
        if (r == OBJD_OK || r == OBJD_E_OWNER_DIED)
                *ret_value = batch->ops[place].result;
        return r;
}

objd_status objd_batch_lease(const objd_batch *batch, size_t place, uint64_t *ret_lease)
{
        objd_status r;

        if (!batch || !ret_lease)
                return fail(OBJD_E_INVAL, "objd_batch_lease: batch and ret_lease must be given");
        r = check_place(batch, place);
        if (r == OBJD_OK && batch->ops[place].code != OP_QUEUE_LEASE)
                r = fail(OBJD_E_INVAL, "%s at place %zu of the batch takes no lease",
                         op_name[batch->ops[place].code], place);
        if (r == OBJD_OK)
                r = status_at(batch, place);
        if (r == OBJD_OK)
                *ret_lease = batch->turns[place].lease;
        return r;
}

/* ---- Submitting --------------------------------------------------------------------------------------- */

static objd_status check_submit(const objd_batch *batch, objd_how how)
{
        objd_status r;

        if (!batch || (how != OBJD_AT_ONCE && how != OBJD_IN_TURN))
                return fail(OBJD_E_INVAL, "objd_submit: batch must be given, and how is one of two");
        r = batch_check_open(batch);
        if (r)
                return r;
        if (how == OBJD_AT_ONCE && batch->n_waiting)
                return fail(OBJD_E_INVAL, "the batch has operations that wait; it can only be run in turn");
        if (!batch->len)
                return fail(OBJD_E_INVAL, "the batch is empty");
        for (size_t i = 0; i < batch->len; i++)
                if (batch->ops[i].object->conn->arena != batch->conn->arena ||
                    batch->ops[i].object->conn->rpc != batch->conn->rpc)
                        return fail(OBJD_E_INVAL, "%s in a batch: the object belongs to another connection",
                                    op_name[batch->ops[i].code]);
        return OBJD_OK;
}

objd_status objd_submit(objd_batch *batch, objd_how how, void *tag)
{
        objd_status r = check_submit(batch, how);

        if (r)
                return r;
        batch_begin(batch, how);
        batch->tag = tag;
        batch->fork_generation = fork_generation();
        batch->holder_ns = conn_timeout(batch->conn);
        return batch->conn->rpc ? proxy_submit(batch) : near_submit(batch);
}

objd_status objd_collect(objd_conn *conn, int64_t timeout_ns, objd_batch **ret_batch, void **ret_tag)
{
        objd_batch *batch;
        objd_status r;

        if (!conn || !ret_batch || timeout_ns < OBJD_FOREVER)
                return fail(OBJD_E_INVAL, "objd_collect: conn and ret_batch must be given, and a timeout");
        r = conn->rpc ? proxy_collect(conn, timeout_ns, &batch) : near_collect(conn, timeout_ns, &batch);
        if (r)
                return r;
        batch->state = batch->outcome ? BATCH_OPEN : BATCH_DONE;
        *ret_batch = batch;
        if (ret_tag)
                *ret_tag = batch->tag;
        return OBJD_OK;
}

objd_status objd_collect_fd(objd_conn *conn, int *ret_fd)
{
        if (!conn || !ret_fd)
                return fail(OBJD_E_INVAL, "objd_collect_fd: conn and ret_fd must be given");
        return conn->rpc ? proxy_collect_fd(conn, ret_fd) : near_fd(conn, ret_fd);
}

objd_status objd_cancel(objd_batch *batch)
{
        if (!batch || batch->state != BATCH_SUBMITTED || batch->fork_generation != fork_generation())
                return fail(OBJD_E_INVAL, "objd_cancel: the batch is not submitted");
        if (batch->conn->rpc)
                proxy_cancel(batch);
        else
                near_cancel(batch);
        return OBJD_OK;
}
