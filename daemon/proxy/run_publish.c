/* SPDX-License-Identifier: Apache-2.0 */

/*
 * run_publish.c -- what a session has loaded comes to stay: all of it or nothing, whoever dies
 *
 * A session has no process, and so no bundle (object/bundle.h): the daemon has it. First everything is looked at; then the objects become
 * the daemon's own, one after the other, and last the list of their names; then the daemon says in its entry of the table of clients that
 * they are to have them. If it dies before that, they go with it; if it dies after that, whoever finds it dead goes on. A client that
 * finds its list gone can tell the two by any of the objects. The session may end meanwhile, and all that is still its own be deleted: then so is
 * the rest.
 */

#include <stdlib.h>
#include <string.h>

#include "arena/session.h"
#include "base/status.h"
#include "base/sys.h"
#include "object/directory.h"
#include "object/kind.h"
#include "proxy/permit.h"
#include "proxy/run.h"
#include "txn/lane.h"

#define FIRST_REFS 64u

struct publishing {
        const struct caller *caller;
        bool replaces;
        objd_ref *refs;
        size_t n, room;
};

/* ---- Looking -------------------------------------------------------------------------------------------- */

static objd_status check_name(const struct publishing *publishing, const objd_value *key)
{
        char name[OBJD_NAME_MAX + 1] = "";
        objd_ref ref;
        objd_status r;

        if (key->size > OBJD_NAME_MAX)
                return fail(OBJD_E_TOOBIG, "the name has %zu bytes; a name has at most %u", key->size,
                            OBJD_NAME_MAX);
        memcpy(name, key->data, key->size);
        r = directory_check_name(name);
        if (r == OBJD_OK)
                r = permit_name(publishing->caller, name);
        if (r || publishing->replaces)
                return r;
        r = directory_lookup(publishing->caller->conn, name, &ref);
        if (r == OBJD_OK)
                return fail(OBJD_E_EXISTS, "there is an object named \"%s\" by now", name);
        return r == OBJD_E_NOTFOUND ? OBJD_OK : r;
}

/* That the list itself is gone is another matter. */
static objd_status not_gone(objd_status r)
{
        return r == OBJD_E_GONE ? fail(OBJD_E_INVAL,
                                       "an object that was to be named has been deleted by somebody else")
                                : r;
}

static objd_status add_ref(struct publishing *publishing, objd_ref ref)
{
        if (publishing->n == publishing->room) {
                size_t room = publishing->room ? 2 * publishing->room : FIRST_REFS;
                objd_ref *refs = sys.resize(publishing->refs, room * sizeof(*refs));

                if (!refs)
                        return fail(OBJD_E_NOMEM, "no memory for a list of %zu objects", room);
                publishing->refs = refs;
                publishing->room = room;
        }
        publishing->refs[publishing->n++] = ref;
        return OBJD_OK;
}

static objd_status check_one(void *context, const objd_value *key, const objd_value *value)
{
        struct publishing *publishing = context;
        struct objd_object object;
        objd_status r = OBJD_OK;

        if (!key || (key->type != OBJD_STR && key->type != OBJD_INT) || value->type != OBJD_REF)
                return fail(OBJD_E_INVAL, "a list of names has an entry that is none");
        if (key->type == OBJD_STR)
                r = check_name(publishing, key);
        if (r == OBJD_OK)
                r = not_gone(directory_handle(publishing->caller->conn, value->u.ref, &object));
        if (r == OBJD_OK)
                r = run_check_own(publishing->caller, &object);
        return r ? r : add_ref(publishing, value->u.ref);
}

/* ---- Handing over --------------------------------------------------------------------------------------- */

/* What is somebody else's by now stays so. */
static objd_status hand_over(struct objd_object *object, uint64_t from, uint64_t to)
{
        objd_status r = directory_hand_over(object, from, to);

        return r == OBJD_E_GONE && word_get(&object->shm->line.serial) == object->serial ? OBJD_OK : r;
}

static objd_status hand_over_ref(struct objd_conn *conn, objd_ref ref, uint64_t from, uint64_t to)
{
        struct objd_object object;
        objd_status r = directory_handle(conn, ref, &object);

        return r ? r : hand_over(&object, from, to);
}

static void destroy(struct objd_conn *conn, objd_ref ref, uint64_t owner)
{
        struct objd_object object;

        if (directory_handle(conn, ref, &object) == OBJD_OK)
                (void)directory_destroy_own(&object, owner); /* or it goes with the daemon */
}

