/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_dict.c -- proxied calls on dicts
 */

#include <string.h>

#include "base/status.h"
#include "client/proxy.h"

/* Entries that a cursor asks for at once. */
#define CURSOR_ITEMS 256u

/* What nearly all of them have. */
static struct call call_of(enum call_code code, const objd_value *key, const objd_value *value)
{
        return (struct call){
                .code = code, .keys = key, .n_keys = key ? 1 : 0, .values = value, .n_values = value ? 1 : 0
        };
}

static objd_status run(objd_object *dict, enum call_code code, const objd_value *key, const objd_value *value)
{
        struct call call = call_of(code, key, value);

        return key ? proxy_do(dict, OBJD_DICT, &call) : proxy_no_argument(code);
}

static objd_status get(objd_object *dict, enum call_code code, const objd_value *key, objd_value *ret_value,
                       objd_buf *buf)
{
        struct call call = call_of(code, key, NULL);

        return key && ret_value && buf ? proxy_get_value(dict, OBJD_DICT, &call, ret_value, buf, NULL)
                                       : proxy_no_argument(code);
}

objd_status proxy_dict_get(objd_object *dict, const objd_value *key, objd_value *ret_value, objd_buf *buf)
{
        return get(dict, CALL_DICT_GET, key, ret_value, buf);
}

objd_status proxy_dict_set(objd_object *dict, const objd_value *key, const objd_value *value)
{
        return value ? run(dict, CALL_DICT_SET, key, value) : proxy_no_argument(CALL_DICT_SET);
}

objd_status proxy_dict_set_new(objd_object *dict, const objd_value *key, const objd_value *value)
{
        return value ? run(dict, CALL_DICT_SET_NEW, key, value) : proxy_no_argument(CALL_DICT_SET_NEW);
}

objd_status proxy_dict_cas(objd_object *dict, const objd_value *key, const objd_value *expected,
                           const objd_value *value)
{
        struct call call = call_of(CALL_DICT_CAS, key, value);

        call.expected = expected;
        return key ? proxy_do(dict, OBJD_DICT, &call) : proxy_no_argument(CALL_DICT_CAS);
}

objd_status proxy_dict_add_int(objd_object *dict, const objd_value *key, int64_t delta, int64_t *ret_sum)
{
        struct call call = call_of(CALL_DICT_ADD_INT, key, NULL);
        struct proxied p;
        objd_status r = key ? proxy_of(dict, OBJD_DICT, &call) : proxy_no_argument(CALL_DICT_ADD_INT);

        if (r)
                return r;
        call.integer = delta;
        r = proxy_run(dict->conn, &call, &p);
        if (r == OBJD_OK && ret_sum)
                *ret_sum = p.answer->integer;
        proxied_end(&p);
        return r;
}

objd_status proxy_dict_add_float(objd_object *dict, const objd_value *key, double delta, double *ret_sum)
{
        struct call call = call_of(CALL_DICT_ADD_FLOAT, key, NULL);
        struct proxied p;
        objd_status r = key ? proxy_of(dict, OBJD_DICT, &call) : proxy_no_argument(CALL_DICT_ADD_FLOAT);

        if (r)
                return r;
        call.real = delta;
        r = proxy_run(dict->conn, &call, &p);
        if (r == OBJD_OK && ret_sum)
                *ret_sum = p.answer->real;
        proxied_end(&p);
        return r;
}

objd_status proxy_dict_del(objd_object *dict, const objd_value *key)
{
        return run(dict, CALL_DICT_DEL, key, NULL);
}

objd_status proxy_dict_pop(objd_object *dict, const objd_value *key, objd_value *ret_value, objd_buf *buf)
{
        return get(dict, CALL_DICT_POP, key, ret_value, buf);
}

