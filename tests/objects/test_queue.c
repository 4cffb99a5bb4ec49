/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_queue.c -- queues: orders, values, bounds, several items at once, batches
 */

#include <stdlib.h>
#include <string.h>

#include "support/queues.h"

/* ---- Orders ------------------------------------------------------------------------------------------- */

static void a_fifo_queue_gives_items_in_the_order_of_their_puts(void **state)
{
        const int64_t n = way_few(5000, 1500);
        struct env *env = *state;

        for (int64_t i = 0; i < n; i++)
                put_int(env->fifo, i);
        assert_int_equal(len_of(env->fifo), n);

        for (int64_t i = 0; i < n; i++)
                assert_int_equal(get_int(env, env->fifo), i);
        assert_empty(env, env->fifo);
}

static void a_lifo_queue_gives_the_newest_item_first(void **state)
{
        const int64_t n = way_few(2000, 1000);
        struct env *env = *state;

        for (int64_t i = 0; i < n; i++)
                put_int(env->lifo, i);

        for (int64_t i = n; i--;)
                assert_int_equal(get_int(env, env->lifo), i);
        assert_empty(env, env->lifo);
}

static void a_priority_queue_gives_the_smallest_first_and_the_oldest_among_equals(void **state)
{
        const int64_t n = way_few(3000, 1000);
        struct env *env = *state;
        int64_t last = -1;

        for (int64_t i = 0; i < n; i++) {
                objd_value value = objd_int((i * 7919 % 10) * 100000 + i);

                assert_ok(objd_queue_put_priority(env->priority, &value, i * 7919 % 10 - 5, OBJD_NOWAIT));
        }

        for (int64_t i = 0; i < n; i++) {
                int64_t next = get_int(env, env->priority);

                assert_true(next > last);
                last = next;
        }
        assert_empty(env, env->priority);
}

static void a_put_without_a_priority_has_priority_0(void **state)
{
        struct env *env = *state;
        objd_value before = objd_int(1), after = objd_int(3);

        assert_ok(objd_queue_put_priority(env->priority, &after, 1, OBJD_NOWAIT));
        put_int(env->priority, 2);
        assert_ok(objd_queue_put_priority(env->priority, &before, INT64_MIN, OBJD_NOWAIT));

        for (int64_t i = 1; i <= 3; i++)
                assert_int_equal(get_int(env, env->priority), i);
}

static void only_a_priority_queue_takes_priorities(void **state)
{
        struct env *env = *state;
        objd_value value = objd_int(1);

        assert_status(objd_queue_put_priority(env->fifo, &value, 1, OBJD_NOWAIT), OBJD_E_INVAL);
        assert_status(objd_queue_put_priority(env->lifo, &value, 1, OBJD_NOWAIT), OBJD_E_INVAL);
        assert_empty(env, env->fifo);
}

/* ---- Values ------------------------------------------------------------------------------------------- */

static void put_and_get_value(struct env *env, objd_object *queue, objd_value value)
{
        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        assert_ok(objd_queue_peek(queue, &env->value, &env->buf));
        assert_true(objd_value_equal(&env->value, &value));
        assert_ok(objd_queue_get(queue, &env->value, &env->buf, OBJD_NOWAIT));
        assert_true(objd_value_equal(&env->value, &value));
}

static void every_type_of_value_comes_out_as_it_went_in(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        const uint64_t shape[2] = { 3, 5 };
        double data[15] = { 1, 2, 3 };

        for (size_t i = 0; i < 3; i++) {
                put_and_get_value(env, queues[i], objd_nil());
                put_and_get_value(env, queues[i], objd_bool(true));
                put_and_get_value(env, queues[i], objd_int(INT64_MIN));
                put_and_get_value(env, queues[i], objd_float(-0.0));
                put_and_get_value(env, queues[i], objd_cstr(""));
                put_and_get_value(env, queues[i], objd_cstr("Grüße"));
                put_and_get_value(env, queues[i], objd_bytes("\0\1\2", 3));
                put_and_get_value(env, queues[i], objd_array(OBJD_F64, 2, shape, data));
                put_and_get_value(env, queues[i], objd_message("a.b.C", "xyz", 3));
                put_and_get_value(env, queues[i], objd_refer(objd_ref_of(env->lifo)));
        }
}

