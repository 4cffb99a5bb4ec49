/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_queue.c -- object/queue*.c through its exported calls: orders, bounds, waiting, leases, batches, deaths
 */

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "object/check.h"
#include "object/object.h"
#include "object/queue.h"
#include "support/child.h"
#include "support/test.h"
#include "txn/txn.h"

#define MS 1000000LL
#define LONG PATIENCE_NS /* what must not take long gets this, so that a failure is no hang */

/* An embedded arena with a queue of each order, and a buffer. */
struct env {
        objd_conn *conn;
        objd_object *fifo, *lifo, *priority;
        objd_buf buf;
        objd_value value;
};

static objd_object *make_queue(objd_conn *conn, const char *name, objd_order order, uint64_t bound)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *queue = NULL;

        config.order = order;
        config.bound = bound;
        assert_ok(objd_create(conn, name, OBJD_QUEUE, &config, &queue));
        return queue;
}

static int setup(void **state)
{
        struct env *env = calloc(1, sizeof(*env));

        assert_non_null(env);
        assert_ok(objd_connect("embedded:64M", &env->conn));
        env->fifo = make_queue(env->conn, "fifo", OBJD_FIFO, 0);
        env->lifo = make_queue(env->conn, "lifo", OBJD_LIFO, 0);
        env->priority = make_queue(env->conn, "priority", OBJD_PRIORITY, 0);
        *state = env;
        return 0;
}

static void print_fault(void *context, const char *object, const char *sentence)
{
        (void)context;
        print_error("%s: %s\n", object, sentence);
}

static void assert_sound(objd_conn *conn)
{
        uint64_t n_errors = 0;

        assert_ok(check_arena(conn, print_fault, NULL, &n_errors));
        assert_int_equal(n_errors, 0);
}

