/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_proxy.c -- connections without a mapping: each call through the daemon does what it does by handle, and is made once, whatever
 * dies on the way
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <objd.h>

#include "rpc/keyfile.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/relay.h"
#include "support/test.h"

/* The first argument: "local", "tcp", or "ipc" without any. */
static bool is_local, is_tcp;

struct way {
        struct fixture *f;
        char url[192];
        char listen[64];    /* over TCP, where the daemon is told to listen, */
        char keys[96];      /* and the key of both */
        const char *expiry; /* seconds; NULL is the usual one */
        objd_conn *near;    /* by handle */
        objd_conn *far;     /* through the daemon */
};

static void start_daemon(struct way *w)
{
        const char *options[7] = { NULL };
        int n = 0;

        if (!is_local) {
                options[n++] = "--rpc";
                options[n++] = is_tcp ? w->listen : w->url;
        }
        if (is_tcp) {
                options[n++] = "--keys";
                options[n++] = w->keys;
        }
        if (w->expiry) {
                options[n++] = "--session-expiry";
                options[n] = w->expiry;
        }
        fixture_start(w->f, options);
}

static void make_url(struct way *w)
{
        const struct rights all = { 0 };
        uint8_t id[KEY_ID_SIZE];

        if (is_local)
                snprintf(w->url, sizeof(w->url), "local:%s/test", w->f->directory);
        else if (!is_tcp)
                snprintf(w->url, sizeof(w->url), "ipc://%s/rpc.sock", w->f->base);
        if (!is_tcp)
                return;
        snprintf(w->keys, sizeof(w->keys), "%s/keys", w->f->base);
        assert_ok(keyfile_add(w->keys, &all, id));
        relay_make_url(0, w->listen);
        snprintf(w->url, sizeof(w->url), "%s?key=%s", w->listen, w->keys);
}

static void begin(struct way *w, struct fixture *f)
{
        w->f = f;
        make_url(w);
        start_daemon(w);
        w->near = fixture_connect(f);
        assert_ok(objd_connect(w->url, &w->far));
        assert_ok(objd_set_timeout(w->far, PATIENCE_NS));
}

static void end(struct way *w)
{
        objd_close(w->far);
        objd_close(w->near);
        (void)fixture_stop(w->f, SIGTERM);
        if (!is_local && !is_tcp)
                assert_int_equal(access(w->url + strlen("ipc://"), F_OK), -1);
}

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_open_or_create(conn, name, kind, NULL, &object));
        return object;
}

static void expect_int(const objd_value *value, int64_t integer)
{
        assert_int_equal(value->type, OBJD_INT);
        assert_int_equal(value->u.integer, integer);
}

/* ---- The kinds -------------------------------------------------------------------------------------------- */

static void a_dict_is_the_same_near_and_far(void **state)
{
        struct way w = { 0 };
        objd_object *near, *far;
        objd_value key = objd_cstr("key"), one = objd_int(1), two = objd_int(2), got, got_key;
        objd_value keys[3] = { objd_cstr("a"), objd_int(-7), objd_bytes("\0\xff", 2) };
        objd_value values[3] = { objd_float(-0.0), objd_nil(), objd_cstr("") };
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        uint64_t len;
        int64_t sum;
        double real;
        bool found;

        begin(&w, *state);
        far = make(w.far, "dict", OBJD_DICT);
        near = make(w.near, "dict", OBJD_DICT);
        assert_status(objd_dict_get(far, &key, &got, &buf), OBJD_E_NOTFOUND);
        assert_ok(objd_dict_set(far, &key, &one));
        assert_ok(objd_dict_get(near, &key, &got, &buf));
        expect_int(&got, 1);
        assert_status(objd_dict_set_new(far, &key, &two), OBJD_E_EXISTS);
        assert_ok(objd_dict_cas(far, &key, &one, &two));
        assert_status(objd_dict_cas(far, &key, &one, NULL), OBJD_E_MISMATCH);
        assert_ok(objd_dict_add_int(far, &key, 40, &sum));
        assert_int_equal(sum, 42);
        assert_status(objd_dict_add_float(far, &key, 1, &real), OBJD_E_TYPE);
        assert_ok(objd_dict_contains(far, &key, &found));
        assert_true(found);
        assert_ok(objd_dict_set_many(far, keys, values, 3));
        assert_ok(objd_dict_len(far, &len));
        assert_int_equal(len, 4);
        assert_ok(objd_dict_copy(far, &items));
        assert_int_equal(items->len, 4);
        assert_true(objd_value_equal(&items->item[0].key, &key));
        assert_true(objd_value_equal(&items->item[1].value, &values[0]));
        assert_true(objd_value_equal(&items->item[3].key, &keys[2]));
        objd_items_free(items);
        keys[1] = objd_cstr("none");
        assert_ok(objd_dict_get_many(far, keys, 3, &items));
        assert_true(items->item[0].found && !items->item[1].found && items->item[2].found);
        assert_true(objd_value_equal(&items->item[2].value, &values[2]));
        objd_items_free(items);
        assert_ok(objd_dict_pop(far, &key, &got, &buf));
        expect_int(&got, 42);
        assert_ok(objd_dict_del(far, &keys[0]));
        assert_status(objd_dict_del(far, &keys[0]), OBJD_E_NOTFOUND);
        assert_ok(objd_dict_pop_any(far, &got_key, &got, &buf));
        assert_ok(objd_dict_clear(far));
        assert_status(objd_dict_pop_any(far, &got_key, &got, &buf), OBJD_E_EMPTY);
        assert_status(objd_list_len(far, &len), OBJD_E_KIND);
        objd_buf_free(&buf);
        objd_release(far);
        objd_release(near);
        end(&w);
}

