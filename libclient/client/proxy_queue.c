/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_queue.c -- proxied calls on queues and locks: where they wait, the daemon waits in their place
 */

#include "base/status.h"
#include "client/proxy.h"
#include "object/op.h"

static objd_status put(objd_object *queue, struct call call, const objd_value *values, size_t n,
                       int64_t timeout_ns)
{
        call.values = values;
        call.n_values = n;
        call.timeout_ns = timeout_ns;
        return values || !n ? proxy_do(queue, OBJD_QUEUE, &call) : proxy_no_argument(call.code);
}

objd_status proxy_queue_put(objd_object *queue, const objd_value *value, int64_t timeout_ns)
{
        return put(queue, (struct call){ .code = CALL_QUEUE_PUT }, value, 1, timeout_ns);
}

objd_status proxy_queue_put_priority(objd_object *queue, const objd_value *value, int64_t priority,
                                     int64_t timeout_ns)
{
        return put(queue, (struct call){ .code = CALL_QUEUE_PUT_PRIORITY, .integer = priority }, value, 1,
                   timeout_ns);
}

objd_status proxy_queue_put_many(objd_object *queue, const objd_value *values, size_t n, int64_t timeout_ns)
{
        return put(queue, (struct call){ .code = CALL_QUEUE_PUT_MANY }, values, n, timeout_ns);
}

objd_status proxy_queue_get(objd_object *queue, objd_value *ret_value, objd_buf *buf, int64_t timeout_ns)
{
        struct call call = { .code = CALL_QUEUE_GET, .timeout_ns = timeout_ns };

        return ret_value && buf ? proxy_get_value(queue, OBJD_QUEUE, &call, ret_value, buf, NULL)
                                : proxy_no_argument(CALL_QUEUE_GET);
}

/* A part of a get_many; *ret_n is how many items came. */
static objd_status get_some(objd_object *queue, size_t max, int64_t timeout_ns, struct items_builder *items,
                            size_t *ret_n)
{
        struct call call = { .code = CALL_QUEUE_GET_MANY, .max = max, .timeout_ns = timeout_ns };
        struct proxied p;
        objd_status r = proxy_of(queue, OBJD_QUEUE, &call);

        if (r)
                return r;
        r = proxy_run(queue->conn, &call, &p);
        *ret_n = r ? 0 : p.answer->n_items;
        if (r == OBJD_OK)
                r = proxy_add_items(items, p.answer);
        proxied_end(&p);
        return r;
}

/* The daemon gives so many at once that other getters need not wait for all of them; while it does, there may be more. */
objd_status proxy_queue_get_many(objd_object *queue, size_t max, objd_items **ret_items, int64_t timeout_ns)
{
        struct items_builder items = { 0 };
        size_t n = 0;
        objd_status r = ret_items ? get_some(queue, max, timeout_ns, &items, &n)
                                  : proxy_no_argument(CALL_QUEUE_GET_MANY);

        while (r == OBJD_OK && n >= CALL_GET_AT_ONCE && items.len < max) {
                r = get_some(queue, max - items.len, OBJD_NOWAIT, &items, &n);
                if (r && !n)
                        r = OBJD_OK; /* what came before is the caller's in any case */
        }
        if (r == OBJD_OK)
                r = items_finish(&items, ret_items);
        items_discard(&items);
        return r;
}

objd_status proxy_queue_get_lease(objd_object *queue, int64_t lease_ns, objd_value *ret_value, objd_buf *buf,
                                  uint64_t *ret_lease, int64_t timeout_ns)
{
        struct call call = { .code = CALL_QUEUE_GET_LEASE, .integer = lease_ns, .timeout_ns = timeout_ns };

        return ret_value && buf && ret_lease
                       ? proxy_get_value(queue, OBJD_QUEUE, &call, ret_value, buf, ret_lease)
                       : proxy_no_argument(CALL_QUEUE_GET_LEASE);
}

objd_status proxy_queue_peek(objd_object *queue, objd_value *ret_value, objd_buf *buf)
{
        struct call call = { .code = CALL_QUEUE_PEEK };

        return ret_value && buf ? proxy_get_value(queue, OBJD_QUEUE, &call, ret_value, buf, NULL)
                                : proxy_no_argument(CALL_QUEUE_PEEK);
}

objd_status proxy_queue_len(objd_object *queue, uint64_t *ret_len)
{
        struct call call = { .code = CALL_QUEUE_LEN };

        return ret_len ? proxy_get_number(queue, OBJD_QUEUE, &call, ret_len)
                       : proxy_no_argument(CALL_QUEUE_LEN);
}

objd_status proxy_queue_close(objd_object *queue)
{
        return proxy_do(queue, OBJD_QUEUE, &(struct call){ .code = CALL_QUEUE_CLOSE });
}

objd_status proxy_queue_poison(objd_object *queue)
{
        return proxy_do(queue, OBJD_QUEUE, &(struct call){ .code = CALL_QUEUE_POISON });
}

objd_status proxy_queue_task_done(objd_object *queue)
{
        return proxy_do(queue, OBJD_QUEUE, &(struct call){ .code = CALL_QUEUE_TASK_DONE });
}

objd_status proxy_queue_join(objd_object *queue, int64_t timeout_ns)
{
        return proxy_do(queue, OBJD_QUEUE,
                        &(struct call){ .code = CALL_QUEUE_JOIN, .timeout_ns = timeout_ns });
}

objd_status proxy_queue_ack(objd_object *queue, uint64_t lease)
{
        return proxy_do(queue, OBJD_QUEUE, &(struct call){ .code = CALL_QUEUE_ACK, .lease = lease });
}

objd_status proxy_queue_give_back(objd_object *queue, uint64_t lease)
{
        return proxy_do(queue, OBJD_QUEUE, &(struct call){ .code = CALL_QUEUE_GIVE_BACK, .lease = lease });
}

/* ---- Locks ------------------------------------------------------------------------------------------------- */

objd_status proxy_lock_take(objd_object *lock, int64_t timeout_ns, uint64_t *ret_token)
{
        struct call call = { .code = CALL_LOCK_TAKE, .timeout_ns = timeout_ns };
        struct proxied p;
        objd_status r = proxy_of(lock, OBJD_LOCK, &call);

        if (r)
                return r;
        rpc_remember_thread(lock->conn->rpc);
        r = proxy_run(lock->conn, &call, &p);
        if ((r == OBJD_OK || r == OBJD_E_OWNER_DIED) && p.answer && ret_token)
                *ret_token = p.answer->number;
        proxied_end(&p);
        return r;
}

objd_status proxy_lock_give(objd_object *lock)
{
        return proxy_do(lock, OBJD_LOCK, &(struct call){ .code = CALL_LOCK_GIVE });
}

objd_status proxy_lock_owner(objd_object *lock, bool *ret_taken, int64_t *ret_pid, uint64_t *ret_token)
{
        struct call call = { .code = CALL_LOCK_OWNER };
        struct proxied p;
        objd_status r = proxy_of(lock, OBJD_LOCK, &call);

        if (r)
                return r;
        r = proxy_run(lock->conn, &call, &p);
        if (r == OBJD_OK) {
                if (ret_taken)
                        *ret_taken = p.answer->truth;
                if (ret_pid)
                        *ret_pid = p.answer->integer;
                if (ret_token)
                        *ret_token = p.answer->number;
        }
        proxied_end(&p);
        return r;
}