/* Sizes around every limit at which a value is stored in another way, all in the queue at once. */
static void values_of_every_size_come_out_as_they_went_in(void **state)
{
        static const size_t sizes[] = {
                0,   1,    7,    8,    9,    15,   16,   17,   191,   192,    193,
                223, 4000, 4064, 4095, 4096, 4097, 8100, 8160, 65536, 100000, 1 << 20
        };
        const size_t n = sizeof(sizes) / sizeof(*sizes);
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        uint8_t *data = malloc(1 << 20);

        assert_non_null(data);
        for (size_t q = 0; q < 3; q++) {
                for (size_t i = 0; i < n; i++) {
                        objd_value value = objd_bytes(data, sizes[i]);

                        memset(data, (int)i + 1, sizes[i]);
                        assert_ok(objd_queue_put(queues[q], &value, OBJD_NOWAIT));
                }
                way_check(env->conn);
                for (size_t k = 0; k < n; k++) {
                        size_t i = queues[q] == env->lifo ? n - 1 - k : k;

                        memset(data, (int)i + 1, sizes[i]);
                        assert_ok(objd_queue_get(queues[q], &env->value, &env->buf, OBJD_NOWAIT));
                        assert_int_equal(env->value.size, sizes[i]);
                        assert_memory_equal(env->value.data, data, sizes[i]);
                }
                assert_empty(env, queues[q]);
        }
        free(data);
}

static void a_value_of_another_type_than_declared_is_refused(void **state)
{
        struct env *env = *state;
        objd_config config = OBJD_CONFIG_INIT;
        objd_value value = objd_int(1);
        objd_object *queue;
        objd_batch *batch;

        config.value_type = OBJD_STR;
        assert_ok(objd_create(env->conn, "strings", OBJD_QUEUE, &config, &queue));
        assert_status(objd_queue_put(queue, &value, OBJD_NOWAIT), OBJD_E_TYPE);
        assert_ok(objd_batch_new(env->conn, &batch));
        assert_ok(objd_batch_queue_put(batch, queue, &value, 0));
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_TYPE);
        objd_batch_free(batch);
        assert_empty(env, queue);
        objd_release(queue);
}

static void arguments_that_make_no_sense_are_refused(void **state)
{
        struct env *env = *state;
        objd_value value = objd_int(1), bad = objd_str("\xff", 1);
        objd_items *items;
        uint64_t lease;

        assert_status(objd_queue_put(NULL, &value, OBJD_NOWAIT), OBJD_E_INVAL);
        assert_status(objd_queue_put(env->fifo, NULL, OBJD_NOWAIT), OBJD_E_INVAL);
        assert_status(objd_queue_put(env->fifo, &value, -2), OBJD_E_INVAL);
        assert_status(objd_queue_put(env->fifo, &bad, OBJD_NOWAIT), OBJD_E_INVAL);
        assert_status(objd_queue_get(env->fifo, &value, NULL, OBJD_NOWAIT), OBJD_E_INVAL);
        assert_status(objd_queue_get_many(env->fifo, 0, &items, OBJD_NOWAIT), OBJD_E_INVAL);
        assert_status(objd_queue_get_lease(env->fifo, 0, &value, &env->buf, &lease, OBJD_NOWAIT),
                      OBJD_E_INVAL);
        assert_status(objd_queue_join(env->fifo, -7), OBJD_E_INVAL);
        assert_empty(env, env->fifo);
}

static void a_dict_is_no_queue(void **state)
{
        struct env *env = *state;
        objd_object *dict;

        assert_ok(objd_create(env->conn, "dict", OBJD_DICT, NULL, &dict));
        assert_status(objd_queue_get(dict, &env->value, &env->buf, OBJD_NOWAIT), OBJD_E_KIND);
        assert_status(objd_queue_close(dict), OBJD_E_KIND);
        objd_release(dict);
}

/* ---- Several at once ------------------------------------------------------------------------------------ */

