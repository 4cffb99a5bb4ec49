/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_lock.c -- exported: locks
 */

#include <inttypes.h>

#include "base/status.h"
#include "base/sys.h"
#include "object/lockobj.h"

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

static __attribute__((noinline)) objd_status take_slowly(struct lane *lane, objd_object *lock,
                                                         int64_t timeout_ns, uint64_t *ret_token)
{
        objd_status r = OBJD_E_BUSY;

        if (timeout_ns != OBJD_NOWAIT)
                r = wait_and_try(lane, lock, timeout_ns, ret_token);
        return r == OBJD_E_BUSY || r == OBJD_E_TIMEOUT ? say_who(lane, lock, r, timeout_ns) : r;
}

static __attribute__((noinline)) objd_status take_inside(struct lane *lane, objd_object *lock,
                                                         int64_t timeout_ns, uint64_t *ret_token)
{
        objd_status r = lock_try(lane, lock, false, ret_token);

        return r == OBJD_E_BUSY ? take_slowly(lane, lock, timeout_ns, ret_token) : r;
}

static __attribute__((noinline)) objd_status complain(const objd_object *lock, const char *call,
                                                      int64_t timeout_ns)
{
        objd_status r = check(lock, call);

        return r ? r : fail(OBJD_E_INVAL, "%s: a timeout of %" PRId64 " ns", call, timeout_ns);
}

objd_status objd_lock_take(objd_object *lock, int64_t timeout_ns, uint64_t *ret_token)
{
        struct lane *lane;
        uint64_t token = 0;
        objd_status r;

        if (__builtin_expect(!lock || object_kind(lock->config) != OBJD_LOCK || timeout_ns < OBJD_FOREVER, 0))
                return complain(lock, "objd_lock_take", timeout_ns);
        r = lane_enter(lock->conn->arena, conn_timeout(lock->conn), &lane);
        if (r)
                return r;
        r = object_touch(lock);
        if (r == OBJD_OK && __builtin_expect(!lock_take_plain(lane, lock, &token), 0))
                r = take_inside(lane, lock, timeout_ns, &token);
        lane_leave(lane);
        if (ret_token && (r == OBJD_OK || r == OBJD_E_OWNER_DIED))
                *ret_token = token;
        return r;
}

objd_status objd_lock_give(objd_object *lock)
{
        struct lane *lane;
        objd_status r;

        if (__builtin_expect(!lock || object_kind(lock->config) != OBJD_LOCK, 0))
                return check(lock, "objd_lock_give");
        r = lane_enter(lock->conn->arena, conn_timeout(lock->conn), &lane);
        if (r)
                return r;
        r = object_touch(lock);
        if (r == OBJD_OK && __builtin_expect(!lock_give_plain(lane, lock), 0))
                r = lock_give(lane, lock);
        lane_leave(lane);
        return r;
}

objd_status objd_lock_owner(objd_object *lock, bool *ret_taken, int64_t *ret_pid, uint64_t *ret_token)
{
        struct lock_holder holder;
        struct lane *lane;
        objd_status r = check(lock, "objd_lock_owner");

        if (r == OBJD_OK)
                r = lane_enter(lock->conn->arena, conn_timeout(lock->conn), &lane);
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
