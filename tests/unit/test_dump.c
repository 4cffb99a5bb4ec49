/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_dump.c -- a store as lines of JSON, and back: nothing is lost
 *
 * The dump of what was loaded from a dump must be that dump, byte for byte; and what was loaded must be what was dumped,
 * seen through the calls that everybody uses, so that nothing is missing from both dumps.
 */

#include <stdlib.h>

#include "dump_stores.h"
#include "object/object.h"
#include "support/inside.h"
#include "support/test.h"

/* ---- Values ------------------------------------------------------------------------------------------- */

static void every_value_comes_back(void **state)
{
        static const uint64_t floats[] = {
                0x0000000000000000, 0x8000000000000000, 0x3ff0000000000000, 0x3fb999999999999a,
                0x0000000000000001, 0x800fffffffffffff, 0x7fefffffffffffff, 0x7ff0000000000000,
                0xfff0000000000000, 0x7ff8000000000000, 0xfff8000000000000, 0x7ff0000000000001,
                0x7fffffffffffffff, 0x4340000000000001, 0xc3e0000000000000,
        };
        static const uint8_t bytes[] = { 0, 1, 2, 255, 254, '\n', '"', 0 };
        const uint64_t shape[3] = { 2, 1, 4 }, none[2] = { 0, 7 };
        objd_conn *conn = *state, *copy;
        objd_object *list = make(conn, "values", OBJD_LIST, NULL);

        append(list, objd_nil());
        append(list, objd_bool(true));
        append(list, objd_bool(false));
        append(list, objd_int(0));
        append(list, objd_int(INT64_MAX));
        append(list, objd_int(INT64_MIN));
        append(list, objd_int(INT64_MIN + 1));
        for (size_t i = 0; i < sizeof(floats) / sizeof(floats[0]); i++)
                append(list, objd_float(bits(floats[i])));
        append(list, objd_cstr(""));
        append(list, objd_str("a\0b", 3));
        append(list, objd_cstr("\"\\/\b\f\n\r\t\x01\x7f \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80"));
        append(list, objd_bytes("", 0));
        for (size_t i = 1; i <= sizeof(bytes); i++)
                append(list, objd_bytes(bytes, i));
        append(list, objd_array(OBJD_U8, 3, shape, bytes));
        append(list, objd_array(OBJD_F64, 0, NULL, bytes));
        append(list, objd_array(OBJD_I16, 2, none, ""));
        append(list, objd_message("package.Name", bytes, sizeof(bytes)));
        append(list, objd_message("\xc3\xa9", "", 0));
        copy = loaded_copy(conn);
        compare_stores(conn, copy);
        objd_release(list);
        end_store(copy);
}

/* Around the size from which on values come in parts, with characters of every length at the seam. */
static void large_values_come_in_parts(void **state)
{
        struct random random = random_begin("test-dump");
        objd_conn *conn = *state, *copy;
        objd_object *dict = make(conn, "large", OBJD_DICT, NULL);
        const uint64_t shape[2] = { 300, 50 };
        uint8_t *data = malloc(1 << 20);

        assert_non_null(data);
        random_fill(&random, data, 1 << 20);
        for (uint32_t i = 0; i < 12; i++) {
                char *text = random_text(&random, 49152 * (i / 6 + 1) - 6 + i % 6 * 2);

                set(dict, objd_int(i), objd_cstr(text));
                set(dict, objd_int(100 + i), objd_bytes(data, 49152 * (i / 6 + 1) - 6 + i % 6 * 2));
                free(text);
        }
        set(dict, objd_cstr("array"), objd_array(OBJD_F64, 2, shape, data));
        set(dict, objd_cstr("message"), objd_message("a.B", data, 1 << 20));
        set(dict, objd_cstr("empty message"), objd_message("a.B", "", 0));
        copy = loaded_copy(conn);
        compare_stores(conn, copy);
        free(data);
        objd_release(dict);
        end_store(copy);
}

/* ---- Kinds -------------------------------------------------------------------------------------------- */