static void get_many_takes_what_is_there_and_no_more_than_asked(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        objd_items *items;

        for (size_t q = 0; q < 3; q++) {
                put_many(queues[q], 0, 5000, OBJD_OK);
                assert_ok(objd_queue_get_many(queues[q], 3000, &items, OBJD_NOWAIT));
                assert_int_equal(items->len, 3000);
                for (size_t i = 0; i < items->len; i++)
                        assert_int_equal(items->item[i].value.u.integer, q == 1 ? 4999 - (int)i : (int)i);
                objd_items_free(items);
                assert_ok(objd_queue_get_many(queues[q], SIZE_MAX, &items, OBJD_NOWAIT));
                assert_int_equal(items->len, 2000);
                objd_items_free(items);
                assert_status(objd_queue_get_many(queues[q], 1, &items, OBJD_NOWAIT), OBJD_E_EMPTY);
        }
}

static void put_many_puts_all_or_none(void **state)
{
        struct env *env = *state;
        objd_object *queue = make_queue(env->conn, "bounded", OBJD_FIFO, 10);

        put_many(queue, 0, 6, OBJD_OK);
        put_many(queue, 6, 5, OBJD_E_FULL);
        assert_int_equal(len_of(queue), 6);
        put_many(queue, 6, 4, OBJD_OK);
        put_many(queue, 0, 11, OBJD_E_INVAL);
        put_many(queue, 0, 0, OBJD_OK);
        for (int64_t i = 0; i < 10; i++)
                assert_int_equal(get_int(env, queue), i);
        objd_release(queue);
}

static void a_queue_that_is_emptied_gives_its_memory_back(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        const int64_t n = way_few(20000, 1000);
        char text[100] = { 0 };
        objd_value value = objd_bytes(text, sizeof(text));

        for (size_t q = 0; q < 3; q++) {
                for (int64_t i = 0; i < n; i++)
                        assert_ok(objd_queue_put(queues[q], &value, OBJD_NOWAIT));
                assert_true(way_memory(queues[q]) > (uint64_t)n * 100);
                for (int64_t i = 0; i < n; i++)
                        assert_ok(objd_queue_get(queues[q], &env->value, &env->buf, OBJD_NOWAIT));
                assert_true(way_memory(queues[q]) < 50000);
        }
}

/* ---- Bounds ------------------------------------------------------------------------------------------- */

static void a_full_queue_refuses_until_there_is_room(void **state)
{
        struct env *env = *state;
        objd_value value = objd_int(0);

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 3);

                for (int round = 0; round < way_few(100, 10); round++) {
                        for (int64_t i = 0; i < 3; i++)
                                put_int(queue, i);
                        assert_status(objd_queue_put(queue, &value, OBJD_NOWAIT), OBJD_E_FULL);
                        (void)get_int(env, queue);
                        put_int(queue, 3);
                        assert_status(objd_queue_put(queue, &value, 1), OBJD_E_TIMEOUT);
                        for (int64_t i = 0; i < 3; i++)
                                (void)get_int(env, queue);
                }
                assert_empty(env, queue);
                objd_release(queue);
        }
}

static void items_under_a_lease_count_against_the_bound(void **state)
{
        struct env *env = *state;
        objd_value value = objd_int(9);

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 1);
                uint64_t lease;

                put_int(queue, 1);
                lease = lease_int(env, queue, OBJD_FOREVER, 1);
                assert_status(objd_queue_put(queue, &value, OBJD_NOWAIT), OBJD_E_FULL);
                assert_ok(objd_queue_give_back(queue, lease));
                assert_status(objd_queue_put(queue, &value, OBJD_NOWAIT), OBJD_E_FULL);
                lease = lease_int(env, queue, OBJD_FOREVER, 1);
                assert_ok(objd_queue_ack(queue, lease));
                put_int(queue, 2);
                assert_int_equal(get_int(env, queue), 2);
                objd_release(queue);
        }
}

/* ---- Batches ------------------------------------------------------------------------------------------ */

static void a_batch_puts_and_gets_at_one_moment(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        objd_value value;
        objd_batch *batch;

        assert_ok(objd_batch_new(env->conn, &batch));
        for (size_t q = 0; q < 3; q++) {
                objd_batch_clear(batch);
                for (int64_t i = 0; i < 300; i++) {
                        value = objd_int(i);
                        assert_ok(objd_batch_queue_put(batch, queues[q], &value, 0));
                }
                for (int64_t i = 0; i < 200; i++)
                        assert_ok(objd_batch_queue_get(batch, queues[q]));
                assert_ok(objd_batch_commit(batch, NULL));
                assert_ok(objd_batch_result(batch, 300, &value));
                assert_int_equal(value.u.integer, q == 1 ? 299 : 0);
                assert_ok(objd_batch_result(batch, 499, &value));
                assert_int_equal(value.u.integer, q == 1 ? 100 : 199);
                assert_int_equal(len_of(queues[q]), 100);
        }
        objd_batch_free(batch);
}