objd_status proxy_dict_pop_any(objd_object *dict, objd_value *ret_key, objd_value *ret_value, objd_buf *buf)
{
        struct call call = call_of(CALL_DICT_POP_ANY, NULL, NULL);
        struct proxied p;
        objd_status r = ret_key && ret_value && buf ? proxy_of(dict, OBJD_DICT, &call)
                                                    : proxy_no_argument(CALL_DICT_POP_ANY);

        if (r)
                return r;
        r = proxy_run(dict->conn, &call, &p);
        if (r == OBJD_OK)
                r = proxy_copy_values((const objd_value[]){ p.answer->key, p.answer->value }, 2,
                                      (objd_value *const[]){ ret_key, ret_value }, buf);
        proxied_end(&p);
        return r;
}

objd_status proxy_dict_contains(objd_object *dict, const objd_value *key, bool *ret_found)
{
        struct call call = call_of(CALL_DICT_CONTAINS, key, NULL);
        struct proxied p;
        objd_status r =
                key && ret_found ? proxy_of(dict, OBJD_DICT, &call) : proxy_no_argument(CALL_DICT_CONTAINS);

        if (r)
                return r;
        r = proxy_run(dict->conn, &call, &p);
        if (r == OBJD_OK)
                *ret_found = p.answer->truth;
        proxied_end(&p);
        return r;
}

objd_status proxy_dict_len(objd_object *dict, uint64_t *ret_len)
{
        struct call call = call_of(CALL_DICT_LEN, NULL, NULL);

        return ret_len ? proxy_get_number(dict, OBJD_DICT, &call, ret_len) : proxy_no_argument(CALL_DICT_LEN);
}

objd_status proxy_dict_clear(objd_object *dict)
{
        struct call call = call_of(CALL_DICT_CLEAR, NULL, NULL);

        return proxy_do(dict, OBJD_DICT, &call);
}

objd_status proxy_dict_set_many(objd_object *dict, const objd_value *keys, const objd_value *values, size_t n)
{
        struct call call = {
                .code = CALL_DICT_SET_MANY, .keys = keys, .n_keys = n, .values = values, .n_values = n
        };

        return !n || (keys && values) ? proxy_do(dict, OBJD_DICT, &call)
                                      : proxy_no_argument(CALL_DICT_SET_MANY);
}

objd_status proxy_dict_get_many(objd_object *dict, const objd_value *keys, size_t n, objd_items **ret_items)
{
        struct call call = { .code = CALL_DICT_GET_MANY, .keys = keys, .n_keys = n };

        return ret_items && (!n || keys) ? proxy_get_items(dict, OBJD_DICT, &call, ret_items)
                                         : proxy_no_argument(CALL_DICT_GET_MANY);
}

objd_status proxy_dict_copy(objd_object *dict, objd_items **ret_items)
{
        struct call call = call_of(CALL_DICT_COPY, NULL, NULL);

        return ret_items ? proxy_get_items(dict, OBJD_DICT, &call, ret_items)
                         : proxy_no_argument(CALL_DICT_COPY);
}

objd_status proxy_dict_step(objd_object *dict, void *position, size_t *size, bool *ret_end,
                            objd_items **ret_items)
{
        struct call call = {
                .code = CALL_DICT_CURSOR, .position = position, .position_size = *size, .max = CURSOR_ITEMS
        };
        struct proxied p;
        objd_status r = proxy_of(dict, OBJD_DICT, &call);

        if (r)
                return r;
        r = proxy_run(dict->conn, &call, &p);
        if (r == OBJD_OK && p.answer->position_size > PROXY_POSITION_MAX)
                r = fail(OBJD_E_PROTO, "the daemon's answer has a position of %zu bytes",
                         p.answer->position_size);
        if (r == OBJD_OK)
                r = proxy_copy_items(p.answer, ret_items);
        if (r == OBJD_OK) {
                *size = p.answer->position_size;
                memcpy(position, p.answer->position, *size);
                *ret_end = p.answer->truth;
        }
        proxied_end(&p);
        return r;
}
