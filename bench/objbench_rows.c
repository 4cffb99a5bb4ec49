/* SPDX-License-Identifier: Apache-2.0 */

/* The rows of the list, the queue and the lock. */

#include "objbench.h"

#define N_PUTGET 1000000
#define N_STREAM 1000000
#define N_TAKES 1000000
#define N_WAKES 200

/* ---- List -------------------------------------------------------------------------------------------- */

static double time_append(objd_object *list, size_t n)
{
        struct bench_value bytes = { { 0 } };
        objd_value value = objd_bytes(&bytes, sizeof(bytes));
        uint64_t start = bench_now();
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < n && !r; i++) {
                bench_value_fill(&bytes, i);
                r = objd_list_append(list, &value);
        }
        start = bench_now() - start;
        check(r, "objd_list_append");
        return (double)start / (double)n;
}

static double time_list_get(objd_object *list, const uint32_t *order, size_t n, objd_buf *buf)
{
        uint64_t sum = 0, start = bench_now();
        objd_status r = OBJD_OK;
        objd_value value;

        for (size_t i = 0; i < n; i++) {
                r = objd_list_get(list, order[i], &value, buf);
                if (r)
                        break;
                bench_consume(value.data);
                sum += bench_value_index(value.data);
        }
        start = bench_now() - start;
        check(r, "objd_list_get");
        if (sum != bench_sum(n))
                bench_die("wrong values");
        return (double)start / (double)n;
}

static uint64_t list_arena_size(size_t n)
{
        return (UINT64_C(256) << 20) + 512 * (uint64_t)n;
}

/* A new list each time; what the destroyed one has left in the arena may be used again. */
void run_list_append(int argc, char **argv)
{
        size_t n = bench_count(argv[0]), reps = bench_reps(n);
        objd_conn *conn = arena_new(list_arena_size(n));
        double samples[BENCH_MAX_REPS];

        (void)argc;
        bench_pin(1);
        for (size_t rep = 0; rep < reps; rep++) {
                objd_object *list = object_new(conn, OBJD_LIST, 0);

                samples[rep] = time_append(list, n);
                check(objd_destroy(list), "objd_destroy");
                objd_release(list);
        }
        bench_emit("append", "ns", samples, reps, "");
}

void run_list_get(int argc, char **argv)
{
        size_t n = bench_count(argv[0]), reps = bench_reps(n);
        objd_object *list = object_new(arena_new(list_arena_size(n)), OBJD_LIST, 0);
        double samples[BENCH_MAX_REPS];
        objd_buf buf = OBJD_BUF_INIT;
        struct bench_keys keys;

        (void)argc;
        bench_pin(1);
        bench_keys_init(&keys, n, 1);
        (void)time_append(list, n);
        (void)time_list_get(list, keys.order, n, &buf);
        for (size_t rep = 0; rep < reps; rep++)
                samples[rep] = time_list_get(list, keys.order, n, &buf);
        bench_emit("get", "ns", samples, reps, "");
}

/* ---- Queue ------------------------------------------------------------------------------------------- */

/* A queue with what a loop of puts and gets uses again and again. Each process has its own copy. */
struct end {
        objd_object *queue;
        unsigned char item[BENCH_ITEM_SIZE];
        objd_value value;
        objd_buf buf;
};

static void end_init(struct end *end)
{
        memset(end, 0, sizeof(*end));
        end->queue = object_new(arena_new(UINT64_C(64) << 20), OBJD_QUEUE, BENCH_QUEUE_BOUND);
        end->value = objd_bytes(end->item, sizeof(end->item));
}

static void put(struct end *end, uint64_t i)
{
        memcpy(end->item, &i, sizeof(i));
        check(objd_queue_put(end->queue, &end->value, OBJD_FOREVER), "objd_queue_put");
}

static uint64_t get(struct end *end)
{
        objd_value value;

        check(objd_queue_get(end->queue, &value, &end->buf, OBJD_FOREVER), "objd_queue_get");
        if (value.size != BENCH_ITEM_SIZE)
                bench_die("an item of %zu bytes", value.size);
        bench_consume(value.data);
        return bench_value_index(value.data);
}

void run_queue_putget(int argc, char **argv)
{
        double samples[BENCH_MAX_REPS];
        size_t reps = bench_reps(N_PUTGET);
        struct end end;

        (void)argc;
        (void)argv;
        bench_pin(1);
        end_init(&end);
        for (size_t rep = 0; rep < reps; rep++) {
                uint64_t start = bench_now();

                for (size_t i = 0; i < N_PUTGET; i++) {
                        put(&end, i);
                        if (get(&end) != i)
                                bench_die("out of order");
                }
                samples[rep] = (double)(bench_now() - start) / N_PUTGET;
        }
        bench_emit("putget", "ns", samples, reps, "bound 1024");
}

static void produce(void *arg, size_t n)
{
        for (size_t i = 0; i < n; i++)
                put((struct end *)arg, i);
}

static void consume(void *arg, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (get((struct end *)arg) != i)
                        bench_die("out of order");
        }
}

void run_queue_stream(int argc, char **argv)
{
        struct end end;

        (void)argc;
        (void)argv;
        end_init(&end);
        bench_stream(produce, consume, &end, N_STREAM, 5, "bound 1024");
}

static void wake_wait(void *arg)
{
        (void)get((struct end *)arg);
}

static void wake_wake(void *arg)
{
        put((struct end *)arg, 1);
}

/* The bare futex in turns with the queue, between the same two processes: their ratio is what counts. */
void run_queue_wake(int argc, char **argv)
{
        struct bench_way ways[2];
        struct end end;

        (void)argc;
        (void)argv;
        end_init(&end);
        ways[0] = (struct bench_way){ "wake", wake_wait, wake_wake, &end };
        ways[1] = bench_bare_futex();
        bench_wake(ways, 2, N_WAKES);
}

/* ---- Lock -------------------------------------------------------------------------------------------- */

void run_lock(int argc, char **argv)
{
        objd_object *lock = object_new(arena_new(UINT64_C(64) << 20), OBJD_LOCK, 0);
        double samples[BENCH_MAX_REPS];
        size_t reps = bench_reps(N_TAKES);
        uint64_t last = 0;

        (void)argc;
        (void)argv;
        bench_pin(1);
        for (size_t rep = 0; rep < reps; rep++) {
                uint64_t start = bench_now(), token = 0;
                objd_status r = OBJD_OK;

                for (size_t i = 0; i < N_TAKES && !r; i++) {
                        r = objd_lock_take(lock, OBJD_FOREVER, &token);
                        if (token <= last)
                                bench_die("the token does not grow");
                        last = token;
                        if (!r)
                                r = objd_lock_give(lock);
                }
                samples[rep] = (double)(bench_now() - start) / N_TAKES;
                check(r, "objd_lock_take");
        }
        bench_emit("lock", "ns", samples, reps, "with its token");
}