/* Large enough for shards and directories; some keys go and come back, and are the last then. */
static void a_dict_keeps_the_order_of_its_keys(void **state)
{
        struct random random = random_begin("test-dump");
        objd_conn *conn = *state, *copy;
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *dict;

        config.key_type = OBJD_INT;
        config.value_type = OBJD_FLOAT;
        dict = make(conn, "d", OBJD_DICT, &config);
        for (int64_t i = 0; i < 20000; i++)
                set(dict, objd_int((int64_t)random_below(&random, 15000)), objd_float((double)i));
        for (int64_t i = 0; i < 5000; i++) {
                objd_value key = objd_int((int64_t)random_below(&random, 15000));
                objd_status r = objd_dict_del(dict, &key);

                assert_true(r == OBJD_OK || r == OBJD_E_NOTFOUND);
                if (i % 2)
                        set(dict, key, objd_float(-1));
        }
        copy = loaded_copy(conn);
        compare_stores(conn, copy);
        objd_release(dict);
        end_store(copy);
}

static void queues_of_each_order_come_back(void **state)
{
        objd_conn *conn = *state, *copy;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        for (int order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                static const char *const names[] = { "fifo", "lifo", "priority" };
                objd_config config = OBJD_CONFIG_INIT;
                objd_object *queue;
                uint64_t lease[4];

                config.order = (objd_order)order;
                config.bound = 1000;
                queue = make(conn, names[order], OBJD_QUEUE, &config);
                for (int64_t i = 0; i < 300; i++) {
                        value = objd_int(i);
                        if (order == OBJD_PRIORITY)
                                assert_ok(objd_queue_put_priority(queue, &value, i % 7 - 3, OBJD_NOWAIT));
                        else
                                assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
                }
                for (int i = 0; i < 20; i++)
                        assert_ok(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT));
                assert_ok(objd_queue_task_done(queue));
                /* Items that have come back; they stand in a table of their own. */
                for (int i = 0; i < 4; i++)
                        assert_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease[i],
                                                       OBJD_NOWAIT));
                for (int i = 0; i < 4; i++)
                        assert_ok(objd_queue_give_back(queue, lease[(i * 3) % 4]));
                if (order == OBJD_LIFO)
                        assert_ok(objd_queue_close(queue));
                objd_release(queue);
        }
        copy = loaded_copy(conn);
        compare_stores(conn, copy);
        objd_buf_free(&buf);
        end_store(copy);
}

/* Its leases are over in the new store; the dump says which items were under one. */
static void items_under_a_lease_are_back_in_the_copy(void **state)
{
        objd_conn *conn = *state, *copy = other_store();
        objd_object *queue = make(conn, "q", OBJD_QUEUE, NULL);
        objd_buf buf = OBJD_BUF_INIT;
        struct text text;
        objd_value value;
        uint64_t lease, len;

        for (int64_t i = 0; i < 10; i++)
                put(queue, i);
        assert_ok(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT));
        for (int i = 0; i < 3; i++)
                assert_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT));
        text = dump(conn, false);
        assert_contains(
                text.bytes,
                "\"len\":9,\"unfinished\":10}\n[1,\"leased\"]\n[2,\"leased\"]\n[3,\"leased\"]\n[4]\n");
        assert_ok(load(copy, text.bytes, text.size));
        objd_release(queue);
        assert_ok(objd_open(copy, "q", OBJD_QUEUE, &queue));
        assert_ok(objd_queue_len(queue, &len));
        assert_int_equal(len, 9);
        for (int64_t i = 1; i < 10; i++) {
                assert_ok(objd_queue_get(queue, &value, &buf, OBJD_NOWAIT));
                assert_int_equal(value.u.integer, i);
        }
        for (int i = 0; i < 10; i++)
                assert_ok(objd_queue_task_done(queue));
        assert_status(objd_queue_task_done(queue), OBJD_E_INVAL);
        objd_release(queue);
        objd_buf_free(&buf);
        free(text.bytes);
        end_store(copy);
}

static void a_queue_keeps_its_tasks_and_its_state(void **state)
{
        objd_conn *conn = *state, *copy;
        objd_object *ahead = make(conn, "ahead", OBJD_QUEUE, NULL),
                    *bad = make(conn, "bad", OBJD_QUEUE, NULL);

        /* More tasks are finished than items taken. */
        for (int64_t i = 0; i < 5; i++)
                put(ahead, i);
        for (int i = 0; i < 3; i++)
                assert_ok(objd_queue_task_done(ahead));
        put(bad, 1);
        assert_ok(objd_queue_poison(bad));
        copy = loaded_copy(conn);
        objd_release(bad);
        assert_ok(objd_open(copy, "bad", OBJD_QUEUE, &bad));
        assert_status(objd_queue_put(bad, &(objd_value){ .type = OBJD_NIL }, OBJD_NOWAIT), OBJD_E_POISONED);
        compare_stores(conn, copy);
        objd_release(ahead);
        objd_release(bad);
        end_store(copy);
}

