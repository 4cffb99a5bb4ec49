/* SPDX-License-Identifier: Apache-2.0 */
/*
 * op.c -- running a list of operations as one step: plan, lock, plan again, apply, commit
 */

#include "object/op.h"

#include <string.h>

#include "base/status.h"
#include "object/kind.h"
#include "object/rider.h"
#include "txn/txn.h"

const char *const op_name[N_OPS] = {
        [OP_NONE] = "none",
        [OP_CREATE] = "create",
        [OP_DESTROY] = "delete",
        [OP_RENAME] = "rename",
        [OP_DUMP] = "dump",
        [OP_DICT_SET] = "dict set",
        [OP_DICT_SET_NEW] = "dict set-new",
        [OP_DICT_CAS] = "dict compare-and-set",
        [OP_DICT_ADD_INT] = "dict add",
        [OP_DICT_ADD_FLOAT] = "dict add",
        [OP_DICT_GET] = "dict get",
        [OP_DICT_DEL] = "dict delete",
        [OP_DICT_POP] = "dict pop",
        [OP_DICT_POP_ANY] = "dict pop-any",
        [OP_DICT_CLEAR] = "dict clear",
        [OP_DICT_REHASH] = "dict rehash",
        [OP_LIST_APPEND] = "list append",
        [OP_LIST_PREPEND] = "list prepend",
        [OP_LIST_EXTEND] = "list extend",
        [OP_LIST_INSERT] = "list insert",
        [OP_LIST_SET] = "list set",
        [OP_LIST_GET] = "list get",
        [OP_LIST_DEL] = "list delete",
        [OP_LIST_POP] = "list pop",
        [OP_LIST_REMOVE] = "list remove",
        [OP_LIST_SLICE_DEL] = "list slice-delete",
        [OP_LIST_CLEAR] = "list clear",
        [OP_LIST_REVERSE] = "list reverse",
        [OP_LIST_SORT] = "list sort",
        [OP_QUEUE_PUT] = "queue put",
        [OP_QUEUE_GET] = "queue get",
        [OP_QUEUE_CLOSE] = "queue close",
        [OP_QUEUE_POISON] = "queue poison",
        [OP_QUEUE_TASK_DONE] = "queue task-done",
        [OP_QUEUE_LEASE] = "queue get-lease",
        [OP_QUEUE_ACK] = "queue ack",
        [OP_QUEUE_GIVE_BACK] = "queue give-back",
        [OP_QUEUE_REAP] = "queue reap",
        [OP_LOCK_TAKE] = "lock take",
        [OP_LOCK_GIVE] = "lock give",
};

static objd_kind kind_for(enum op_code code)
{
        if (code >= OP_DICT_SET && code <= OP_DICT_REHASH)
                return OBJD_DICT;
        if (code >= OP_LIST_APPEND && code <= OP_LIST_SORT)
                return OBJD_LIST;
        if (code >= OP_QUEUE_PUT && code <= OP_QUEUE_REAP)
                return OBJD_QUEUE;
        return code >= OP_LOCK_TAKE ? OBJD_LOCK : OBJD_KIND_ANY;
}

objd_status plan_add(struct plan *plan, struct line_shm *line)
{
        if (plan->n && plan->lines[plan->n - 1] == line)
                return OBJD_OK;
        if (plan->n == PLAN_LINES) {
                plan_sort(plan);
                if (plan->n == PLAN_LINES)
                        return fail(OBJD_E_LIMIT,
                                    "one batch cannot lock more than %u places; make it smaller", PLAN_LINES);
        }
        plan->lines[plan->n++] = line;
        return OBJD_OK;
}

/* Where a line stands, or would stand, among those that are sorted. */
static size_t place_of(struct line_shm *const *lines, size_t n, const struct line_shm *line)
{
        size_t from = 0;

        while (n) {
                size_t half = n / 2;

                if (lines[from + half] < line) {
                        from += half + 1;
                        n -= half + 1;
                } else {
                        n = half;
                }
        }
        return from;
}