static void a_list_is_the_same_near_and_far(void **state)
{
        struct way w = { 0 };
        objd_object *far;
        objd_value three[3] = { objd_int(3), objd_int(1), objd_int(2) }, got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_items *items;
        uint64_t n;

        begin(&w, *state);
        far = make(w.far, "list", OBJD_LIST);
        assert_ok(objd_list_extend(far, three, 3));
        assert_ok(objd_list_append(far, &three[0]));
        assert_ok(objd_list_prepend(far, &three[2]));
        assert_ok(objd_list_insert(far, 1, &three[1])); /* 2 1 3 1 2 3 */
        assert_ok(objd_list_index(far, &three[1], 2, OBJD_LIST_END, &n));
        assert_int_equal(n, 3);
        assert_ok(objd_list_count(far, &three[0], &n));
        assert_int_equal(n, 2);
        assert_ok(objd_list_set(far, -1, &three[1]));
        assert_ok(objd_list_remove(far, &three[0])); /* 2 1 1 2 1 */
        assert_ok(objd_list_sort(far, true));
        assert_ok(objd_list_reverse(far)); /* 1 1 1 2 2 */
        assert_ok(objd_list_pop(far, 0, &got, &buf));
        expect_int(&got, 1);
        assert_ok(objd_list_del(far, 0));
        assert_ok(objd_list_get(far, -1, &got, &buf));
        expect_int(&got, 2);
        assert_status(objd_list_get(far, 3, &got, &buf), OBJD_E_RANGE);
        assert_ok(objd_list_slice(far, 1, OBJD_LIST_END, &items));
        assert_int_equal(items->len, 2);
        expect_int(&items->item[0].value, 2);
        objd_items_free(items);
        assert_ok(objd_list_slice_del(far, 0, 2));
        assert_ok(objd_list_len(far, &n));
        assert_int_equal(n, 1);
        assert_ok(objd_list_clear(far));
        objd_buf_free(&buf);
        objd_release(far);
        end(&w);
}

