/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_list.c -- the exported calls for lists: look at the arguments, then run the operation or the read
 */

#include "base/status.h"
#include "client/proxy.h"
#include "object/list.h"

static objd_status check_list(const objd_object *list)
{
        if (!list)
                return fail(OBJD_E_INVAL, "no list was given");
        if (object_kind(list->config) != OBJD_LIST)
                return fail(OBJD_E_KIND, "%s is no list", object_label(list));
        return OBJD_OK;
}

static objd_status check_value(const objd_object *list, const objd_value *value)
{
        objd_status r = check_list(list);

        return r ? r : value_check(value);
}

/* For pointers that the call cannot do without. */
static objd_status check_pointer(const objd_object *list, const void *p, const char *name)
{
        objd_status r = check_list(list);

        if (r)
                return r;
        return p ? OBJD_OK : fail(OBJD_E_INVAL, "list %s: %s is NULL", object_label(list), name);
}

static objd_status run_value(enum op_code code, objd_object *list, int64_t index, const objd_value *value)
{
        struct op op;
        objd_status r = check_value(list, value);

        if (r)
                return r;
        op_init(&op, code, list);
        op.index = index;
        op.value = value;
        return op_run_one(&op);
}

static objd_status run_index(enum op_code code, objd_object *list, int64_t index, int64_t stop)
{
        struct op op;
        objd_status r = check_list(list);

        if (r)
                return r;
        op_init(&op, code, list);
        op.index = index;
        op.stop = stop;
        return op_run_one(&op);
}

objd_status objd_list_append(objd_object *list, const objd_value *value)
{
        if (object_is_proxied(list))
                return proxy_list_append(list, value);

        return run_value(OP_LIST_APPEND, list, 0, value);
}

objd_status objd_list_prepend(objd_object *list, const objd_value *value)
{
        if (object_is_proxied(list))
                return proxy_list_prepend(list, value);

        return run_value(OP_LIST_PREPEND, list, 0, value);
}

objd_status objd_list_extend(objd_object *list, const objd_value *values, size_t n)
{
        if (object_is_proxied(list))
                return proxy_list_extend(list, values, n);

        struct op op = { .code = OP_LIST_EXTEND, .object = list, .value = values, .n = n };
        objd_status r = n ? check_pointer(list, values, "values") : check_list(list);

        for (size_t i = 0; r == OBJD_OK && i < n; i++)
                r = value_check(&values[i]);
        return r ? r : op_run_one(&op);
}

objd_status objd_list_insert(objd_object *list, int64_t index, const objd_value *value)
{
        if (object_is_proxied(list))
                return proxy_list_insert(list, index, value);

        return run_value(OP_LIST_INSERT, list, index, value);
}

objd_status objd_list_get(objd_object *list, int64_t index, objd_value *ret_value, objd_buf *buf)
{
        if (object_is_proxied(list))
                return proxy_list_get(list, index, ret_value, buf);

        objd_status r = check_pointer(list, ret_value && buf ? buf : NULL, ret_value ? "buf" : "ret_value");

        return r ? r : list_get(list, index, ret_value, buf);
}

objd_status objd_list_set(objd_object *list, int64_t index, const objd_value *value)
{
        if (object_is_proxied(list))
                return proxy_list_set(list, index, value);

        return run_value(OP_LIST_SET, list, index, value);
}

objd_status objd_list_del(objd_object *list, int64_t index)
{
        if (object_is_proxied(list))
                return proxy_list_del(list, index);

        return run_index(OP_LIST_DEL, list, index, 0);
}

objd_status objd_list_pop(objd_object *list, int64_t index, objd_value *ret_value, objd_buf *buf)
{
        if (object_is_proxied(list))
                return proxy_list_pop(list, index, ret_value, buf);

        struct op op;
        objd_status r = check_pointer(list, ret_value && buf ? buf : NULL, ret_value ? "buf" : "ret_value");

        if (r)
                return r;
        op_init(&op, OP_LIST_POP, list);
        op.index = index;
        op.buf = buf;
        r = op_run_one(&op);
        if (r == OBJD_OK)
                *ret_value = op.result;
        return r;
}

objd_status objd_list_remove(objd_object *list, const objd_value *value)
{
        if (object_is_proxied(list))
                return proxy_list_remove(list, value);

        HOLD_NEXT_TIMEOUT;
        return run_value(OP_LIST_REMOVE, list, 0, value);
}

objd_status objd_list_slice(objd_object *list, int64_t start, int64_t stop, objd_items **ret_items)
{
        if (object_is_proxied(list))
                return proxy_list_slice(list, start, stop, ret_items);

        HOLD_NEXT_TIMEOUT;
        objd_status r = check_pointer(list, ret_items, "ret_items");

        return r ? r : list_slice(list, start, stop, ret_items);
}

objd_status objd_list_slice_del(objd_object *list, int64_t start, int64_t stop)
{
        if (object_is_proxied(list))
                return proxy_list_slice_del(list, start, stop);

        return run_index(OP_LIST_SLICE_DEL, list, start, stop);
}

objd_status objd_list_len(objd_object *list, uint64_t *ret_len)
{
        if (object_is_proxied(list))
                return proxy_list_len(list, ret_len);

        objd_status r = check_pointer(list, ret_len, "ret_len");

        return r ? r : list_len(list, ret_len);
}

objd_status objd_list_clear(objd_object *list)
{
        if (object_is_proxied(list))
                return proxy_list_clear(list);

        return run_index(OP_LIST_CLEAR, list, 0, 0);
}

objd_status objd_list_index(objd_object *list, const objd_value *value, int64_t start, int64_t stop,
                            uint64_t *ret_index)
{
        if (object_is_proxied(list))
                return proxy_list_index(list, value, start, stop, ret_index);

        HOLD_NEXT_TIMEOUT;
        objd_status r = check_value(list, value);

        if (r == OBJD_OK)
                r = check_pointer(list, ret_index, "ret_index");
        return r ? r : list_index(list, value, start, stop, ret_index);
}

objd_status objd_list_count(objd_object *list, const objd_value *value, uint64_t *ret_count)
{
        if (object_is_proxied(list))
                return proxy_list_count(list, value, ret_count);

        HOLD_NEXT_TIMEOUT;
        objd_status r = check_value(list, value);

        if (r == OBJD_OK)
                r = check_pointer(list, ret_count, "ret_count");
        return r ? r : list_count(list, value, ret_count);
}

objd_status objd_list_reverse(objd_object *list)
{
        if (object_is_proxied(list))
                return proxy_list_reverse(list);

        return run_index(OP_LIST_REVERSE, list, 0, 0);
}

objd_status objd_list_sort(objd_object *list, bool descending)
{
        if (object_is_proxied(list))
                return proxy_list_sort(list, descending);

        struct op op = { .code = OP_LIST_SORT, .object = list, .u.descending = descending };
        objd_status r = check_list(list);

        return r ? r : op_run_one(&op);
}
