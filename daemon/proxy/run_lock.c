/* SPDX-License-Identifier: Apache-2.0 */

/*
 * run_lock.c -- calls on locks
 *
 * A lock is taken and given by one swap of its word, in no transaction, so the answer cannot be written with it. Instead what is
 * about to be done is written down first: how often the caller's thread had the lock before. The next daemon that is asked for the answer
 * counts again: nobody else takes or gives in that thread's name, so the count says whether the swap was made. A lock without an
 * owner counts nobody's takes; there the next daemon has to say that it does not know.
 */

#include "base/status.h"
#include "base/sys.h"
#include "object/lockobj.h"
#include "proxy/record.h"
#include "proxy/run.h"

/* The swap has been made or not: what the last daemon had in mind stands in the record. */
static objd_status settle(struct lane *lane, const struct call *call, struct objd_object *lock,
                          uint64_t before, bool *ret_done)
{
        uint64_t now;

        if (lock_has_no_owner(lock))
                return fail(OBJD_E_NODAEMON,
                            "a daemon died with this call under way, and lock %s has no owner that "
                            "would tell whether it was made",
                            object_label(lock));
        now = lock_takes(lane, lock);
        *ret_done = call->code == CALL_LOCK_TAKE ? now > before : now < before;
        return OBJD_OK;
}

static objd_status take(struct lane *lane, struct objd_object *lock, uint64_t *ret_token)
{
        struct lock_holder holder;
        objd_status r = lock_try(lane, lock, false, ret_token);

        if (r != OBJD_E_BUSY)
                return r;
        r = lock_holder(lane, lock, &holder);
        if (r)
                return r;
        if (!holder.pid)
                return fail(OBJD_E_BUSY, "lock %s is taken", object_label(lock));
        return fail(OBJD_E_BUSY, "process %lld (%s), thread %lld, has lock %s", (long long)holder.pid,
                    holder.comm, (long long)holder.tid, object_label(lock));
}

static objd_status run_inside(struct lane *lane, const struct call *call, struct objd_object *lock,
                              struct outcome *outcome)
{
        struct lock_holder holder;
        objd_status r = object_touch(lock);

        if (r)
                return r;
        switch (call->code) {
        case CALL_LOCK_TAKE:
                return take(lane, lock, &outcome->answer->number);
        case CALL_LOCK_GIVE:
                return lock_give(lane, lock);
        default: /* CALL_LOCK_OWNER */
                r = lock_holder(lane, lock, &holder);
                if (r)
                        return r;
                outcome->answer->truth = holder.taken;
                outcome->answer->integer = holder.pid;
                outcome->answer->number = holder.token;
                return OBJD_OK;
        }
}

/* Whether there was an intent, and it was carried out; the answer is then made of what is there. */
static objd_status look_back(struct lane *lane, const struct call *call, struct objd_object *lock,
                             struct recording *record, struct outcome *outcome, bool *ret_done)
{
        struct lock_holder holder;
        objd_status r;

        *ret_done = false;
        if (!record->had_intent)
                return OBJD_OK;
        r = settle(lane, call, lock, record->intent, ret_done);
        if (r == OBJD_OK && *ret_done && call->code == CALL_LOCK_TAKE) {
                r = lock_holder(lane, lock, &holder);
                outcome->answer->number = holder.token;
        }
        return r;
}

/* In the name of the caller's thread, and with the lane entered. */
static objd_status act(const struct caller *caller, uint64_t owner, struct lane **ret_lane)
{
        struct lane *entered;
        objd_status r = lane_act_as(caller->conn->arena, caller->client, owner, ret_lane);

        if (r)
                return r;
        r = lane_enter(caller->conn->arena, caller->conn->timeout_ns, &entered);
        if (r)
                lane_act_as_self(*ret_lane);
        return r;
}

static void end_act(struct lane *lane)
{
        lane_leave(lane);
        lane_act_as_self(lane);
}

/* What the intent is to say; or that all has been done already, by a daemon that died. */
static objd_status prepare(const struct caller *caller, uint64_t owner, const struct call *call,
                           struct objd_object *lock, struct recording *record, struct outcome *outcome,
                           bool *ret_done)
{
        struct lane *lane;
        uint64_t before;
        objd_status r = act(caller, owner, &lane);

        if (r)
                return r;
        r = look_back(lane, call, lock, record, outcome, ret_done);
        before = lock_takes(lane, lock);
        end_act(lane);
        return r || *ret_done ? r : record_intent(record, before);
}

objd_status run_lock(const struct caller *caller, const struct call *call, struct objd_object *lock,
                     struct recording *record, struct outcome *outcome)
{
        bool done = false;
        struct lane *lane;
        uint64_t owner = 0;
        objd_status r = OBJD_OK;

        if (object_kind(lock->config) != OBJD_LOCK)
                return fail(OBJD_E_KIND, "%s: %s is no lock", call_properties(call->code)->name,
                            object_label(lock));
        if (caller->client)
                r = lane_claim_for(caller->conn->arena, caller->client, call->thread,
                                   deadline_after(caller->conn->timeout_ns), &owner);
        if (r == OBJD_OK && record && call->code != CALL_LOCK_OWNER)
                r = prepare(caller, owner, call, lock, record, outcome, &done);
        if (r || done)
                return r;
        r = act(caller, owner, &lane);
        if (r)
                return r;
        r = run_inside(lane, call, lock, outcome);
        end_act(lane);
        /* From here on the answer is known, and with it what nobody could tell any more: that the last owner died. */
        if (record && (r == OBJD_OK || r == OBJD_E_OWNER_DIED) && call->code != CALL_LOCK_OWNER)
                record_answer(record, outcome, r);
        return r;
}