static void objects_are_made_named_and_deleted(void **state)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *queue, *nameless, *near, *again;
        objd_info info, *infos;
        objd_stats stats;
        struct way w = { 0 };
        size_t n;

        begin(&w, *state);
        config.bound = 7;
        config.value_type = OBJD_INT;
        config.order = OBJD_PRIORITY;
        assert_ok(objd_create(w.far, "b", OBJD_QUEUE, &config, &queue));
        assert_status(objd_create(w.far, "b", OBJD_DICT, NULL, &again), OBJD_E_EXISTS);
        assert_status(objd_open(w.far, "b", OBJD_DICT, &again), OBJD_E_KIND);
        assert_status(objd_open(w.far, "c", OBJD_KIND_ANY, &again), OBJD_E_NOTFOUND);
        config.bound = 8;
        assert_status(objd_open_or_create(w.far, "b", OBJD_QUEUE, &config, &again), OBJD_E_TYPE);
        assert_ok(objd_info_get(queue, &info));
        assert_int_equal(info.config.bound, 7);
        assert_string_equal(info.name, "b");
        assert_ok(objd_create(w.far, NULL, OBJD_LIST, NULL, &nameless));
        assert_ok(objd_open_ref(w.near, objd_ref_of(nameless), OBJD_LIST, &near));
        assert_ok(objd_set_name(nameless, "a"));
        assert_ok(objd_list(w.far, "", &infos, &n));
        assert_int_equal(n, 2);
        assert_string_equal(infos[0].name, "a");
        objd_infos_free(infos);
        assert_ok(objd_delete(w.far, "a"));
        assert_status(objd_delete(w.far, "a"), OBJD_E_NOTFOUND);
        assert_status(objd_list_clear(near), OBJD_E_GONE);
        assert_status(objd_list_clear(nameless), OBJD_E_GONE);
        assert_ok(objd_destroy(queue));
        assert_ok(objd_stats_get(w.far, &stats));
        assert_true(stats.n_clients >= 2);
        objd_release(near);
        objd_release(nameless);
        objd_release(queue);
        end(&w);
}

static void batches_are_all_or_nothing(void **state)
{
        objd_value key = objd_cstr("n"), one = objd_int(1), got;
        objd_object *dict, *queue;
        objd_batch *batch;
        struct way w = { 0 };
        size_t failed = 9;
        uint64_t len;

        begin(&w, *state);
        dict = make(w.far, "dict", OBJD_DICT);
        queue = make(w.far, "queue", OBJD_QUEUE);
        assert_ok(objd_batch_new(w.far, &batch));
        assert_ok(objd_batch_dict_add_int(batch, dict, &key, 5));
        assert_ok(objd_batch_queue_put(batch, queue, &one, 0));
        assert_ok(objd_batch_queue_get(batch, queue));
        assert_ok(objd_batch_commit(batch, &failed));
        assert_ok(objd_batch_result(batch, 0, &got));
        expect_int(&got, 5);
        assert_ok(objd_batch_result(batch, 2, &got));
        expect_int(&got, 1);
        objd_batch_clear(batch);
        assert_ok(objd_batch_dict_add_int(batch, dict, &key, 5));
        assert_ok(objd_batch_queue_get(batch, queue));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_EMPTY);
        assert_int_equal(failed, 1);
        assert_ok(objd_dict_add_int(dict, &key, 0, (int64_t *)&len));
        assert_int_equal(len, 5);
        objd_batch_free(batch);
        objd_release(queue);
        objd_release(dict);
        end(&w);
}

static void cursors_and_pins_work_on_copies(void **state)
{
        objd_value key, value, got = { 0 };
        int64_t sum = 0, n = 0;
        objd_cursor *cursor;
        objd_object *dict;
        objd_pin *pin;
        struct way w = { 0 };

        begin(&w, *state);
        dict = make(w.far, "dict", OBJD_DICT);
        for (int64_t i = 0; i < 2000; i += 100) {
                objd_value keys[100];

                for (int64_t j = 0; j < 100; j++)
                        keys[j] = objd_int(i + j);
                assert_ok(objd_dict_set_many(dict, keys, keys, 100));
        }
        assert_ok(objd_cursor_new(dict, &cursor));
        while (objd_cursor_next(cursor, &key, &value) == OBJD_OK) {
                assert_true(objd_value_equal(&key, &value));
                sum += value.u.integer;
                n++;
        }
        assert_int_equal(n, 2000);
        assert_int_equal(sum, 1999 * 1000);
        objd_cursor_free(cursor);
        key = objd_int(5);
        assert_ok(objd_dict_pin(dict, &key, &got, &pin));
        expect_int(&got, 5);
        objd_unpin(pin);
        objd_release(dict);
        end(&w);
}

static void large_values_go_in_pieces(void **state)
{
        const size_t size = 9000001;
        char *bytes = malloc(size);
        objd_value key = objd_cstr("key"), value = objd_bytes(bytes, size), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *dict;
        struct way w = { 0 };

        for (size_t i = 0; i < size; i++)
                bytes[i] = (char)(i * i >> 7);
        begin(&w, *state);
        dict = make(w.far, "dict", OBJD_DICT);
        assert_ok(objd_dict_set(dict, &key, &value));
        assert_ok(objd_dict_get(dict, &key, &got, &buf));
        assert_true(objd_value_equal(&value, &got));
        objd_buf_free(&buf);
        objd_release(dict);
        end(&w);
        free(bytes);
}