static int teardown(void **state)
{
        struct env *env = *state;

        assert_sound(env->conn);
        objd_release(env->fifo);
        objd_release(env->lifo);
        objd_release(env->priority);
        objd_close(env->conn);
        objd_buf_free(&env->buf);
        free(env);
        return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

static void put_int(objd_object *queue, int64_t i)
{
        objd_value value = objd_int(i);

        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
}

static int64_t get_int(struct env *env, objd_object *queue)
{
        assert_ok(objd_queue_get(queue, &env->value, &env->buf, OBJD_NOWAIT));
        assert_int_equal(env->value.type, OBJD_INT);
        return env->value.u.integer;
}

static uint64_t lease_int(struct env *env, objd_object *queue, int64_t lease_ns, int64_t expected)
{
        uint64_t lease;

        assert_ok(objd_queue_get_lease(queue, lease_ns, &env->value, &env->buf, &lease, OBJD_NOWAIT));
        assert_int_equal(env->value.u.integer, expected);
        return lease;
}

static uint64_t len_of(objd_object *queue)
{
        uint64_t len;

        assert_ok(objd_queue_len(queue, &len));
        return len;
}

static void assert_empty(struct env *env, objd_object *queue)
{
        assert_status(objd_queue_get(queue, &env->value, &env->buf, OBJD_NOWAIT), OBJD_E_EMPTY);
        assert_int_equal(len_of(queue), 0);
}

static uint64_t memory_of(objd_object *object)
{
        objd_info info;

        assert_ok(objd_info_get(object, &info));
        return info.memory;
}

/* ---- Orders ------------------------------------------------------------------------------------------- */

static void a_fifo_queue_gives_items_in_the_order_of_their_puts(void **state)
{
        struct env *env = *state;

        for (int64_t i = 0; i < 5000; i++)
                put_int(env->fifo, i);
        assert_int_equal(len_of(env->fifo), 5000);

        for (int64_t i = 0; i < 5000; i++)
                assert_int_equal(get_int(env, env->fifo), i);
        assert_empty(env, env->fifo);
}

static void a_lifo_queue_gives_the_newest_item_first(void **state)
{
        struct env *env = *state;

        for (int64_t i = 0; i < 2000; i++)
                put_int(env->lifo, i);

        for (int64_t i = 2000; i--;)
                assert_int_equal(get_int(env, env->lifo), i);
        assert_empty(env, env->lifo);
}

static void a_priority_queue_gives_the_smallest_first_and_the_oldest_among_equals(void **state)
{
        struct env *env = *state;
        int64_t last = -1;

        for (int64_t i = 0; i < 3000; i++) {
                objd_value value = objd_int((i * 7919 % 10) * 100000 + i);

                assert_ok(objd_queue_put_priority(env->priority, &value, i * 7919 % 10 - 5, OBJD_NOWAIT));
        }

        for (int64_t i = 0; i < 3000; i++) {
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
                assert_sound(env->conn);
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

static void put_many(objd_object *queue, int64_t first, size_t n, objd_status expected)
{
        objd_value *values = malloc(n * sizeof(*values));

        assert_non_null(values);
        for (size_t i = 0; i < n; i++)
                values[i] = objd_int(first + (int64_t)i);
        assert_status(objd_queue_put_many(queue, values, n, OBJD_NOWAIT), expected);
        free(values);
}

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
        char text[100] = { 0 };
        objd_value value = objd_bytes(text, sizeof(text));

        for (size_t q = 0; q < 3; q++) {
                for (int i = 0; i < 20000; i++)
                        assert_ok(objd_queue_put(queues[q], &value, OBJD_NOWAIT));
                assert_true(memory_of(queues[q]) > 2000000);
                for (int i = 0; i < 20000; i++)
                        assert_ok(objd_queue_get(queues[q], &env->value, &env->buf, OBJD_NOWAIT));
                assert_true(memory_of(queues[q]) < 50000);
        }
}

/* ---- Bounds ------------------------------------------------------------------------------------------- */

static void a_full_queue_refuses_until_there_is_room(void **state)
{
        struct env *env = *state;
        objd_value value = objd_int(0);

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 3);

                for (int round = 0; round < 100; round++) {
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

/* ---- Waiting ------------------------------------------------------------------------------------------ */

/* A thread with one blocking call, and what came of it. */
struct waiter {
        pthread_t thread;
        objd_object *queue;
        objd_status (*call)(struct waiter *waiter);
        int64_t timeout_ns;
        objd_status r;
        int64_t got;
};

static objd_status wait_get(struct waiter *waiter)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value = objd_int(-1);
        objd_status r = objd_queue_get(waiter->queue, &value, &buf, waiter->timeout_ns);

        waiter->got = value.u.integer;
        objd_buf_free(&buf);
        return r;
}

static objd_status wait_put(struct waiter *waiter)
{
        objd_value value = objd_int(77);

        return objd_queue_put(waiter->queue, &value, waiter->timeout_ns);
}

static objd_status wait_join(struct waiter *waiter)
{
        return objd_queue_join(waiter->queue, waiter->timeout_ns);
}

static void *run_waiter(void *context)
{
        struct waiter *waiter = context;

        waiter->r = waiter->call(waiter);
        return NULL;
}

static void waiter_start(struct waiter *waiter, objd_object *queue,
                         objd_status (*call)(struct waiter *waiter))
{
        *waiter = (struct waiter){ .queue = queue, .call = call, .timeout_ns = LONG };
        assert_int_equal(pthread_create(&waiter->thread, NULL, run_waiter, waiter), 0);
}

static void waiter_expect(struct waiter *waiter, objd_status expected)
{
        assert_int_equal(pthread_join(waiter->thread, NULL), 0);
        assert_int_equal(waiter->r, expected);
}

/* Sleepers count themselves in the queue's wake words; a test waits until they have. */
static uint32_t count_sleepers(const objd_object *queue)
{
        const struct queue_head_shm *head = (const void *)queue->shm;
        const uint8_t *base = queue->conn->arena->base;
        const struct queue_shm *shm =
                (const void *)(base + (word_get(&head->ctl) & ~QUEUE_FLAGS) + CHUNK_HEAD);
        const struct queue_tail_shm *tail = shm->tail ? (const void *)(base + shm->tail) : NULL;
        uint64_t getters = word_get(tail ? &tail->getters : &head->getters);

        return (uint32_t)((getters >> 32) + (word_get(&head->putters) >> 32) +
                          (word_get(&shm->joiners) >> 32));
}

struct sleepers {
        const objd_object *queue;
        uint32_t n;
};

static bool are_asleep(void *context)
{
        struct sleepers *sleepers = context;

        return count_sleepers(sleepers->queue) == sleepers->n;
}

static void wait_for_sleepers(const objd_object *queue, uint32_t n)
{
        wait_until(are_asleep, &(struct sleepers){ queue, n }, "so many sleepers");
}

static void get_from_an_empty_queue_times_out_at_the_deadline(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };

        for (size_t q = 0; q < 3; q++) {
                int64_t start = test_now_ns();

                assert_status(objd_queue_get(queues[q], &env->value, &env->buf, 50 * MS), OBJD_E_TIMEOUT);
                assert_true(test_now_ns() - start >= 50 * MS);
                wait_for_sleepers(queues[q], 0);
        }
}

static void a_sleeping_getter_gets_what_is_put(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter waiter;

        for (size_t q = 0; q < 3; q++)
                for (int64_t i = 0; i < 20; i++) {
                        waiter_start(&waiter, queues[q], wait_get);
                        wait_for_sleepers(queues[q], 1);
                        put_int(queues[q], i);
                        waiter_expect(&waiter, OBJD_OK);
                        assert_int_equal(waiter.got, i);
                        assert_empty(env, queues[q]);
                        wait_for_sleepers(queues[q], 0);
                }
}

static void each_item_wakes_one_of_many_sleepers(void **state)
{
        struct env *env = *state;
        struct waiter waiters[8];
        int64_t sum = 0;

        for (size_t i = 0; i < 8; i++)
                waiter_start(&waiters[i], env->fifo, wait_get);
        wait_for_sleepers(env->fifo, 8);
        for (int64_t i = 0; i < 5; i++)
                put_int(env->fifo, (int64_t)1 << i);
        put_many(env->fifo, 32, 3, OBJD_OK);
        for (size_t i = 0; i < 8; i++) {
                waiter_expect(&waiters[i], OBJD_OK);
                sum += waiters[i].got;
        }
        assert_int_equal(sum, 31 + 32 + 33 + 34);
        assert_empty(env, env->fifo);
}

static void a_sleeping_putter_goes_on_when_there_is_room(void **state)
{
        struct env *env = *state;
        struct waiter waiter;

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 1);
                uint64_t lease;

                put_int(queue, 1);
                waiter_start(&waiter, queue, wait_put);
                wait_for_sleepers(queue, 1);
                assert_int_equal(get_int(env, queue), 1);
                waiter_expect(&waiter, OBJD_OK);

                waiter_start(&waiter, queue, wait_put);
                wait_for_sleepers(queue, 1);
                lease = lease_int(env, queue, OBJD_FOREVER, 77);
                assert_ok(objd_queue_ack(queue, lease));
                waiter_expect(&waiter, OBJD_OK);
                assert_int_equal(get_int(env, queue), 77);
                objd_release(queue);
        }
}

