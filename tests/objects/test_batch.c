/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_batch.c -- client/batch.c and object/op.c: several operations as one, or none of them
 */

#include <stdlib.h>
#include <string.h>

#include "object/object.h"
#include "support/hold.h"
#include "support/inside.h"
#include "support/way.h"

static uint8_t bytes[40000];

static objd_batch *batch_of(objd_conn *conn)
{
        objd_batch *batch = NULL;

        assert_ok(objd_batch_new(conn, &batch));
        return batch;
}

static void add_set(objd_batch *batch, objd_object *dict, int64_t key, objd_value value)
{
        objd_value k = objd_int(key);

        assert_ok(objd_batch_dict_set(batch, dict, &k, &value));
}

static void add_del(objd_batch *batch, objd_object *dict, int64_t key)
{
        objd_value k = objd_int(key);

        assert_ok(objd_batch_dict_del(batch, dict, &k));
}

static uint64_t len_of(objd_object *dict)
{
        uint64_t len = UINT64_MAX;

        assert_ok(objd_dict_len(dict, &len));
        return len;
}

static void assert_value(objd_object *dict, int64_t key, objd_value expected)
{
        objd_value k = objd_int(key), value;
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_dict_get(dict, &k, &value, &buf));
        assert_true(objd_value_equal(&value, &expected));
        objd_buf_free(&buf);
}

static void assert_result(const objd_batch *batch, size_t place, objd_value expected)
{
        objd_value value;

        assert_ok(objd_batch_result(batch, place, &value));
        assert_true(objd_value_equal(&value, &expected));
}

static void all_operations_happen_and_give_their_results(void **state)
{
        objd_object *a = way_dict(*state, "a"), *b = way_dict(*state, "b");
        objd_batch *batch = batch_of(*state);
        objd_value k1 = objd_int(1), k2 = objd_int(2), text = objd_cstr("text"), other = objd_cstr("other");
        size_t failed = 77;

        add_set(batch, a, 1, text);                                   /* 0 */
        assert_ok(objd_batch_dict_get(batch, a, &k1));                /* 1 */
        assert_ok(objd_batch_dict_add_int(batch, b, &k1, 5));         /* 2 */
        assert_ok(objd_batch_dict_add_int(batch, b, &k1, 6));         /* 3 */
        assert_ok(objd_batch_dict_cas(batch, a, &k1, &text, &other)); /* 4 */
        assert_ok(objd_batch_dict_pop(batch, a, &k1));                /* 5 */
        assert_ok(objd_batch_dict_set_new(batch, a, &k1, &k2));       /* 6 */
        assert_ok(objd_batch_dict_add_float(batch, b, &k2, 0.5));     /* 7 */
        assert_ok(objd_batch_dict_cas(batch, b, &k2, NULL, &k2));     /* 8 */
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_MISMATCH);
        assert_int_equal(failed, 8);
        assert_int_equal(len_of(a) + len_of(b), 0);
        assert_status(objd_batch_result(batch, 0, &text), OBJD_E_INVAL);

        objd_batch_clear(batch);
        add_set(batch, a, 1, text);
        assert_ok(objd_batch_dict_get(batch, a, &k1));
        assert_ok(objd_batch_dict_add_int(batch, b, &k1, 5));
        assert_ok(objd_batch_dict_add_int(batch, b, &k1, 6));
        assert_ok(objd_batch_dict_cas(batch, a, &k1, &text, &other));
        assert_ok(objd_batch_dict_pop(batch, a, &k1));
        assert_ok(objd_batch_dict_set_new(batch, a, &k1, &k2));
        assert_ok(objd_batch_dict_add_float(batch, b, &k2, 0.5));
        assert_ok(objd_batch_commit(batch, &failed));
        assert_result(batch, 0, objd_nil());
        assert_result(batch, 1, text);
        assert_result(batch, 2, objd_int(5));
        assert_result(batch, 3, objd_int(11));
        assert_result(batch, 4, objd_nil());
        assert_result(batch, 5, other);
        assert_result(batch, 6, objd_nil());
        assert_result(batch, 7, objd_float(0.5));
        assert_status(objd_batch_result(batch, 8, &text), OBJD_E_RANGE);
        assert_value(a, 1, k2);
        assert_value(b, 1, objd_int(11));
        assert_value(b, 2, objd_float(0.5));
        objd_batch_free(batch);
        objd_release(a);
        objd_release(b);
}

