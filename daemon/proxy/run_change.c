/* SPDX-License-Identifier: Apache-2.0 */

/*
 * run_change.c -- calls that change an object, as operations of the engine that their answer rides along with
 */

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"
#include "object/queue.h"
#include "proxy/permit.h"
#include "proxy/record.h"
#include "proxy/run.h"

static const enum op_code op_of[CALL_CODES] = {
        [CALL_DICT_GET] = OP_DICT_GET,
        [CALL_DICT_SET] = OP_DICT_SET,
        [CALL_DICT_SET_NEW] = OP_DICT_SET_NEW,
        [CALL_DICT_CAS] = OP_DICT_CAS,
        [CALL_DICT_ADD_INT] = OP_DICT_ADD_INT,
        [CALL_DICT_ADD_FLOAT] = OP_DICT_ADD_FLOAT,
        [CALL_DICT_DEL] = OP_DICT_DEL,
        [CALL_DICT_POP] = OP_DICT_POP,
        [CALL_DICT_POP_ANY] = OP_DICT_POP_ANY,
        [CALL_DICT_CLEAR] = OP_DICT_CLEAR,
        [CALL_DICT_SET_MANY] = OP_DICT_SET,
        [CALL_LIST_APPEND] = OP_LIST_APPEND,
        [CALL_LIST_PREPEND] = OP_LIST_PREPEND,
        [CALL_LIST_EXTEND] = OP_LIST_EXTEND,
        [CALL_LIST_INSERT] = OP_LIST_INSERT,
        [CALL_LIST_GET] = OP_LIST_GET,
        [CALL_LIST_SET] = OP_LIST_SET,
        [CALL_LIST_DEL] = OP_LIST_DEL,
        [CALL_LIST_POP] = OP_LIST_POP,
        [CALL_LIST_REMOVE] = OP_LIST_REMOVE,
        [CALL_LIST_SLICE_DEL] = OP_LIST_SLICE_DEL,
        [CALL_LIST_CLEAR] = OP_LIST_CLEAR,
        [CALL_LIST_REVERSE] = OP_LIST_REVERSE,
        [CALL_LIST_SORT] = OP_LIST_SORT,
        [CALL_QUEUE_PUT] = OP_QUEUE_PUT,
        [CALL_QUEUE_PUT_PRIORITY] = OP_QUEUE_PUT,
        [CALL_QUEUE_PUT_MANY] = OP_QUEUE_PUT,
        [CALL_QUEUE_GET] = OP_QUEUE_GET,
        [CALL_QUEUE_GET_MANY] = OP_QUEUE_GET,
        [CALL_QUEUE_CLOSE] = OP_QUEUE_CLOSE,
        [CALL_QUEUE_POISON] = OP_QUEUE_POISON,
        [CALL_QUEUE_TASK_DONE] = OP_QUEUE_TASK_DONE,
        [CALL_QUEUE_GET_LEASE] = OP_QUEUE_LEASE,
        [CALL_QUEUE_ACK] = OP_QUEUE_ACK,
        [CALL_QUEUE_GIVE_BACK] = OP_QUEUE_GIVE_BACK,
};

/* A call as operations. */
struct change {
        const struct call *call;
        struct outcome *outcome;
        struct op *ops;
        size_t n_ops;
        struct items_builder items;
        struct objd_object *object;
        struct op one; /* not cleared */
};

static void fill_op(const struct call *call, struct op *op, struct objd_object *object,
                    struct outcome *outcome)
{
        op_init(op, op_of[call->code], object);
        op->key = call->n_keys ? call->keys : NULL;
        op->value = call->n_values ? call->values : NULL;
        op->expected = call->expected;
        op->n = call->n_values;
        op->index = call->index;
        op->stop = call->stop;
        op->buf = &outcome->buf;
        op->result.type = OBJD_NIL;
        switch (op->code) {
        case OP_DICT_ADD_FLOAT:
                op->u.real = call->real;
                break;
        case OP_QUEUE_ACK:
        case OP_QUEUE_GIVE_BACK:
                op->u.lease = call->lease;
                break;
        case OP_LIST_SORT:
                op->u.descending = call->descending;
                break;
        case OP_QUEUE_GET:
                op->n = 1;
                break;
        default:
                op->u.integer = call->integer;
                break;
        }
}