/* What is taken and put again in a batch that fails is as it was, also where memory is used again within the batch. */
static void a_batch_that_fails_changes_nothing(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        uint8_t data[5000];
        objd_value value;
        objd_batch *batch;
        size_t failed;

        assert_ok(objd_batch_new(env->conn, &batch));
        for (size_t q = 0; q < 3; q++) {
                objd_batch_clear(batch);
                for (size_t i = 0; i < 400; i++) {
                        memset(data, (int)i, sizeof(data));
                        value = objd_bytes(data, i % 20 ? i % 190 : 5000);
                        assert_ok(objd_queue_put(queues[q], &value, OBJD_NOWAIT));
                }
                for (size_t i = 0; i < 300; i++)
                        assert_ok(objd_batch_queue_get(batch, queues[q]));
                memset(data, 0xee, sizeof(data));
                for (size_t i = 0; i < 300; i++) {
                        value = objd_bytes(data, i % 190);
                        assert_ok(objd_batch_queue_put(batch, queues[q], &value, 0));
                }
                for (size_t i = 0; i < 500; i++)
                        assert_ok(objd_batch_queue_get(batch, queues[q]));
                assert_status(objd_batch_commit(batch, &failed), OBJD_E_EMPTY);
                assert_int_equal(failed, 1000);
                way_check(env->conn);

                for (size_t k = 0; k < 400; k++) {
                        size_t i = q == 1 ? 399 - k : k;

                        memset(data, (int)i, sizeof(data));
                        value = objd_bytes(data, i % 20 ? i % 190 : 5000);
                        assert_ok(objd_queue_get(queues[q], &env->value, &env->buf, OBJD_NOWAIT));
                        assert_true(objd_value_equal(&env->value, &value));
                }
                assert_empty(env, queues[q]);
        }
        objd_batch_free(batch);
}

static void a_batch_acks_and_counts_in_one_step(void **state)
{
        struct env *env = *state;
        objd_object *dict;
        objd_value key = objd_cstr("n");
        objd_batch *batch;
        uint64_t lease;

        assert_ok(objd_create(env->conn, "counts", OBJD_DICT, NULL, &dict));
        put_int(env->fifo, 1);
        lease = lease_int(env, env->fifo, OBJD_FOREVER, 1);
        assert_ok(objd_batch_new(env->conn, &batch));
        assert_ok(objd_batch_dict_add_int(batch, dict, &key, 1));
        assert_ok(objd_batch_queue_ack(batch, env->fifo, lease));
        assert_ok(objd_batch_commit(batch, NULL));
        objd_batch_clear(batch);
        assert_ok(objd_batch_dict_add_int(batch, dict, &key, 1));
        assert_ok(objd_batch_queue_ack(batch, env->fifo, lease));
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_NOTOWNER);
        assert_ok(objd_dict_get(dict, &key, &env->value, &env->buf));
        assert_int_equal(env->value.u.integer, 1);
        objd_batch_free(batch);
        objd_release(dict);
}

static void a_batch_never_waits(void **state)
{
        struct env *env = *state;
        objd_object *full = make_queue(env->conn, NULL, OBJD_FIFO, 1);
        objd_value value = objd_int(1);
        objd_batch *batch;

        put_int(full, 1);
        assert_ok(objd_batch_new(env->conn, &batch));
        assert_ok(objd_batch_queue_put(batch, full, &value, 0));
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_FULL);
        objd_batch_clear(batch);
        assert_ok(objd_batch_queue_get(batch, full));
        assert_ok(objd_batch_queue_put(batch, full, &value, 0));
        assert_ok(objd_batch_queue_task_done(batch, full));
        assert_ok(objd_batch_commit(batch, NULL));
        objd_batch_clear(batch);
        assert_ok(objd_batch_queue_get(batch, env->fifo));
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_EMPTY);
        assert_ok(objd_queue_close(env->fifo));
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_CLOSED);
        objd_batch_clear(batch);
        assert_ok(objd_batch_queue_put(batch, env->lifo, &value, 1));
        assert_status(objd_batch_commit(batch, NULL), OBJD_E_INVAL);
        objd_batch_free(batch);
        objd_release(full);
}