static void a_committed_batch_must_be_cleared_first(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_batch *batch = batch_of(*state);
        objd_value key = objd_int(1);

        assert_ok(objd_batch_commit(batch, NULL)); /* of nothing */
        objd_batch_clear(batch);
        add_set(batch, dict, 1, key);
        assert_ok(objd_batch_commit(batch, NULL));
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_INVAL);
        assert_status(objd_batch_dict_set(batch, dict, &key, &key), OBJD_E_INVAL);
        objd_batch_clear(batch);
        add_del(batch, dict, 1);
        assert_ok(objd_batch_commit(batch, NULL));
        assert_int_equal(len_of(dict), 0);
        objd_batch_free(batch);
        objd_release(dict);
}

static void arguments_are_copied(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_batch *batch = batch_of(*state);
        char key_bytes[] = "key", value_bytes[5000];
        uint64_t shape[1] = { 2 };
        objd_value key = objd_str(key_bytes, 3), value = objd_bytes(value_bytes, sizeof(value_bytes)), got;
        objd_value array = objd_array(OBJD_U8, 1, shape, value_bytes),
                   message = objd_message(key_bytes, value_bytes, 9);
        objd_buf buf = OBJD_BUF_INIT;

        memset(value_bytes, 'v', sizeof(value_bytes));
        assert_ok(objd_batch_dict_set(batch, dict, &key, &value));
        add_set(batch, dict, 1, array);
        add_set(batch, dict, 2, message);
        add_set(batch, dict, 3, objd_nil());
        memset(key_bytes, 'x', 3);
        memset(value_bytes, 'w', sizeof(value_bytes));
        shape[0] = 1000000;
        memset(&value, 0xff, sizeof(value));
        assert_ok(objd_batch_commit(batch, NULL));

        key = objd_cstr("key");
        assert_ok(objd_dict_get(dict, &key, &got, &buf));
        assert_int_equal(got.size, sizeof(value_bytes));
        assert_int_equal(((const char *)got.data)[4999], 'v');
        assert_value(dict, 1, objd_array(OBJD_U8, 1, (uint64_t[]){ 2 }, "vv"));
        assert_value(dict, 2, objd_message("key", "vvvvvvvvv", 9));
        assert_value(dict, 3, objd_nil());
        objd_buf_free(&buf);
        objd_batch_free(batch);
        objd_release(dict);
}

static void a_bad_argument_adds_nothing(void **state)
{
        objd_object *dict = way_dict(*state, "d");
        objd_batch *batch = batch_of(*state);
        objd_value key = objd_int(1), bad = objd_str("\xff", 1);

        assert_status(objd_batch_dict_set(batch, dict, &key, &bad), OBJD_E_INVAL);
        assert_status(objd_batch_dict_set(batch, dict, NULL, &key), OBJD_E_INVAL);
        assert_status(objd_batch_dict_set(batch, dict, &key, NULL), OBJD_E_INVAL);
        assert_status(objd_batch_dict_set(batch, NULL, &key, &key), OBJD_E_INVAL);
        assert_status(objd_batch_dict_set(NULL, dict, &key, &key), OBJD_E_INVAL);
        assert_status(objd_batch_new(NULL, &batch), OBJD_E_INVAL);
        assert_status(objd_batch_commit(NULL, NULL), OBJD_E_INVAL);
        assert_ok(objd_batch_commit(batch, NULL));
        assert_int_equal(len_of(dict), 0);
        objd_batch_free(NULL);
        objd_batch_clear(NULL);
        objd_batch_free(batch);
        objd_release(dict);
}