/* Each is put in its place: they are few, and most batches name the same ones again and again. */
void plan_sort(struct plan *plan)
{
        struct line_shm **lines = plan->lines;
        size_t n = 0;

        for (size_t i = 0; i < plan->n; i++) {
                struct line_shm *line = lines[i];
                size_t place = place_of(lines, n, line);

                if (place < n && lines[place] == line)
                        continue;
                memmove(&lines[place + 1], &lines[place], (n - place) * sizeof(*lines));
                lines[place] = line;
                n++;
        }
        plan->n = n;
}

objd_status plan_lock(struct lane *lane, struct plan *plan)
{
        objd_status r = OBJD_OK;

        plan_sort(plan);
        for (size_t i = 0; i < plan->n && r == OBJD_OK; i++)
                r = lock_take(lane, plan->lines[i]);
        return r;
}

objd_status plan_freeze(struct lane *lane, struct plan *plan)
{
        objd_status r = OBJD_OK;

        plan_sort(plan);
        if (lane->read_only)
                return lock_freeze_for_reader(lane, plan->lines, plan->n);
        for (size_t i = 0; i < plan->n && r == OBJD_OK; i++)
                r = lock_freeze(lane, plan->lines[i]);
        return r;
}

bool plan_is_held(const struct lane *lane, const struct plan *plan)
{
        for (size_t i = 0; i < plan->n; i++)
                if (!lock_is_held(lane, plan->lines[i]))
                        return false;
        return true;
}

static const struct kind *kind_of_op(const struct op *op)
{
        return kind_of(object_kind(op->object->config));
}

static objd_status plan_ops(struct lane *lane, struct op *ops, size_t n, struct plan *plan, size_t *failed)
{
        objd_status r = OBJD_OK;

        for (*failed = 0; *failed < n; ++*failed) {
                r = kind_of_op(&ops[*failed])->plan(lane, &ops[*failed], plan);
                if (r)
                        break;
        }
        return r;
}

/* With everything locked: do the objects still exist, and would they need the same lines? */
static objd_status verify(struct lane *lane, struct op *ops, size_t n, size_t *failed)
{
        struct plan again;
        objd_status r;

        again.n = 0;
        for (*failed = 0; *failed < n; ++*failed) {
                r = object_verify(ops[*failed].object);
                if (r)
                        return r;
        }
        r = plan_ops(lane, ops, n, &again, failed);
        if (r)
                return r;
        return plan_is_held(lane, &again) ? rider_verify(lane) : OP_PLAN_AGAIN;
}

/* Operations whose memory is on its way at once: in one after the other each would wait for its own. */
#define FETCH_AHEAD 16u

static void fetch(struct lane *lane, const struct op *ops, size_t n)
{
        if (n > FETCH_AHEAD)
                n = FETCH_AHEAD;
        for (unsigned step = 0; step < FETCH_STEPS && n > 1; step++)
                for (size_t i = 0; i < n; i++) {
                        const struct kind *kind = kind_of_op(&ops[i]);

                        if (kind->fetch)
                                kind->fetch(lane, &ops[i], step);
                }
}

static objd_status apply(struct lane *lane, struct op *ops, size_t n, size_t *failed)
{
        objd_status r = OBJD_OK;

        for (*failed = 0; *failed < n; ++*failed) {
                if (*failed % FETCH_AHEAD == 0)
                        fetch(lane, &ops[*failed], n - *failed);
                half_set(&lane->shm->operation, ops[*failed].code);
                r = kind_of_op(&ops[*failed])->apply(lane, &ops[*failed]);
                if (r)
                        break;
        }
        return r;
}

static objd_status attempt(struct lane *lane, struct op *ops, size_t n, size_t *failed)
{
        struct plan plan;
        objd_status r;

        plan.n = 0;
        r = plan_ops(lane, ops, n, &plan, failed);
        if (r == OBJD_OK)
                r = rider_plan(lane, &plan);
        if (r)
                return r;
        txn_begin(lane, ops[0].code);
        r = plan_lock(lane, &plan);
        if (r == OBJD_OK)
                r = verify(lane, ops, n, failed);
        if (r == OBJD_OK)
                r = apply(lane, ops, n, failed);
        if (r == OBJD_OK)
                r = rider_apply(lane);
        if (r == OBJD_OK)
                return txn_commit(lane);
        txn_abort(lane);
        return r;
}

