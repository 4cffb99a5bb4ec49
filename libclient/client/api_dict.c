/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_dict.c -- exported: dicts
 */

#include <stdlib.h>

#include "base/status.h"
#include "client/proxy.h"
#include "base/sys.h"
#include "object/dict.h"
#include "object/dict_plain.h"
#include "object/value.h"

/* What every call asks first; the rest is asked where the value is used. */
static objd_status check(const objd_object *dict, const void *a, const void *b, const char *call)
{
        if (!dict || !a || !b)
                return fail(OBJD_E_INVAL, "%s: an argument is NULL", call);
        if (object_kind(dict->config) != OBJD_DICT)
                return fail(OBJD_E_KIND, "%s: %s is no dict", call, object_label(dict));
        return OBJD_OK;
}

static objd_status run(objd_object *dict, struct op *op)
{
        op->object = dict;
        return op_run_one(op);
}

/*
 * Get, set and delete try their short way first (dict_plain.h); the other way is a function of its own, called at the very
 * end, so that the short one saves few registers.
 */
PLAIN bool is_plain(const objd_object *dict, const objd_value *key, struct key *ret_key)
{
        return object_kind(dict->config) == OBJD_DICT && !next_timeout.set &&
               plain_key(dict->conn->arena, dict->config, key, ret_key);
}

/*
 * The shortest of the short ways: keys of the one type that the dict has, and of 16 bytes, as many as a UUID has. The size is a
 * constant then, so that neither hashing nor comparing is a call or a loop.
 */
PLAIN bool is_plain_16(const objd_object *dict, const objd_value *key, struct key *ret_key)
{
        if (__builtin_expect(key->type + 1U != dict->plain_key || key->size != 16 || !key->data ||
                                     next_timeout.set,
                             0))
                return false;
        *ret_key = (struct key){ .data = key->data, .size = 16, .type = key->type };
        ret_key->hash = key_hash(dict->conn->arena, key->type, key->data, 16);
        return true;
}

/* The first step of each slow way, unless the handle knows where the dict's shards are: the next call may be plain. */
static void remember_shards(objd_object *dict)
{
        struct lane *lane = object_kind(dict->config) == OBJD_DICT ? plain_enter(dict) : NULL;

        if (lane) {
                plain_remember_shards(lane->arena, dict);
                lane_leave_plain(lane);
        }
}

static __attribute__((noinline)) objd_status get_slowly(objd_object *dict, const objd_value *key,
                                                        objd_value *ret_value, objd_buf *buf)
{
        if (object_is_proxied(dict))
                return proxy_dict_get(dict, key, ret_value, buf);

        objd_status r = check(dict, key, ret_value, "objd_dict_get");

        if (r || !buf)
                return r ? r : fail(OBJD_E_INVAL, "objd_dict_get: buf is NULL");
        remember_shards(dict);
        return dict_read(dict, key, ret_value, buf);
}

PLAIN objd_status get(objd_object *dict, const objd_value *key_value, const struct key *key,
                      objd_value *ret_value, objd_buf *buf)
{
        struct lane *lane = plain_enter(dict);
        uint64_t head;
        bool done;

        if (__builtin_expect(!lane, 0))
                return get_slowly(dict, key_value, ret_value, buf);
        done = dict_get_plain(lane, dict, key, buf, &head);
        lane_leave_plain(lane);
        if (__builtin_expect(!done, 0))
                return get_slowly(dict, key_value, ret_value, buf);
        return plain_decode(entry_value_type(head), buf->data, entry_value_size(head), ret_value);
}

static __attribute__((noinline)) objd_status get_any(objd_object *dict, const objd_value *key_value,
                                                     objd_value *ret_value, objd_buf *buf)
{
        struct key key;

        if (dict && key_value && ret_value && buf && is_plain(dict, key_value, &key))
                return get(dict, key_value, &key, ret_value, buf);
        return get_slowly(dict, key_value, ret_value, buf);
}

objd_status objd_dict_get(objd_object *dict, const objd_value *key_value, objd_value *ret_value,
                          objd_buf *buf)
{
        struct key key;

        if (__builtin_expect(dict && key_value && ret_value && buf && is_plain_16(dict, key_value, &key), 1))
                return get(dict, key_value, &key, ret_value, buf);
        return get_any(dict, key_value, ret_value, buf);
}

static __attribute__((noinline)) objd_status set_slowly(objd_object *dict, const objd_value *key,
                                                        const objd_value *value)
{
        if (object_is_proxied(dict))
                return proxy_dict_set(dict, key, value);

        struct op op = { .code = OP_DICT_SET, .key = key, .value = value };
        objd_status r = check(dict, key, value, "objd_dict_set");

        if (r)
                return r;
        remember_shards(dict);
        return run(dict, &op);
}