/* What the library's functions would refuse, and the operations do not. */
static objd_status check_change(const struct call *call, const struct objd_object *object)
{
        switch (call->code) {
        case CALL_QUEUE_PUT_PRIORITY:
                if (object_order(object->config) != OBJD_PRIORITY)
                        return fail(OBJD_E_INVAL, "queue %s has no priorities", object_label(object));
                return OBJD_OK;
        case CALL_QUEUE_GET_LEASE:
                if (call->integer <= 0 && call->integer != OBJD_FOREVER)
                        return fail(OBJD_E_INVAL, "queue get_lease: a lease of %lld ns",
                                    (long long)call->integer);
                return OBJD_OK;
        case CALL_QUEUE_GET_MANY:
                return call->max ? OBJD_OK : fail(OBJD_E_INVAL, "queue get_many: max is 0");
        default:
                return OBJD_OK;
        }
}

static objd_status change_begin(struct change *change)
{
        const struct call *call = change->call;
        objd_status r = check_change(call, change->object);

        if (r)
                return r;
        change->ops = &change->one;
        change->n_ops = 1;
        if (call->code == CALL_DICT_SET_MANY) {
                change->n_ops = call->n_keys;
                change->ops = sys.alloc((call->n_keys ? call->n_keys : 1) * sizeof(*change->ops));
                if (!change->ops)
                        return fail(OBJD_E_NOMEM, "no memory for %zu operations", call->n_keys);
        }
        for (size_t i = 0; i < change->n_ops; i++)
                fill_op(call, &change->ops[i], change->object, change->outcome);
        if (call->code == CALL_DICT_SET_MANY)
                for (size_t i = 0; i < change->n_ops; i++) {
                        change->ops[i].key = &call->keys[i];
                        change->ops[i].value = &call->values[i];
                }
        if (call->code == CALL_QUEUE_GET_MANY) {
                change->one.n = call->max < CALL_GET_AT_ONCE ? call->max : CALL_GET_AT_ONCE;
                change->one.items = &change->items;
        }
        return OBJD_OK;
}

static void change_end(struct change *change)
{
        if (change->call->code == CALL_QUEUE_GET_MANY)
                items_discard(&change->items);
        if (change->ops != &change->one)
                free(change->ops);
}

/* With all applied: also before the commit, for the record. The items are made only once. */
static void collect_change(struct change *change)
{
        objd_items *items;

        if (change->call->code == CALL_QUEUE_GET_MANY) {
                if (!change->outcome->items && items_finish(&change->items, &items) == OBJD_OK)
                        outcome_items(change->outcome, items);
        } else if (change->n_ops) {
                outcome_from_ops(change->outcome, change->ops);
        }
}

static void collect(struct recording *record)
{
        collect_change(record->context);
}

/* @return what lease_look() does, and OBJD_E_BUSY if the lane had to be left to others meanwhile */
static objd_status look_at_leases(const struct caller *caller, struct objd_object *queue, struct lane *lane,
                                  bool is_empty)
{
        struct lane *same;
        objd_status r = lane_enter(caller->conn->arena, caller->conn->timeout_ns, &same);

        if (r)
                return r;
        r = is_empty ? lease_look(same, queue, true) : lease_look_if_due(same, queue);
        lane_leave(same);
        if (r == OBJD_OK && lane->fork_generation != fork_generation())
                r = fail(OBJD_E_BUSY, "queue %s: items under a lease are coming back", object_label(queue));
        return r;
}

/*
 * Leases that are over come back before others get what is there; a getter that finds nothing asks whether something comes back, since nobody else may have looked. Not in a lane that had to be left to
 * others: the next call begins another one, which acts for nobody.
 */
static objd_status run_ops(const struct caller *caller, struct change *change, struct lane *lane)
{
        enum op_code code = change->ops[0].code;
        bool takes = code == OP_QUEUE_GET || code == OP_QUEUE_LEASE;
        objd_status r = takes ? look_at_leases(caller, change->object, lane, false) : OBJD_OK;

        if (r)
                return r;
        r = op_run(caller->conn, change->ops, change->n_ops, NULL);
        if (r != OBJD_E_EMPTY || !takes || lane->fork_generation != fork_generation())
                return r;
        r = look_at_leases(caller, change->object, lane, true);
        if (r)
                return r == OBJD_E_BUSY ? OBJD_E_EMPTY : r;
        return op_run(caller->conn, change->ops, change->n_ops, NULL);
}