/* One that cannot succeed at each place in turn: it is named, and nothing has happened. */
static void the_operation_that_failed_is_named(void **state)
{
        enum { N = 12 };
        objd_object *dicts[3] = { way_dict(*state, "a"), way_dict(*state, "b"), way_dict(*state, "c") };
        uint64_t used = way_used(*state);
        objd_batch *batch = batch_of(*state);

        for (size_t bad = 0; bad < N; bad++) {
                size_t failed = 77;

                for (size_t i = 0; i < N; i++)
                        if (i == bad)
                                add_del(batch, dicts[i % 3], 1000);
                        else
                                add_set(batch, dicts[i % 3], (int64_t)i, objd_bytes(bytes, i * 1000));
                assert_status(objd_batch_commit(batch, &failed), OBJD_E_NOTFOUND);
                assert_int_equal(failed, bad);
                for (int i = 0; i < 3; i++)
                        assert_int_equal(len_of(dicts[i]), 0);
                assert_int_equal(way_used(*state), used);
                objd_batch_clear(batch);
        }
        objd_batch_free(batch);
        for (int i = 0; i < 3; i++)
                objd_release(dicts[i]);
}

/* Somebody lives and holds what the batch needs: that is nobody's fault in it. */
static void a_batch_that_waits_in_vain_names_no_operation(void **state)
{
        objd_object *a = way_dict(*state, "a"), *b = way_dict(*state, "b");
        objd_batch *batch = batch_of(*state);
        size_t failed = 77;
        objd_object *inside = way_inside(b);
        struct hold hold = { .arena = inside->conn->arena, .line = &inside->shm->line };

        add_set(batch, a, 1, objd_int(10));
        add_set(batch, b, 1, objd_int(10));
        hold_begin(&hold);
        objd_next_timeout(OBJD_NOWAIT);
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_BUSY);
        assert_int_equal(failed, 77);
        hold_end(&hold);
        assert_ok(objd_batch_commit(batch, &failed));
        assert_int_equal(failed, 77);
        objd_batch_free(batch);
        objd_release(a);
        objd_release(b);
}

/* Puts, gets, appends and pops of several objects see one another's work, and all happen or none. */
static void lists_and_queues_take_part(void **state)
{
        objd_object *list, *fifo, *lifo;
        objd_config config = OBJD_CONFIG_INIT;
        objd_batch *batch = batch_of(*state);
        objd_value value[5] = { objd_int(0), objd_int(1), objd_int(2), objd_int(3), objd_int(4) };
        uint64_t n;

        config.order = OBJD_LIFO;
        assert_ok(objd_create(*state, "list", OBJD_LIST, NULL, &list));
        assert_ok(objd_create(*state, "fifo", OBJD_QUEUE, NULL, &fifo));
        assert_ok(objd_create(*state, "lifo", OBJD_QUEUE, &config, &lifo));
        assert_ok(objd_batch_list_append(batch, list, &value[1]));    /* 0: 1 */
        assert_ok(objd_batch_list_prepend(batch, list, &value[0]));   /* 1: 0 1 */
        assert_ok(objd_batch_list_insert(batch, list, 1, &value[2])); /* 2: 0 2 1 */
        assert_ok(objd_batch_list_set(batch, list, -1, &value[3]));   /* 3: 0 2 3 */
        assert_ok(objd_batch_list_get(batch, list, 1));               /* 4 */
        assert_ok(objd_batch_list_pop(batch, list, 0));               /* 5: 2 3 */
        assert_ok(objd_batch_list_del(batch, list, 0));               /* 6: 3 */
        for (int i = 0; i < 3; i++) {
                assert_ok(objd_batch_queue_put(batch, fifo, &value[i], 0)); /* 7, 9, 11 */
                assert_ok(objd_batch_queue_put(batch, lifo, &value[i], 0)); /* 8, 10, 12 */
        }
        assert_ok(objd_batch_queue_get(batch, fifo));       /* 13 */
        assert_ok(objd_batch_queue_get(batch, lifo));       /* 14 */
        assert_ok(objd_batch_queue_task_done(batch, fifo)); /* 15 */
        assert_ok(objd_batch_commit(batch, NULL));
        assert_result(batch, 4, value[2]);
        assert_result(batch, 5, value[0]);
        assert_result(batch, 13, value[0]);
        assert_result(batch, 14, value[2]);
        assert_ok(objd_list_len(list, &n));
        assert_int_equal(n, 1);
        assert_ok(objd_queue_len(fifo, &n));
        assert_int_equal(n, 2);
        assert_ok(objd_queue_len(lifo, &n));
        assert_int_equal(n, 2);
        objd_batch_free(batch);
        objd_release(list);
        objd_release(fifo);
        objd_release(lifo);
}

