/* SPDX-License-Identifier: Apache-2.0 */
/*
 * load_store.c -- what a load asks of the store beyond the calls that everybody uses
 */

#include "dumpload/load_store.h"

#include "client/proxy.h"
#include "object/directory.h"
#include "txn/lane.h"

objd_status load_store_lookup(objd_conn *conn, const char *name, objd_ref *ret_ref)
{
        objd_object *object;
        objd_status r;

        if (!conn->rpc)
                return directory_lookup(conn, name, ret_ref);
        r = objd_open(conn, name, OBJD_KIND_ANY, &object);
        if (r)
                return r;
        *ret_ref = objd_ref_of(object);
        objd_release(object);
        return OBJD_OK;
}

/* ---- States ---------------------------------------------------------------------------------------------- */

/*
 * Through the daemon a queue can only have more tasks than items from the start; that some of its items' tasks are done is said
 * when they are in it.
 */
static objd_status begin_proxied(objd_object *object, objd_kind kind, const struct object_state *state)
{
        const struct call_state call = {
                .unfinished = state->unfinished > state->len ? state->unfinished - state->len : 0,
                .taken = state->taken,
                .token = state->token,
        };

        if (kind != OBJD_LOCK && !call.unfinished)
                return OBJD_OK;
        return proxy_set_state(object, &call);
}

objd_status load_store_begin(objd_object *object, objd_kind kind, const struct object_state *state)
{
        struct lane *lane;
        objd_status r;

        if (object->conn->rpc)
                return begin_proxied(object, kind, state);
        if (!kind_of(kind)->set_state)
                return OBJD_OK;
        r = lane_enter(object->conn->arena, object->conn->timeout_ns, &lane);
        if (r)
                return r;
        r = kind_of(kind)->set_state(lane, object, state);
        lane_leave(lane);
        return r;
}

objd_status load_store_end(objd_object *object, objd_kind kind, const struct object_state *state)
{
        objd_status r = OBJD_OK;

        if (!object->conn->rpc || kind != OBJD_QUEUE)
                return OBJD_OK;
        for (uint64_t i = state->unfinished; i < state->len && r == OBJD_OK; i++)
                r = objd_queue_task_done(object);
        return r;
}
