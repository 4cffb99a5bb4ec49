/* SPDX-License-Identifier: Apache-2.0 */

/*
 * dicts.c -- small steps with dicts, for tests
 */

#include "support/dicts.h"

#include "support/test.h"

objd_value key_of(int64_t i)
{
        return objd_int(i);
}

void set_int(objd_object *dict, int64_t key, int64_t value)
{
        objd_value k = key_of(key), v = objd_int(value);

        assert_ok(objd_dict_set(dict, &k, &v));
}

void fill(objd_object *dict, int64_t from, int64_t to)
{
        for (int64_t i = from; i < to; i++)
                set_int(dict, i, 7 * i);
}

void del(objd_object *dict, int64_t key)
{
        objd_value k = key_of(key);

        assert_ok(objd_dict_del(dict, &k));
}

uint64_t len_of(objd_object *dict)
{
        uint64_t len = UINT64_MAX;

        assert_ok(objd_dict_len(dict, &len));
        return len;
}

void assert_value(objd_object *dict, objd_value key, objd_value expected)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        assert_ok(objd_dict_get(dict, &key, &value, &buf));
        assert_true(objd_value_equal(&value, &expected));
        objd_buf_free(&buf);
}

void assert_no_key(objd_object *dict, objd_value key)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        bool found = true;

        assert_status(objd_dict_get(dict, &key, &value, &buf), OBJD_E_NOTFOUND);
        assert_ok(objd_dict_contains(dict, &key, &found));
        assert_false(found);
        objd_buf_free(&buf);
}

void assert_filled(objd_object *dict, int64_t from, int64_t to)
{
        for (int64_t i = from; i < to; i++)
                assert_value(dict, key_of(i), objd_int(7 * i));
}
