/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bundle.c -- objects that come to stay together, whoever dies meanwhile
 *
 * Any number may go on with the same bundle at once, its maker too: what is done to an object is done only while it is the
 * client's, which is looked at with the object locked, and ends that.
 */

#include "object/bundle.h"

#include <stdio.h>
#include <string.h>

#include "arena/life.h"
#include "base/status.h"
#include "object/directory.h"
#include "object/kind.h"
#include "object/op.h"

/* In the low bits of client_shm.bundle, beside the list's place. */
#define BUNDLE_REPLACE 1ULL

/* ---- Writing it down ------------------------------------------------------------------------------------ */

objd_status bundle_begin(struct objd_conn *conn, struct bundle *ret_bundle)
{
        const objd_config config = OBJD_CONFIG_INIT;
        objd_status r = directory_create(conn, NULL, OBJD_DICT, &config, &ret_bundle->list);

        if (r)
                return r;
        ret_bundle->client = word_get(&ret_bundle->list.shm->owner);
        ret_bundle->n_nameless = 0;
        return OBJD_OK;
}

objd_status bundle_add(struct bundle *bundle, objd_ref ref, const char *name)
{
        objd_value key = name ? objd_cstr(name) : objd_int(bundle->n_nameless++), value = objd_refer(ref);
        struct op op;

        op_init(&op, OP_DICT_SET, &bundle->list);
        op.key = &key;
        op.value = &value;
        return op_run_one(&op);
}

void bundle_drop(struct bundle *bundle)
{
        (void)directory_destroy(&bundle->list); /* if not now, then with the client */
}

/* The serial decides, since it is never another list's. */
objd_status bundle_publish(struct bundle *bundle, bool replace, struct bundle_report *ret_report)
{
        struct objd_conn *conn = bundle->list.conn;
        struct client_shm *client = arena_client(conn->arena, id_number(bundle->client));
        objd_status r;

        *ret_report = (struct bundle_report){ 0 };
        word_set(&client->bundle, arena_off(conn->arena, bundle->list.shm) | (replace ? BUNDLE_REPLACE : 0));
        order_for_death();
        word_set_release(&client->bundle_serial, bundle->list.serial);
        r = bundle_finish(conn, bundle->client, ret_report);
        if (r == OBJD_OK)
                bundle_drop(bundle);
        return r;
}

/* ---- Doing it ------------------------------------------------------------------------------------------- */

struct finish {
        struct objd_conn *conn;
        uint64_t client;
        bool replace;
        struct bundle_report *report;
};

static objd_status settle(const struct finish *finish, struct objd_object *object, const objd_value *key)
{
        char name[OBJD_NAME_MAX + 1] = "";

        if (key->type != OBJD_STR)
                return directory_hand_over(object, finish->client, 0);
        if (key->size > OBJD_NAME_MAX)
                return OBJD_E_CORRUPT;
        memcpy(name, key->data, key->size);
        return finish->replace ? directory_replace(object, name, finish->client)
                               : directory_give_name(object, name, finish->client);
}

/* What could not get its name is of no use to anybody. */
static void give_up(const struct finish *finish, struct objd_object *object, objd_status r)
{
        if (finish->report && !finish->report->status) {
                finish->report->status = r;
                (void)snprintf(finish->report->why, sizeof(finish->report->why), "%s", objd_last_error());
        }
        (void)directory_destroy_own(object, finish->client);
}

static objd_status finish_one(void *context, const objd_value *key, const objd_value *value)
{
        const struct finish *finish = context;
        struct objd_object object;
        objd_status r;

        if (!key || value->type != OBJD_REF)
                return OBJD_OK; /* damaged: nobody has written that */
        r = directory_handle(finish->conn, value->u.ref, &object);
        if (r == OBJD_OK)
                r = settle(finish, &object, key);
        switch (r) {
        case OBJD_OK:
                if (finish->report)
                        finish->report->n_done++;
                return OBJD_OK;
        case OBJD_E_GONE: /* it is done already, or not the client's any more */
                return OBJD_OK;
        case OBJD_E_EXISTS:
        case OBJD_E_NOMEM:
        case OBJD_E_CORRUPT:
        case OBJD_E_INVAL:
                give_up(finish, &object, r);
                return OBJD_OK;
        default:
                return r;
        }
}

/* Whatever stands in the entry: false if it is no list of this client's. */
static bool find_list(struct objd_conn *conn, uint64_t client, uint64_t place, uint64_t serial,
                      struct objd_object *ret_list)
{
        return directory_handle(conn, (objd_ref){ place & ~BUNDLE_REPLACE, serial }, ret_list) == OBJD_OK &&
               object_kind(ret_list->config) == OBJD_DICT && word_get(&ret_list->shm->owner) == client;
}

objd_status bundle_finish(struct objd_conn *conn, uint64_t client, struct bundle_report *report)
{
        struct client_shm *shm = arena_client(conn->arena, id_number(client));
        uint64_t serial = word_get_acquire(&shm->bundle_serial), place = word_get(&shm->bundle);
        struct finish finish = { conn, client, place & BUNDLE_REPLACE, report };
        struct objd_object list;
        objd_status r = OBJD_OK;

        if (!serial || (word_get(&shm->flags) & CLIENT_IS_SESSION))
                return OBJD_OK;
        if (find_list(conn, client, place, serial, &list))
                r = dict_kind.walk(&list, UINT64_MAX, finish_one, &finish);
        if (r && r != OBJD_E_GONE && r != OBJD_E_CORRUPT)
                return r;
        (void)__atomic_compare_exchange_n(&shm->bundle_serial, &serial, 0, false, __ATOMIC_ACQ_REL,
                                          __ATOMIC_RELAXED);
        return OBJD_OK;
}
