/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_full_proxy.c -- a store without any free memory, through the daemon: what gives memory back works, and is answered
 *
 * Each answer to a change is written into the store. Where that has no memory, it is written where memory has been since the session
 * began.
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

#define N_ITEMS 60
#define LARGEST ((size_t)1 << 20)

/* The first argument: "local", or "ipc" without any. */
static bool is_local;

struct store {
        struct fixture *f;
        char url[192];
        objd_conn *near, *far;
        objd_object *ballast; /* by handle: what fills the store */
        uint64_t n_ballast;
};

static void reconnect(struct store *s)
{
        if (s->far)
                objd_close(s->far);
        assert_ok(objd_connect(s->url, &s->far));
        assert_ok(objd_set_timeout(s->far, PATIENCE_NS));
}

static void begin(struct store *s, struct fixture *f)
{
        const char *const by_ipc[] = { "--size", "16M", "--rpc", s->url, NULL }, *const by_local[] = {
                "--size", "16M", NULL
        };

        *s = (struct store){ .f = f };
        if (is_local)
                snprintf(s->url, sizeof(s->url), "local:%s/test", f->directory);
        else
                snprintf(s->url, sizeof(s->url), "ipc://%s/rpc.sock", f->base);
        fixture_start(f, is_local ? by_local : by_ipc);
        s->near = fixture_connect(f);
        assert_ok(objd_open_or_create(s->near, "ballast", OBJD_DICT, NULL, &s->ballast));
}

static void end(struct store *s)
{
        objd_release(s->ballast);
        objd_close(s->far);
        objd_close(s->near);
        (void)fixture_stop(s->f, SIGTERM);
}

/* Until not even the smallest entry finds room, in any size of memory. */
static void fill(struct store *s)
{
        static uint8_t bytes[LARGEST];

        for (size_t size = LARGEST; size; size /= 2) {
                objd_value value = objd_bytes(bytes, size), key;
                objd_status r;

                do {
                        key = objd_int((int64_t)s->n_ballast);
                        r = objd_dict_set(s->ballast, &key, &value);
                        s->n_ballast += r == OBJD_OK;
                } while (r == OBJD_OK);
                assert_status(r, OBJD_E_NOMEM);
        }
}

/* Each is longer than the one before, and so is its record, which never fits where that stands. */
static objd_value entry(int64_t i)
{
        static const uint8_t bytes[1700];

        return objd_bytes(bytes, (size_t)(400 + 20 * i));
}

/* What is to be taken away, made by handle: the session has no records yet that could be written over. */
static void build(struct store *s)
{
        static const char *const dicts[] = { "dict", "cleared", "deleted" };
        objd_object *object;
        objd_value value;

        for (int i = 0; i < 3; i++) {
                assert_ok(objd_open_or_create(s->near, dicts[i], OBJD_DICT, NULL, &object));
                for (int64_t at = 0; at < N_ITEMS; at++) {
                        objd_value key = objd_int(at);

                        value = entry(at);
                        assert_ok(objd_dict_set(object, &key, &value));
                }
                objd_release(object);
        }
        assert_ok(objd_open_or_create(s->near, "list", OBJD_LIST, NULL, &object));
        for (int64_t at = 0; at < N_ITEMS; at++) {
                value = entry(at);
                assert_ok(objd_list_append(object, &value));
        }
        objd_release(object);
        assert_ok(objd_open_or_create(s->near, "queue", OBJD_QUEUE, NULL, &object));
        for (int64_t at = 0; at < N_ITEMS; at++) {
                value = entry(at);
                assert_ok(objd_queue_put(object, &value, OBJD_NOWAIT));
        }
        objd_release(object);
        assert_ok(objd_open_or_create(s->near, "lock", OBJD_LOCK, NULL, &object));
        objd_release(object);
}

static objd_object *far(struct store *s, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_open(s->far, name, kind, &object));
        return object;
}

static void expect_entry(const objd_value *value, int64_t i)
{
        objd_value expected = entry(i);

        assert_true(objd_value_equal(value, &expected));
}