/* A getter's usual step: what came under a lease is acknowledged together with what it led to. */
static void an_ack_is_part_of_a_batch(void **state)
{
        objd_object *queue, *list;
        objd_batch *batch = batch_of(*state);
        objd_value item = objd_int(5), value;
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t lease, n;
        size_t failed = 77;

        assert_ok(objd_create(*state, "queue", OBJD_QUEUE, NULL, &queue));
        assert_ok(objd_create(*state, "list", OBJD_LIST, NULL, &list));
        assert_ok(objd_queue_put(queue, &item, OBJD_NOWAIT));
        assert_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT));

        assert_ok(objd_batch_list_append(batch, list, &item));
        assert_ok(objd_batch_queue_ack(batch, queue, lease + 1));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_NOTOWNER);
        assert_int_equal(failed, 1);
        assert_ok(objd_list_len(list, &n));
        assert_int_equal(n, 0);
        objd_batch_clear(batch);

        assert_ok(objd_batch_list_append(batch, list, &item));
        assert_ok(objd_batch_queue_ack(batch, queue, lease));
        assert_ok(objd_batch_commit(batch, NULL));
        assert_ok(objd_list_len(list, &n));
        assert_int_equal(n, 1);
        assert_status(objd_queue_ack(queue, lease), OBJD_E_NOTOWNER);
        assert_ok(objd_queue_join(queue, OBJD_NOWAIT));
        objd_batch_free(batch);
        objd_buf_free(&buf);
        objd_release(queue);
        objd_release(list);
}

/* Nothing in a batch waits: an empty queue, a full one, an index outside. */
static void what_would_wait_fails_the_batch(void **state)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_batch *batch = batch_of(*state);
        objd_value item = objd_int(5);
        objd_object *queue, *list;
        size_t failed = 77;
        uint64_t n;

        config.bound = 1;
        assert_ok(objd_create(*state, "queue", OBJD_QUEUE, &config, &queue));
        assert_ok(objd_create(*state, "list", OBJD_LIST, NULL, &list));
        assert_ok(objd_batch_list_append(batch, list, &item));
        assert_ok(objd_batch_queue_get(batch, queue));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_EMPTY);
        assert_int_equal(failed, 1);
        objd_batch_clear(batch);
        assert_ok(objd_batch_queue_put(batch, queue, &item, 0));
        assert_ok(objd_batch_queue_put(batch, queue, &item, 0));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_FULL);
        assert_int_equal(failed, 1);
        objd_batch_clear(batch);
        assert_ok(objd_batch_list_append(batch, list, &item));
        assert_ok(objd_batch_list_set(batch, list, 1, &item));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_RANGE);
        assert_int_equal(failed, 1);
        assert_ok(objd_list_len(list, &n));
        assert_int_equal(n, 0);
        assert_ok(objd_queue_len(queue, &n));
        assert_int_equal(n, 0);
        objd_batch_free(batch);
        objd_release(queue);
        objd_release(list);
}

static void a_batch_that_failed_can_be_committed_again(void **state)
{
        objd_object *a = way_dict(*state, "a"), *b = way_dict(*state, "b");
        objd_batch *batch = batch_of(*state);
        objd_value key = objd_int(9);
        size_t failed = 77;

        add_set(batch, a, 1, objd_int(10));
        assert_ok(objd_batch_dict_pop(batch, b, &key));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_NOTFOUND);
        assert_int_equal(failed, 1);
        assert_int_equal(len_of(a), 0);
        assert_ok(objd_dict_set(b, &key, &key));
        assert_ok(objd_batch_commit(batch, &failed));
        assert_result(batch, 1, key);
        assert_value(a, 1, objd_int(10));
        assert_int_equal(len_of(b), 0);
        objd_batch_free(batch);
        objd_release(a);
        objd_release(b);
}

