/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_same_codes.c -- calls that are refused, and calls at the edges of what they take, give the same code by handle and through
 * the daemon
 *
 * Each side does the same to objects of its own, call after call; what they answer is compared.
 */

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

/* The first argument: "local", or "ipc" without any. */
static bool is_local;

struct side {
        objd_conn *conn;
        objd_object *dict, *list, *fifo, *priority, *lock;
        objd_buf buf;
        objd_value value, other;
        objd_items *items;
        uint64_t n;
        size_t len;
        int64_t sum;
        double real;
        bool found;
};

static objd_object *make(objd_conn *conn, const char *name, const char *side, objd_kind kind,
                         objd_order order)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *object;
        char full[64];

        config.order = order;
        snprintf(full, sizeof(full), "%s of %s", name, side);
        assert_ok(objd_create(conn, full, kind, &config, &object));
        return object;
}

static void begin(struct side *s, objd_conn *conn, const char *side)
{
        memset(s, 0, sizeof(*s));
        s->conn = conn;
        s->dict = make(conn, "dict", side, OBJD_DICT, OBJD_FIFO);
        s->list = make(conn, "list", side, OBJD_LIST, OBJD_FIFO);
        s->fifo = make(conn, "fifo", side, OBJD_QUEUE, OBJD_FIFO);
        s->priority = make(conn, "priority", side, OBJD_QUEUE, OBJD_PRIORITY);
        s->lock = make(conn, "lock", side, OBJD_LOCK, OBJD_FIFO);
}

static void end(struct side *s)
{
        objd_release(s->dict);
        objd_release(s->list);
        objd_release(s->fifo);
        objd_release(s->priority);
        objd_release(s->lock);
        objd_buf_free(&s->buf);
}

static void drop_items(struct side *s)
{
        objd_items_free(s->items);
        s->items = NULL;
}

/* The call, on both sides. */
#define SAME(call)                                                                                       \
        do {                                                                                             \
                objd_status status[2];                                                                   \
                                                                                                         \
                for (int side = 0; side < 2; side++) {                                                   \
                        struct side *s = &sides[side];                                                   \
                                                                                                         \
                        status[side] = (call);                                                           \
                        drop_items(s);                                                                   \
                }                                                                                        \
                if (status[0] != status[1])                                                              \
                        fail_msg("%s: %s by handle, and %s through the daemon: %s", #call,               \
                                 objd_strerror(status[0]), objd_strerror(status[1]), objd_last_error()); \
        } while (0)

static const objd_value *key(void)
{
        static objd_value value;

        value = objd_cstr("key");
        return &value;
}

static const objd_value *number(int64_t integer)
{
        static objd_value value;

        value = objd_int(integer);
        return &value;
}

static void arguments_that_are_missing(struct side sides[2])
{
        SAME(objd_dict_get(s->dict, NULL, &s->value, &s->buf));
        SAME(objd_dict_get(s->dict, key(), NULL, &s->buf));
        SAME(objd_dict_set(s->dict, key(), NULL));
        SAME(objd_dict_set_new(s->dict, NULL, key()));
        SAME(objd_dict_add_int(s->dict, NULL, 1, &s->sum));
        SAME(objd_dict_add_float(s->dict, NULL, 1, &s->real));
        SAME(objd_dict_pop(s->dict, key(), NULL, &s->buf));
        SAME(objd_dict_contains(s->dict, key(), NULL));
        SAME(objd_dict_len(s->dict, NULL));
        SAME(objd_dict_set_many(s->dict, NULL, NULL, 2));
        SAME(objd_dict_get_many(s->dict, NULL, 2, &s->items));
        SAME(objd_dict_copy(s->dict, NULL));
        SAME(objd_list_append(s->list, NULL));
        SAME(objd_list_insert(s->list, 0, NULL));
        SAME(objd_list_extend(s->list, NULL, 2));
        SAME(objd_list_get(s->list, 0, NULL, &s->buf));
        SAME(objd_list_slice(s->list, 0, OBJD_LIST_END, NULL));
        SAME(objd_list_len(s->list, NULL));
        SAME(objd_list_index(s->list, NULL, 0, OBJD_LIST_END, &s->n));
        SAME(objd_list_count(s->list, NULL, &s->n));
        SAME(objd_queue_put(s->fifo, NULL, OBJD_NOWAIT));
        SAME(objd_queue_put_many(s->fifo, NULL, 2, OBJD_NOWAIT));
        SAME(objd_queue_get(s->fifo, NULL, &s->buf, OBJD_NOWAIT));
        SAME(objd_queue_get_many(s->fifo, 3, NULL, OBJD_NOWAIT));
        SAME(objd_queue_peek(s->fifo, NULL, &s->buf));
        SAME(objd_queue_len(s->fifo, NULL));
        SAME(objd_stats_get(s->conn, NULL));
        SAME(objd_info_get(s->dict, NULL));
}

