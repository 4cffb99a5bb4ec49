/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * lists.h -- small steps with lists, for tests; any status but OBJD_OK fails the test
 */

#include <objd.h>

/* Anonymous ones. */
objd_object *new_list(objd_conn *conn);
objd_object *list_of_type(objd_conn *conn, objd_type type);
void free_list(objd_object *list); /* deletes it, too */

uint64_t len_of(objd_object *list);
void append(objd_object *list, objd_value value);
void append_ints(objd_object *list, int64_t from, int64_t to);

void assert_item(objd_object *list, int64_t index, objd_value expected);

/* The whole list, as a slice and item by item. */
void assert_items(objd_object *list, const objd_value *expected, size_t n);
void assert_ints(objd_object *list, const int64_t *expected, size_t n);

#define INTS(list, ...)                                       \
        assert_ints((list), (const int64_t[]){ __VA_ARGS__ }, \
                    sizeof((const int64_t[]){ __VA_ARGS__ }) / sizeof(int64_t))

/* The items are from, from + step, and so on. */
void assert_sequence(objd_object *list, int64_t from, int64_t step, size_t n);