/* Some have been handed over: they are the session's again, if that is still there to have them. */
static objd_status give_back(const struct publishing *publishing, uint64_t daemon, objd_status r)
{
        struct objd_conn *conn = publishing->caller->conn;
        uint64_t session = publishing->caller->client;
        char why[400];

        (void)snprintf(why, sizeof(why), "%s", objd_last_error());
        for (size_t i = 0; i < publishing->n; i++)
                (void)hand_over_ref(conn, publishing->refs[i], daemon, session);
        if (!session_lives(conn->arena, session))
                for (size_t i = 0; i < publishing->n; i++) {
                        destroy(conn, publishing->refs[i], daemon);
                        destroy(conn, publishing->refs[i], session);
                }
        return fail(r, "%s", why);
}

static objd_status hand_over_all(const struct publishing *publishing, uint64_t daemon,
                                 struct objd_object *list)
{
        struct arena *arena = list->conn->arena;
        uint64_t session = publishing->caller->client;
        objd_status r = OBJD_OK;

        /* It may be too high; that it is not 0 says that there is something to look for when the daemon has died. */
        __atomic_fetch_add(&arena_client(arena, id_number(daemon))->n_anonymous, publishing->n + 1,
                           __ATOMIC_RELAXED);
        /* First to itself: who is held up has nothing that would go with the daemon meanwhile. */
        for (size_t i = 0; i < publishing->n && r == OBJD_OK; i++)
                r = not_gone(hand_over_ref(list->conn, publishing->refs[i], session, session));
        if (r)
                return r;
        for (size_t i = 0; i < publishing->n && r == OBJD_OK; i++)
                r = not_gone(hand_over_ref(list->conn, publishing->refs[i], session, daemon));
        if (r == OBJD_OK && !session_lives(arena, session))
                r = fail(OBJD_E_GONE, "the session is over");
        if (r == OBJD_OK)
                r = hand_over(list, session, daemon);
        return r ? give_back(publishing, daemon, r) : OBJD_OK;
}

/* ---- Naming --------------------------------------------------------------------------------------------- */

bool run_is_publishing(const struct caller *caller, const struct call *call)
{
        const struct publication *p = caller->publication;

        return p->session && p->session == caller->client &&
               (call->code == CALL_OBJECT_NAME_ALL || call->code == CALL_OBJECT_REPLACE_ALL) &&
               p->bundle.list.serial == call->object.serial;
}

/* The daemon has one bundle at a time. */
objd_status run_end_publication(struct publication *p)
{
        objd_status r;

        if (!p->session || p->is_done)
                return OBJD_OK;
        r = bundle_finish(p->bundle.list.conn, p->bundle.client, &p->report);
        if (r)
                return r;
        bundle_drop(&p->bundle);
        p->is_done = true;
        return OBJD_OK;
}

static objd_status how_it_went(const struct publication *p)
{
        return p->report.status ? fail(p->report.status, "%s", p->report.why) : OBJD_OK;
}

static objd_status find_list(const struct caller *caller, objd_ref ref, struct objd_object *ret_list)
{
        objd_status r = run_find(caller, ref, ret_list);

        if (r == OBJD_OK)
                r = run_check_own(caller, ret_list);
        if (r == OBJD_OK && object_kind(ret_list->config) != OBJD_DICT)
                r = fail(OBJD_E_KIND, "%s is no list of names", object_label(ret_list));
        return r;
}

static objd_status own_client(const struct caller *caller, uint64_t *ret_client)
{
        struct lane *lane;
        objd_status r = lane_enter(caller->conn->arena, caller->conn->timeout_ns, &lane);

        if (r)
                return r;
        *ret_client = lane_client(lane);
        lane_leave(lane);
        return OBJD_OK;
}

static objd_status begin(const struct caller *caller, const struct call *call)
{
        struct publishing publishing = { .caller = caller,
                                         .replaces = call->code == CALL_OBJECT_REPLACE_ALL };
        struct publication *p = caller->publication;
        struct bundle bundle = { .n_nameless = 0 };
        objd_status r = find_list(caller, call->object, &bundle.list);

        if (r == OBJD_OK)
                r = own_client(caller, &bundle.client);
        if (r == OBJD_OK)
                r = dict_kind.walk(&bundle.list, UINT64_MAX, check_one, &publishing);
        if (r == OBJD_OK)
                r = hand_over_all(&publishing, bundle.client, &bundle.list);
        free(publishing.refs);
        if (r)
                return r;
        *p = (struct publication){ .session = caller->client, .bundle = bundle };
        r = bundle_publish(&p->bundle, publishing.replaces, &p->report);
        p->is_done = r == OBJD_OK;
        return r;
}

objd_status run_publish(const struct caller *caller, const struct call *call)
{
        objd_status r = run_end_publication(caller->publication);

        if (r == OBJD_OK && !run_is_publishing(caller, call))
                r = begin(caller, call);
        return r ? r : how_it_went(caller->publication);
}
