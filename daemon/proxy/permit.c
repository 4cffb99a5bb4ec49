/* SPDX-License-Identifier: Apache-2.0 */

/*
 * permit.c -- what somebody with rights of its own may call
 */

#include "proxy/permit.h"

#include <inttypes.h>

#include "base/status.h"
#include "dumpload/report.h"
#include "object/directory.h"

/* How often an object's name can change while it is looked at. */
#define NAME_TRIES 100u

objd_status permit_name(const struct caller *caller, const char *name)
{
        if (!caller->rights || rights_allow_name(caller->rights, name))
                return OBJD_OK;
        return fail(OBJD_E_ACCESS, "no right to use an object of the name \"%s\"", name);
}

/* For an object that is gone there is nothing to permit: the call says so. */
static objd_status permit_ref(const struct caller *caller, objd_ref ref)
{
        char name[OBJD_NAME_MAX + 1];
        struct objd_object object;
        bool is_known = false;

        for (unsigned i = 0; i < NAME_TRIES && !is_known; i++) {
                if (directory_handle(caller->conn, ref, &object) == OBJD_E_GONE)
                        return OBJD_OK;
                is_known = object.shm && object_name(caller->conn->arena, object.shm, ref.serial, name);
        }
        if (!is_known)
                return fail(OBJD_E_BUSY, "object #%" PRIu64 ".%" PRIu64 ": its name is being changed",
                            ref.place, ref.serial);
        if (name[0] ? rights_allow_name(caller->rights, name)
                    : word_get(&object.shm->owner) == caller->client)
                return OBJD_OK;
        return fail(OBJD_E_ACCESS, "no right to use object #%" PRIu64 ".%" PRIu64, ref.place, ref.serial);
}

static objd_status permit_values(const struct caller *caller, const objd_value *values, size_t n)
{
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < n && r == OBJD_OK; i++)
                if (values[i].type == OBJD_REF)
                        r = permit_ref(caller, values[i].u.ref);
        return r;
}

static objd_status permit_objects(const struct caller *caller, const struct call *call, uint32_t flags)
{
        objd_status r = OBJD_OK;

        if (call->name)
                r = permit_name(caller, call->name);
        if (r == OBJD_OK && (flags & CALL_ON_OBJECT))
                r = permit_ref(caller, call->object);
        if (r == OBJD_OK)
                r = permit_values(caller, call->values, call->n_values);
        if (r == OBJD_OK && call->expected)
                r = permit_values(caller, call->expected, 1);
        return r;
}

objd_status permit_call(const struct caller *caller, const struct call *call)
{
        const struct call_properties *properties = call_properties(call->code);

        if (!properties->name)
                return fail(OBJD_E_PROTO, "there is no such call");
        if (caller->read_only && (properties->flags & CALL_MUTATES) && properties->group != GROUP_SESSION)
                return fail(OBJD_E_ACCESS, "%s: this session only reads", properties->name);
        if (!caller->rights || rights_allow_all_names(caller->rights) || properties->group == GROUP_SESSION)
                return OBJD_OK;
        if (properties->group != GROUP_STORE)
                return permit_objects(caller, call, properties->flags);
        if (call->code == CALL_STORE_STATS || call->code == CALL_STORE_LIST ||
            (call->code == CALL_STORE_REPORT && call->report->what == REPORT_STATS))
                return OBJD_OK;
        return fail(OBJD_E_ACCESS, "%s: this session may only use some names", properties->name);
}

void permit_infos(const struct caller *caller, objd_info *infos, size_t *n)
{
        size_t n_left = 0;

        if (!caller->rights || rights_allow_all_names(caller->rights))
                return;
        for (size_t i = 0; i < *n; i++)
                if (rights_allow_name(caller->rights, infos[i].name))
                        infos[n_left++] = infos[i];
        *n = n_left;
}
