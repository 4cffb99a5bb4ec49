/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dump_stores.c -- stores that are dumped and loaded, and compared by the calls that everybody uses
 */

#include "dump_stores.h"

#include <stdlib.h>
#include <string.h>

#include "support/inside.h"
#include "support/test.h"

/* ---- Dumps in memory ---------------------------------------------------------------------------------- */

struct text dump(objd_conn *conn, bool atomic)
{
        struct dump_options options = { .atomic = atomic };
        struct dump_report report;
        struct text text = { 0 };
        FILE *f = tmpfile();

        assert_non_null(f);
        assert_ok(dump_write(conn, f, &options, &report));
        assert_int_equal(report.n_damaged, 0);
        assert_int_equal(fflush(f), 0);
        text.size = (size_t)ftello(f);
        text.bytes = malloc(text.size + 1);
        assert_non_null(text.bytes);
        rewind(f);
        assert_int_equal(fread(text.bytes, 1, text.size, f), text.size);
        text.bytes[text.size] = '\0';
        (void)fclose(f);
        return text;
}

objd_status load_as(objd_conn *conn, const char *bytes, size_t size, enum load_existing existing,
                    struct load_report *report)
{
        FILE *f = fmemopen((void *)(uintptr_t)bytes, size ? size : 1, "r");
        objd_status r;

        assert_non_null(f);
        if (!size)
                (void)getc(f);
        r = load_read(conn, f, "it", existing, report);
        (void)fclose(f);
        return r;
}

objd_status load(objd_conn *conn, const char *bytes, size_t size)
{
        struct load_report report;

        return load_as(conn, bytes, size, LOAD_REFUSE, &report);
}

objd_conn *other_store(void)
{
        objd_conn *conn;

        assert_ok(objd_connect("embedded:256M", &conn));
        return conn;
}

void end_store(objd_conn *conn)
{
        inside_check(conn);
        objd_close(conn);
}

/* Loads the dump of one store into a new one, and compares the dumps. */
objd_conn *loaded_copy(objd_conn *conn)
{
        struct text first = dump(conn, false), again;
        objd_conn *copy = other_store();

        assert_ok(load(copy, first.bytes, first.size));
        again = dump(copy, true);
        if (again.size != first.size || memcmp(again.bytes, first.bytes, first.size) != 0)
                fail_msg("the dump of the copy differs:\n%.3000s\n---- and was:\n%.3000s", again.bytes,
                         first.bytes);
        free(first.bytes);
        free(again.bytes);
        return copy;
}

/* ---- Comparing stores --------------------------------------------------------------------------------- */

#define DEPTH_MAX 1

static void compare_objects(objd_conn *a, objd_conn *b, objd_ref x, objd_ref y, int depth);

static void compare_values(objd_conn *a, objd_conn *b, const objd_value *x, const objd_value *y, int depth)
{
        if (x->type == OBJD_REF && y->type == OBJD_REF)
                compare_objects(a, b, x->u.ref, y->u.ref, depth + 1);
        else
                assert_true(objd_value_equal(x, y));
}

static void compare_items(objd_conn *a, objd_conn *b, objd_items *x, objd_items *y, bool keys, int depth)
{
        assert_int_equal(x->len, y->len);
        for (size_t i = 0; i < x->len; i++) {
                if (keys)
                        assert_true(objd_value_equal(&x->item[i].key, &y->item[i].key));
                compare_values(a, b, &x->item[i].value, &y->item[i].value, depth);
        }
        objd_items_free(x);
        objd_items_free(y);
}

/* Takes the items out of both, in the order in which they come. Those under a lease in the original come back with NULL. */
static void compare_queues(objd_conn *a, objd_conn *b, objd_object *x, objd_object *y, int depth)
{
        objd_buf xbuf = OBJD_BUF_INIT, ybuf = OBJD_BUF_INIT;
        objd_value xv, yv;
        objd_status r;

        do {
                r = objd_queue_get(x, &xv, &xbuf, OBJD_NOWAIT);
                assert_status(objd_queue_get(y, &yv, &ybuf, OBJD_NOWAIT), r);
                if (r == OBJD_OK)
                        compare_values(a, b, &xv, &yv, depth);
        } while (r == OBJD_OK);
        assert_true(r == OBJD_E_EMPTY || r == OBJD_E_CLOSED || r == OBJD_E_POISONED);
        do {
                r = objd_queue_task_done(x);
                assert_status(objd_queue_task_done(y), r);
        } while (r == OBJD_OK);
        objd_buf_free(&xbuf);
        objd_buf_free(&ybuf);
}

