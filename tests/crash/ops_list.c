/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_list.c -- lists: what a killed process may have been doing to one
 */

#include "crash/sweep.h"

/* Items that differ, and are in no order. */
static objd_value item(int64_t i, size_t size)
{
        return size == 8 ? objd_int(i * 7919 % 1009) : value_of(size - (size_t)(i * 7 % 5));
}

static void build(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *list = open_it(conn, "it", OBJD_LIST, NULL);

        for (int64_t i = 0; i < test->fill; i++) {
                objd_value value = item(i, test->fill_value);

                must(objd_list_append(list, &value), "building a list");
        }
        objd_release(list);
}

static objd_status run_append(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_append(v->it, &v->value);
}

static objd_status run_prepend(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_prepend(v->it, &v->value);
}

static objd_status run_insert(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_insert(v->it, v->test->at, &v->value);
}

static objd_status run_set(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_set(v->it, v->test->at, &v->value);
}

static objd_status run_del(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_del(v->it, v->test->at);
}

static objd_status run_pop(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_pop(v->it, v->test->at, &v->value, &v->buf);
}

static objd_status run_remove(struct objd_conn *conn, struct victim *v)
{
        objd_value value = item(v->test->at, v->test->fill_value);

        (void)conn;
        return objd_list_remove(v->it, &value);
}

static objd_status run_extend(struct objd_conn *conn, struct victim *v)
{
        static objd_value values[2000];

        (void)conn;
        for (int64_t i = 0; i < v->test->at; i++)
                values[i] = v->value;
        return objd_list_extend(v->it, values, (size_t)v->test->at);
}

static objd_status run_sort(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_sort(v->it, false);
}

static objd_status run_sort_down(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_sort(v->it, true);
}

static objd_status run_reverse(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_reverse(v->it);
}

/* All but `at` at each end. */
static objd_status run_slice_del(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_slice_del(v->it, v->test->at, -v->test->at);
}

static objd_status run_clear(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_list_clear(v->it);
}

#define LIST .kind = OBJD_LIST, .build = build

static struct op_test tests[] = {
        { "list: append to an empty list", LIST, .new_value = 20, .run = run_append },
        { "list: append", LIST, .fill = 20, .fill_value = 50, .new_value = 40, .run = run_append },
        { "list: append of a big value", LIST, .fill = 20, .fill_value = 50, .new_value = 9000,
          .run = run_append },
        { "list: append behind a full chunk", LIST, .fill = 20, .fill_value = 50, .new_value = 60,
          .run = run_append, .edge = EDGE_TAKES },
        { "list: append that makes the tree higher", LIST, .fill = 125, .fill_value = 2500, .new_value = 3000,
          .run = run_append, .edge = EDGE_TAKES, .size = 6 * MIB, .large = true },
        { "list: prepend to an empty list", LIST, .new_value = 20, .run = run_prepend },
        { "list: prepend", LIST, .fill = 20, .fill_value = 50, .new_value = 40, .run = run_prepend },
        { "list: prepend before a full chunk", LIST, .fill = 20, .fill_value = 50, .new_value = 60,
          .run = run_prepend, .edge = EDGE_TAKES },
        { "list: insert in the middle", LIST, .fill = 20, .fill_value = 50, .at = 10, .new_value = 40,
          .run = run_insert },
        { "list: insert of a big value in the middle", LIST, .fill = 20, .fill_value = 50, .at = 10,
          .new_value = 9000, .run = run_insert },
        { "list: insert that splits a chunk", LIST, .fill = 20, .fill_value = 50, .at = 10, .new_value = 60,
          .run = run_insert, .edge = EDGE_TAKES, .large = true },
        { "list: insert among many chunks", LIST, .fill = 1000, .fill_value = 50, .at = 500, .new_value = 40,
          .run = run_insert },
        { "list: set of the same size", LIST, .fill = 20, .fill_value = 50, .at = 5, .new_value = 51,
          .run = run_set },
        { "list: set of a smaller value", LIST, .fill = 20, .fill_value = 50, .at = 5, .new_value = 16,
          .run = run_set },
        { "list: set of a larger value", LIST, .fill = 20, .fill_value = 50, .at = -5, .new_value = 200,
          .run = run_set },
        { "list: set of a big value", LIST, .fill = 20, .fill_value = 50, .at = 5, .new_value = 9000,
          .run = run_set },
        { "list: set of a small for a big value", LIST, .fill = 4, .fill_value = 9000, .at = 2,
          .new_value = 50, .run = run_set },
        { "list: delete in the middle", LIST, .fill = 20, .fill_value = 50, .at = 10, .run = run_del },
        { "list: delete of a big value", LIST, .fill = 5, .fill_value = 9000, .at = 2, .run = run_del },
        { "list: delete of the only item", LIST, .fill = 1, .fill_value = 50, .run = run_del },
        { "list: delete that gives up a chunk", LIST, .fill = 400, .fill_value = 50, .at = 200,
          .run = run_del, .edge = EDGE_GIVES, .large = true },
        { "list: pop at the end", LIST, .fill = 20, .fill_value = 50, .at = -1, .run = run_pop },
        { "list: pop at the start", LIST, .fill = 20, .fill_value = 50, .at = 0, .run = run_pop },
        { "list: pop in the middle", LIST, .fill = 20, .fill_value = 50, .at = 7, .run = run_pop },
        { "list: pop at the end of a chunk's last item", LIST, .fill = 400, .fill_value = 50, .at = -1,
          .run = run_pop, .edge = EDGE_GIVES },
        { "list: pop at the start of a chunk's last item", LIST, .fill = 400, .fill_value = 50, .at = 0,
          .run = run_pop, .edge = EDGE_GIVES },
        { "list: remove", LIST, .fill = 20, .fill_value = 8, .at = 10, .run = run_remove },
        { "list: extend", LIST, .fill = 20, .fill_value = 50, .at = 10, .new_value = 40, .run = run_extend },
        { "list: extend across chunks", LIST, .fill = 20, .fill_value = 50, .at = 300, .new_value = 60,
          .run = run_extend, .large = true },
        { "list: extend of an empty list", LIST, .at = 5, .new_value = 60, .run = run_extend },
        { "list: sort", LIST, .fill = 20, .fill_value = 8, .run = run_sort, .large = true },
        { "list: sort of many, downwards", LIST, .fill = 400, .fill_value = 8, .run = run_sort_down,
          .large = true },
        { "list: sort of big values", LIST, .fill = 5, .fill_value = 9000, .run = run_sort_down,
          .large = true },
        { "list: reverse", LIST, .fill = 20, .fill_value = 8, .run = run_reverse },
        { "list: reverse of many", LIST, .fill = 600, .fill_value = 50, .run = run_reverse, .large = true },
        { "list: slice_del in a chunk", LIST, .fill = 20, .fill_value = 50, .at = 8, .run = run_slice_del },
        { "list: slice_del across chunks", LIST, .fill = 600, .fill_value = 50, .at = 200,
          .run = run_slice_del, .large = true },
        { "list: clear", LIST, .fill = 20, .fill_value = 50, .run = run_clear },
        { "list: clear of many chunks", LIST, .fill = 600, .fill_value = 50, .run = run_clear },
        { "list: clear of big values", LIST, .fill = 4, .fill_value = 9000, .run = run_clear },
};

const struct op_table list_ops = OP_TABLE(tests);
