/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_object.c -- proxied connections, and objects and their names on them
 */

#include <stdlib.h>
#include <string.h>

#include "base/fork.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/attach.h"
#include "client/proxy.h"
#include "client/token_ask.h"
#include "object/directory.h"

#define TIMEOUT_DEFAULT_NS 5000000000LL

bool proxy_is_url(const char *url)
{
        return strncmp(url, "ipc://", 6) == 0 || strncmp(url, "tcp://", 6) == 0 ||
               strncmp(url, "local:", 6) == 0;
}

/* A daemon that is not there is not waited for. */
static objd_status check_local(const char *text)
{
        struct url *url = sys.alloc(sizeof(*url));
        objd_status r;

        if (!url)
                return fail(OBJD_E_NOMEM, "cannot connect to \"%s\": no memory", text);
        r = url_parse_local(text, url);
        if (r == OBJD_OK)
                r = attach_knock(text, url);
        free(url);
        return r;
}

static objd_status check_url(const char *url)
{
        if (strncmp(url, "local:", 6) == 0)
                return check_local(url);
        return url[0] != 'i' || url[6] == '/' ? OBJD_OK
                                              : fail(OBJD_E_INVAL, "\"%s\" is no \"ipc:///PATH\"", url);
}

objd_status proxy_connect(const char *url, objd_conn **ret_conn)
{
        struct objd_conn *conn;
        objd_status r = check_url(url);

        if (r)
                return r;
        conn = sys.alloc(sizeof(*conn));
        if (conn)
                conn->name = strdup(url);
        if (!conn || !conn->name) {
                free(conn);
                return fail(OBJD_E_NOMEM, "cannot connect to \"%s\": no memory", url);
        }
        conn->control = -1;
        conn->timeout_ns = TIMEOUT_DEFAULT_NS;
        conn->fork_generation = fork_generation();
        r = rpc_open(url, token_ask, TIMEOUT_DEFAULT_NS, &conn->rpc);
        if (r) {
                free(conn->name);
                free(conn);
                return r;
        }
        *ret_conn = conn;
        return OBJD_OK;
}

void proxy_close(objd_conn *conn)
{
        rpc_close(conn->rpc);
        free(conn->name);
        free(conn);
}

objd_status proxy_stats(objd_conn *conn, objd_stats *ret_stats)
{
        struct call call = { .code = CALL_STORE_STATS };
        struct proxied p;
        objd_status r = proxy_run(conn, &call, &p);

        if (r == OBJD_OK && !p.answer->stats)
                r = fail(OBJD_E_PROTO, "the daemon's answer has no statistics");
        if (r == OBJD_OK)
                *ret_stats = *p.answer->stats;
        proxied_end(&p);
        return r;
}

/* ---- Handles ----------------------------------------------------------------------------------------------- */

static uint64_t pack_config(objd_kind kind, const objd_config *config)
{
        return (uint64_t)kind | OBJECT_PROXIED | (uint64_t)config->key_type << 8 |
               (uint64_t)config->value_type << 16 | (uint64_t)config->order << 24 |
               (uint64_t)config->lock_flags << 32;
}

objd_ref proxy_ref_of(const objd_object *object)
{
        return (objd_ref){ object->cache[0], object->serial };
}

/* A call that gives an object. */
static objd_status get_handle(objd_conn *conn, struct call *call, objd_object **ret_object)
{
        objd_object *object = sys.alloc(sizeof(*object));
        struct proxied p;
        objd_status r;

        if (!object)
                return fail(OBJD_E_NOMEM, "no memory for a handle");
        r = proxy_run(conn, call, &p);
        if (r == OBJD_OK && p.answer->n_infos != 1)
                r = fail(OBJD_E_PROTO, "the daemon's answer names no object");
        if (r) {
                proxied_end(&p);
                free(object);
                return r;
        }
        object->conn = conn;
        object->serial = p.answer->infos->ref.serial;
        object->cache[0] = p.answer->infos->ref.place;
        object->config = pack_config(p.answer->infos->kind, &p.answer->infos->config);
        proxied_end(&p);
        *ret_object = object;
        return OBJD_OK;
}

