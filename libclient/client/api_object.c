/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_object.c -- exported: objects and their names
 */

#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "client/proxy.h"
#include "object/directory.h"
#include "object/kind.h"
#include "txn/recover.h"

static objd_status make_handle(objd_conn *conn, objd_ref ref, objd_object **ret_object)
{
        objd_object *object = sys.alloc(sizeof(*object));
        objd_status r;

        if (!object)
                return fail(OBJD_E_NOMEM, "no memory for a handle");
        r = directory_handle(conn, ref, object);
        if (r) {
                free(object);
                return r;
        }
        *ret_object = object;
        return OBJD_OK;
}

/* What a message could not say is refused by handle as well, in the same words. */
static objd_status check_wanted_kind(objd_kind kind)
{
        if (kind == OBJD_KIND_ANY || kind_of(kind))
                return OBJD_OK;
        return fail(OBJD_E_INVAL, "there is no kind %d of object", (int)kind);
}

static objd_status check_prefix(const char *prefix)
{
        if (!prefix || utf8_is_valid(prefix, strlen(prefix)))
                return OBJD_OK;
        return fail(OBJD_E_INVAL, "the prefix is not UTF-8; it can only end where a character does");
}

static objd_status check_kind(const objd_object *object, objd_kind kind)
{
        objd_kind is = object_kind(object->config);

        if (kind == OBJD_KIND_ANY || kind == is)
                return OBJD_OK;
        return fail(OBJD_E_KIND, "%s is a %s", object_label(object), kind_of(is)->name);
}

static objd_status create(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config,
                          objd_object **ret_object)
{
        HOLD_NEXT_TIMEOUT;
        objd_config standard = OBJD_CONFIG_INIT;
        objd_object *object;
        objd_status r;

        if (!conn || !ret_object)
                return fail(OBJD_E_INVAL, "objd_create: conn and ret_object must be given");
        if (conn->rpc)
                return proxy_create(conn, name, kind, config, ret_object);
        object = sys.alloc(sizeof(*object));
        if (!object)
                return fail(OBJD_E_NOMEM, "no memory for a handle");
        r = directory_create(conn, name, kind, config ? config : &standard, object);
        if (r) {
                free(object);
                return r;
        }
        *ret_object = object;
        return OBJD_OK;
}

objd_status objd_create(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config,
                        objd_object **ret_object)
{
        objd_status r = create(conn, name, kind, config, ret_object);

        /* Where there is no daemon to do it, whoever makes objects sees to it that those of the dead go. */
        if (r == OBJD_OK && !conn->rpc)
                recover_on_arrival(conn->arena);
        return r;
}

objd_status objd_open_ref(objd_conn *conn, objd_ref ref, objd_kind kind, objd_object **ret_object)
{
        HOLD_NEXT_TIMEOUT;
        objd_object *object = NULL;
        objd_status r;

        if (!conn || !ret_object)
                return fail(OBJD_E_INVAL, "objd_open_ref: conn and ret_object must be given");
        r = check_wanted_kind(kind);
        if (r)
                return r;
        if (conn->rpc)
                return proxy_open_ref(conn, ref, kind, ret_object);
        r = make_handle(conn, ref, &object);
        if (r)
                return r;
        r = check_kind(object, kind);
        if (r) {
                free(object);
                return r;
        }
        *ret_object = object;
        return OBJD_OK;
}

objd_status objd_open(objd_conn *conn, const char *name, objd_kind kind, objd_object **ret_object)
{
        HOLD_NEXT_TIMEOUT;
        objd_ref ref;
        objd_status r;

        if (!conn || !name || !ret_object)
                return fail(OBJD_E_INVAL, "objd_open: conn, name and ret_object must be given");
        r = check_wanted_kind(kind);
        if (r)
                return r;
        if (conn->rpc)
                return proxy_open(conn, name, kind, ret_object);
        r = directory_lookup(conn, name, &ref);
        if (r == OBJD_OK)
                r = objd_open_ref(conn, ref, kind, ret_object);
        if (r == OBJD_E_GONE) /* deleted between the two */
                return fail(OBJD_E_NOTFOUND, "there is no object named \"%s\"", name);
        return r;
}