static void a_getter_without_time_leaves_no_sleeper_behind(void **state)
{
        struct env *env = *state;

        for (int i = 0; i < 50; i++)
                assert_status(objd_queue_get(env->fifo, &env->value, &env->buf, MS / 10), OBJD_E_TIMEOUT);
        assert_int_equal(count_sleepers(env->fifo), 0);
}

static int sleep_and_die(void *context)
{
        struct env *env = context;

        (void)objd_queue_get(env->fifo, &env->value, &env->buf, OBJD_FOREVER);
        return 1;
}

static void killed_sleepers_keep_nobody_else_from_waking(void **state)
{
        struct env *env = *state;
        struct waiter waiter;
        pid_t pids[3];

        for (size_t i = 0; i < 3; i++)
                pids[i] = child_start(sleep_and_die, env);
        wait_for_sleepers(env->fifo, 3);
        for (size_t i = 0; i < 3; i++)
                child_kill(pids[i]);
        for (int64_t i = 0; i < 10; i++) {
                waiter_start(&waiter, env->fifo, wait_get);
                put_int(env->fifo, i);
                waiter_expect(&waiter, OBJD_OK);
                assert_int_equal(waiter.got, i);
        }
        assert_int_equal(count_sleepers(env->fifo), 0);
}

static int put_from_child(void *context)
{
        struct env *env = context;
        objd_value value = objd_int(5);

        wait_for_sleepers(env->fifo, 1);
        child_ok(objd_queue_put(env->fifo, &value, OBJD_NOWAIT));
        return 0;
}

static void another_process_wakes_a_sleeper(void **state)
{
        struct env *env = *state;
        pid_t pid = child_start(put_from_child, env);

        assert_ok(objd_queue_get(env->fifo, &env->value, &env->buf, LONG));
        assert_int_equal(env->value.u.integer, 5);
        child_expect_success(pid);
}

/* ---- Closing, poison, deletion -------------------------------------------------------------------------- */

static void a_closed_queue_takes_nothing_and_gives_what_it_has(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        objd_value value = objd_int(1);
        objd_items *items;

        for (size_t q = 0; q < 3; q++) {
                put_int(queues[q], 1);
                put_int(queues[q], 1);
                assert_ok(objd_queue_close(queues[q]));
                assert_ok(objd_queue_close(queues[q]));
                assert_status(objd_queue_put(queues[q], &value, OBJD_FOREVER), OBJD_E_CLOSED);
                assert_int_equal(get_int(env, queues[q]), 1);
                assert_ok(objd_queue_get_many(queues[q], 9, &items, OBJD_FOREVER));
                assert_int_equal(items->len, 1);
                objd_items_free(items);
                assert_status(objd_queue_get(queues[q], &env->value, &env->buf, OBJD_FOREVER), OBJD_E_CLOSED);
                assert_status(objd_queue_peek(queues[q], &env->value, &env->buf), OBJD_E_EMPTY);
        }
}

static void an_item_may_still_come_back_to_a_closed_queue(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        put_int(env->fifo, 1);
        lease = lease_int(env, env->fifo, OBJD_FOREVER, 1);
        assert_ok(objd_queue_close(env->fifo));
        assert_status(objd_queue_get(env->fifo, &env->value, &env->buf, OBJD_NOWAIT), OBJD_E_CLOSED);
        assert_ok(objd_queue_give_back(env->fifo, lease));
        assert_int_equal(get_int(env, env->fifo), 1);
}

