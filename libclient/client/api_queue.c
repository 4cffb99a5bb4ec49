/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_queue.c -- exported: queues
 *
 * An operation never waits by itself. A call that may wait tries; spins for as long as that is worth it; then says that it
 * is about to sleep, tries again, and sleeps; and so on until the operation is done, refused, or too late.
 */

#include <inttypes.h>

#include "base/status.h"
#include "client/proxy.h"
#include "base/sys.h"
#include "client/help.h"
#include "object/queue.h"
#include "object/queue_plain.h"
#include "object/value.h"
#include "sync/wait.h"
#include "txn/recover.h"

/* Items that get_many takes in one step, so that other getters need not wait for all of them. */
#define GET_AT_ONCE 1024u

/* How often a waiter spins on for something that others took from under its nose, before it sleeps. */
#define SPINS_MAX 4

/* What every call asks first. */
static objd_status check(const objd_object *queue, const void *a, const void *b, const char *call)
{
        if (!queue || !a || !b)
                return fail(OBJD_E_INVAL, "%s: an argument is NULL", call);
        if (object_kind(queue->config) != OBJD_QUEUE)
                return fail(OBJD_E_KIND, "%s: %s is no queue", call, object_label(queue));
        return OBJD_OK;
}

static objd_status check_timeout(int64_t timeout_ns, const char *call)
{
        if (timeout_ns < 0 && timeout_ns != OBJD_FOREVER)
                return fail(OBJD_E_INVAL, "%s: a timeout of %" PRId64 " ns", call, timeout_ns);
        return OBJD_OK;
}

/* ---- Waiting ------------------------------------------------------------------------------------------ */

static bool is_to_wait(objd_status r)
{
        return r == OBJD_E_EMPTY || r == OBJD_E_FULL;
}

/* One try, which may wait for living holders as long as any call. */
static __attribute__((noinline)) objd_status try(struct lane *lane, struct op *op)
{
        objd_status r = NOT_PLAIN;

        lane->deadline_ns = 0;
        if (op->code == OP_QUEUE_GET && op->buf)
                r = queue_get_plain(lane, op->object, &op->result, op->buf);
        return r == NOT_PLAIN ? queue_run(lane, op) : r;
}

/* Before a getter says that there is nothing, it asks whether something comes back. */
static objd_status look_and_try(struct lane *lane, struct op *op)
{
        objd_status r = OBJD_OK;

        if (op->code != OP_QUEUE_PUT) {
                lane->deadline_ns = 0;
                r = lease_look(lane, op->object, true);
        }
        return r ? r : try(lane, op);
}

static objd_status spin_and_try(struct lane *lane, struct op *op, enum queue_waiter waiter,
                                int64_t deadline_ns)
{
        objd_status r = op->code == OP_QUEUE_PUT ? OBJD_E_FULL : OBJD_E_EMPTY;

        for (int i = 0; i < SPINS_MAX && is_to_wait(r); i++) {
                if (!queue_spin(lane, op->object, waiter, op->seen, deadline_ns))
                        break;
                r = try(lane, op);
        }
        return r;
}

static objd_status sleep_and_try(struct lane *lane, struct op *op, enum queue_waiter waiter,
                                 int64_t deadline_ns)
{
        struct queue_sleeper sleeper = { .waiter = waiter };
        objd_status r, slept;

        do {
                r = queue_arm(lane, op->object, &sleeper);
                if (r == OBJD_OK)
                        r = look_and_try(lane, op);
                if (!is_to_wait(r))
                        break;
                slept = queue_sleep(lane, op->object, &sleeper, deadline_ns);
                if (slept)
                        r = slept == OBJD_E_TIMEOUT ? r : slept;
                else if (!sleeper.armed) /* woken: probably for something */
                        r = try(lane, op);
                else
                        recover_clients_inside(lane);
        } while (slept == OBJD_OK && is_to_wait(r));
        queue_disarm(lane, op->object, &sleeper);
        return r;
}

static objd_status say_why(const struct op *op, objd_status r, int64_t timeout_ns)
{
        const char *what = r == OBJD_E_FULL ? "full" : "empty";

        if (!is_to_wait(r))
                return r;
        if (timeout_ns == OBJD_NOWAIT)
                return fail(r, "queue %s is %s", object_label(op->object), what);
        return fail(OBJD_E_TIMEOUT, "queue %s has been %s for %" PRId64 " ms", object_label(op->object), what,
                    timeout_ns / 1000000);
}