/* Whether an object that was found is what the caller would have made. */
static objd_status check_config(objd_object *object, const objd_config *wanted)
{
        objd_info info;
        objd_status r = objd_info_get(object, &info);

        if (r)
                return r;
        if (info.config.key_type != wanted->key_type || info.config.value_type != wanted->value_type ||
            info.config.order != wanted->order || info.config.bound != wanted->bound ||
            info.config.lock_flags != wanted->lock_flags)
                return fail(OBJD_E_TYPE, "%s was made with another configuration", object_label(object));
        return OBJD_OK;
}

/* How often others can make or delete the object at just the wrong moment, before it is the name that is wrong. */
#define OPEN_TRIES 1000u

objd_status objd_open_or_create(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config,
                                objd_object **ret_object)
{
        HOLD_NEXT_TIMEOUT;
        uint32_t n_tries = 0;
        objd_object *object;
        objd_status r;

        if (!conn || !name || !ret_object)
                return fail(OBJD_E_INVAL, "objd_open_or_create: conn, name and ret_object must be given");
        r = check_wanted_kind(kind);
        if (r)
                return r;
        if (conn->rpc)
                return proxy_open_or_create(conn, name, kind, config, ret_object);
        do {
                r = objd_open(conn, name, kind, &object);
                if (r == OBJD_E_NOTFOUND)
                        r = objd_create(conn, name, kind, config, &object);
                /* Made, or deleted, by somebody else between the two: look again. */
        } while ((r == OBJD_E_EXISTS || r == OBJD_E_GONE) && ++n_tries < OPEN_TRIES);
        if (r == OBJD_E_EXISTS || r == OBJD_E_GONE)
                r = fail(OBJD_E_CORRUPT, "the name \"%s\" is damaged: it stands for no object", name);
        if (r == OBJD_OK && config) {
                r = check_config(object, config);
                if (r)
                        objd_release(object);
        }
        if (r == OBJD_OK)
                *ret_object = object;
        return r;
}

void objd_release(objd_object *object)
{
        free(object);
}

objd_ref objd_ref_of(const objd_object *object)
{
        if (object_is_proxied(object))
                return proxy_ref_of(object);
        return (objd_ref){ arena_off(object->conn->arena, object->shm), object->serial };
}

objd_status objd_destroy(objd_object *object)
{
        HOLD_NEXT_TIMEOUT;
        if (object_is_proxied(object))
                return proxy_destroy(object);
        return object ? directory_destroy(object) : fail(OBJD_E_INVAL, "objd_destroy: object must be given");
}

objd_status objd_delete(objd_conn *conn, const char *name)
{
        HOLD_NEXT_TIMEOUT;
        objd_status r;

        if (!conn || !name)
                return fail(OBJD_E_INVAL, "objd_delete: conn and name must be given");
        if (conn->rpc)
                return proxy_delete(conn, name);
        r = directory_delete(conn, name);
        if (r == OBJD_E_GONE)
                return fail(OBJD_E_NOTFOUND, "there is no object named \"%s\"", name);
        return r;
}

objd_status objd_set_name(objd_object *object, const char *name)
{
        HOLD_NEXT_TIMEOUT;
        if (!object || !name)
                return fail(OBJD_E_INVAL, "objd_set_name: object and name must be given");
        if (object_is_proxied(object))
                return proxy_set_name(object, name);
        return directory_rename(object, name);
}