static void closing_wakes_all_sleepers(void **state)
{
        struct env *env = *state;
        objd_object *full = make_queue(env->conn, NULL, OBJD_FIFO, 1);
        struct waiter getters[3], putters[2];

        put_int(full, 1);
        for (size_t i = 0; i < 3; i++)
                waiter_start(&getters[i], env->fifo, wait_get);
        for (size_t i = 0; i < 2; i++)
                waiter_start(&putters[i], full, wait_put);
        wait_for_sleepers(env->fifo, 3);
        wait_for_sleepers(full, 2);
        assert_ok(objd_queue_close(env->fifo));
        assert_ok(objd_queue_close(full));
        for (size_t i = 0; i < 3; i++)
                waiter_expect(&getters[i], OBJD_E_CLOSED);
        for (size_t i = 0; i < 2; i++)
                waiter_expect(&putters[i], OBJD_E_CLOSED);
        objd_release(full);
}

static void poison_stops_everybody_at_once(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter getter, joiner;
        objd_value value = objd_int(1);
        uint64_t lease;

        for (size_t q = 0; q < 3; q++) {
                put_int(queues[q], 1);
                lease = lease_int(env, queues[q], OBJD_FOREVER, 1);
                waiter_start(&getter, queues[q], wait_get);
                waiter_start(&joiner, queues[q], wait_join);
                wait_for_sleepers(queues[q], 2);
                assert_ok(objd_queue_poison(queues[q]));
                waiter_expect(&getter, OBJD_E_POISONED);
                waiter_expect(&joiner, OBJD_E_POISONED);
                assert_ok(objd_queue_give_back(queues[q], lease));

                assert_status(objd_queue_put(queues[q], &value, OBJD_NOWAIT), OBJD_E_POISONED);
                assert_status(objd_queue_get(queues[q], &env->value, &env->buf, OBJD_NOWAIT),
                              OBJD_E_POISONED);
                assert_status(objd_queue_peek(queues[q], &env->value, &env->buf), OBJD_E_POISONED);
                assert_status(objd_queue_join(queues[q], OBJD_NOWAIT), OBJD_E_POISONED);
                assert_int_equal(len_of(queues[q]), 1);
        }
}

static void deleting_a_queue_wakes_its_sleepers(void **state)
{
        struct env *env = *state;

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 1);
                struct waiter getter, putter, joiner;
                objd_object *other = make_queue(env->conn, NULL, order, 1);

                put_int(other, 1);
                waiter_start(&getter, queue, wait_get);
                waiter_start(&putter, other, wait_put);
                waiter_start(&joiner, other, wait_join);
                wait_for_sleepers(queue, 1);
                wait_for_sleepers(other, 2);
                assert_ok(objd_destroy(queue));
                assert_ok(objd_destroy(other));
                waiter_expect(&getter, OBJD_E_GONE);
                waiter_expect(&putter, OBJD_E_GONE);
                waiter_expect(&joiner, OBJD_E_GONE);
                objd_release(queue);
                objd_release(other);
        }
}

static void a_handle_of_a_deleted_queue_is_gone(void **state)
{
        struct env *env = *state;
        objd_value value = objd_int(1);
        uint64_t len;

        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, "short-lived", order, 0), *next;

                put_int(queue, 1);
                assert_ok(objd_destroy(queue));
                next = make_queue(env->conn, "short-lived", order, 0);
                assert_status(objd_queue_put(queue, &value, OBJD_FOREVER), OBJD_E_GONE);
                assert_status(objd_queue_get(queue, &value, &env->buf, OBJD_FOREVER), OBJD_E_GONE);
                assert_status(objd_queue_len(queue, &len), OBJD_E_GONE);
                assert_status(objd_queue_peek(queue, &value, &env->buf), OBJD_E_GONE);
                assert_status(objd_queue_close(queue), OBJD_E_GONE);
                assert_status(objd_queue_join(queue, OBJD_FOREVER), OBJD_E_GONE);
                assert_empty(env, next);
                assert_ok(objd_destroy(next));
                objd_release(queue);
                objd_release(next);
        }
}

static void deleting_a_queue_frees_all_its_memory(void **state)
{
        struct env *env = *state;
        objd_stats before, after;
        char text[5000] = { 0 };
        uint64_t lease;

        assert_ok(objd_stats_get(env->conn, &before));
        for (objd_order order = OBJD_FIFO; order <= OBJD_PRIORITY; order++) {
                objd_object *queue = make_queue(env->conn, NULL, order, 0);

                for (size_t i = 0; i < 3000; i++) {
                        objd_value value = objd_bytes(text, i % 100 ? i % 300 : 5000);

                        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
                }
                for (int i = 0; i < 100; i++)
                        assert_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &env->value, &env->buf, &lease,
                                                       OBJD_NOWAIT));
                assert_ok(objd_queue_give_back(queue, lease));
                assert_sound(env->conn);
                assert_ok(objd_destroy(queue));
                objd_release(queue);
        }
        assert_ok(objd_stats_get(env->conn, &after));
        assert_int_equal(after.arena_used, before.arena_used);
        assert_int_equal(after.n_objects, before.n_objects);
}

