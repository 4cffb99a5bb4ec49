/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_list.c -- proxied calls on lists
 */

#include "base/status.h"
#include "client/proxy.h"

static objd_status run_value(objd_object *list, enum call_code code, int64_t index, const objd_value *value)
{
        struct call call = { .code = code, .index = index, .values = value, .n_values = 1 };

        return value ? proxy_do(list, OBJD_LIST, &call) : proxy_no_argument(code);
}

static objd_status run_index(objd_object *list, enum call_code code, int64_t index, int64_t stop)
{
        return proxy_do(list, OBJD_LIST, &(struct call){ .code = code, .index = index, .stop = stop });
}

static objd_status get(objd_object *list, enum call_code code, int64_t index, objd_value *ret_value,
                       objd_buf *buf)
{
        struct call call = { .code = code, .index = index };

        return ret_value && buf ? proxy_get_value(list, OBJD_LIST, &call, ret_value, buf, NULL)
                                : proxy_no_argument(code);
}

objd_status proxy_list_append(objd_object *list, const objd_value *value)
{
        return run_value(list, CALL_LIST_APPEND, 0, value);
}

objd_status proxy_list_prepend(objd_object *list, const objd_value *value)
{
        return run_value(list, CALL_LIST_PREPEND, 0, value);
}

objd_status proxy_list_extend(objd_object *list, const objd_value *values, size_t n)
{
        struct call call = { .code = CALL_LIST_EXTEND, .values = values, .n_values = n };

        return values || !n ? proxy_do(list, OBJD_LIST, &call) : proxy_no_argument(CALL_LIST_EXTEND);
}

objd_status proxy_list_insert(objd_object *list, int64_t index, const objd_value *value)
{
        return run_value(list, CALL_LIST_INSERT, index, value);
}

objd_status proxy_list_get(objd_object *list, int64_t index, objd_value *ret_value, objd_buf *buf)
{
        return get(list, CALL_LIST_GET, index, ret_value, buf);
}

objd_status proxy_list_set(objd_object *list, int64_t index, const objd_value *value)
{
        return run_value(list, CALL_LIST_SET, index, value);
}

objd_status proxy_list_del(objd_object *list, int64_t index)
{
        return run_index(list, CALL_LIST_DEL, index, 0);
}

objd_status proxy_list_pop(objd_object *list, int64_t index, objd_value *ret_value, objd_buf *buf)
{
        return get(list, CALL_LIST_POP, index, ret_value, buf);
}

objd_status proxy_list_remove(objd_object *list, const objd_value *value)
{
        return run_value(list, CALL_LIST_REMOVE, 0, value);
}

objd_status proxy_list_slice(objd_object *list, int64_t start, int64_t stop, objd_items **ret_items)
{
        struct call call = { .code = CALL_LIST_SLICE, .index = start, .stop = stop };

        return ret_items ? proxy_get_items(list, OBJD_LIST, &call, ret_items)
                         : proxy_no_argument(CALL_LIST_SLICE);
}

objd_status proxy_list_slice_del(objd_object *list, int64_t start, int64_t stop)
{
        return run_index(list, CALL_LIST_SLICE_DEL, start, stop);
}

objd_status proxy_list_len(objd_object *list, uint64_t *ret_len)
{
        struct call call = { .code = CALL_LIST_LEN };

        return ret_len ? proxy_get_number(list, OBJD_LIST, &call, ret_len) : proxy_no_argument(CALL_LIST_LEN);
}

objd_status proxy_list_clear(objd_object *list)
{
        return run_index(list, CALL_LIST_CLEAR, 0, 0);
}

objd_status proxy_list_index(objd_object *list, const objd_value *value, int64_t start, int64_t stop,
                             uint64_t *ret_index)
{
        struct call call = {
                .code = CALL_LIST_INDEX, .values = value, .n_values = 1, .index = start, .stop = stop
        };

        return value && ret_index ? proxy_get_number(list, OBJD_LIST, &call, ret_index)
                                  : proxy_no_argument(CALL_LIST_INDEX);
}

objd_status proxy_list_count(objd_object *list, const objd_value *value, uint64_t *ret_count)
{
        struct call call = { .code = CALL_LIST_COUNT, .values = value, .n_values = 1 };

        return value && ret_count ? proxy_get_number(list, OBJD_LIST, &call, ret_count)
                                  : proxy_no_argument(CALL_LIST_COUNT);
}

objd_status proxy_list_reverse(objd_object *list)
{
        return run_index(list, CALL_LIST_REVERSE, 0, 0);
}

objd_status proxy_list_sort(objd_object *list, bool descending)
{
        return proxy_do(list, OBJD_LIST, &(struct call){ .code = CALL_LIST_SORT, .descending = descending });
}