static objd_status check_ops(struct objd_conn *conn, const struct op *ops, size_t n, size_t *failed)
{
        for (*failed = 0; *failed < n; ++*failed) {
                const struct op *op = &ops[*failed];
                objd_kind kind = object_kind(op->object->config);
                objd_status r;

                if (op->object->conn->arena != conn->arena)
                        return fail(OBJD_E_INVAL, "%s: the object belongs to another arena",
                                    op_name[op->code]);
                r = object_touch(op->object);
                if (r)
                        return r;
                if (kind != kind_for(op->code))
                        return fail(OBJD_E_KIND, "%s: %s is a %s", op_name[op->code],
                                    object_label(op->object), kind_of(kind)->name);
        }
        return OBJD_OK;
}

/*
 * One operation: without sorting for the single line that most need.
 */
static objd_status attempt_one(struct lane *lane, struct op *op)
{
        const struct kind *kind = kind_of_op(op);
        struct plan plan;
        objd_status r;

        plan.n = 0;
        r = kind->plan(lane, op, &plan);
        if (r)
                return r;
        txn_begin(lane, op->code);
        r = plan.n == 1 ? lock_take(lane, plan.lines[0]) : plan_lock(lane, &plan);
        if (r == OBJD_OK)
                r = object_verify(op->object);
        plan.n = 0;
        if (r == OBJD_OK)
                r = kind->plan(lane, op, &plan);
        if (r == OBJD_OK && !plan_is_held(lane, &plan))
                r = OP_PLAN_AGAIN;
        if (r == OBJD_OK)
                r = kind->apply(lane, op);
        if (r == OBJD_OK)
                return txn_commit(lane);
        txn_abort(lane);
        return r;
}

static bool may_plan_again(const struct objd_object *object, uint32_t *n_plans, objd_status *r)
{
        if (++*n_plans < OP_PLANS_MAX)
                return true;
        *r = fail(OBJD_E_CORRUPT, "%s is damaged: it contradicts itself", object_label(object));
        return false;
}

static objd_status rehash(struct lane *lane, struct objd_object *dict, uint32_t *n_plans)
{
        struct op op;
        objd_status r;

        op_init(&op, OP_DICT_REHASH, dict);
        do
                r = attempt_one(lane, &op);
        while (r == OP_PLAN_AGAIN && may_plan_again(dict, n_plans, &r));
        return r;
}

bool op_once_more(struct lane *lane, struct objd_object *object, uint32_t *n_plans, objd_status *r)
{
        if (__builtin_expect(*r != OP_PLAN_AGAIN && *r != OP_REHASH, 1))
                return false;
        if (*r == OP_REHASH)
                *r = rehash(lane, object, n_plans);
        else
                *r = OBJD_OK;
        return *r == OBJD_OK && may_plan_again(object, n_plans, r);
}

objd_status op_run_one(struct op *op)
{
        struct objd_conn *conn = op->object->conn;
        uint32_t n_plans = 0;
        struct lane *lane;
        objd_status r = lane_enter(conn->arena, conn_timeout(conn), &lane);

        if (r)
                return r;
        r = object_touch(op->object);
        if (r == OBJD_OK)
                do
                        r = attempt_one(lane, op);
                while (op_once_more(lane, op->object, &n_plans, &r));
        lane_leave(lane);
        return r;
}

objd_status op_run(struct objd_conn *conn, struct op *ops, size_t n, size_t *ret_failed)
{
        uint32_t n_plans = 0;
        struct lane *lane;
        size_t failed = 0;
        objd_status r;

        if (!n)
                return OBJD_OK;
        r = lane_enter(conn->arena, conn_timeout(conn), &lane);
        if (r)
                return r;
        r = check_ops(conn, ops, n, &failed);
        if (r == OBJD_OK)
                do
                        r = attempt(lane, ops, n, &failed);
                while (op_once_more(lane, ops[failed < n ? failed : 0].object, &n_plans, &r));
        lane_leave(lane);
        /* Somebody else is at fault, or (past the last one) it is the batch as a whole that could not be committed. */
        if (r && r != OBJD_E_BUSY && ret_failed && failed < n)
                *ret_failed = failed;
        return r;
}