/* ---- Waiting ---------------------------------------------------------------------------------------------- */

struct waiter {
        struct way *w;
        objd_status status;
        int64_t got;
};

static void *get_one(void *context)
{
        struct waiter *waiter = context;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *queue;
        objd_value got;

        waiter->status = objd_open(waiter->w->far, "queue", OBJD_QUEUE, &queue);
        if (waiter->status)
                return NULL;
        waiter->status = objd_queue_get(queue, &got, &buf, OBJD_FOREVER);
        if (waiter->status == OBJD_OK)
                waiter->got = got.u.integer;
        objd_buf_free(&buf);
        objd_release(queue);
        return NULL;
}

/* All through one connection, each with a batch of its own under way; those who put are near and far. */
static void getters_wait_without_holding_others_up(void **state)
{
        enum { N = 8 };
        struct waiter waiters[N];
        pthread_t threads[N];
        objd_object *near, *far;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value got;
        int64_t sum = 0;
        struct way w = { 0 };

        begin(&w, *state);
        near = make(w.near, "queue", OBJD_QUEUE);
        far = make(w.far, "queue", OBJD_QUEUE);
        for (int i = 0; i < N; i++) {
                waiters[i] = (struct waiter){ .w = &w };
                assert_int_equal(pthread_create(&threads[i], NULL, get_one, &waiters[i]), 0);
        }
        assert_status(objd_queue_get(far, &got, &buf, 50000000), OBJD_E_TIMEOUT);
        assert_status(objd_queue_get(far, &got, &buf, OBJD_NOWAIT), OBJD_E_EMPTY);
        for (int i = 0; i < N; i++) {
                objd_value item = objd_int(1 << i);

                assert_ok(objd_queue_put(i % 2 ? near : far, &item, PATIENCE_NS));
        }
        for (int i = 0; i < N; i++) {
                assert_int_equal(pthread_join(threads[i], NULL), 0);
                assert_ok(waiters[i].status);
                sum += waiters[i].got;
        }
        assert_int_equal(sum, (1 << N) - 1);
        assert_status(objd_queue_join(far, 50000000), OBJD_E_TIMEOUT);
        objd_buf_free(&buf);
        objd_release(far);
        objd_release(near);
        end(&w);
}

static void leases_belong_to_the_session(void **state)
{
        objd_value one = objd_int(1), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *near, *far;
        objd_conn *other;
        uint64_t lease;
        struct way w = { 0 };

        begin(&w, *state);
        near = make(w.near, "queue", OBJD_QUEUE);
        assert_ok(objd_queue_put(near, &one, PATIENCE_NS));
        assert_ok(objd_connect(w.url, &other));
        assert_ok(objd_open(other, "queue", OBJD_QUEUE, &far));
        assert_ok(objd_queue_get_lease(far, OBJD_FOREVER, &got, &buf, &lease, PATIENCE_NS));
        assert_status(objd_queue_ack(near, lease), OBJD_E_NOTOWNER);
        assert_ok(objd_queue_give_back(far, lease));
        assert_ok(objd_queue_get_lease(far, OBJD_FOREVER, &got, &buf, &lease, PATIENCE_NS));
        objd_release(far);
        objd_close(other);
        assert_ok(objd_queue_get(near, &got, &buf, PATIENCE_NS));
        objd_buf_free(&buf);
        objd_release(near);
        end(&w);
}

static void *take_lock(void *lock)
{
        return objd_lock_take(lock, OBJD_NOWAIT, NULL) ? lock : NULL;
}