static void compare_locks(objd_object *x, objd_object *y)
{
        uint64_t xt, yt;
        bool taken;

        assert_ok(objd_lock_owner(x, &taken, NULL, &xt));
        assert_ok(objd_lock_owner(y, &taken, NULL, &yt));
        assert_int_equal(xt, yt);
}

static void compare_objects(objd_conn *a, objd_conn *b, objd_ref xref, objd_ref yref, int depth)
{
        objd_items *xi, *yi;
        objd_object *x, *y;
        objd_info xinfo, yinfo;
        objd_status r = objd_open_ref(a, xref, OBJD_KIND_ANY, &x);

        assert_status(objd_open_ref(b, yref, OBJD_KIND_ANY, &y), r);
        if (r)
                return;
        assert_ok(objd_info_get(x, &xinfo));
        assert_ok(objd_info_get(y, &yinfo));
        assert_string_equal(xinfo.name, yinfo.name);
        assert_int_equal(xinfo.kind, yinfo.kind);
        assert_memory_equal(&xinfo.config, &yinfo.config, sizeof(xinfo.config));
        if (depth <= DEPTH_MAX) {
                if (xinfo.kind == OBJD_DICT) {
                        assert_ok(objd_dict_copy(x, &xi));
                        assert_ok(objd_dict_copy(y, &yi));
                        compare_items(a, b, xi, yi, true, depth);
                } else if (xinfo.kind == OBJD_LIST) {
                        assert_ok(objd_list_slice(x, 0, OBJD_LIST_END, &xi));
                        assert_ok(objd_list_slice(y, 0, OBJD_LIST_END, &yi));
                        compare_items(a, b, xi, yi, false, depth);
                } else if (xinfo.kind == OBJD_QUEUE && !depth) {
                        compare_queues(a, b, x, y, depth);
                } else if (xinfo.kind == OBJD_LOCK) {
                        compare_locks(x, y);
                }
        }
        objd_release(x);
        objd_release(y);
}

/* Empties the queues of both. */
void compare_stores(objd_conn *a, objd_conn *b)
{
        objd_info *x, *y;
        size_t nx, ny;

        assert_ok(objd_list(a, NULL, &x, &nx));
        assert_ok(objd_list(b, NULL, &y, &ny));
        assert_int_equal(nx, ny);
        for (size_t i = 0; i < nx; i++)
                compare_objects(a, b, x[i].ref, y[i].ref, 0);
        objd_infos_free(x);
        objd_infos_free(y);
}

/* ---- Making things ------------------------------------------------------------------------------------ */

objd_object *make(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config)
{
        objd_object *object;

        assert_ok(objd_create(conn, name, kind, config, &object));
        return object;
}

double bits(uint64_t word)
{
        double real;

        memcpy(&real, &word, sizeof(real));
        return real;
}

void append(objd_object *list, objd_value value)
{
        assert_ok(objd_list_append(list, &value));
}

void set(objd_object *dict, objd_value key, objd_value value)
{
        assert_ok(objd_dict_set(dict, &key, &value));
}

void put(objd_object *queue, int64_t value)
{
        objd_value v = objd_int(value);

        assert_ok(objd_queue_put(queue, &v, OBJD_NOWAIT));
}

char *random_text(struct random *random, size_t n)
{
        static const char *const characters[] = { "a",    "\"",       "\\",           "\n",
                                                  "\x7f", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80",
                                                  "/",    "\x01",     "\xe2\x80\xa8" };
        char *text = malloc(n + 5);
        size_t size = 0;

        assert_non_null(text);
        while (size < n) {
                const char *c = characters[random_below(random, sizeof(characters) / sizeof(*characters))];

                memcpy(text + size, c, strlen(c) + 1);
                size += strlen(c);
        }
        text[size] = '\0';
        return text;
}
