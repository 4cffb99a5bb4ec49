/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * numbers.h -- a dict "numbers" of integers, which shows whether two connections see the same arena
 */

#include <objd.h>

objd_status numbers_set(objd_conn *conn, const char *key, int64_t number);
objd_status numbers_add(objd_conn *conn, const char *key, int64_t number);

/* @return OBJD_E_NOTFOUND, if there is no such key or no dict */
objd_status numbers_get(objd_conn *conn, const char *key, int64_t *ret_number);

/* Fails the test if it is another number. */
void assert_number(objd_conn *conn, const char *key, int64_t expected);

objd_stats stats_of(objd_conn *conn);