/* What could not even be sent is refused here, in the words of those who have a mapping. */
static objd_status check_new(const char *name, objd_kind kind, const objd_config *config)
{
        const objd_config standard = OBJD_CONFIG_INIT;
        objd_status r = directory_check_config(kind, config ? config : &standard);

        return r || !name ? r : directory_check_name(name);
}

objd_status proxy_create(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config,
                         objd_object **ret_object)
{
        struct call call = { .code = CALL_OBJECT_CREATE, .name = name, .kind = kind, .config = config };
        objd_status r = check_new(name, kind, config);

        return r ? r : get_handle(conn, &call, ret_object);
}

objd_status proxy_open(objd_conn *conn, const char *name, objd_kind kind, objd_object **ret_object)
{
        struct call call = { .code = CALL_OBJECT_OPEN, .name = name, .kind = kind };
        objd_status r = directory_check_name(name);

        return r ? r : get_handle(conn, &call, ret_object);
}

objd_status proxy_open_or_create(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config,
                                 objd_object **ret_object)
{
        struct call call = {
                .code = CALL_OBJECT_OPEN_OR_CREATE, .name = name, .kind = kind, .config = config
        };
        objd_status r = check_new(name, kind, config);

        return r ? r : get_handle(conn, &call, ret_object);
}

objd_status proxy_open_ref(objd_conn *conn, objd_ref ref, objd_kind kind, objd_object **ret_object)
{
        struct call call = { .code = CALL_OBJECT_OPEN_REF, .object = ref, .kind = kind };

        return get_handle(conn, &call, ret_object);
}

objd_status proxy_delete(objd_conn *conn, const char *name)
{
        struct call call = { .code = CALL_OBJECT_DELETE, .name = name };
        struct proxied p;
        objd_status r = directory_check_name(name);

        if (r)
                return r;
        r = proxy_run(conn, &call, &p);
        proxied_end(&p);
        return r;
}

objd_status proxy_destroy(objd_object *object)
{
        return proxy_do(object, OBJD_KIND_ANY, &(struct call){ .code = CALL_OBJECT_DESTROY });
}

objd_status proxy_set_name(objd_object *object, const char *name)
{
        objd_status r = directory_check_name(name);

        if (r)
                return r;
        return proxy_do(object, OBJD_KIND_ANY, &(struct call){ .code = CALL_OBJECT_SET_NAME, .name = name });
}

objd_status proxy_set_state(objd_object *object, const struct call_state *state)
{
        return proxy_do(object, OBJD_KIND_ANY,
                        &(struct call){ .code = CALL_OBJECT_SET_STATE, .state = state });
}

objd_status proxy_publish(objd_object *list, bool replaces)
{
        return proxy_do(list, OBJD_KIND_ANY,
                        &(struct call){ .code = replaces ? CALL_OBJECT_REPLACE_ALL : CALL_OBJECT_NAME_ALL });
}

objd_status proxy_info(objd_object *object, objd_info *ret_info)
{
        struct call call = { .code = CALL_OBJECT_INFO };
        struct proxied p;
        objd_status r = proxy_of(object, OBJD_KIND_ANY, &call);

        if (r)
                return r;
        r = proxy_run(object->conn, &call, &p);
        if (r == OBJD_OK && p.answer->n_infos != 1)
                r = fail(OBJD_E_PROTO, "the daemon's answer tells of no object");
        if (r == OBJD_OK)
                *ret_info = *p.answer->infos;
        proxied_end(&p);
        return r;
}

objd_status proxy_list(objd_conn *conn, const char *prefix, objd_info **ret_infos, size_t *ret_len)
{
        struct call call = { .code = CALL_STORE_LIST, .name = prefix };
        struct proxied p;
        objd_status r = proxy_run(conn, &call, &p);
        objd_info *infos = NULL;
        size_t n = r == OBJD_OK ? p.answer->n_infos : 0;

        if (n) {
                infos = sys.alloc(n * sizeof(*infos));
                if (infos)
                        memcpy(infos, p.answer->infos, n * sizeof(*infos));
                else
                        r = fail(OBJD_E_NOMEM, "no memory for the list of objects");
        }
        proxied_end(&p);
        if (r)
                return r;
        *ret_infos = infos;
        *ret_len = n;
        return OBJD_OK;
}