static void a_deleted_object_or_a_wrong_type_fails_the_batch(void **state)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *a = way_dict(*state, "a"), *gone = way_dict(*state, "gone"), *ints;
        objd_batch *batch = batch_of(*state);
        objd_conn *conn = NULL;
        objd_object *stranger;
        objd_value key = objd_int(1), text = objd_cstr("t");
        size_t failed = 77;

        config.value_type = OBJD_INT;
        assert_ok(objd_create(*state, "ints", OBJD_DICT, &config, &ints));
        add_set(batch, a, 1, key);
        assert_ok(objd_batch_dict_set(batch, ints, &key, &text));
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_TYPE);
        assert_int_equal(failed, 1);

        objd_batch_clear(batch);
        assert_ok(objd_destroy(gone));
        add_set(batch, a, 1, key);
        add_set(batch, a, 2, key);
        add_set(batch, gone, 1, key);
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_GONE);
        assert_int_equal(failed, 2);

        objd_batch_clear(batch);
        assert_ok(objd_connect("embedded:1M", &conn));
        stranger = way_dict(conn, "d");
        add_set(batch, a, 1, key);
        add_set(batch, stranger, 1, key);
        assert_status(objd_batch_commit(batch, &failed), OBJD_E_INVAL);
        assert_int_equal(failed, 1);
        assert_int_equal(len_of(stranger), 0);
        assert_int_equal(len_of(a), 0);
        objd_batch_free(batch);
        objd_release(stranger);
        objd_close(conn);
        objd_release(a);
        objd_release(gone);
        objd_release(ints);
}

/* Thousands of operations with values of 4 KiB in place: the undo log moves to ever larger chunks. */
static void a_large_batch_grows_its_log(void **state)
{
        objd_object *a = way_dict(*state, "a"), *b = way_dict(*state, "b");
        objd_batch *batch = batch_of(*state);
        const int64_t n = way_few(3000, 500);
        uint64_t used = way_used(*state), filled;
        size_t failed = 77;

        for (int64_t i = 0; i < n; i++)
                add_set(batch, i % 2 ? a : b, i, objd_bytes(bytes, 4096));
        assert_ok(objd_batch_commit(batch, NULL));
        way_check(*state);
        filled = way_used(*state);

        for (int fails = 1; fails >= 0; fails--) {
                objd_batch_clear(batch);
                for (int64_t i = 0; i < n; i++)
                        add_set(batch, i % 2 ? a : b, i, objd_bytes(bytes + 1 + i, 4096));
                if (fails) {
                        add_del(batch, a, -1);
                        assert_status(objd_batch_commit(batch, &failed), OBJD_E_NOTFOUND);
                        assert_int_equal(failed, n);
                } else {
                        assert_ok(objd_batch_commit(batch, &failed));
                }
                assert_int_equal(way_used(*state), filled);
                for (int64_t i = 0; i < n; i++)
                        assert_value(i % 2 ? a : b, i, objd_bytes(fails ? bytes : bytes + 1 + i, 4096));
                way_check(*state);
        }
        objd_batch_clear(batch);
        for (int64_t i = 0; i < n; i++)
                add_del(batch, i % 2 ? a : b, i);
        assert_ok(objd_batch_commit(batch, NULL));
        assert_int_equal(way_used(*state) - used <= 2 * GROUP_SLOTS * SLOT_SIZE, true);
        objd_batch_free(batch);
        objd_release(a);
        objd_release(b);
}

/* Everything that growing does, in one batch that is then undone. */
static void growth_inside_a_batch_is_undone(void **state)
{
        static const int64_t before[] = { 0, 3, 500, 4000 }, after[] = { 1, 300, 700, 6000, 40000 };
        objd_batch *batch = batch_of(*state);

        for (size_t i = 0; i < (size_t)way_few(4, 3); i++)
                for (size_t k = 0; k < (size_t)way_few(5, 4); k++) {
                        objd_object *dict = way_dict(*state, "d");
                        uint64_t used, memory;
                        size_t failed = 77;

                        for (int64_t key = 0; key < before[i]; key++) {
                                objd_value v = objd_int(key);

                                assert_ok(objd_dict_set(dict, &v, &v));
                        }
                        used = way_used(*state);
                        memory = way_memory(dict);
                        for (int64_t key = 0; key < before[i]; key += 2)
                                add_del(batch, dict, key);
                        for (int64_t key = before[i]; key < after[k]; key++)
                                add_set(batch, dict, key, objd_bytes(bytes, key % 50 ? 8 : 6000));
                        for (int64_t key = before[i]; key < after[k]; key += 3)
                                add_del(batch, dict, key);
                        add_del(batch, dict, -1);
                        assert_status(objd_batch_commit(batch, &failed), OBJD_E_NOTFOUND);
                        assert_int_equal(way_used(*state), used);
                        assert_int_equal(way_memory(dict), memory);
                        assert_int_equal(len_of(dict), (uint64_t)before[i]);
                        for (int64_t key = 0; key < before[i]; key++)
                                assert_value(dict, key, objd_int(key));
                        way_check(*state);
                        objd_batch_clear(batch);
                        assert_ok(objd_destroy(dict));
                        objd_release(dict);
                }
        objd_batch_free(batch);
}

