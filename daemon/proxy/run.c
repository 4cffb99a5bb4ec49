/* SPDX-License-Identifier: Apache-2.0 */

/*
 * run.c -- running a call in the store
 */

#include "proxy/run.h"

#include "base/status.h"
#include "object/directory.h"
#include "object/value.h"
#include "proxy/permit.h"
#include "proxy/record.h"

objd_status run_find(const struct caller *caller, objd_ref ref, struct objd_object *ret_object)
{
        return directory_handle(caller->conn, ref, ret_object);
}

objd_status run_find_kept(const struct caller *caller, objd_ref ref, struct objd_object **ret_object)
{
        struct objd_object *kept = &caller->handles->at[ref.place / SLOT_SIZE % RUN_HANDLES], found;
        objd_status r;

        *ret_object = kept;
        if (kept->conn && kept->serial == ref.serial &&
            arena_off(caller->conn->arena, kept->shm) == ref.place)
                return OBJD_OK;
        r = directory_handle(caller->conn, ref, &found);
        if (r == OBJD_OK)
                *kept = found;
        return r;
}

static objd_status check_values(const objd_value *values, size_t n)
{
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < n && r == OBJD_OK; i++)
                r = value_check(&values[i]);
        return r;
}

objd_status run_check(const struct call *call)
{
        objd_status r = OBJD_OK;

        if (call_properties(call->code)->group != GROUP_DICT) /* which looks at types first */
                r = check_values(call->values, call->n_values);
        if (r == OBJD_OK && (call_properties(call->code)->flags & CALL_BLOCKS) &&
            call->timeout_ns < OBJD_FOREVER)
                r = fail(OBJD_E_INVAL, "%s: a timeout of %lld ns", call_properties(call->code)->name,
                         (long long)call->timeout_ns);
        return r;
}

static objd_status run(const struct caller *caller, const struct call *call, struct recording *record,
                       struct outcome *outcome)
{
        const struct call_properties *properties = call_properties(call->code);
        struct objd_object *object;
        objd_status r = run_is_publishing(caller, call) ? OBJD_OK : permit_call(caller, call);

        if (r == OBJD_OK)
                r = run_check(call);
        if (r)
                return r;
        if (properties->group == GROUP_SESSION) {
                if (call->code == CALL_SESSION_THREAD_GONE)
                        lane_release_for(caller->conn->arena, caller->client, call->thread);
                return OBJD_OK;
        }
        if (properties->group == GROUP_STORE || properties->group == GROUP_OBJECT)
                return run_on_names(caller, call, record, outcome);
        r = run_find_kept(caller, call->object, &object);
        if (r)
                return r;
        if (properties->group == GROUP_LOCK)
                return run_lock(caller, call, object, record, outcome);
        return properties->flags & CALL_MUTATES ? run_change(caller, call, object, record, outcome)
                                                : run_read(caller, call, object, outcome);
}

objd_status run_call(const struct caller *caller, const struct call *call, struct recording *record,
                     struct outcome *outcome)
{
        /* It may have been tried before, and found a reason to wait: the answer that is recorded must not say so. */
        outcome->answer->status = OBJD_OK;
        outcome->answer->sentence = NULL;
        return outcome_end(outcome, run(caller, call, record, outcome));
}
