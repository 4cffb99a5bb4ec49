/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dicts.h -- small steps with dicts, for tests; any status but OBJD_OK fails the test
 */

#include <objd.h>

/* Keys are integers, here, and the value of i is 7 i where nothing else is said. */
objd_value key_of(int64_t i);
void set_int(objd_object *dict, int64_t key, int64_t value);
void fill(objd_object *dict, int64_t from, int64_t to);
void del(objd_object *dict, int64_t key);
uint64_t len_of(objd_object *dict);

void assert_value(objd_object *dict, objd_value key, objd_value expected);
void assert_no_key(objd_object *dict, objd_value key);
void assert_filled(objd_object *dict, int64_t from, int64_t to);