/* ---- Tasks -------------------------------------------------------------------------------------------- */

static void join_waits_for_the_last_task(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter joiner;

        for (size_t q = 0; q < 3; q++) {
                assert_ok(objd_queue_join(queues[q], OBJD_NOWAIT));
                put_int(queues[q], 1);
                put_int(queues[q], 2);
                assert_status(objd_queue_join(queues[q], OBJD_NOWAIT), OBJD_E_TIMEOUT);
                (void)get_int(env, queues[q]);
                (void)get_int(env, queues[q]);
                assert_status(objd_queue_join(queues[q], MS), OBJD_E_TIMEOUT);
                waiter_start(&joiner, queues[q], wait_join);
                wait_for_sleepers(queues[q], 1);
                assert_ok(objd_queue_task_done(queues[q]));
                assert_status(objd_queue_join(queues[q], OBJD_NOWAIT), OBJD_E_TIMEOUT);
                assert_ok(objd_queue_task_done(queues[q]));
                waiter_expect(&joiner, OBJD_OK);
                assert_status(objd_queue_task_done(queues[q]), OBJD_E_INVAL);
        }
}

static void a_task_may_be_done_before_its_item_is_taken(void **state)
{
        struct env *env = *state;

        for (int64_t i = 0; i < 3; i++)
                put_int(env->fifo, i);
        for (int64_t i = 0; i < 3; i++)
                assert_ok(objd_queue_task_done(env->fifo));
        assert_status(objd_queue_task_done(env->fifo), OBJD_E_INVAL);
        assert_ok(objd_queue_join(env->fifo, OBJD_NOWAIT));
        assert_int_equal(len_of(env->fifo), 3);
}

static void an_ack_is_a_task_done(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter joiner;

        for (size_t q = 0; q < 3; q++) {
                uint64_t lease;

                put_int(queues[q], 1);
                lease = lease_int(env, queues[q], OBJD_FOREVER, 1);
                waiter_start(&joiner, queues[q], wait_join);
                wait_for_sleepers(queues[q], 1);
                assert_ok(objd_queue_ack(queues[q], lease));
                waiter_expect(&joiner, OBJD_OK);
        }
}

/* ---- Leases ------------------------------------------------------------------------------------------- */

static void an_item_under_a_lease_is_out_of_sight(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };

        for (size_t q = 0; q < 3; q++) {
                uint64_t lease;

                put_int(queues[q], 1);
                lease = lease_int(env, queues[q], OBJD_FOREVER, 1);
                assert_empty(env, queues[q]);
                assert_status(objd_queue_peek(queues[q], &env->value, &env->buf), OBJD_E_EMPTY);
                assert_ok(objd_queue_ack(queues[q], lease));
                assert_empty(env, queues[q]);
                assert_status(objd_queue_ack(queues[q], lease), OBJD_E_NOTOWNER);
                assert_status(objd_queue_give_back(queues[q], lease), OBJD_E_NOTOWNER);
                assert_status(objd_queue_ack(queues[q], 0), OBJD_E_NOTOWNER);
                assert_status(objd_queue_ack(queues[q], UINT64_MAX), OBJD_E_NOTOWNER);
        }
}

static void items_that_are_given_back_come_first_in_their_old_order(void **state)
{
        struct env *env = *state;
        uint64_t leases[5];

        for (int64_t i = 0; i < 10; i++)
                put_int(env->fifo, i);
        for (int64_t i = 0; i < 5; i++)
                leases[i] = lease_int(env, env->fifo, OBJD_FOREVER, i);
        assert_ok(objd_queue_give_back(env->fifo, leases[3]));
        assert_ok(objd_queue_give_back(env->fifo, leases[1]));
        assert_ok(objd_queue_peek(env->fifo, &env->value, &env->buf));
        assert_int_equal(env->value.u.integer, 1);
        assert_ok(objd_queue_give_back(env->fifo, leases[4]));
        assert_ok(objd_queue_give_back(env->fifo, leases[0]));
        assert_ok(objd_queue_give_back(env->fifo, leases[2]));
        assert_int_equal(len_of(env->fifo), 10);
        for (int64_t i = 0; i < 10; i++)
                assert_int_equal(get_int(env, env->fifo), i);
}

static void an_item_that_comes_back_keeps_its_priority_and_age(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        for (int64_t i = 0; i < 3; i++) {
                objd_value value = objd_int(i);

                assert_ok(objd_queue_put_priority(env->priority, &value, 7, OBJD_NOWAIT));
        }
        lease = lease_int(env, env->priority, OBJD_FOREVER, 0);
        assert_ok(objd_queue_give_back(env->priority, lease));
        for (int64_t i = 0; i < 3; i++)
                assert_int_equal(get_int(env, env->priority), i);
}

static void a_lifo_item_that_comes_back_is_on_top(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        put_int(env->lifo, 1);
        lease = lease_int(env, env->lifo, OBJD_FOREVER, 1);
        put_int(env->lifo, 2);
        assert_ok(objd_queue_give_back(env->lifo, lease));
        assert_int_equal(get_int(env, env->lifo), 1);
        assert_int_equal(get_int(env, env->lifo), 2);
}