static void objects_of_another_kind(struct side sides[2])
{
        SAME(objd_dict_get(s->list, key(), &s->value, &s->buf));
        SAME(objd_dict_set(s->fifo, key(), key()));
        SAME(objd_list_append(s->dict, key()));
        SAME(objd_list_len(s->lock, &s->n));
        SAME(objd_queue_put(s->list, key(), OBJD_NOWAIT));
        SAME(objd_queue_len(s->dict, &s->n));
        SAME(objd_lock_take(s->dict, OBJD_NOWAIT, NULL));
        SAME(objd_lock_give(s->list));
}

static void queues_at_their_edges(struct side sides[2])
{
        const objd_value many[3] = { objd_int(1), objd_int(2), objd_int(3) };

        SAME(objd_queue_peek(s->fifo, &s->value, &s->buf));
        SAME(objd_queue_put_priority(s->fifo, number(1), 5, OBJD_NOWAIT));
        SAME(objd_queue_put_priority(s->priority, number(1), 5, OBJD_NOWAIT));
        SAME(objd_queue_put_many(s->fifo, many, 3, OBJD_NOWAIT));
        SAME(objd_queue_put_many(s->fifo, many, 0, OBJD_NOWAIT));
        SAME(objd_queue_put(s->fifo, number(4), -5));
        SAME(objd_queue_len(s->fifo, &s->n));
        assert_int_equal(sides[0].n, sides[1].n);
        SAME(objd_queue_peek(s->fifo, &s->value, &s->buf));
        SAME(objd_queue_get_many(s->fifo, 0, &s->items, OBJD_NOWAIT));
        SAME(objd_queue_get_many(s->fifo, 2, &s->items, OBJD_NOWAIT));
        SAME(objd_queue_get_lease(s->fifo, 0, &s->value, &s->buf, &s->n, OBJD_NOWAIT));
        SAME(objd_queue_get_lease(s->fifo, OBJD_FOREVER, &s->value, &s->buf, &s->n, OBJD_NOWAIT));
        SAME(objd_queue_ack(s->fifo, s->n));
        SAME(objd_queue_ack(s->fifo, s->n));
        SAME(objd_queue_give_back(s->fifo, 12345));
        SAME(objd_queue_get(s->fifo, &s->value, &s->buf, OBJD_NOWAIT));
        SAME(objd_queue_get(s->fifo, &s->value, &s->buf, 1000000));
        for (int i = 0; i < 4; i++)
                SAME(objd_queue_task_done(s->fifo));
        SAME(objd_queue_join(s->fifo, OBJD_NOWAIT));
        SAME(objd_queue_close(s->fifo));
        SAME(objd_queue_close(s->fifo));
        SAME(objd_queue_put(s->fifo, number(1), OBJD_NOWAIT));
        SAME(objd_queue_get(s->fifo, &s->value, &s->buf, OBJD_NOWAIT));
        SAME(objd_queue_poison(s->priority));
        SAME(objd_queue_get(s->priority, &s->value, &s->buf, OBJD_NOWAIT));
        SAME(objd_queue_peek(s->priority, &s->value, &s->buf));
}