/* The first try has found nothing to do. */
static objd_status wait_and_try(struct lane *lane, struct op *op, int64_t timeout_ns)
{
        enum queue_waiter waiter = op->code == OP_QUEUE_PUT ? QUEUE_PUTTER : QUEUE_GETTER;
        int64_t deadline_ns = deadline_after(timeout_ns);
        objd_status r;

        if (timeout_ns == OBJD_NOWAIT) {
                r = look_and_try(lane, op);
        } else {
                r = spin_and_try(lane, op, waiter, deadline_ns);
                if (is_to_wait(r))
                        r = sleep_and_try(lane, op, waiter, deadline_ns);
        }
        return say_why(op, r, timeout_ns);
}

/* Puts, gets and leases; the lane has been entered. */
static __attribute__((noinline)) objd_status run_inside(struct lane *lane, struct op *op, int64_t timeout_ns)
{
        objd_status r = queue_run(lane, op);

        return is_to_wait(r) ? wait_and_try(lane, op, timeout_ns) : r;
}

static objd_status run(struct op *op, int64_t timeout_ns)
{
        struct lane *lane;
        objd_status r = lane_enter(op->object->conn->arena, conn_timeout(op->object->conn), &lane);

        if (r)
                return r;
        r = run_inside(lane, op, timeout_ns);
        lane_leave(lane);
        return r;
}

/* All others: they have nothing to wait for. */
static objd_status run_now(objd_object *queue, enum op_code code, uint64_t lease, const char *call)
{
        struct op op = { .code = code, .object = queue, .u.lease = lease };
        struct lane *lane;
        objd_status r = check(queue, queue, queue, call);

        if (r == OBJD_OK)
                r = lane_enter(queue->conn->arena, conn_timeout(queue->conn), &lane);
        if (r)
                return r;
        r = queue_run(lane, &op);
        lane_leave(lane);
        return r;
}

/* ---- Put ---------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) objd_status check_values(const objd_object *queue, const objd_value *values,
                                                          size_t n)
{
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < n && r == OBJD_OK; i++) {
                r = value_check(&values[i]);
                if (r == OBJD_OK && object_value_type(queue->config) != OBJD_ANY)
                        r = value_check_type(&values[i], object_value_type(queue->config), "value");
        }
        return r;
}

static objd_status put(objd_object *queue, const objd_value *values, size_t n, int64_t priority,
                       int64_t timeout_ns, const char *call)
{
        struct op op;
        objd_status r = check(queue, values, values, call);

        if (r == OBJD_OK)
                r = check_timeout(timeout_ns, call);
        if (r == OBJD_OK)
                r = check_values(queue, values, n);
        if (r || !n)
                return r;
        op_init(&op, OP_QUEUE_PUT, queue);
        op.value = values;
        op.n = n;
        op.u.integer = priority;
        return run(&op, timeout_ns);
}

static __attribute__((noinline)) objd_status put_slowly(objd_object *queue, const objd_value *value,
                                                        int64_t timeout_ns)
{
        if (object_is_proxied(queue))
                return proxy_queue_put(queue, value, timeout_ns);

        return put(queue, value, 1, 0, timeout_ns, "objd_queue_put");
}

objd_status objd_queue_put(objd_object *queue, const objd_value *value, int64_t timeout_ns)
{
        struct lane *lane = NULL;
        objd_status r = NOT_PLAIN;

        if (__builtin_expect(queue && value && object_kind(queue->config) == OBJD_QUEUE &&
                                     timeout_ns >= OBJD_FOREVER &&
                                     plain_is_good(value, object_value_type(queue->config)) &&
                                     !next_timeout.set,
                             1))
                lane = lane_enter_plain(queue->conn->arena);
        if (__builtin_expect(lane != NULL, 1)) {
                r = queue_put_plain(lane, queue, value);
                lane_leave_plain(lane);
        }
        return __builtin_expect(r == NOT_PLAIN, 0) ? put_slowly(queue, value, timeout_ns) : r;
}

objd_status objd_queue_put_priority(objd_object *queue, const objd_value *value, int64_t priority,
                                    int64_t timeout_ns)
{
        if (object_is_proxied(queue))
                return proxy_queue_put_priority(queue, value, priority, timeout_ns);

        objd_status r = check(queue, value, value, "objd_queue_put_priority");

        if (r)
                return r;
        if (object_order(queue->config) != OBJD_PRIORITY)
                return fail(OBJD_E_INVAL, "queue %s has no priorities", object_label(queue));
        return put(queue, value, 1, priority, timeout_ns, "objd_queue_put_priority");
}

objd_status objd_queue_put_many(objd_object *queue, const objd_value *values, size_t n, int64_t timeout_ns)
{
        if (object_is_proxied(queue))
                return proxy_queue_put_many(queue, values, n, timeout_ns);

        return put(queue, n ? values : &(objd_value){ 0 }, n, 0, timeout_ns, "objd_queue_put_many");
}

/* ---- Get ---------------------------------------------------------------------------------------------- */