static void leases_of_values_of_every_size_come_back_whole(void **state)
{
        static const size_t sizes[] = { 0, 8, 9, 100, 192, 193, 4096, 4097, 70000 };
        const size_t n = sizeof(sizes) / sizeof(*sizes);
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        uint8_t *data = malloc(70000);
        uint64_t lease;

        assert_non_null(data);
        memset(data, 'v', 70000);
        for (size_t q = 0; q < 3; q++)
                for (size_t i = 0; i < n; i++) {
                        objd_value value = objd_bytes(data, sizes[i]);

                        assert_ok(objd_queue_put(queues[q], &value, OBJD_NOWAIT));
                        assert_ok(objd_queue_get_lease(queues[q], OBJD_FOREVER, &env->value, &env->buf,
                                                       &lease, OBJD_NOWAIT));
                        assert_true(objd_value_equal(&env->value, &value));
                        assert_ok(objd_queue_give_back(queues[q], lease));
                        assert_ok(objd_queue_get_lease(queues[q], OBJD_FOREVER, &env->value, &env->buf,
                                                       &lease, OBJD_NOWAIT));
                        assert_true(objd_value_equal(&env->value, &value));
                        assert_sound(env->conn);
                        assert_ok(objd_queue_ack(queues[q], lease));
                }
        free(data);
}

static void many_leases_are_told_apart(void **state)
{
        struct env *env = *state;
        static uint64_t leases[3000];

        for (int64_t i = 0; i < 3000; i++)
                put_int(env->fifo, i);
        for (int64_t i = 0; i < 3000; i++)
                leases[i] = lease_int(env, env->fifo, OBJD_FOREVER, i);
        for (size_t i = 0; i < 3000; i += 2)
                assert_ok(objd_queue_ack(env->fifo, leases[i]));
        for (size_t i = 1; i < 3000; i += 2)
                assert_ok(objd_queue_give_back(env->fifo, leases[i]));
        for (size_t i = 0; i < 3000; i++)
                assert_status(objd_queue_ack(env->fifo, leases[i]), OBJD_E_NOTOWNER);
        for (int64_t i = 1; i < 3000; i += 2)
                assert_int_equal(get_int(env, env->fifo), i);
        assert_empty(env, env->fifo);
}

static void a_lease_ends_at_its_deadline(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };

        for (size_t q = 0; q < 3; q++) {
                uint64_t lease;

                put_int(queues[q], 1);
                lease = lease_int(env, queues[q], 30 * MS, 1);
                assert_ok(objd_queue_get(queues[q], &env->value, &env->buf, LONG));
                assert_int_equal(env->value.u.integer, 1);
                assert_status(objd_queue_ack(queues[q], lease), OBJD_E_NOTOWNER);
                assert_empty(env, queues[q]);
        }
}

static void a_lease_that_is_over_cannot_be_acked_though_nobody_has_looked(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        put_int(env->fifo, 1);
        lease = lease_int(env, env->fifo, 1, 1);
        assert_status(objd_queue_ack(env->fifo, lease), OBJD_E_NOTOWNER);
        assert_int_equal(get_int(env, env->fifo), 1);
}

static void a_getter_that_finds_items_notices_that_a_lease_is_over(void **state)
{
        struct env *env = *state;
        int64_t got = 0, end = test_now_ns() + LONG;

        put_int(env->fifo, -1);
        (void)lease_int(env, env->fifo, 5 * MS, -1);
        while (got != -1) {
                put_int(env->fifo, 1);
                put_int(env->fifo, 1);
                got = get_int(env, env->fifo);
                assert_true(test_now_ns() < end);
        }
}

struct lease_child {
        struct env *env;
        objd_object *queue;
        struct gate gate;
        bool close;
};

static int lease_and_die(void *context)
{
        struct lease_child *child = context;
        struct env *env = child->env;
        uint64_t lease;

        child_ok(objd_queue_get_lease(child->queue, OBJD_FOREVER, &env->value, &env->buf, &lease,
                                      OBJD_NOWAIT));
        if (child->close)
                objd_close(env->conn);
        gate_open(&child->gate, 1);
        if (!child->close)
                pause();
        return 0;
}

static void the_item_of_a_killed_consumer_comes_back(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };

        for (size_t q = 0; q < 3; q++) {
                struct lease_child child = { .env = env, .queue = queues[q] };
                pid_t pid;

                gate_init(&child.gate);
                put_int(queues[q], 1);
                put_int(queues[q], 1);
                pid = child_start(lease_and_die, &child);
                gate_wait(&child.gate);
                assert_int_equal(get_int(env, queues[q]), 1);
                assert_empty(env, queues[q]);
                child_kill(pid);
                assert_int_equal(get_int(env, queues[q]), 1);
                assert_empty(env, queues[q]);
                gate_deinit(&child.gate);
        }
}

