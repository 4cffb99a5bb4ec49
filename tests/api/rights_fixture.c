/* SPDX-License-Identifier: Apache-2.0 */
/*
 * rights_fixture.c -- a store that others may read, and processes that become others
 */

#include "rights_fixture.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <objd.h>

#include "arena/life.h"
#include "support/test.h"

void both_init(struct both *both, struct fixture *f)
{
        *both = (struct both){ .f = f };
        gate_init(&both->ready);
        gate_init(&both->go);
}

void both_deinit(struct both *both)
{
        gate_deinit(&both->ready);
        gate_deinit(&both->go);
}

/* In a child: becomes another user, who may look at itself in /proc as any program started by that user. */
void become(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups)
{
        child_check(setgroups(n_groups, groups) == 0);
        child_check(setresgid(gid, gid, gid) == 0 && setresuid(uid, uid, uid) == 0);
        child_check(prctl(PR_SET_DUMPABLE, 1) == 0);
}

objd_conn *connect_as_reader(const struct fixture *f)
{
        objd_conn *conn;
        char url[160];

        if (geteuid() == 0)
                become(NOBODY, NOBODY, NULL, 0);
        snprintf(url, sizeof(url), "%s%s", f->url, geteuid() == NOBODY ? "" : "?read-only");
        child_ok(objd_connect(url, &conn));
        child_check(objd_is_read_only(conn));
        return conn;
}

void start_for_readers(struct fixture *f)
{
        fixture_start(f, (const char *[]){ "--read-only-uid", NOBODY_TEXT, "--log-level", "debug", NULL });
}

objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_create(conn, name, kind, NULL, &object));
        return object;
}

objd_object *find(objd_conn *conn, const char *name)
{
        objd_object *object;

        child_ok(objd_open(conn, name, OBJD_KIND_ANY, &object));
        return object;
}

void fill(objd_conn *conn)
{
        objd_value key = objd_cstr("k"), value = objd_int(7), item;
        objd_object *dict = make(conn, "d", OBJD_DICT), *list = make(conn, "l", OBJD_LIST);
        objd_object *queue = make(conn, "q", OBJD_QUEUE), *lock = make(conn, "lock", OBJD_LOCK);

        assert_ok(objd_dict_set(dict, &key, &value));
        for (int64_t i = 0; i < 2000; i++) {
                item = objd_int(i);
                assert_ok(objd_dict_set(dict, &item, &item));
                assert_ok(objd_list_append(list, &item));
        }
        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        objd_release(dict);
        objd_release(list);
        objd_release(queue);
        objd_release(lock);
}

void read_dict(objd_conn *conn)
{
        objd_object *dict = find(conn, "d");
        objd_value key = objd_cstr("k"), value, other;
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        objd_cursor *cursor;
        uint64_t len;
        size_t n = 0;
        bool found;

        child_ok(objd_dict_get(dict, &key, &value, &buf));
        child_check(value.type == OBJD_INT && value.u.integer == 7);
        child_ok(objd_dict_len(dict, &len));
        child_check(len == 2001);
        child_ok(objd_dict_contains(dict, &key, &found));
        child_check(found);
        other = objd_cstr("no such key");
        child_check(objd_dict_get(dict, &other, &value, &buf) == OBJD_E_NOTFOUND);
        child_ok(objd_dict_copy(dict, &items));
        child_check(items->len == 2001 && items->item[2000].value.u.integer == 1999);
        objd_items_free(items);
        child_ok(objd_dict_get_many(dict, &key, 1, &items));
        child_check(items->len == 1 && items->item[0].found);
        objd_items_free(items);
        child_ok(objd_cursor_new(dict, &cursor));
        while (objd_cursor_next(cursor, &key, &value) == OBJD_OK)
                n++;
        child_check(n == 2001);
        objd_cursor_free(cursor);
        objd_buf_free(&buf);
        objd_release(dict);
}