static __attribute__((noinline)) objd_status get_slowly(objd_object *queue, objd_value *ret_value,
                                                        objd_buf *buf, int64_t timeout_ns)
{
        if (object_is_proxied(queue))
                return proxy_queue_get(queue, ret_value, buf, timeout_ns);

        struct op op;
        objd_status r = check(queue, ret_value, buf, "objd_queue_get");

        if (r == OBJD_OK)
                r = check_timeout(timeout_ns, "objd_queue_get");
        if (r)
                return r;
        op_init(&op, OP_QUEUE_GET, queue);
        op.n = 1;
        op.buf = buf;
        r = run(&op, timeout_ns);
        if (r == OBJD_OK)
                *ret_value = op.result;
        return r;
}

objd_status objd_queue_get(objd_object *queue, objd_value *ret_value, objd_buf *buf, int64_t timeout_ns)
{
        struct lane *lane = NULL;
        objd_status r = NOT_PLAIN;

        if (__builtin_expect(queue && ret_value && buf && object_kind(queue->config) == OBJD_QUEUE &&
                                     timeout_ns >= OBJD_FOREVER && !next_timeout.set,
                             1))
                lane = lane_enter_plain(queue->conn->arena);
        if (__builtin_expect(lane != NULL, 1)) {
                r = queue_get_plain(lane, queue, ret_value, buf);
                lane_leave_plain(lane);
        }
        return __builtin_expect(r == NOT_PLAIN, 0) ? get_slowly(queue, ret_value, buf, timeout_ns) : r;
}

static size_t at_once(size_t n)
{
        return n < GET_AT_ONCE ? n : GET_AT_ONCE;
}

/* What else is there. It is only added to what the caller gets in any case, so a failure is nobody's concern. */
static void get_more(struct op *op, size_t max)
{
        struct items_builder *items = op->items;

        while (items->len < max) {
                size_t len = items->len;

                op->n = at_once(max - len);
                if (run(op, OBJD_NOWAIT)) {
                        items_cut(items, len);
                        return;
                }
                if (items->len - len < op->n)
                        return;
        }
}

objd_status objd_queue_get_many(objd_object *queue, size_t max, objd_items **ret_items, int64_t timeout_ns)
{
        if (object_is_proxied(queue))
                return proxy_queue_get_many(queue, max, ret_items, timeout_ns);

        struct items_builder items = { 0 };
        struct op op = { .code = OP_QUEUE_GET, .object = queue, .n = at_once(max), .items = &items };
        objd_status r = check(queue, ret_items, ret_items, "objd_queue_get_many");

        if (r == OBJD_OK)
                r = check_timeout(timeout_ns, "objd_queue_get_many");
        if (r == OBJD_OK && !max)
                r = fail(OBJD_E_INVAL, "objd_queue_get_many: max is 0");
        if (r == OBJD_OK)
                r = items_prepare(&items);
        if (r == OBJD_OK)
                r = run(&op, timeout_ns);
        if (r == OBJD_OK && items.len == GET_AT_ONCE)
                get_more(&op, max);
        if (r == OBJD_OK)
                r = items_finish(&items, ret_items);
        items_discard(&items);
        return r;
}

objd_status objd_queue_get_lease(objd_object *queue, int64_t lease_ns, objd_value *ret_value, objd_buf *buf,
                                 uint64_t *ret_lease, int64_t timeout_ns)
{
        if (object_is_proxied(queue))
                return proxy_queue_get_lease(queue, lease_ns, ret_value, buf, ret_lease, timeout_ns);

        struct op op = { .code = OP_QUEUE_LEASE, .object = queue, .buf = buf, .u.integer = lease_ns };
        objd_status r = check(queue, ret_value, buf, "objd_queue_get_lease");

        if (r == OBJD_OK)
                r = check(queue, ret_lease, ret_lease, "objd_queue_get_lease");
        if (r == OBJD_OK)
                r = check_timeout(timeout_ns, "objd_queue_get_lease");
        if (r == OBJD_OK && lease_ns <= 0 && lease_ns != OBJD_FOREVER)
                r = fail(OBJD_E_INVAL, "objd_queue_get_lease: a lease of %" PRId64 " ns", lease_ns);
        if (r == OBJD_OK)
                r = run(&op, timeout_ns);
        if (r)
                return r;
        *ret_value = op.result;
        *ret_lease = op.u.lease;
        return OBJD_OK;
}