static void a_dict_gives_memory_back(void **state)
{
        objd_value key, value;
        objd_object *dict, *cleared;
        objd_buf buf = OBJD_BUF_INIT;
        struct store s;
        uint64_t len;

        begin(&s, *state);
        build(&s);
        reconnect(&s);
        dict = far(&s, "dict", OBJD_DICT);
        cleared = far(&s, "cleared", OBJD_DICT);
        for (int64_t i = 0; i < N_ITEMS; i += 2) {
                fill(&s);
                key = objd_int(i);
                assert_ok(objd_dict_del(dict, &key));
                key = objd_int(i + 1);
                fill(&s);
                assert_ok(objd_dict_pop(dict, &key, &value, &buf));
                expect_entry(&value, i + 1);
        }
        fill(&s);
        assert_ok(objd_dict_clear(cleared));
        assert_ok(objd_dict_len(cleared, &len));
        assert_int_equal(len, 0);
        fill(&s);
        assert_ok(objd_delete(s.far, "deleted"));
        objd_buf_free(&buf);
        objd_release(cleared);
        objd_release(dict);
        end(&s);
}

static void a_list_and_a_queue_give_memory_back(void **state)
{
        objd_object *list, *queue;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        struct store s;

        begin(&s, *state);
        build(&s);
        reconnect(&s);
        list = far(&s, "list", OBJD_LIST);
        queue = far(&s, "queue", OBJD_QUEUE);
        for (int i = 0; i < N_ITEMS; i++) {
                fill(&s);
                assert_ok(objd_list_pop(list, 0, &value, &buf));
                expect_entry(&value, i);
                fill(&s);
                assert_ok(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT));
                expect_entry(&value, i);
        }
        fill(&s);
        assert_ok(objd_list_clear(list));
        objd_buf_free(&buf);
        objd_release(queue);
        objd_release(list);
        end(&s);
}

/* A lock's answer is written too, before and after. */
static void a_lock_needs_no_memory(void **state)
{
        struct store s;
        objd_object *lock;
        uint64_t token;

        begin(&s, *state);
        build(&s);
        reconnect(&s);
        lock = far(&s, "lock", OBJD_LOCK);
        assert_ok(
                objd_lock_take(lock, OBJD_NOWAIT, &token)); /* which makes the lane of this thread's locks */
        assert_ok(objd_lock_give(lock));
        for (int i = 0; i < 20; i++) {
                fill(&s);
                assert_ok(objd_lock_take(lock, OBJD_NOWAIT, &token));
                assert_ok(objd_lock_give(lock));
        }
        objd_release(lock);
        end(&s);
}

/* Many deletions of one batch, and of one that is all or nothing: their answers are in the spare together. */
static void a_batch_is_answered(void **state)
{
        enum { N = 20 };
        objd_object *dict, *cleared;
        struct store s;
        uint64_t len;

        begin(&s, *state);
        build(&s);
        reconnect(&s);
        dict = far(&s, "dict", OBJD_DICT);
        cleared = far(&s, "cleared", OBJD_DICT);
        for (int at_once = 0; at_once < 2; at_once++) {
                objd_object *object = at_once ? cleared : dict;
                objd_batch *batch, *done;

                assert_ok(objd_batch_new(s.far, &batch));
                for (int64_t i = 0; i < N; i++) {
                        objd_value key = objd_int(i);

                        assert_ok(objd_batch_dict_del(batch, object, &key));
                }
                fill(&s);
                assert_ok(objd_submit(batch, at_once ? OBJD_AT_ONCE : OBJD_IN_TURN, NULL));
                assert_ok(objd_collect(s.far, PATIENCE_NS, &done, NULL));
                assert_ptr_equal(done, batch);
                assert_ok(objd_batch_outcome(batch, NULL));
                objd_batch_free(batch);
                assert_ok(objd_dict_len(object, &len));
                assert_int_equal(len, N_ITEMS - N);
        }
        objd_release(cleared);
        objd_release(dict);
        end(&s);
}

/* What needs memory is refused, and nothing has happened. */
static void what_needs_memory_is_refused(void **state)
{
        static uint8_t bytes[LARGEST];
        objd_value key = objd_cstr("new"), value = objd_bytes(bytes, LARGEST);
        objd_object *dict;
        struct store s;
        uint64_t len;

        begin(&s, *state);
        build(&s);
        reconnect(&s);
        dict = far(&s, "dict", OBJD_DICT);
        fill(&s);
        assert_status(objd_dict_set(dict, &key, &value), OBJD_E_NOMEM);
        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, N_ITEMS);
        assert_ok(objd_dict_clear(s.ballast));
        assert_ok(objd_dict_set(dict, &key, &value));
        objd_release(dict);
        end(&s);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_dict_gives_memory_back),     FIXTURE_TEST(a_list_and_a_queue_give_memory_back),
                FIXTURE_TEST(a_lock_needs_no_memory),       FIXTURE_TEST(a_batch_is_answered),
                FIXTURE_TEST(what_needs_memory_is_refused),
        };

        is_local = argc > 1 && strcmp(argv[1], "local") == 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
