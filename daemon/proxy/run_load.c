/* SPDX-License-Identifier: Apache-2.0 */

/*
 * run_load.c -- what who loads a dump needs beyond the calls that everybody uses: states (names are run_publish.c's)
 *
 * Only for anonymous objects that the session itself has made. So what others rely on is never changed under them, and who has made
 * an object that makes no sense has it for himself.
 */

#include "base/status.h"
#include "object/directory.h"
#include "object/kind.h"
#include "proxy/run.h"

objd_status run_check_own(const struct caller *caller, const struct objd_object *object)
{
        if (word_get(&object->shm->owner) == caller->client)
                return OBJD_OK;
        return fail(OBJD_E_INVAL, "%s is no anonymous object of this session", object_label(object));
}

/* A queue's state is in counters that go with its items; a lock's is the lock. */
static objd_status check_empty(struct objd_object *object)
{
        uint64_t len = 0;
        objd_status r = kind_of(object_kind(object->config))->len(object, &len);

        if (r == OBJD_OK && len)
                return fail(OBJD_E_INVAL, "%s is not new: it has something in it, or is taken",
                            object_label(object));
        return r;
}

static objd_status set_state(const struct caller *caller, const struct call_state *from,
                             struct objd_object *object)
{
        const struct kind *kind = kind_of(object_kind(object->config));
        const struct object_state state = { .unfinished = from->unfinished,
                                            .taken = from->taken,
                                            .token = from->token };
        struct lane *lane;
        objd_status r = check_empty(object);

        if (r || !kind->set_state)
                return r;
        r = lane_enter(caller->conn->arena, caller->conn->timeout_ns, &lane);
        if (r)
                return r;
        r = object_touch(object);
        if (r == OBJD_OK)
                r = kind->set_state(lane, object, &state);
        lane_leave(lane);
        return r;
}

/* It needs no record: made twice it is what it is. */
objd_status run_set_state(const struct caller *caller, const struct call *call)
{
        struct objd_object object;
        objd_status r = run_find(caller, call->object, &object);

        if (r == OBJD_OK)
                r = run_check_own(caller, &object);
        return r ? r : set_state(caller, call->state, &object);
}