objd_status objd_queue_ack(objd_object *queue, uint64_t lease)
{
        if (object_is_proxied(queue))
                return proxy_queue_ack(queue, lease);

        return run_now(queue, OP_QUEUE_ACK, lease, "objd_queue_ack");
}

objd_status objd_queue_give_back(objd_object *queue, uint64_t lease)
{
        if (object_is_proxied(queue))
                return proxy_queue_give_back(queue, lease);

        return run_now(queue, OP_QUEUE_GIVE_BACK, lease, "objd_queue_give_back");
}

/* ---- All else ----------------------------------------------------------------------------------------- */

objd_status objd_queue_peek(objd_object *queue, objd_value *ret_value, objd_buf *buf)
{
        if (object_is_proxied(queue))
                return proxy_queue_peek(queue, ret_value, buf);

        objd_status r = check(queue, ret_value, buf, "objd_queue_peek");

        return r ? r : queue_peek(queue, ret_value, buf);
}

objd_status objd_queue_len(objd_object *queue, uint64_t *ret_len)
{
        if (object_is_proxied(queue))
                return proxy_queue_len(queue, ret_len);

        objd_status r = check(queue, ret_len, ret_len, "objd_queue_len");

        return r ? r : queue_len(queue, ret_len);
}

objd_status objd_queue_close(objd_object *queue)
{
        if (object_is_proxied(queue))
                return proxy_queue_close(queue);

        return run_now(queue, OP_QUEUE_CLOSE, 0, "objd_queue_close");
}

objd_status objd_queue_poison(objd_object *queue)
{
        if (object_is_proxied(queue))
                return proxy_queue_poison(queue);

        return run_now(queue, OP_QUEUE_POISON, 0, "objd_queue_poison");
}

objd_status objd_queue_task_done(objd_object *queue)
{
        if (object_is_proxied(queue))
                return proxy_queue_task_done(queue);

        return run_now(queue, OP_QUEUE_TASK_DONE, 0, "objd_queue_task_done");
}

static objd_status join(struct lane *lane, objd_object *queue, int64_t timeout_ns)
{
        struct queue_sleeper sleeper = { .waiter = QUEUE_JOINER };
        int64_t deadline_ns = deadline_after(timeout_ns);
        bool done = false;
        objd_status r = queue_is_done(lane, queue, &done);

        while (r == OBJD_OK && !done) {
                lane->deadline_ns = 0;
                r = queue_arm(lane, queue, &sleeper);
                if (r == OBJD_OK)
                        r = queue_is_done(lane, queue, &done);
                if (r == OBJD_OK && !done)
                        r = queue_sleep(lane, queue, &sleeper, deadline_ns);
                if (r == OBJD_OK && !done)
                        recover_clients_inside(lane);
        }
        queue_disarm(lane, queue, &sleeper);
        return r;
}

/* Who cannot say that it waits lets the daemon wait. */
static objd_status join_with_help(struct lane *lane, objd_object *queue, int64_t timeout_ns)
{
        bool done = false;
        objd_status r = queue_is_done(lane, queue, &done);

        if (r || done)
                return r;
        return timeout_ns == OBJD_NOWAIT ? OBJD_E_TIMEOUT : help_join(lane, queue, timeout_ns);
}

objd_status objd_queue_join(objd_object *queue, int64_t timeout_ns)
{
        if (object_is_proxied(queue))
                return proxy_queue_join(queue, timeout_ns);

        struct lane *lane;
        objd_status r = check(queue, queue, queue, "objd_queue_join");

        if (r == OBJD_OK)
                r = check_timeout(timeout_ns, "objd_queue_join");
        if (r == OBJD_OK)
                r = lane_enter_to_read(queue->conn->arena, conn_timeout(queue->conn), &lane);
        if (r)
                return r;
        r = lane->read_only ? join_with_help(lane, queue, timeout_ns) : join(lane, queue, timeout_ns);
        lane_leave(lane);
        return r == OBJD_E_TIMEOUT ? fail(r, "queue %s still has unfinished tasks", object_label(queue)) : r;
}
