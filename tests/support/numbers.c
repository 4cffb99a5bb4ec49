/* SPDX-License-Identifier: Apache-2.0 */

/*
 * numbers.c -- a dict of integers, which shows whether two connections see the same arena
 */

#include "support/numbers.h"

#include "support/test.h"

objd_status numbers_set(objd_conn *conn, const char *key, int64_t number)
{
        objd_value k = objd_cstr(key), v = objd_int(number);
        objd_object *dict;
        objd_status r;

        r = objd_open_or_create(conn, "numbers", OBJD_DICT, NULL, &dict);
        if (r)
                return r;
        r = objd_dict_set(dict, &k, &v);
        objd_release(dict);
        return r;
}

objd_status numbers_add(objd_conn *conn, const char *key, int64_t number)
{
        objd_value k = objd_cstr(key);
        objd_object *dict;
        objd_status r;

        r = objd_open_or_create(conn, "numbers", OBJD_DICT, NULL, &dict);
        if (r)
                return r;
        r = objd_dict_add_int(dict, &k, number, NULL);
        objd_release(dict);
        return r;
}

objd_status numbers_get(objd_conn *conn, const char *key, int64_t *ret_number)
{
        objd_value k = objd_cstr(key), v;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *dict;
        objd_status r;

        r = objd_open(conn, "numbers", OBJD_DICT, &dict);
        if (r)
                return r;
        r = objd_dict_get(dict, &k, &v, &buf);
        if (r == OBJD_OK)
                *ret_number = v.u.integer;
        objd_release(dict);
        objd_buf_free(&buf);
        return r;
}

void assert_number(objd_conn *conn, const char *key, int64_t expected)
{
        int64_t number = -1;

        assert_ok(numbers_get(conn, key, &number));
        assert_int_equal(number, expected);
}

objd_stats stats_of(objd_conn *conn)
{
        objd_stats stats;

        assert_ok(objd_stats_get(conn, &stats));
        return stats;
}
