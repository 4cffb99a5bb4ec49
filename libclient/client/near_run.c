/* SPDX-License-Identifier: Apache-2.0 */
/*
 * near_run.c -- the operations of a submitted batch, by handle
 *
 * In turn, each is tried by the exported function that it stands for, which is told not to wait for an item, room or an owner.
 */

#include <stdlib.h>

#include "base/next_timeout.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/near.h"

/* ---- One operation ----------------------------------------------------------------------------------------- */

static objd_status put(struct op *op)
{
        if (object_kind(op->object->config) == OBJD_QUEUE &&
            object_order(op->object->config) == OBJD_PRIORITY)
                return objd_queue_put_priority(op->object, op->value, op->u.integer, OBJD_NOWAIT);
        return objd_queue_put(op->object, op->value, OBJD_NOWAIT);
}

/* Locks are taken and given in the name of the thread that has submitted the batch, whoever tries. */
static objd_status run_lock(objd_batch *batch, struct op *op)
{
        uint64_t token = 0;
        struct lane *lane;
        objd_status r = lane_act_as(batch->conn->arena, 0, batch->owner, &lane);

        if (r)
                return r;
        if (op->code == OP_LOCK_GIVE)
                r = objd_lock_give(op->object);
        else
                r = objd_lock_take(op->object, OBJD_NOWAIT, &token);
        lane_act_as_self(lane);
        if (op->code == OP_LOCK_TAKE && (r == OBJD_OK || r == OBJD_E_OWNER_DIED))
                op->result = objd_int((int64_t)token);
        return r;
}

static objd_status run_one(objd_batch *batch, struct op *op, struct turn *turn)
{
        switch (op->code) {
        case OP_DICT_GET:
                return objd_dict_get(op->object, op->key, &op->result, op->buf);
        case OP_LIST_GET:
                return objd_list_get(op->object, op->index, &op->result, op->buf);
        case OP_QUEUE_PUT:
                return put(op);
        case OP_QUEUE_GET:
                return objd_queue_get(op->object, &op->result, op->buf, OBJD_NOWAIT);
        case OP_QUEUE_LEASE:
                return objd_queue_get_lease(op->object, turn->lease_ns, &op->result, op->buf, &turn->lease,
                                            OBJD_NOWAIT);
        case OP_LOCK_TAKE:
        case OP_LOCK_GIVE:
                return run_lock(batch, op);
        default:
                return op_run(batch->conn, op, 1, NULL);
        }
}

/* Where it is not what calls of this connection wait anyway, each call is told how long. */
static objd_status run_patiently(objd_batch *batch, struct op *op, struct turn *turn, int64_t patience_ns)
{
        objd_status r;

        if (patience_ns != (int64_t)word_get((const uint64_t *)&batch->conn->timeout_ns))
                objd_next_timeout(patience_ns);
        r = run_one(batch, op, turn);
        next_timeout.set = false;
        return r;
}

/* ---- What there is to wait for ----------------------------------------------------------------------------- */

static enum near_waits waits_for(const objd_batch *batch, objd_status r)
{
        const struct op *op = &batch->ops[batch->at];
        bool blocks = batch->turns[batch->at].timeout_ns != OBJD_NOWAIT;

        if (blocks && r == OBJD_E_EMPTY && (op->code == OP_QUEUE_GET || op->code == OP_QUEUE_LEASE))
                return NEAR_WAITS_ITEM;
        if (blocks && r == OBJD_E_FULL && op->code == OP_QUEUE_PUT)
                return NEAR_WAITS_ROOM;
        if (blocks && r == OBJD_E_BUSY && op->code == OP_LOCK_TAKE)
                return NEAR_WAITS_LOCK;
        /* Only a batch that may wait at all has somebody who would wait for this; it is not a lock that somebody owns, for which it is not to. */
        return r == OBJD_E_BUSY && batch->n_waiting && op->code != OP_LOCK_TAKE ? NEAR_WAITS_HOLDER
                                                                                : NEAR_RUNS;
}

int64_t near_deadline(const objd_batch *batch)
{
        bool held = batch->waits == NEAR_WAITS_HOLDER;
        int64_t timeout_ns = held ? batch->holder_ns : batch->turns[batch->at].timeout_ns;
        int64_t began_ns = held ? batch->held_ns : batch->began_ns;

        if (batch->cancelled)
                return 0;
        return timeout_ns == OBJD_FOREVER || timeout_ns > INT64_MAX - began_ns ? INT64_MAX
                                                                               : began_ns + timeout_ns;
}

/* It is too late: what has been a reason to wait becomes the answer. */
static objd_status give_up(const objd_batch *batch, objd_status r)
{
        const struct op *op = &batch->ops[batch->at];
        long long ms = (long long)((now_ns() - batch->began_ns) / 1000000);

        switch (batch->waits) {
        case NEAR_WAITS_ITEM:
                return fail(OBJD_E_TIMEOUT, "queue %s has been empty for %lld ms", object_label(op->object),
                            ms);
        case NEAR_WAITS_ROOM:
                return fail(OBJD_E_TIMEOUT, "queue %s has been full for %lld ms", object_label(op->object),
                            ms);
        case NEAR_WAITS_LOCK:
                return fail(OBJD_E_TIMEOUT, "lock %s has been taken for %lld ms", object_label(op->object),
                            ms);
        default:
                return r;
        }
}

/* ---- A batch ----------------------------------------------------------------------------------------------- */

/* The operation whose turn it is. False: it waits. */
static bool run_turn(objd_batch *batch, int64_t patience_ns)
{
        enum near_waits waited = batch->waits;
        objd_status r = run_patiently(batch, &batch->ops[batch->at], &batch->turns[batch->at], patience_ns);

        batch->waits = waits_for(batch, r);
        if (batch->waits) {
                if (!batch->began_ns)
                        batch->began_ns = now_ns();
                if (batch->waits == NEAR_WAITS_HOLDER && waited != NEAR_WAITS_HOLDER)
                        batch->held_ns = now_ns();
                if (now_ns() < near_deadline(batch))
                        return false;
                r = give_up(batch, r);
                batch->waits = NEAR_RUNS;
        }
        batch_end_turn(batch, batch->at, r);
        batch->at++;
        batch->began_ns = 0;
        return true;
}

static void run_at_once(objd_batch *batch)
{
        size_t failed = batch->len;
        objd_status r;

        if (batch->holder_ns != (int64_t)word_get((const uint64_t *)&batch->conn->timeout_ns))
                objd_next_timeout(batch->holder_ns);
        r = op_run(batch->conn, batch->ops, batch->len, &failed);
        next_timeout.set = false;
        batch_end(batch, r, failed);
}

bool near_run(objd_batch *batch, int64_t patience_ns)
{
        if (batch->how == OBJD_AT_ONCE) {
                run_at_once(batch);
                return true;
        }
        while (batch->at < batch->len)
                if (!run_turn(batch, patience_ns))
                        return false;
        batch_end(batch, OBJD_OK, 0);
        return true;
}