static void dicts_and_lists_at_their_edges(struct side sides[2])
{
        static char large[OBJD_KEY_MAX + 1];
        const objd_value too_large = objd_bytes(large, sizeof(large)), half = objd_float(0.5);

        SAME(objd_dict_set(s->dict, &too_large, key()));
        SAME(objd_dict_set(s->dict, &half, key()));
        SAME(objd_dict_del(s->dict, key()));
        SAME(objd_dict_add_float(s->dict, key(), 0.5, &s->real));
        SAME(objd_dict_add_float(s->dict, key(), 0.25, &s->real));
        assert_true(sides[0].real == sides[1].real);
        SAME(objd_dict_add_int(s->dict, key(), 1, &s->sum));
        SAME(objd_dict_set(s->dict, key(), number(INT64_MAX)));
        SAME(objd_dict_add_int(s->dict, key(), 1, &s->sum));
        SAME(objd_dict_set_new(s->dict, key(), key()));
        SAME(objd_dict_cas(s->dict, key(), number(3), number(4)));
        SAME(objd_dict_pop_any(s->dict, &s->other, &s->value, &s->buf));
        SAME(objd_dict_pop_any(s->dict, &s->other, &s->value, &s->buf));
        SAME(objd_list_get(s->list, 0, &s->value, &s->buf));
        SAME(objd_list_del(s->list, -1));
        SAME(objd_list_pop(s->list, 5, &s->value, &s->buf));
        SAME(objd_list_insert(s->list, 100, number(1)));
        SAME(objd_list_remove(s->list, number(2)));
        SAME(objd_list_index(s->list, number(2), 0, OBJD_LIST_END, &s->n));
        SAME(objd_list_slice_del(s->list, 7, 3));
}

static objd_status open_it(struct side *s, const char *name, objd_kind kind)
{
        objd_object *object;
        objd_status r = objd_open(s->conn, name, kind, &object);

        if (r == OBJD_OK)
                objd_release(object);
        return r;
}

static objd_status list_it(struct side *s, const char *prefix)
{
        objd_info *infos = NULL;
        objd_status r = objd_list(s->conn, prefix, &infos, &s->len);

        objd_infos_free(infos);
        return r;
}

static objd_status make_it(struct side *s, const char *name, int kind, size_t struct_size, int key_type)
{
        objd_config config = { .struct_size = struct_size, .key_type = (objd_type)key_type };
        objd_object *object;
        objd_status r = objd_create(s->conn, name, (objd_kind)kind, &config, &object);

        if (r == OBJD_OK)
                objd_release(object);
        return r;
}

static objd_status make_or_open(struct side *s, const char *name, objd_kind kind)
{
        objd_object *object;
        objd_status r = objd_open_or_create(s->conn, name, kind, NULL, &object);

        if (r == OBJD_OK)
                objd_release(object);
        return r;
}

static objd_status open_ref(struct side *s, objd_ref ref, objd_kind kind)
{
        objd_object *object;
        objd_status r = objd_open_ref(s->conn, ref, kind, &object);

        if (r == OBJD_OK)
                objd_release(object);
        return r;
}

