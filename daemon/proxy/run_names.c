/* SPDX-License-Identifier: Apache-2.0 */

/*
 * run_names.c -- calls on the store as a whole, and on objects as such: making, opening, deleting, naming
 */

#include "base/status.h"
#include "dumpload/report.h"
#include "object/directory.h"
#include "object/kind.h"
#include "proxy/permit.h"
#include "proxy/record.h"
#include "proxy/report.h"
#include "proxy/run.h"

/* How often others can make or delete the object at just the wrong moment. */
#define OPEN_TRIES 1000u

static void collect_new(struct recording *record)
{
        outcome_of_new(record->outcomes, record->rider.made, record->context);
}

static void collect_nothing(struct recording *record)
{
        (void)record;
}

static objd_status create(const struct caller *caller, const struct call *call, struct recording *record,
                          struct outcome *outcome)
{
        objd_config standard = OBJD_CONFIG_INIT;
        struct objd_object handle;
        struct lane *lane;
        objd_status r = lane_act_as(caller->conn->arena, caller->client, 0, &lane);

        if (r)
                return r;
        record_begin(record, lane, outcome, 1, collect_new, (void *)call);
        r = directory_create(caller->conn, call->name, call->kind, call->config ? call->config : &standard,
                             &handle);
        record_end(record, lane);
        lane_act_as_self(lane);
        if (r == OBJD_OK)
                outcome_of_new(outcome, objd_ref_of(&handle), call);
        return r;
}

static objd_status open_ref(const struct caller *caller, objd_ref ref, objd_kind kind, const char *name,
                            struct outcome *outcome)
{
        struct objd_object handle;
        objd_status r = run_find(caller, ref, &handle);

        if (r == OBJD_OK && kind != OBJD_KIND_ANY && kind != object_kind(handle.config))
                return fail(OBJD_E_KIND, "%s is a %s", object_label(&handle),
                            kind_of(object_kind(handle.config))->name);
        if (r == OBJD_OK)
                outcome_of_handle(outcome, &handle, name);
        return r;
}

static objd_status open_name(const struct caller *caller, const struct call *call, struct outcome *outcome)
{
        objd_ref ref;
        objd_status r = directory_lookup(caller->conn, call->name, &ref);

        if (r == OBJD_OK)
                r = open_ref(caller, ref, call->kind, call->name, outcome);
        if (r == OBJD_E_GONE) /* deleted between the two */
                return fail(OBJD_E_NOTFOUND, "there is no object named \"%s\"", call->name);
        return r;
}

static bool is_config(const objd_config *a, const objd_config *b)
{
        return a->key_type == b->key_type && a->value_type == b->value_type && a->order == b->order &&
               a->bound == b->bound && a->lock_flags == b->lock_flags;
}

static objd_status open_or_create(const struct caller *caller, const struct call *call,
                                  struct recording *record, struct outcome *outcome)
{
        uint32_t n_tries = 0;
        objd_status r;

        do {
                r = open_name(caller, call, outcome);
                if (r == OBJD_OK && call->config && !is_config(call->config, &outcome->more->info.config))
                        return fail(OBJD_E_TYPE, "\"%s\" was made with another configuration", call->name);
                if (r == OBJD_E_NOTFOUND)
                        r = create(caller, call, record, outcome);
        } while (r == OBJD_E_EXISTS && ++n_tries < OPEN_TRIES);
        return r;
}

/* ---- Changes of names ----------------------------------------------------------------------------------- */

static objd_status change_name(const struct caller *caller, const struct call *call, struct recording *record,
                               struct outcome *outcome)
{
        struct objd_object handle;
        struct lane *lane;
        objd_status r = OBJD_OK;

        if (call->code != CALL_OBJECT_DELETE)
                r = run_find(caller, call->object, &handle);
        if (r == OBJD_OK)
                r = lane_act_as(caller->conn->arena, caller->client, 0, &lane);
        if (r)
                return r;
        record_begin(record, lane, outcome, 1, collect_nothing, NULL);
        if (call->code == CALL_OBJECT_DELETE)
                r = directory_delete(caller->conn, call->name);
        else if (call->code == CALL_OBJECT_DESTROY)
                r = directory_destroy(&handle);
        else
                r = directory_rename(&handle, call->name);
        record_end(record, lane);
        lane_act_as_self(lane);
        if (r == OBJD_E_GONE && call->code == CALL_OBJECT_DELETE)
                return fail(OBJD_E_NOTFOUND, "there is no object named \"%s\"", call->name);
        return r;
}

/* ---- Asking --------------------------------------------------------------------------------------------- */

static objd_status info(const struct caller *caller, const struct call *call, struct outcome *outcome)
{
        struct objd_object handle;
        objd_status r = run_find(caller, call->object, &handle);

        if (r == OBJD_OK)
                r = objd_info_get(&handle, &outcome->more->info);
        if (r == OBJD_OK) {
                outcome->answer->infos = &outcome->more->info;
                outcome->answer->n_infos = 1;
        }
        return r;
}

static objd_status list(const struct caller *caller, const struct call *call, struct outcome *outcome)
{
        size_t n;
        objd_status r = objd_list(caller->conn, call->name, &outcome->infos, &n);

        if (r == OBJD_OK) {
                permit_infos(caller, outcome->infos, &n);
                outcome->answer->infos = outcome->infos;
                outcome->answer->n_infos = n;
        }
        return r;
}

static objd_status stats(const struct caller *caller, struct outcome *outcome)
{
        objd_status r = objd_stats_get(caller->conn, &outcome->more->stats);

        if (r == OBJD_OK)
                outcome->answer->stats = &outcome->more->stats;
        return r;
}

/* A piece of a report is the session's own: asked for again it is given again. */
static objd_status report(const struct caller *caller, const struct call *call, struct outcome *outcome)
{
        bool stands_still = call->report->what == REPORT_CHECK || call->report->what == REPORT_DUMP;
        objd_status r;

        if (stands_still && caller->read_only)
                return fail(OBJD_E_ACCESS, "this session only reads, and objects would stand still for that");
        r = report_piece(caller->reports, caller->report, caller->account, call, outcome);
        return r == OBJD_E_EMPTY ? fail(r, "the report's next piece has not been made yet") : r;
}

objd_status run_on_names(const struct caller *caller, const struct call *call, struct recording *record,
                         struct outcome *outcome)
{
        switch (call->code) {
        case CALL_STORE_STATS:
                return stats(caller, outcome);
        case CALL_STORE_LIST:
                return list(caller, call, outcome);
        case CALL_STORE_REPORT:
                return report(caller, call, outcome);
        case CALL_OBJECT_CREATE:
                return create(caller, call, record, outcome);
        case CALL_OBJECT_OPEN:
                return open_name(caller, call, outcome);
        case CALL_OBJECT_OPEN_REF:
                return open_ref(caller, call->object, call->kind, NULL, outcome);
        case CALL_OBJECT_OPEN_OR_CREATE:
                return open_or_create(caller, call, record, outcome);
        case CALL_OBJECT_INFO:
                return info(caller, call, outcome);
        case CALL_OBJECT_SET_STATE:
                return run_set_state(caller, call);
        case CALL_OBJECT_NAME_ALL:
        case CALL_OBJECT_REPLACE_ALL:
                return run_publish(caller, call);
        default:
                return change_name(caller, call, record, outcome);
        }
}