/* ---- Configuration --------------------------------------------------------------------------------------- */

static void a_queue_keeps_the_configuration_it_was_made_with(void **state)
{
        struct env *env = *state;
        objd_object *queue = make_queue(env->conn, "kept", OBJD_LIFO, 17), *again;
        objd_config config = OBJD_CONFIG_INIT;
        objd_info info;

        assert_ok(objd_info_get(queue, &info));
        assert_int_equal(info.config.order, OBJD_LIFO);
        assert_int_equal(info.config.bound, 17);
        config.order = OBJD_LIFO;
        assert_status(objd_open_or_create(env->conn, "kept", OBJD_QUEUE, &config, &again), OBJD_E_TYPE);
        config.bound = 17;
        assert_ok(objd_open_or_create(env->conn, "kept", OBJD_QUEUE, &config, &again));
        objd_release(again);
        config.key_type = OBJD_INT;
        assert_status(objd_create(env->conn, "wrong", OBJD_QUEUE, &config, &again), OBJD_E_INVAL);
        config.key_type = OBJD_ANY;
        config.order = (objd_order)9;
        assert_status(objd_create(env->conn, "wrong", OBJD_QUEUE, &config, &again), OBJD_E_INVAL);
        objd_release(queue);
}

/* A FIFO queue has two slots; it is one object all the same. */
static void a_queue_is_one_object(void **state)
{
        struct env *env = *state;
        const objd_order orders[] = { OBJD_FIFO, OBJD_LIFO, OBJD_PRIORITY };
        objd_config config = OBJD_CONFIG_INIT;
        objd_stats before, after;
        objd_object *queue;

        for (size_t i = 0; i < 3; i++) {
                config.order = orders[i];
                assert_ok(objd_stats_get(env->conn, &before));
                assert_ok(objd_create(env->conn, NULL, OBJD_QUEUE, &config, &queue));
                assert_ok(objd_stats_get(env->conn, &after));
                assert_int_equal(after.n_objects, before.n_objects + 1);
                assert_ok(objd_destroy(queue));
                objd_release(queue);
                assert_ok(objd_stats_get(env->conn, &after));
                assert_int_equal(after.n_objects, before.n_objects);
        }
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                QUEUES_TEST(a_fifo_queue_gives_items_in_the_order_of_their_puts),
                QUEUES_TEST(a_lifo_queue_gives_the_newest_item_first),
                QUEUES_TEST(a_priority_queue_gives_the_smallest_first_and_the_oldest_among_equals),
                QUEUES_TEST(a_put_without_a_priority_has_priority_0),
                QUEUES_TEST(only_a_priority_queue_takes_priorities),
                QUEUES_TEST(every_type_of_value_comes_out_as_it_went_in),
                QUEUES_TEST(values_of_every_size_come_out_as_they_went_in),
                QUEUES_TEST(a_value_of_another_type_than_declared_is_refused),
                QUEUES_TEST(arguments_that_make_no_sense_are_refused),
                QUEUES_TEST(a_dict_is_no_queue),
                QUEUES_TEST(get_many_takes_what_is_there_and_no_more_than_asked),
                QUEUES_TEST(put_many_puts_all_or_none),
                QUEUES_TEST(a_queue_that_is_emptied_gives_its_memory_back),
                QUEUES_TEST(a_full_queue_refuses_until_there_is_room),
                QUEUES_TEST(items_under_a_lease_count_against_the_bound),
                QUEUES_TEST(a_batch_puts_and_gets_at_one_moment),
                QUEUES_TEST(a_batch_that_fails_changes_nothing),
                QUEUES_TEST(a_batch_acks_and_counts_in_one_step),
                QUEUES_TEST(a_batch_never_waits),
                QUEUES_TEST(a_queue_keeps_the_configuration_it_was_made_with),
                QUEUES_TEST(a_queue_is_one_object),
        };

        return way_run(argc, argv, tests);
}