/* What a taken lock protects may be half done: whoever takes it in the new store is told. */
static void locks_keep_their_tokens_and_say_that_their_owner_is_gone(void **state)
{
        static const char *const names[] = { "free", "taken", "recursive", "ownerless" };
        static const uint32_t flags[] = { 0, 0, OBJD_LOCK_RECURSIVE, OBJD_LOCK_OWNERLESS };
        objd_conn *conn = *state, *copy;
        objd_object *lock[4];
        uint64_t token[4], next;

        for (int i = 0; i < 4; i++) {
                objd_config config = OBJD_CONFIG_INIT;

                config.lock_flags = flags[i];
                lock[i] = make(conn, names[i], OBJD_LOCK, &config);
                for (int n = 0; n < 5 + i; n++) {
                        assert_ok(objd_lock_take(lock[i], OBJD_NOWAIT, &token[i]));
                        assert_ok(objd_lock_give(lock[i]));
                }
                if (i)
                        assert_ok(objd_lock_take(lock[i], OBJD_NOWAIT, &token[i]));
        }
        copy = loaded_copy(conn);
        for (int i = 0; i < 4; i++) {
                objd_status expected = i == 0 ? OBJD_OK : i == 3 ? OBJD_E_BUSY : OBJD_E_OWNER_DIED;
                objd_object *copied;

                assert_ok(objd_open(copy, names[i], OBJD_LOCK, &copied));
                assert_status(objd_lock_take(copied, OBJD_NOWAIT, &next), expected);
                if (i < 3)
                        assert_int_equal(next, token[i] + 1);
                assert_ok(objd_lock_give(copied));
                objd_release(copied);
                objd_release(lock[i]);
        }
        end_store(copy);
}

/* ---- Refs --------------------------------------------------------------------------------------------- */

/* In circles, to what comes later, to what has no name, to what is gone. */
static void refs_lead_to_the_same_objects(void **state)
{
        objd_conn *conn = *state, *copy;
        objd_object *a = make(conn, "a", OBJD_DICT, NULL), *z = make(conn, "z", OBJD_LIST, NULL);
        objd_object *inner = make(conn, NULL, OBJD_LIST, NULL), *deep = make(conn, NULL, OBJD_QUEUE, NULL);
        objd_object *gone = make(conn, NULL, OBJD_LIST, NULL), *lost = make(conn, NULL, OBJD_DICT, NULL);
        uint64_t n_objects;
        objd_stats stats;

        set(a, objd_cstr("self"), objd_refer(objd_ref_of(a)));
        set(a, objd_cstr("z"), objd_refer(objd_ref_of(z)));
        set(a, objd_cstr("inner"), objd_refer(objd_ref_of(inner)));
        set(a, objd_cstr("gone"), objd_refer(objd_ref_of(gone)));
        append(z, objd_refer(objd_ref_of(a)));
        append(z, objd_refer(objd_ref_of(inner)));
        append(inner, objd_refer(objd_ref_of(deep)));
        append(inner, objd_refer(objd_ref_of(a)));
        put(deep, 5);
        assert_ok(objd_destroy(gone));
        copy = loaded_copy(conn);
        compare_stores(conn, copy);
        /* What nothing leads to is not in the dump. */
        assert_ok(objd_stats_get(copy, &stats));
        n_objects = stats.n_objects;
        assert_ok(objd_stats_get(conn, &stats));
        assert_int_equal(n_objects, stats.n_objects - 1);
        objd_release(a);
        objd_release(z);
        objd_release(inner);
        objd_release(deep);
        objd_release(gone);
        objd_release(lost);
        end_store(copy);
}