static void a_sleeping_getter_gets_the_item_of_a_killed_consumer(void **state)
{
        struct env *env = *state;
        struct lease_child child = { .env = env, .queue = env->fifo };
        struct waiter waiter;
        pid_t pid;

        gate_init(&child.gate);
        put_int(env->fifo, 42);
        pid = child_start(lease_and_die, &child);
        gate_wait(&child.gate);
        waiter_start(&waiter, env->fifo, wait_get);
        wait_for_sleepers(env->fifo, 1);
        child_kill(pid);
        waiter_expect(&waiter, OBJD_OK);
        assert_int_equal(waiter.got, 42);
        gate_deinit(&child.gate);
}

static void what_a_client_has_under_lease_comes_back_when_it_closes(void **state)
{
        struct env *env = *state;
        struct lease_child child = { .env = env, .queue = env->fifo, .close = true };
        pid_t pid;

        gate_init(&child.gate);
        put_int(env->fifo, 1);
        pid = child_start(lease_and_die, &child);
        gate_wait(&child.gate);
        assert_int_equal(get_int(env, env->fifo), 1);
        child_expect_success(pid);
        gate_deinit(&child.gate);
}

static int try_foreign_lease(void *context)
{
        struct env *env = context;
        uint64_t lease = (uint64_t)env->value.u.integer;

        child_check(objd_queue_ack(env->fifo, lease) == OBJD_E_NOTOWNER);
        child_check(objd_queue_give_back(env->fifo, lease) == OBJD_E_NOTOWNER);
        return 0;
}

static void a_child_has_none_of_its_parents_leases(void **state)
{
        struct env *env = *state;
        uint64_t lease;

        put_int(env->fifo, 1);
        lease = lease_int(env, env->fifo, OBJD_FOREVER, 1);
        env->value = objd_int((int64_t)lease);
        child_expect_success(child_start(try_foreign_lease, env));
        assert_ok(objd_queue_ack(env->fifo, lease));
}