static void locks_belong_to_threads(void **state)
{
        objd_object *near, *far;
        pthread_t thread;
        uint64_t token = 0;
        bool taken;
        void *failed;
        struct way w = { 0 };

        begin(&w, *state);
        near = make(w.near, "lock", OBJD_LOCK);
        far = make(w.far, "lock", OBJD_LOCK);
        assert_ok(objd_lock_take(far, OBJD_NOWAIT, &token));
        assert_true(token > 0);
        assert_status(objd_lock_take(far, OBJD_NOWAIT, NULL), OBJD_E_INVAL);
        assert_status(objd_lock_take(near, OBJD_NOWAIT, NULL), OBJD_E_BUSY);
        assert_int_equal(pthread_create(&thread, NULL, take_lock, far), 0);
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_ptr_equal(failed, far);
        assert_ok(objd_lock_give(far));
        assert_status(objd_lock_give(far), OBJD_E_NOTOWNER);

        /* Its thread ends with it. */
        assert_int_equal(pthread_create(&thread, NULL, take_lock, far), 0);
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        assert_status(objd_lock_take(near, PATIENCE_NS, NULL), OBJD_E_OWNER_DIED);
        assert_status(objd_lock_take(far, 50000000, NULL), OBJD_E_TIMEOUT);
        assert_ok(objd_lock_give(near));
        assert_ok(objd_lock_take(far, PATIENCE_NS, NULL));
        assert_ok(objd_lock_owner(far, &taken, NULL, &token));
        assert_true(taken);
        assert_ok(objd_lock_give(far));
        objd_release(far);
        objd_release(near);
        end(&w);
}

/* ---- Deaths ----------------------------------------------------------------------------------------------- */

struct victim {
        struct way *w;
        struct gate ready;
};

static int hold_and_wait(void *context)
{
        struct victim *v = context;
        objd_object *lock, *nameless;
        objd_conn *conn;

        child_ok(objd_connect(v->w->url, &conn));
        child_ok(objd_open(conn, "lock", OBJD_LOCK, &lock));
        child_ok(objd_lock_take(lock, OBJD_NOWAIT, NULL));
        child_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &nameless));
        gate_open(&v->ready, 1);
        for (;;)
                pause(); /* it is killed */
}

struct few {
        objd_conn *conn;
        uint64_t n;
};

static bool has_as_few_objects(void *context)
{
        const struct few *few = context;
        objd_stats stats;

        return objd_stats_get(few->conn, &stats) == OBJD_OK && stats.n_objects <= few->n;
}

/* Nobody hears of its death but by its silence. The session of this process's own may end as well: nothing is asked of it. */
static void what_a_dead_client_held_is_released(void **state)
{
        struct victim v;
        objd_object *near;
        objd_stats before;
        struct way w = { .expiry = "4" };
        pid_t pid;

        begin(&w, *state);
        near = make(w.near, "lock", OBJD_LOCK);
        assert_ok(objd_stats_get(w.near, &before));
        v.w = &w;
        gate_init(&v.ready);
        pid = child_start(hold_and_wait, &v);
        gate_wait(&v.ready);
        assert_status(objd_lock_take(near, OBJD_NOWAIT, NULL), OBJD_E_BUSY);
        child_kill(pid);
        assert_status(objd_lock_take(near, PATIENCE_NS, NULL), OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(near));
        wait_until(has_as_few_objects, &(struct few){ w.near, before.n_objects }, "its objects are deleted");
        gate_deinit(&v.ready);
        objd_release(near);
        end(&w);
}

static int work_as_child(void *context)
{
        struct way *w = context;
        objd_value key = objd_cstr("n");
        objd_object *dict;

        child_ok(objd_open(w->far, "dict", OBJD_DICT, &dict));
        for (int i = 0; i < 20; i++)
                child_ok(objd_dict_add_int(dict, &key, 1, NULL));
        objd_release(dict);
        objd_close(w->far);
        return 0;
}

static void a_child_has_a_session_of_its_own(void **state)
{
        objd_value key = objd_cstr("n");
        objd_object *dict;
        int64_t sum;
        struct way w = { 0 };
        pid_t pids[3];

        begin(&w, *state);
        dict = make(w.far, "dict", OBJD_DICT);
        for (int i = 0; i < 3; i++)
                pids[i] = child_start(work_as_child, &w);
        for (int i = 0; i < 20; i++)
                assert_ok(objd_dict_add_int(dict, &key, 1, NULL));
        for (int i = 0; i < 3; i++)
                child_expect_success(pids[i]);
        assert_ok(objd_dict_add_int(dict, &key, 0, &sum));
        assert_int_equal(sum, 80);
        objd_release(dict);
        end(&w);
}

#define ADDS 300