/* They belong to nobody, so that they stay when the loader goes. */
static void objects_without_names_stay_when_the_loader_goes(void **state)
{
        static const char text[] =
                "{\"objd_dump\":1}\n{\"object\":1,\"name\":\"l\",\"kind\":\"list\",\"len\":1}\n"
                "{\"declare\":2,\"kind\":\"list\"}\n[{\"ref\":2}]\n{\"end\":1}\n"
                "{\"object\":2,\"kind\":\"list\",\"len\":1}\n[7]\n{\"end\":2}\n{\"objects\":2}\n";
        objd_conn *conn = *state;
        objd_object *list;
        objd_info info;

        assert_ok(load(conn, text, sizeof(text) - 1));
        assert_ok(objd_open(conn, "l", OBJD_LIST, &list));
        {
                objd_buf buf = OBJD_BUF_INIT;
                objd_object *inner;
                objd_value value;

                assert_ok(objd_list_get(list, 0, &value, &buf));
                assert_ok(objd_open_ref(conn, value.u.ref, OBJD_LIST, &inner));
                assert_ok(objd_info_get(inner, &info));
                assert_int_equal(info.len, 1);
                assert_int_equal(word_get(&inner->shm->owner), 0);
                objd_release(inner);
                objd_buf_free(&buf);
        }
        objd_release(list);
}

/* ---- What is there already ---------------------------------------------------------------------------- */

static int64_t first_of(objd_conn *conn, const char *name)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *list;
        objd_value value;

        assert_ok(objd_open(conn, name, OBJD_LIST, &list));
        assert_ok(objd_list_get(list, 0, &value, &buf));
        objd_release(list);
        objd_buf_free(&buf);
        return value.u.integer;
}

static void an_object_that_is_there_is_kept_or_replaced_as_the_caller_says(void **state)
{
        static const char text[] =
                "{\"objd_dump\":1}\n{\"object\":1,\"name\":\"a\",\"kind\":\"list\",\"len\":1}\n[1]\n"
                "{\"end\":1}\n{\"object\":2,\"name\":\"b\",\"kind\":\"list\",\"len\":2}\n[2]\n"
                "[{\"ref\":1}]\n{\"end\":2}\n{\"objects\":2}\n";
        objd_conn *conn = *state;
        objd_object *old = make(conn, "a", OBJD_LIST, NULL);
        struct load_report report;
        objd_stats before, after;

        append(old, objd_int(100));
        assert_ok(objd_stats_get(conn, &before));
        assert_sentence(load(conn, text, sizeof(text) - 1), OBJD_E_EXISTS,
                        "it:2: there is an object named \"a\" already");
        assert_ok(objd_stats_get(conn, &after));
        assert_int_equal(after.n_objects, before.n_objects);

        assert_ok(load_as(conn, text, sizeof(text) - 1, LOAD_SKIP, &report));
        assert_int_equal(report.n_loaded, 1);
        assert_int_equal(report.n_skipped, 1);
        assert_int_equal(first_of(conn, "a"), 100);
        {
                objd_buf buf = OBJD_BUF_INIT;
                objd_object *b;
                objd_value value;

                assert_ok(objd_open(conn, "b", OBJD_LIST, &b));
                assert_ok(objd_list_get(b, 1, &value, &buf));
                assert_int_equal(value.u.ref.serial, objd_ref_of(old).serial);
                objd_release(b);
                objd_buf_free(&buf);
        }

        assert_ok(load_as(conn, text, sizeof(text) - 1, LOAD_REPLACE, &report));
        assert_int_equal(report.n_loaded, 2);
        assert_int_equal(first_of(conn, "a"), 1);
        assert_status(objd_list_len(old, &(uint64_t){ 0 }), OBJD_E_GONE);
        objd_release(old);
        assert_ok(objd_stats_get(conn, &after));
        assert_int_equal(after.n_objects, before.n_objects + 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(every_value_comes_back),
                INSIDE_TEST(large_values_come_in_parts),
                INSIDE_TEST(a_dict_keeps_the_order_of_its_keys),
                INSIDE_TEST(queues_of_each_order_come_back),
                INSIDE_TEST(items_under_a_lease_are_back_in_the_copy),
                INSIDE_TEST(a_queue_keeps_its_tasks_and_its_state),
                INSIDE_TEST(locks_keep_their_tokens_and_say_that_their_owner_is_gone),
                INSIDE_TEST(refs_lead_to_the_same_objects),
                INSIDE_TEST(objects_without_names_stay_when_the_loader_goes),
                INSIDE_TEST(an_object_that_is_there_is_kept_or_replaced_as_the_caller_says),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