static void a_sleeping_getter_gets_what_is_given_back(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        struct waiter waiter;

        for (size_t q = 0; q < 3; q++) {
                uint64_t lease;

                put_int(queues[q], 3);
                lease = lease_int(env, queues[q], OBJD_FOREVER, 3);
                waiter_start(&waiter, queues[q], wait_get);
                wait_for_sleepers(queues[q], 1);
                assert_ok(objd_queue_give_back(queues[q], lease));
                waiter_expect(&waiter, OBJD_OK);
                assert_int_equal(waiter.got, 3);
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
                assert_sound(env->conn);

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

static void a_batch_wakes_sleepers(void **state)
{
        struct env *env = *state;
        struct waiter waiters[3];
        objd_value value = objd_int(1);
        objd_batch *batch;

        assert_ok(objd_batch_new(env->conn, &batch));
        for (size_t i = 0; i < 3; i++) {
                waiter_start(&waiters[i], env->fifo, wait_get);
                assert_ok(objd_batch_queue_put(batch, env->fifo, &value, 0));
        }
        wait_for_sleepers(env->fifo, 3);
        assert_ok(objd_batch_commit(batch, NULL));
        for (size_t i = 0; i < 3; i++)
                waiter_expect(&waiters[i], OBJD_OK);
        objd_batch_free(batch);
}

/* ---- Configuration, and walking ------------------------------------------------------------------------- */

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

struct walked {
        int64_t expected, step;
        uint64_t n;
        bool has_priority;
};

static objd_status walk_one(void *context, const objd_value *key, const objd_value *value)
{
        struct walked *walked = context;

        if (walked->has_priority)
                assert_int_equal(key->u.integer, walked->expected);
        else
                assert_null(key);
        assert_int_equal(value->u.integer, walked->expected);
        walked->expected += walked->step;
        walked->n++;
        return OBJD_OK;
}

static void a_walk_shows_the_items_in_the_order_they_would_be_taken(void **state)
{
        struct env *env = *state;
        objd_object *queues[] = { env->fifo, env->lifo, env->priority };
        uint64_t lease;

        for (size_t q = 0; q < 3; q++) {
                for (int64_t i = 0; i < 2000; i++) {
                        objd_value value = objd_int(q == 2 ? i * 777 % 2000 : i);

                        if (q == 2)
                                assert_ok(objd_queue_put_priority(queues[q], &value, i * 777 % 2000,
                                                                  OBJD_NOWAIT));
                        else
                                assert_ok(objd_queue_put(queues[q], &value, OBJD_NOWAIT));
                }
                for (uint64_t limit = 7; limit <= UINT64_MAX / 2; limit += UINT64_MAX / 4) {
                        struct walked walked = { q == 1 ? 1999 : 0, q == 1 ? -1 : 1, 0, q == 2 };

                        assert_ok(queue_kind.walk(queues[q], limit, walk_one, &walked));
                        assert_int_equal(walked.n, limit < 2000 ? limit : 2000);
                }
        }
        lease = lease_int(env, env->fifo, OBJD_FOREVER, 0);
        (void)lease_int(env, env->fifo, OBJD_FOREVER, 1);
        assert_ok(objd_queue_give_back(env->fifo, lease));
        assert_ok(queue_kind.walk(env->fifo, 1, walk_one, &(struct walked){ .expected = 0 }));
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

/*
 * A block of objects is retired, or a daemon starts, between the two plans of an operation. The second plan, under the locks of
 * the first, once waited for the queue's line until its time-out, which the operation held itself; and everybody else with it.
 */
static void a_queue_is_found_by_an_operation_that_holds_its_lines(void **state)
{
        struct env *env = *state;
        struct queue queue;
        struct lane *lane;

        put_int(env->fifo, 1);
        assert_ok(lane_enter(env->conn->arena, 100000000, &lane));
        txn_begin(lane, OP_QUEUE_PUT);
        assert_ok(lock_take(lane, &env->fifo->shm->line));
        __atomic_fetch_add(&env->conn->arena->header->retire_count, 1, __ATOMIC_RELEASE);

        assert_ok(queue_find(lane, env->fifo, &queue));

        txn_abort(lane);
        lane_leave(lane);
        assert_int_equal(get_int(env, env->fifo), 1);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                TEST(a_queue_is_one_object),
                TEST(a_queue_is_found_by_an_operation_that_holds_its_lines),
                TEST(a_fifo_queue_gives_items_in_the_order_of_their_puts),
                TEST(a_lifo_queue_gives_the_newest_item_first),
                TEST(a_priority_queue_gives_the_smallest_first_and_the_oldest_among_equals),
                TEST(a_put_without_a_priority_has_priority_0),
                TEST(only_a_priority_queue_takes_priorities),
                TEST(every_type_of_value_comes_out_as_it_went_in),
                TEST(values_of_every_size_come_out_as_they_went_in),
                TEST(a_value_of_another_type_than_declared_is_refused),
                TEST(arguments_that_make_no_sense_are_refused),
                TEST(a_dict_is_no_queue),
                TEST(get_many_takes_what_is_there_and_no_more_than_asked),
                TEST(put_many_puts_all_or_none),
                TEST(a_queue_that_is_emptied_gives_its_memory_back),
                TEST(a_full_queue_refuses_until_there_is_room),
                TEST(items_under_a_lease_count_against_the_bound),
                TEST(get_from_an_empty_queue_times_out_at_the_deadline),
                TEST(a_sleeping_getter_gets_what_is_put),
                TEST(each_item_wakes_one_of_many_sleepers),
                TEST(a_sleeping_putter_goes_on_when_there_is_room),
                TEST(a_getter_without_time_leaves_no_sleeper_behind),
                TEST(killed_sleepers_keep_nobody_else_from_waking),
                TEST(another_process_wakes_a_sleeper),
                TEST(a_closed_queue_takes_nothing_and_gives_what_it_has),
                TEST(an_item_may_still_come_back_to_a_closed_queue),
                TEST(closing_wakes_all_sleepers),
                TEST(poison_stops_everybody_at_once),
                TEST(deleting_a_queue_wakes_its_sleepers),
                TEST(a_handle_of_a_deleted_queue_is_gone),
                TEST(deleting_a_queue_frees_all_its_memory),
                TEST(join_waits_for_the_last_task),
                TEST(a_task_may_be_done_before_its_item_is_taken),
                TEST(an_ack_is_a_task_done),
                TEST(an_item_under_a_lease_is_out_of_sight),
                TEST(items_that_are_given_back_come_first_in_their_old_order),
                TEST(an_item_that_comes_back_keeps_its_priority_and_age),
                TEST(a_lifo_item_that_comes_back_is_on_top),
                TEST(leases_of_values_of_every_size_come_back_whole),
                TEST(many_leases_are_told_apart),
                TEST(a_lease_ends_at_its_deadline),
                TEST(a_lease_that_is_over_cannot_be_acked_though_nobody_has_looked),
                TEST(a_getter_that_finds_items_notices_that_a_lease_is_over),
                TEST(the_item_of_a_killed_consumer_comes_back),
                TEST(a_sleeping_getter_gets_the_item_of_a_killed_consumer),
                TEST(what_a_client_has_under_lease_comes_back_when_it_closes),
                TEST(a_child_has_none_of_its_parents_leases),
                TEST(a_sleeping_getter_gets_what_is_given_back),
                TEST(a_batch_puts_and_gets_at_one_moment),
                TEST(a_batch_that_fails_changes_nothing),
                TEST(a_batch_acks_and_counts_in_one_step),
                TEST(a_batch_never_waits),
                TEST(a_batch_wakes_sleepers),
                TEST(a_queue_keeps_the_configuration_it_was_made_with),
                TEST(a_walk_shows_the_items_in_the_order_they_would_be_taken),
        };

        return cmocka_run_group_tests_name("queue", tests, NULL, NULL);
}