static void names_and_refs_at_their_edges(struct side sides[2])
{
        char long_name[OBJD_NAME_MAX + 2];

        memset(long_name, 'n', sizeof(long_name));
        long_name[sizeof(long_name) - 1] = '\0';
        SAME(open_it(s, "nobody", OBJD_DICT));
        SAME(open_it(s, "", OBJD_DICT));
        SAME(open_it(s, long_name, OBJD_DICT));
        SAME(open_it(s, "list of near", OBJD_DICT));
        SAME(open_it(s, "list of near", (objd_kind)9));
        SAME(open_it(s, "list of near", (objd_kind)-1));
        SAME(open_it(s, "nobody", (objd_kind)9));
        SAME(open_it(s, "\xc3", OBJD_DICT));
        SAME(list_it(s, "\xc3"));
        SAME(list_it(s, "list of \xff"));
        SAME(list_it(s, long_name));
        SAME(list_it(s, "a\nb"));
        SAME(list_it(s, NULL));
        SAME(objd_delete(s->conn, "nobody"));
        SAME(objd_set_name(s->dict, "list of near"));
        SAME(objd_set_name(s->dict, "a\nb"));
        SAME(make_it(s, "list of near", OBJD_LIST, sizeof(objd_config), OBJD_ANY));
        SAME(make_it(s, "new", OBJD_DICT, 3, OBJD_ANY));
        SAME(make_it(s, "new", OBJD_DICT, sizeof(objd_config), OBJD_FLOAT));
        SAME(make_it(s, "new", OBJD_LIST, sizeof(objd_config), OBJD_INT));
        SAME(make_it(s, "new", 9, sizeof(objd_config), OBJD_ANY));
        SAME(make_it(s, "new", OBJD_KIND_ANY, sizeof(objd_config), OBJD_ANY));
        SAME(make_or_open(s, "new", (objd_kind)9));
        SAME(make_or_open(s, "list of near", (objd_kind)9));
        SAME(make_or_open(s, "list of near", OBJD_DICT));
        SAME(make_it(s, long_name, OBJD_DICT, sizeof(objd_config), OBJD_ANY));
        SAME(open_ref(s, objd_ref_of(s->dict), OBJD_DICT));
        SAME(open_ref(s, objd_ref_of(s->dict), OBJD_LIST));
        SAME(open_ref(s, objd_ref_of(s->dict), (objd_kind)9));
        SAME(open_ref(s, (objd_ref){ 8, 8 }, OBJD_LIST));
        SAME(open_ref(s, (objd_ref){ UINT64_MAX, 8 }, OBJD_KIND_ANY));
}

static void deleted_objects(struct side sides[2])
{
        SAME(objd_destroy(s->dict));
        SAME(objd_destroy(s->dict));
        SAME(objd_dict_set(s->dict, key(), key()));
        SAME(objd_dict_len(s->dict, &s->n));
        SAME(objd_destroy(s->lock));
        SAME(objd_lock_take(s->lock, OBJD_NOWAIT, NULL));
        SAME(objd_set_name(s->list, side ? "renamed far" : "renamed near"));
        SAME(objd_destroy(s->list));
        SAME(objd_set_name(s->list, "renamed twice"));
}

static void each_call_gives_the_code_that_it_gives_by_handle(void **state)
{
        struct fixture *f = *state;
        struct side sides[2];
        objd_conn *near, *far;
        char url[160];

        if (is_local)
                snprintf(url, sizeof(url), "local:%s/test", f->directory);
        else
                snprintf(url, sizeof(url), "ipc://%s/rpc.sock", f->base);
        fixture_start(f, is_local ? NULL : (const char *[]){ "--rpc", url, NULL });
        near = fixture_connect(f);
        assert_ok(objd_connect(url, &far));
        assert_ok(objd_set_timeout(far, PATIENCE_NS));
        begin(&sides[0], near, "near");
        begin(&sides[1], far, "far");
        arguments_that_are_missing(sides);
        objects_of_another_kind(sides);
        dicts_and_lists_at_their_edges(sides);
        queues_at_their_edges(sides);
        names_and_refs_at_their_edges(sides);
        deleted_objects(sides);
        end(&sides[0]);
        end(&sides[1]);
        objd_close(far);
        objd_close(near);
        (void)fixture_stop(f, SIGTERM);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(each_call_gives_the_code_that_it_gives_by_handle),
        };

        is_local = argc > 1 && strcmp(argv[1], "local") == 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
