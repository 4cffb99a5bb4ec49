/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy.c -- what the proxied calls are made of
 */

#include "client/proxy.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "arena/word.h"
#include "base/status.h"
#include "base/sys.h"
#include "object/dict.h"
#include "object/kind.h"
#include "object/value.h"

/* However little a call may wait for living holders, the way to the daemon and back takes its time. */
#define PATIENCE_MIN_NS 1000000000LL

int64_t proxy_patience(int64_t timeout_ns)
{
        return timeout_ns != OBJD_FOREVER && timeout_ns < PATIENCE_MIN_NS ? PATIENCE_MIN_NS : timeout_ns;
}

static objd_kind kind_of_proxied(const objd_object *object)
{
        return object_kind(object->config) & ~(objd_kind)OBJECT_PROXIED;
}

/* Types are looked at first, as by handle, where a value of a wrong type may be one that cannot even be sent. */
static objd_status check_types(const objd_object *dict, const struct call *call)
{
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < call->n_keys && r == OBJD_OK; i++)
                r = key_check_type(&call->keys[i], object_key_type(dict->config));
        for (size_t i = 0; i < call->n_values && r == OBJD_OK; i++)
                r = value_check_type(&call->values[i], object_value_type(dict->config), "value");
        return r;
}

/* "objd_dict_get" */
static const char *function_name(enum call_code code, char ret_name[64])
{
        (void)snprintf(ret_name, 64, "objd_%s", call_properties(code)->name);
        for (char *c = ret_name; *c; c++)
                if (*c == ' ')
                        *c = '_';
        return ret_name;
}

objd_status proxy_no_argument(enum call_code code)
{
        char name[64];

        return fail(OBJD_E_INVAL, "%s: an argument is NULL", function_name(code, name));
}

/* As object_label() by handle; only the daemon knows the name. */
static void get_label(const objd_object *object, char ret_label[OBJD_NAME_MAX + 32])
{
        struct call call = { .code = CALL_OBJECT_INFO, .object = proxy_ref_of(object) };
        struct proxied p;

        if (proxy_run(object->conn, &call, &p) == OBJD_OK && p.answer->n_infos == 1 && *p.answer->infos->name)
                (void)snprintf(ret_label, OBJD_NAME_MAX + 32, "\"%s\"", p.answer->infos->name);
        else
                (void)snprintf(ret_label, OBJD_NAME_MAX + 32, "the object #%" PRIu64 ".%" PRIu64,
                               call.object.place, call.object.serial);
        proxied_end(&p);
}

objd_status proxy_check_kind(const objd_object *object, objd_kind kind, const char *function)
{
        char label[OBJD_NAME_MAX + 32];

        if (kind == OBJD_KIND_ANY || kind == kind_of_proxied(object))
                return OBJD_OK;
        get_label(object, label);
        return fail(OBJD_E_KIND, "%s: %s is no %s", function, label, kind_of(kind)->name);
}

objd_status proxy_of(const objd_object *object, objd_kind kind, struct call *call)
{
        char name[64];

        if (kind != OBJD_KIND_ANY && kind != kind_of_proxied(object))
                return proxy_check_kind(object, kind, function_name(call->code, name));
        call->object = proxy_ref_of(object);
        return kind == OBJD_DICT ? check_types(object, call) : OBJD_OK;
}

objd_status proxy_run(objd_conn *conn, struct call *call, struct proxied *ret)
{
        int64_t timeout_ns = conn_timeout(conn);
        struct call_batch batch = { .timeout_ns = timeout_ns, .calls = call, .n_calls = 1 };
        objd_status r;

        ret->answer = NULL;
        call->thread = rpc_thread();
        r = rpc_send(conn->rpc, &batch, proxy_patience(timeout_ns), &ret->reply);
        if (r)
                return r;
        if (ret->reply.reply.n_answers == 1) {
                ret->answer = ret->reply.reply.answers;
                r = ret->answer->status;
                return r ? fail(r, "%s", ret->answer->sentence ? ret->answer->sentence : "") : OBJD_OK;
        }
        r = ret->reply.reply.status;
        r = r ? fail(r, "%s", ret->reply.reply.sentence ? ret->reply.reply.sentence : "")
              : fail(OBJD_E_PROTO, "the daemon's reply has %zu answers to one call",
                     ret->reply.reply.n_answers);
        rpc_reply_free(&ret->reply);
        return r;
}

void proxied_end(struct proxied *proxied)
{
        if (proxied->answer)
                rpc_reply_free(&proxied->reply);
        proxied->answer = NULL;
}

objd_status proxy_do(objd_object *object, objd_kind kind, struct call *call)
{
        struct proxied p;
        objd_status r = proxy_of(object, kind, call);

        if (r)
                return r;
        r = proxy_run(object->conn, call, &p);
        proxied_end(&p);
        return r;
}

/* ---- What comes back --------------------------------------------------------------------------------------- */

