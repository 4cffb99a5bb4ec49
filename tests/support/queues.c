/* SPDX-License-Identifier: Apache-2.0 */

/*
 * queues.c -- a queue of each order, small steps with queues, and threads that wait for them
 */

#include "support/queues.h"

#include <stdlib.h>

#include "object/object.h"
#include "object/queue.h"

int queues_setup(void **state)
{
        struct env *env = calloc(1, sizeof(*env));
        void *conn;

        assert_non_null(env);
        assert_int_equal(way_setup(&conn), 0);
        env->conn = conn;
        env->fifo = make_queue(env->conn, "fifo", OBJD_FIFO, 0);
        env->lifo = make_queue(env->conn, "lifo", OBJD_LIFO, 0);
        env->priority = make_queue(env->conn, "priority", OBJD_PRIORITY, 0);
        *state = env;
        return 0;
}

int queues_teardown(void **state)
{
        struct env *env = *state;
        void *conn = env->conn;

        objd_release(env->fifo);
        objd_release(env->lifo);
        objd_release(env->priority);
        objd_buf_free(&env->buf);
        free(env);
        return way_teardown(&conn);
}

objd_object *make_queue(objd_conn *conn, const char *name, objd_order order, uint64_t bound)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_object *queue = NULL;

        config.order = order;
        config.bound = bound;
        assert_ok(objd_create(conn, name, OBJD_QUEUE, &config, &queue));
        return queue;
}

void put_int(objd_object *queue, int64_t i)
{
        objd_value value = objd_int(i);

        assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
}

int64_t get_int(struct env *env, objd_object *queue)
{
        assert_ok(objd_queue_get(queue, &env->value, &env->buf, OBJD_NOWAIT));
        assert_int_equal(env->value.type, OBJD_INT);
        return env->value.u.integer;
}

uint64_t lease_int(struct env *env, objd_object *queue, int64_t lease_ns, int64_t expected)
{
        uint64_t lease;

        assert_ok(objd_queue_get_lease(queue, lease_ns, &env->value, &env->buf, &lease, OBJD_NOWAIT));
        assert_int_equal(env->value.u.integer, expected);
        return lease;
}

uint64_t len_of(objd_object *queue)
{
        uint64_t len;

        assert_ok(objd_queue_len(queue, &len));
        return len;
}

void assert_empty(struct env *env, objd_object *queue)
{
        assert_status(objd_queue_get(queue, &env->value, &env->buf, OBJD_NOWAIT), OBJD_E_EMPTY);
        assert_int_equal(len_of(queue), 0);
}

void put_many(objd_object *queue, int64_t first, size_t n, objd_status expected)
{
        objd_value *values = malloc(n * sizeof(*values));

        assert_non_null(values);
        for (size_t i = 0; i < n; i++)
                values[i] = objd_int(first + (int64_t)i);
        assert_status(objd_queue_put_many(queue, values, n, OBJD_NOWAIT), expected);
        free(values);
}

objd_status wait_get(struct waiter *waiter)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value = objd_int(-1);
        objd_status r = objd_queue_get(waiter->queue, &value, &buf, waiter->timeout_ns);

        waiter->got = value.u.integer;
        objd_buf_free(&buf);
        return r;
}

objd_status wait_put(struct waiter *waiter)
{
        objd_value value = objd_int(77);

        return objd_queue_put(waiter->queue, &value, waiter->timeout_ns);
}

objd_status wait_join(struct waiter *waiter)
{
        return objd_queue_join(waiter->queue, waiter->timeout_ns);
}

static void *run_waiter(void *context)
{
        struct waiter *waiter = context;

        waiter->r = waiter->call(waiter);
        return NULL;
}

void waiter_start(struct waiter *waiter, objd_object *queue, objd_status (*call)(struct waiter *waiter))
{
        *waiter = (struct waiter){ .queue = queue, .call = call, .timeout_ns = LONG };
        assert_int_equal(pthread_create(&waiter->thread, NULL, run_waiter, waiter), 0);
}

void waiter_expect(struct waiter *waiter, objd_status expected)
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

        uint32_t n = count_sleepers(sleepers->queue);

        return way_is_handle() || !sleepers->n ? n == sleepers->n : n > 0;
}

void wait_for_sleepers(const objd_object *queue, uint32_t n)
{
        wait_until(are_asleep, &(struct sleepers){ way_inside(queue), n }, "so many sleepers");
}