objd_status objd_info_get(objd_object *object, objd_info *ret_info)
{
        HOLD_NEXT_TIMEOUT;
        objd_info info = { 0 };
        const struct kind *kind;
        struct lane *lane;
        objd_status r;

        if (!object || !ret_info)
                return fail(OBJD_E_INVAL, "objd_info_get: object and ret_info must be given");
        if (object_is_proxied(object))
                return proxy_info(object, ret_info);
        kind = kind_of(object_kind(object->config));
        r = kind->len(object, &info.len);
        if (r && r != OBJD_E_CORRUPT)
                return r;
        r = lane_enter_to_read(object->conn->arena, conn_timeout(object->conn), &lane);
        if (r)
                return r;
        r = object_touch(object);
        if (r == OBJD_OK) {
                uint64_t config = word_get(&object->shm->line.config);

                info.ref = objd_ref_of(object);
                info.kind = kind->kind;
                info.config = (objd_config){ sizeof(objd_config),
                                             object_key_type(config),
                                             object_value_type(config),
                                             object_order(config),
                                             0,
                                             object_lock_flags(config) };
                kind->get_config(object->shm, &info.config);
                info.memory = SLOT_SIZE + word_get(&object->shm->memory);
                info.poisoned = config & OBJECT_POISONED;
                (void)object_name(object->conn->arena, object->shm, object->serial, info.name);
                if (word_get(&object->shm->line.serial) != object->serial)
                        r = object_gone(object);
        }
        lane_leave(lane);
        if (r == OBJD_OK)
                *ret_info = info;
        return r;
}

/* ---- Listing ------------------------------------------------------------------------------------------ */

struct listing {
        objd_conn *conn;
        const char *prefix;
        objd_info *infos;
        size_t len, room;
};

static objd_status add_info(void *context, const objd_value *key, const objd_value *value)
{
        struct listing *listing = context;
        struct objd_object handle;
        objd_status r;

        if (value->type != OBJD_REF || key->size < strlen(listing->prefix) ||
            (*listing->prefix && memcmp(key->data, listing->prefix, strlen(listing->prefix)) != 0))
                return OBJD_OK;
        if (listing->len == listing->room) {
                size_t room = listing->room ? 2 * listing->room : 16;
                objd_info *infos = sys.resize(listing->infos, room * sizeof(*infos));

                if (!infos)
                        return fail(OBJD_E_NOMEM, "no memory for the list of objects");
                listing->infos = infos;
                listing->room = room;
        }
        r = directory_handle(listing->conn, value->u.ref, &handle);
        if (r == OBJD_OK)
                r = objd_info_get(&handle, &listing->infos[listing->len]);
        if (r == OBJD_OK)
                listing->len++;
        return r == OBJD_E_GONE ? OBJD_OK : r;
}

static int compare_names(const void *a, const void *b)
{
        const objd_info *x = a, *y = b;

        return strcmp(x->name, y->name);
}

objd_status objd_list(objd_conn *conn, const char *prefix, objd_info **ret_infos, size_t *ret_len)
{
        HOLD_NEXT_TIMEOUT;
        struct listing listing = { .conn = conn, .prefix = prefix ? prefix : "" };
        struct objd_object names;
        objd_status r;

        if (!conn || !ret_infos || !ret_len)
                return fail(OBJD_E_INVAL, "objd_list: conn, ret_infos and ret_len must be given");
        r = check_prefix(prefix);
        if (r)
                return r;
        if (conn->rpc)
                return proxy_list(conn, prefix, ret_infos, ret_len);
        r = directory_names(conn, &names);
        if (r == OBJD_OK)
                r = kind_of(OBJD_DICT)->walk(&names, UINT64_MAX, add_info, &listing);
        if (r) {
                free(listing.infos);
                return r;
        }
        if (listing.len)
                qsort(listing.infos, listing.len, sizeof(*listing.infos), compare_names);
        *ret_infos = listing.infos;
        *ret_len = listing.len;
        return OBJD_OK;
}

void objd_infos_free(objd_info *infos)
{
        free(infos);
}