static objd_status copy_bytes(const objd_value *from, objd_value *ret, objd_buf *buf)
{
        objd_status r = buf_grow(buf, from->size);

        if (r)
                return r;
        if (from->size)
                memcpy(buf->data, from->data, from->size);
        ret->type = from->type;
        ret->data = buf->data;
        ret->size = from->size;
        return OBJD_OK;
}

objd_status proxy_copy_values(const objd_value *from, size_t n, objd_value *const *ret, objd_buf *buf)
{
        uint64_t size = 0, at = 0;
        objd_status r = OBJD_OK;

        if (n == 1 && (from->type == OBJD_BYTES || from->type == OBJD_STR))
                return copy_bytes(from, ret[0], buf);
        for (size_t i = 0; i < n; i++)
                size += round8(value_encoded_size(&from[i]));
        r = buf_grow(buf, size);
        for (size_t i = 0; i < n && r == OBJD_OK; i++) {
                uint64_t one = value_encoded_size(&from[i]);

                value_encode(&from[i], (uint8_t *)buf->data + at);
                r = value_decode(from[i].type, (uint8_t *)buf->data + at, one, ret[i]);
                at += round8(one);
        }
        return r;
}

/* Values of so many bytes are not copied if the message's memory can be the buffer's. */
#define TAKE_FROM ((size_t)256 << 10)

/*
 * Where the value is most of what the reply's memory holds, that becomes the caller's buffer, and the reply gets the buffer's memory,
 * for the next one to come into: who reads large values again and again takes no new memory.
 */
static bool take_value(struct rpc_reply *reply, const objd_value *from, objd_value *ret, objd_buf *buf)
{
        const uint8_t *data = from->data, *bytes = reply->bytes;
        objd_buf old = *buf;

        if (from->type == OBJD_MESSAGE || from->size < TAKE_FROM || from->size < reply->room / 2 ||
            data < bytes || data >= bytes + reply->room)
                return false;
        *buf = (objd_buf){ reply->bytes, reply->room };
        *ret = *from;
        reply->bytes = old.data;
        reply->room = old.data ? old.size : 0;
        return true;
}

static objd_status add_item(struct items_builder *builder, const objd_item *item, objd_buf *buf)
{
        bool has_key = item->key.type != OBJD_ANY;
        uint64_t key_size = has_key ? value_encoded_size(&item->key) : 0,
                 size = value_encoded_size(&item->value);
        uint8_t *bytes;
        objd_status r;

        if (item->value.type == OBJD_ANY || (!item->found && item->value.type == OBJD_NIL && !has_key))
                return items_add_missing(builder);
        r = buf_grow(buf, round8(key_size) + round8(size));
        if (r)
                return r;
        bytes = buf->data;
        if (has_key)
                value_encode(&item->key, bytes);
        value_encode(&item->value, bytes + round8(key_size));
        return items_add(builder, has_key ? item->key.type : OBJD_ANY, bytes, key_size, item->value.type,
                         bytes + round8(key_size), size);
}

objd_status proxy_add_items(struct items_builder *builder, const struct answer *answer)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < answer->n_items && r == OBJD_OK; i++)
                r = add_item(builder, &answer->items[i], &buf);
        objd_buf_free(&buf);
        return r;
}

objd_status proxy_copy_items(const struct answer *answer, objd_items **ret_items)
{
        struct items_builder builder = { 0 };
        objd_status r = proxy_add_items(&builder, answer);

        if (r == OBJD_OK)
                r = items_finish(&builder, ret_items);
        items_discard(&builder);
        return r;
}

objd_status proxy_get_value(objd_object *object, objd_kind kind, struct call *call, objd_value *ret_value,
                            objd_buf *buf, uint64_t *ret_number)
{
        struct proxied p;
        objd_status r = proxy_of(object, kind, call);

        if (r)
                return r;
        r = proxy_run(object->conn, call, &p);
        if (r == OBJD_OK && p.answer->value.type == OBJD_ANY)
                r = fail(OBJD_E_PROTO, "the daemon's answer to a %s has no value",
                         call_properties(call->code)->name);
        if (r == OBJD_OK && !take_value(&p.reply, &p.answer->value, ret_value, buf))
                r = proxy_copy_values(&p.answer->value, 1, &ret_value, buf);
        if (r == OBJD_OK && ret_number)
                *ret_number = p.answer->number;
        proxied_end(&p);
        return r;
}

objd_status proxy_get_number(objd_object *object, objd_kind kind, struct call *call, uint64_t *ret_number)
{
        struct proxied p;
        objd_status r = proxy_of(object, kind, call);

        if (r)
                return r;
        r = proxy_run(object->conn, call, &p);
        if (r == OBJD_OK)
                *ret_number = p.answer->number;
        proxied_end(&p);
        return r;
}

objd_status proxy_get_items(objd_object *object, objd_kind kind, struct call *call, objd_items **ret_items)
{
        struct proxied p;
        objd_status r = proxy_of(object, kind, call);

        if (r)
                return r;
        r = proxy_run(object->conn, call, &p);
        if (r == OBJD_OK)
                r = proxy_copy_items(p.answer, ret_items);
        proxied_end(&p);
        return r;
}