/* An operation leaves these without a sentence, since those who wait want none. */
static objd_status say_why(objd_status r, const struct objd_object *object)
{
        if (r == OBJD_E_EMPTY && object_kind(object->config) == OBJD_QUEUE)
                return fail(r, "queue %s is empty", object_label(object));
        return r == OBJD_E_FULL ? fail(r, "queue %s is full", object_label(object)) : r;
}

objd_status run_change(const struct caller *caller, const struct call *call, struct objd_object *object,
                       struct recording *record, struct outcome *outcome)
{
        struct lane *lane = NULL;
        struct change change;
        objd_status r;

        memset(&change, 0, offsetof(struct change, one));
        change.call = call;
        change.outcome = outcome;
        change.object = object;
        r = change_begin(&change);
        if (r == OBJD_OK && call->code == CALL_QUEUE_GET_MANY)
                r = items_prepare(&change.items);
        if (r == OBJD_OK)
                r = lane_act_as(caller->conn->arena, caller->client, 0, &lane);
        if (r == OBJD_OK && change.n_ops) {
                record_begin(record, lane, outcome, 1, collect, &change);
                r = run_ops(caller, &change, lane);
                record_end(record, lane);
                if (r == OBJD_OK)
                        collect_change(&change);
        }
        if (lane)
                lane_act_as_self(lane);
        change_end(&change);
        return say_why(r, object);
}

/* ---- Several at once ------------------------------------------------------------------------------------ */

struct together {
        const struct call *calls;
        size_t n;
        struct outcome *outcomes;
        struct objd_object *objects; /* those that there are, */
        size_t n_objects;
        struct op *ops;
        size_t n_ops;
};

static void collect_all(struct recording *record)
{
        struct together *together = record->context;

        for (size_t i = 0; i < together->n; i++)
                outcome_from_ops(&together->outcomes[i], &together->ops[i]);
}

/* Calls on the same object, one after the other, have one handle, and it is looked for once. */
static objd_status find_once(const struct caller *caller, struct together *together, const struct call *call,
                             struct objd_object **ret_object)
{
        struct objd_object *object = &together->objects[together->n_objects], *kept;
        objd_status r;

        if (together->n_ops) {
                objd_ref last = call[-1].object;

                if (last.place == call->object.place && last.serial == call->object.serial) {
                        *ret_object = object - 1;
                        return OBJD_OK;
                }
        }
        r = run_find_kept(caller, call->object, &kept);
        if (r)
                return r;
        *object = *kept; /* a batch may have more objects than are kept */
        together->n_objects++;
        *ret_object = object;
        return OBJD_OK;
}

static objd_status prepare_one(const struct caller *caller, struct together *together,
                               const struct call *call, struct outcome *outcome)
{
        const struct call_properties *properties = call_properties(call->code);
        struct objd_object *object;
        objd_status r;

        if (!(properties->flags & CALL_IN_ATOMIC))
                return fail(OBJD_E_INVAL, "%s cannot stand in an atomic batch",
                            properties->name ? properties->name : "what is no call");
        r = permit_call(caller, call);
        if (r == OBJD_OK)
                r = run_check(call);
        if (r == OBJD_OK)
                r = find_once(caller, together, call, &object);
        if (r == OBJD_OK)
                fill_op(call, &together->ops[together->n_ops++], object, outcome);
        return r;
}

objd_status run_atomic(const struct caller *caller, const struct call_batch *batch,
                       const struct run_memory *memory, struct recording *record, struct outcome *outcomes,
                       size_t *ret_failed)
{
        struct together together = { .calls = batch->calls,
                                     .n = batch->n_calls,
                                     .outcomes = outcomes,
                                     .objects = memory->objects,
                                     .ops = memory->ops };
        struct lane *lane = NULL;
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < batch->n_calls && r == OBJD_OK; i++) {
                *ret_failed = i;
                r = prepare_one(caller, &together, &batch->calls[i], &outcomes[i]);
        }
        if (r == OBJD_OK)
                r = lane_act_as(caller->conn->arena, caller->client, 0, &lane);
        if (r == OBJD_OK) {
                *ret_failed = batch->n_calls;
                record_begin(record, lane, outcomes, together.n, collect_all, &together);
                r = op_run(caller->conn, together.ops, together.n_ops, ret_failed);
                record_end(record, lane);
                lane_act_as_self(lane);
        }
        for (size_t i = 0; i < together.n && r == OBJD_OK; i++)
                outcome_from_ops(&outcomes[i], &together.ops[i]);
        return r;
}