PLAIN objd_status set(objd_object *dict, const objd_value *key_value, const struct key *key,
                      const objd_value *value)
{
        struct lane *lane = plain_enter(dict);
        objd_status r;

        if (__builtin_expect(!lane, 0))
                return set_slowly(dict, key_value, value);
        r = dict_set_plain(lane, dict, key_value, key, value);
        lane_leave_plain(lane);
        return __builtin_expect(r == NOT_PLAIN, 0) ? set_slowly(dict, key_value, value) : r;
}

static __attribute__((noinline)) objd_status set_any(objd_object *dict, const objd_value *key_value,
                                                     const objd_value *value)
{
        struct key key;

        if (dict && key_value && value && is_plain(dict, key_value, &key) &&
            plain_is_good(value, object_value_type(dict->config)))
                return set(dict, key_value, &key, value);
        return set_slowly(dict, key_value, value);
}

objd_status objd_dict_set(objd_object *dict, const objd_value *key_value, const objd_value *value)
{
        struct key key;

        if (__builtin_expect(dict && key_value && value && is_plain_16(dict, key_value, &key) &&
                                     plain_is_good(value, object_value_type(dict->config)),
                             1))
                return set(dict, key_value, &key, value);
        return set_any(dict, key_value, value);
}

objd_status objd_dict_set_new(objd_object *dict, const objd_value *key, const objd_value *value)
{
        if (object_is_proxied(dict))
                return proxy_dict_set_new(dict, key, value);

        struct op op = { .code = OP_DICT_SET_NEW, .key = key, .value = value };
        objd_status r = check(dict, key, value, "objd_dict_set_new");

        return r ? r : run(dict, &op);
}

objd_status objd_dict_cas(objd_object *dict, const objd_value *key, const objd_value *expected,
                          const objd_value *value)
{
        if (object_is_proxied(dict))
                return proxy_dict_cas(dict, key, expected, value);

        struct op op = { .code = OP_DICT_CAS, .key = key, .value = value, .expected = expected };
        objd_status r = check(dict, key, key, "objd_dict_cas");

        return r ? r : run(dict, &op);
}

objd_status objd_dict_add_int(objd_object *dict, const objd_value *key, int64_t delta, int64_t *ret_sum)
{
        if (object_is_proxied(dict))
                return proxy_dict_add_int(dict, key, delta, ret_sum);

        struct op op = { .code = OP_DICT_ADD_INT, .key = key, .u.integer = delta };
        objd_status r = check(dict, key, key, "objd_dict_add_int");

        if (r == OBJD_OK)
                r = run(dict, &op);
        if (r == OBJD_OK && ret_sum)
                *ret_sum = op.result.u.integer;
        return r;
}

objd_status objd_dict_add_float(objd_object *dict, const objd_value *key, double delta, double *ret_sum)
{
        if (object_is_proxied(dict))
                return proxy_dict_add_float(dict, key, delta, ret_sum);

        struct op op = { .code = OP_DICT_ADD_FLOAT, .key = key, .u.real = delta };
        objd_status r = check(dict, key, key, "objd_dict_add_float");

        if (r == OBJD_OK)
                r = run(dict, &op);
        if (r == OBJD_OK && ret_sum)
                *ret_sum = op.result.u.real;
        return r;
}

static __attribute__((noinline)) objd_status del_slowly(objd_object *dict, const objd_value *key)
{
        if (object_is_proxied(dict))
                return proxy_dict_del(dict, key);

        struct op op = { .code = OP_DICT_DEL, .key = key };
        objd_status r = check(dict, key, key, "objd_dict_del");

        if (r)
                return r;
        remember_shards(dict);
        return run(dict, &op);
}

PLAIN objd_status del(objd_object *dict, const objd_value *key_value, const struct key *key)
{
        struct lane *lane = plain_enter(dict);
        objd_status r;

        if (__builtin_expect(!lane, 0))
                return del_slowly(dict, key_value);
        r = dict_del_plain(lane, dict, key);
        lane_leave_plain(lane);
        return __builtin_expect(r == NOT_PLAIN, 0) ? del_slowly(dict, key_value) : r;
}

static __attribute__((noinline)) objd_status del_any(objd_object *dict, const objd_value *key_value)
{
        struct key key;

        if (dict && key_value && is_plain(dict, key_value, &key))
                return del(dict, key_value, &key);
        return del_slowly(dict, key_value);
}

objd_status objd_dict_del(objd_object *dict, const objd_value *key_value)
{
        struct key key;

        if (__builtin_expect(dict && key_value && is_plain_16(dict, key_value, &key), 1))
                return del(dict, key_value, &key);
        return del_any(dict, key_value);
}

