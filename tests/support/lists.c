/* SPDX-License-Identifier: Apache-2.0 */

/*
 * lists.c -- small steps with lists, for tests
 */

#include "support/lists.h"

#include <stdlib.h>

#include "support/test.h"

objd_object *list_of_type(objd_conn *conn, objd_type type)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *list = NULL;

        config.value_type = type;
        assert_ok(objd_create(conn, NULL, OBJD_LIST, &config, &list));
        return list;
}

objd_object *new_list(objd_conn *conn)
{
        return list_of_type(conn, OBJD_ANY);
}

void free_list(objd_object *list)
{
        assert_ok(objd_destroy(list));
        objd_release(list);
}

uint64_t len_of(objd_object *list)
{
        uint64_t len = UINT64_MAX;

        assert_ok(objd_list_len(list, &len));
        return len;
}

void append(objd_object *list, objd_value value)
{
        assert_ok(objd_list_append(list, &value));
}

void append_ints(objd_object *list, int64_t from, int64_t to)
{
        for (; from < to; from++)
                append(list, objd_int(from));
}

void assert_item(objd_object *list, int64_t index, objd_value expected)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        assert_ok(objd_list_get(list, index, &value, &buf));
        assert_true(objd_value_equal(&value, &expected));
        objd_buf_free(&buf);
}

/* The whole list, as a slice and item by item. */
void assert_items(objd_object *list, const objd_value *expected, size_t n)
{
        objd_items *items;

        assert_int_equal(len_of(list), n);
        assert_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
        assert_int_equal(items->len, n);
        for (size_t i = 0; i < n; i++) {
                assert_true(objd_value_equal(&items->item[i].value, &expected[i]));
                assert_item(list, (int64_t)i, expected[i]);
                assert_item(list, (int64_t)i - (int64_t)n, expected[i]);
        }
        objd_items_free(items);
}

void assert_ints(objd_object *list, const int64_t *expected, size_t n)
{
        objd_value *values = calloc(n + 1, sizeof(*values));

        assert_non_null(values);
        for (size_t i = 0; i < n; i++)
                values[i] = objd_int(expected[i]);
        assert_items(list, values, n);
        free(values);
}

/* The items are from, from + step, and so on. */
void assert_sequence(objd_object *list, int64_t from, int64_t step, size_t n)
{
        objd_items *items;

        assert_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
        assert_int_equal(items->len, n);
        for (size_t i = 0; i < n; i++)
                assert_int_equal(items->item[i].value.u.integer, from + step * (int64_t)i);
        objd_items_free(items);
}
