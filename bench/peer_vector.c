/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The growable array that the list is measured against: 100-byte values in private memory, doubled by
 * realloc() when full, each call under a robust process-shared mutex.
 *
 *     peer_vector append N   appends from empty, growth included
 *     peer_vector get N      gets by index in random order, the value copied out
 */

#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct vector {
        pthread_mutex_t *mutex; /* in shared memory */
        struct bench_value *items;
        size_t len;
        size_t n_allocated;
};

static void vector_init(struct vector *vector)
{
        pthread_mutexattr_t attr;

        memset(vector, 0, sizeof(*vector));
        vector->mutex = (pthread_mutex_t *)bench_shared(sizeof(*vector->mutex));
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        if (pthread_mutex_init(vector->mutex, &attr))
                bench_die("pthread_mutex_init failed");
}

static void vector_lock(struct vector *vector)
{
        int error = pthread_mutex_lock(vector->mutex);

        if (error == EOWNERDEAD)
                error = pthread_mutex_consistent(vector->mutex);
        if (error)
                bench_die("pthread_mutex_lock: %s", strerror(error));
}

static void vector_append(struct vector *vector, const struct bench_value *value)
{
        vector_lock(vector);
        if (vector->len == vector->n_allocated) {
                vector->n_allocated = vector->n_allocated ? 2 * vector->n_allocated : 16;
                vector->items =
                        (struct bench_value *)realloc(vector->items, vector->n_allocated * sizeof(*value));
                if (!vector->items)
                        bench_die("no memory for %zu items", vector->n_allocated);
        }
        vector->items[vector->len++] = *value;
        pthread_mutex_unlock(vector->mutex);
}

static bool vector_get(struct vector *vector, size_t index, struct bench_value *ret_value)
{
        bool found;

        vector_lock(vector);
        found = index < vector->len;
        if (found)
                *ret_value = vector->items[index];
        pthread_mutex_unlock(vector->mutex);
        return found;
}

static double time_append(struct vector *vector, size_t n)
{
        struct bench_value value = { { 0 } };
        uint64_t start = bench_now();

        for (size_t i = 0; i < n; i++) {
                bench_value_fill(&value, i);
                vector_append(vector, &value);
        }
        return (double)(bench_now() - start) / (double)n;
}

static double time_get(struct vector *vector, const uint32_t *order, size_t n)
{
        struct bench_value value;
        uint64_t sum = 0, start = bench_now();

        for (size_t i = 0; i < n; i++) {
                if (!vector_get(vector, order[i], &value))
                        bench_die("index %u is outside", order[i]);
                bench_consume(&value);
                sum += bench_value_index(&value);
        }
        start = bench_now() - start;
        if (sum != bench_sum(n))
                bench_die("wrong values");
        return (double)start / (double)n;
}

static void run_append(size_t n)
{
        double samples[BENCH_MAX_REPS];
        size_t reps = bench_reps(n);

        for (size_t rep = 0; rep < reps; rep++) {
                struct vector vector;

                vector_init(&vector);
                samples[rep] = time_append(&vector, n);
                free(vector.items);
        }
        bench_emit("append", "ns", samples, reps, "");
}

static void run_get(size_t n)
{
        double samples[BENCH_MAX_REPS];
        size_t reps = bench_reps(n);
        struct vector vector;
        struct bench_keys keys;

        bench_keys_init(&keys, n, 1);
        vector_init(&vector);
        (void)time_append(&vector, n);
        (void)time_get(&vector, keys.order, n);
        for (size_t rep = 0; rep < reps; rep++)
                samples[rep] = time_get(&vector, keys.order, n);
        bench_emit("get", "ns", samples, reps, "");
}

int main(int argc, char **argv)
{
        if (argc != 3)
                bench_die("usage: peer_vector append|get N");
        bench_pin(1);
        if (!strcmp(argv[1], "append"))
                run_append(bench_count(argv[2]));
        else if (!strcmp(argv[1], "get"))
                run_get(bench_count(argv[2]));
        else
                bench_die("no such row: %s", argv[1]);
        return 0;
}