objd_status objd_dict_pop(objd_object *dict, const objd_value *key, objd_value *ret_value, objd_buf *buf)
{
        if (object_is_proxied(dict))
                return proxy_dict_pop(dict, key, ret_value, buf);

        struct op op = { .code = OP_DICT_POP, .key = key, .buf = buf };
        objd_status r = check(dict, key, ret_value, "objd_dict_pop");

        if (r || !buf)
                return r ? r : fail(OBJD_E_INVAL, "objd_dict_pop: buf is NULL");
        r = run(dict, &op);
        if (r == OBJD_OK)
                *ret_value = op.result;
        return r;
}

objd_status objd_dict_pop_any(objd_object *dict, objd_value *ret_key, objd_value *ret_value, objd_buf *buf)
{
        if (object_is_proxied(dict))
                return proxy_dict_pop_any(dict, ret_key, ret_value, buf);

        struct op op = { .code = OP_DICT_POP_ANY, .buf = buf };
        objd_status r = check(dict, ret_key, ret_value, "objd_dict_pop_any");

        if (r || !buf)
                return r ? r : fail(OBJD_E_INVAL, "objd_dict_pop_any: buf is NULL");
        r = run(dict, &op);
        if (r == OBJD_OK) {
                *ret_key = op.result_key;
                *ret_value = op.result;
        }
        return r;
}

objd_status objd_dict_contains(objd_object *dict, const objd_value *key, bool *ret_found)
{
        if (object_is_proxied(dict))
                return proxy_dict_contains(dict, key, ret_found);

        objd_status r = check(dict, key, ret_found, "objd_dict_contains");

        if (r)
                return r;
        r = dict_read(dict, key, NULL, NULL);
        if (r && r != OBJD_E_NOTFOUND)
                return r;
        *ret_found = r == OBJD_OK;
        return OBJD_OK;
}

objd_status objd_dict_len(objd_object *dict, uint64_t *ret_len)
{
        if (object_is_proxied(dict))
                return proxy_dict_len(dict, ret_len);

        objd_status r = check(dict, ret_len, ret_len, "objd_dict_len");

        return r ? r : dict_kind.len(dict, ret_len);
}

objd_status objd_dict_clear(objd_object *dict)
{
        if (object_is_proxied(dict))
                return proxy_dict_clear(dict);

        struct op op = { .code = OP_DICT_CLEAR };
        objd_status r = check(dict, dict, dict, "objd_dict_clear");

        return r ? r : run(dict, &op);
}

objd_status objd_dict_set_many(objd_object *dict, const objd_value *keys, const objd_value *values, size_t n)
{
        if (object_is_proxied(dict))
                return proxy_dict_set_many(dict, keys, values, n);

        HOLD_NEXT_TIMEOUT;
        objd_status r = check(dict, n ? keys : (const void *)dict, n ? values : (const void *)dict,
                              "objd_dict_set_many");
        struct op *ops;

        if (r || !n)
                return r;
        ops = n > SIZE_MAX / sizeof(*ops) ? NULL : sys.alloc(n * sizeof(*ops));
        if (!ops)
                return fail(OBJD_E_NOMEM, "no memory for %zu operations", n);
        for (size_t i = 0; i < n; i++)
                ops[i] = (struct op){
                        .code = OP_DICT_SET, .object = dict, .key = &keys[i], .value = &values[i]
                };
        r = op_run(dict->conn, ops, n, NULL);
        free(ops);
        return r;
}

objd_status objd_dict_get_many(objd_object *dict, const objd_value *keys, size_t n, objd_items **ret_items)
{
        if (object_is_proxied(dict))
                return proxy_dict_get_many(dict, keys, n, ret_items);

        HOLD_NEXT_TIMEOUT;
        objd_status r = check(dict, n ? keys : (const void *)dict, ret_items, "objd_dict_get_many");
        struct items_builder items = { 0 };
        objd_buf buf = OBJD_BUF_INIT;

        for (size_t i = 0; i < n && r == OBJD_OK; i++) {
                objd_value value;

                r = dict_read(dict, &keys[i], &value, &buf);
                if (r == OBJD_OK) /* buf holds it encoded */
                        r = items_add(&items, OBJD_ANY, NULL, 0, value.type, buf.data,
                                      value_encoded_size(&value));
                else if (r == OBJD_E_NOTFOUND)
                        r = items_add_missing(&items);
        }
        if (r == OBJD_OK)
                r = items_finish(&items, ret_items);
        items_discard(&items);
        objd_buf_free(&buf);
        return r;
}

objd_status objd_dict_copy(objd_object *dict, objd_items **ret_items)
{
        if (object_is_proxied(dict))
                return proxy_dict_copy(dict, ret_items);

        HOLD_NEXT_TIMEOUT;
        struct items_builder items = { 0 };
        objd_status r = check(dict, ret_items, ret_items, "objd_dict_copy");

        if (r == OBJD_OK)
                r = dict_collect(dict, &items);
        if (r == OBJD_OK)
                r = items_finish(&items, ret_items);
        items_discard(&items);
        return r;
}