/* The daemon may just have been killed; the next one comes. */
static objd_conn *connect_to_some_daemon(const char *url)
{
        const int64_t until_ns = test_now_ns() + PATIENCE_NS;
        objd_conn *conn = NULL;
        objd_status r;

        do
                r = objd_connect(url, &conn);
        while (r == OBJD_E_NODAEMON && test_now_ns() < until_ns);
        child_ok(r);
        return conn;
}

static int add_and_move(void *context)
{
        struct way *w = context;
        objd_value key = objd_cstr("n"), got;
        objd_object *dict, *queue;
        objd_buf buf = OBJD_BUF_INIT;
        objd_conn *conn = connect_to_some_daemon(w->url);

        child_ok(objd_set_timeout(conn, PATIENCE_NS));
        child_ok(objd_open(conn, "dict", OBJD_DICT, &dict));
        child_ok(objd_open(conn, "queue", OBJD_QUEUE, &queue));
        for (int i = 0; i < ADDS; i++) {
                int64_t sum;

                child_ok(objd_dict_add_int(dict, &key, 1, &sum));
                got = objd_int(sum);
                child_ok(objd_queue_put(queue, &got, PATIENCE_NS));
                child_ok(objd_queue_get(queue, &got, &buf, PATIENCE_NS));
                child_ok(objd_queue_put(queue, &got, PATIENCE_NS));
        }
        objd_buf_free(&buf);
        objd_release(queue);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

/* Each add is made once, each item moved once, though the daemon is killed again and again in between. */
static void calls_are_made_once_though_the_daemon_dies(void **state)
{
        objd_value key = objd_cstr("n"), got;
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *dict, *queue;
        int64_t sum, expected = 0, found = 0;
        uint64_t len;
        struct way w = { 0 };
        pid_t pids[2];

        begin(&w, *state);
        dict = make(w.near, "dict", OBJD_DICT);
        queue = make(w.near, "queue", OBJD_QUEUE);
        for (int i = 0; i < 2; i++)
                pids[i] = child_start(add_and_move, &w);
        for (int i = 0; i < 5; i++) {
                usleep(60000);
                (void)fixture_stop(w.f, SIGKILL);
                start_daemon(&w);
        }
        for (int i = 0; i < 2; i++)
                child_expect_success(pids[i]);
        assert_ok(objd_dict_add_int(dict, &key, 0, &sum));
        assert_int_equal(sum, 2 * ADDS);
        assert_ok(objd_queue_len(queue, &len));
        assert_int_equal(len, 2 * ADDS);
        for (int64_t i = 1; i <= 2 * ADDS; i++) {
                assert_ok(objd_queue_get(queue, &got, &buf, OBJD_NOWAIT));
                found += got.u.integer;
                expected += i;
        }
        assert_int_equal(found, expected);
        objd_buf_free(&buf);
        objd_release(queue);
        objd_release(dict);
        end(&w);
}

static void nobody_there_is_said_so(void **state)
{
        struct fixture *f = *state;
        char url[192];
        objd_conn *conn;

        if (is_local)
                snprintf(url, sizeof(url), "local:%s/none", f->base);
        else
                snprintf(url, sizeof(url), "ipc://%s/none.sock", f->base);
        assert_status(objd_connect(url, &conn), OBJD_E_NODAEMON);
        assert_status(objd_connect(is_local ? "local:a/b" : "ipc://", &conn), OBJD_E_INVAL);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_dict_is_the_same_near_and_far),
                FIXTURE_TEST(a_list_is_the_same_near_and_far),
                FIXTURE_TEST(objects_are_made_named_and_deleted),
                FIXTURE_TEST(batches_are_all_or_nothing),
                FIXTURE_TEST(cursors_and_pins_work_on_copies),
                FIXTURE_TEST(large_values_go_in_pieces),
                FIXTURE_TEST(getters_wait_without_holding_others_up),
                FIXTURE_TEST(leases_belong_to_the_session),
                FIXTURE_TEST(locks_belong_to_threads),
                FIXTURE_TEST(what_a_dead_client_held_is_released),
                FIXTURE_TEST(a_child_has_a_session_of_its_own),
                FIXTURE_TEST(calls_are_made_once_though_the_daemon_dies),
                FIXTURE_TEST(nobody_there_is_said_so),
        };

        is_local = argc > 1 && strcmp(argv[1], "local") == 0;
        is_tcp = argc > 1 && strcmp(argv[1], "tcp") == 0;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
