/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_lock.c -- exported: locks
 */

#include <inttypes.h>

#include "base/status.h"
#include "client/proxy.h"
#include "base/sys.h"
#include "object/lockobj.h"
#include "object/plain.h"
#include "txn/recover.h"

static objd_status check(const objd_object *lock, const char *call)
{
        if (!lock)
                return fail(OBJD_E_INVAL, "%s: lock is NULL", call);
        if (object_kind(lock->config) != OBJD_LOCK)
                return fail(OBJD_E_KIND, "%s: %s is no lock", call, object_label(lock));
        return OBJD_OK;
}

static objd_status wait_and_try(struct lane *lane, objd_object *lock, int64_t timeout_ns, uint64_t *ret_token)
{
        int64_t deadline_ns = deadline_after(timeout_ns);
        bool slept = false;
        objd_status r;

        do {
                lane->deadline_ns = 0;
                r = lock_wait(lane, lock, deadline_ns, &slept);
                if (r == OBJD_OK)
                        r = lock_try(lane, lock, slept, ret_token);
                if (r == OBJD_E_BUSY) {
                        objd_status gone;

                        recover_clients_inside(lane);
                        gone = object_touch(lock);
                        if (gone)
                                return gone;
                        /* Also where it is not the lock that is held for so long, but its line. */
                        if (now_ns() >= deadline_ns)
                                return OBJD_E_TIMEOUT;
                }
        } while (r == OBJD_E_BUSY);
        return r;
}

/* The sentence names the owner, as far as one can be found. */
static objd_status say_who(struct lane *lane, objd_object *lock, objd_status r, int64_t timeout_ns)
{
        struct lock_holder holder;
        objd_status held = lock_holder(lane, lock, &holder);

        if (held)
                return held;
        if (!holder.pid)
                return fail(r, "lock %s is taken", object_label(lock));
        if (r == OBJD_E_BUSY)
                return fail(r, "process %" PRId64 " (%s), thread %" PRId64 ", has lock %s", holder.pid,
                            holder.comm, holder.tid, object_label(lock));
        return fail(r, "process %" PRId64 " (%s), thread %" PRId64 ", has had lock %s for %" PRId64 " ms",
                    holder.pid, holder.comm, holder.tid, object_label(lock), timeout_ns / 1000000);
}

static __attribute__((noinline)) objd_status take_slowly(objd_object *lock, int64_t timeout_ns,
                                                         uint64_t *ret_token)
{
        if (object_is_proxied(lock))
                return proxy_lock_take(lock, timeout_ns, ret_token);

        struct lane *lane;
        uint64_t token = 0;
        objd_status r = check(lock, "objd_lock_take");

        if (r == OBJD_OK && timeout_ns < OBJD_FOREVER)
                r = fail(OBJD_E_INVAL, "objd_lock_take: a timeout of %" PRId64 " ns", timeout_ns);
        if (r == OBJD_OK)
                r = lane_enter(lock->conn->arena, conn_timeout(lock->conn), &lane);
        if (r)
                return r;
        r = object_touch(lock);
        if (r == OBJD_OK)
                r = lock_try(lane, lock, false, &token);
        if (r == OBJD_E_BUSY && timeout_ns != OBJD_NOWAIT)
                r = wait_and_try(lane, lock, timeout_ns, &token);
        if (r == OBJD_E_BUSY || r == OBJD_E_TIMEOUT)
                r = say_who(lane, lock, r, timeout_ns);
        lane_leave(lane);
        if (ret_token && (r == OBJD_OK || r == OBJD_E_OWNER_DIED))
                *ret_token = token;
        return r;
}

static __attribute__((noinline)) objd_status give_slowly(objd_object *lock)
{
        if (object_is_proxied(lock))
                return proxy_lock_give(lock);

        struct lane *lane;
        objd_status r = check(lock, "objd_lock_give");

        if (r == OBJD_OK)
                r = lane_enter(lock->conn->arena, conn_timeout(lock->conn), &lane);
        if (r)
                return r;
        r = object_touch(lock);
        if (r == OBJD_OK)
                r = lock_give(lane, lock);
        lane_leave(lane);
        return r;
}

/* The slot may be locked and looked at, and the call needs no more than that; NULL: take the long way. */
PLAIN struct lane *enter_plain(const objd_object *lock)
{
        if (__builtin_expect(!lock || object_kind(lock->config) != OBJD_LOCK || next_timeout.set, 0))
                return NULL;
        return plain_enter(lock);
}

objd_status objd_lock_take(objd_object *lock, int64_t timeout_ns, uint64_t *ret_token)
{
        struct lane *lane = enter_plain(lock);
        bool taken = false;
        uint64_t token;

        if (__builtin_expect(lane != NULL, 1)) {
                taken = timeout_ns >= OBJD_FOREVER && lock_take_plain(lane, lock, &token);
                lane_leave_plain(lane);
        }
        if (__builtin_expect(!taken, 0))
                return take_slowly(lock, timeout_ns, ret_token);
        if (ret_token)
                *ret_token = token;
        return OBJD_OK;
}

objd_status objd_lock_give(objd_object *lock)
{
        struct lane *lane = enter_plain(lock);
        bool given = false;

        if (__builtin_expect(lane != NULL, 1)) {
                given = lock_give_plain(lane, lock);
                lane_leave_plain(lane);
        }
        return __builtin_expect(given, 1) ? OBJD_OK : give_slowly(lock);
}

objd_status objd_lock_owner(objd_object *lock, bool *ret_taken, int64_t *ret_pid, uint64_t *ret_token)
{
        if (object_is_proxied(lock))
                return proxy_lock_owner(lock, ret_taken, ret_pid, ret_token);

        struct lock_holder holder;
        struct lane *lane;
        objd_status r = check(lock, "objd_lock_owner");

        if (r == OBJD_OK)
                r = lane_enter_to_read(lock->conn->arena, conn_timeout(lock->conn), &lane);
        if (r)
                return r;
        r = object_touch(lock);
        if (r == OBJD_OK)
                r = lock_holder(lane, lock, &holder);
        lane_leave(lane);
        if (r)
                return r;
        if (ret_taken)
                *ret_taken = holder.taken;
        if (ret_pid)
                *ret_pid = holder.pid;
        if (ret_token)
                *ret_token = holder.token;
        return OBJD_OK;
}