/* A batch that finds no memory in the middle: nothing has happened, and there is as much as before. */
static void a_batch_that_finds_no_memory_is_undone(void **state)
{
        objd_conn *conn = NULL;
        objd_object *a, *b;
        objd_batch *batch;
        uint64_t used;

        (void)state;
        way_needs_handle("it has an arena of its own, which is full");
        assert_ok(objd_connect("embedded:4M", &conn));
        a = inside_dict(conn, "a");
        b = inside_dict(conn, "b");
        batch = batch_of(conn);
        used = inside_used(conn);
        for (int64_t i = 0; i < 2000; i++)
                add_set(batch, i % 2 ? a : b, i, objd_bytes(bytes, i % 10 ? 3000 : 30000));
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_NOMEM);
        assert_int_equal(inside_used(conn), used);
        assert_int_equal(len_of(a) + len_of(b), 0);
        inside_check(conn);
        objd_batch_clear(batch);
        for (int64_t i = 0; i < 100; i++)
                add_set(batch, i % 2 ? a : b, i, objd_bytes(bytes, i % 10 ? 3000 : 30000));
        assert_ok(objd_batch_commit(batch, NULL));
        assert_int_equal(len_of(a) + len_of(b), 100);
        inside_check(conn);
        objd_batch_free(batch);
        objd_release(a);
        objd_release(b);
        objd_close(conn);
}

static void a_batch_over_very_many_places_is_refused(void **state)
{
        enum { N = 300 };
        static objd_object *dicts[N];
        objd_batch *batch = batch_of(*state);

        for (int i = 0; i < N; i++) {
                dicts[i] = way_dict(*state, NULL);
                add_set(batch, dicts[i], 1, objd_int(i));
        }
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_LIMIT);
        for (int i = 0; i < N; i++)
                assert_int_equal(len_of(dicts[i]), 0);
        objd_batch_clear(batch);
        for (int i = 0; i < 200; i++)
                add_set(batch, dicts[199 - i], 1, objd_int(i));
        assert_ok(objd_batch_commit(batch, NULL));
        assert_value(dicts[0], 1, objd_int(199));
        objd_batch_free(batch);
        for (int i = 0; i < N; i++)
                objd_release(dicts[i]);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                WAY_TEST(all_operations_happen_and_give_their_results),
                WAY_TEST(a_committed_batch_must_be_cleared_first),
                WAY_TEST(arguments_are_copied),
                WAY_TEST(a_bad_argument_adds_nothing),
                WAY_TEST(the_operation_that_failed_is_named),
                WAY_TEST(a_batch_that_waits_in_vain_names_no_operation),
                WAY_TEST(lists_and_queues_take_part),
                WAY_TEST(an_ack_is_part_of_a_batch),
                WAY_TEST(what_would_wait_fails_the_batch),
                WAY_TEST(a_batch_that_failed_can_be_committed_again),
                WAY_TEST(a_deleted_object_or_a_wrong_type_fails_the_batch),
                WAY_TEST(a_large_batch_grows_its_log),
                WAY_TEST(growth_inside_a_batch_is_undone),
                WAY_TEST(a_batch_that_finds_no_memory_is_undone),
                WAY_TEST(a_batch_over_very_many_places_is_refused),
        };

        for (size_t i = 0; i < sizeof(bytes); i++)
                bytes[i] = (uint8_t)(i * 37 >> 3);
        return way_run(argc, argv, tests);
}
