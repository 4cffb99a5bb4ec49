/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Single requests, many of them under way at once: each is a batch of one operation, submitted, and its place is taken by the next
 * one as soon as it has been collected.
 */

#include "objbench.h"

#include <stdint.h>

#define N_FLIGHT 100
#define N_REQUESTS 20000
#define N_REPS 9

struct flight {
        objd_conn *conn;
        objd_object *dict;
        const struct bench_keys *keys;
        bool set;
        size_t next; /* request that has not been submitted */
};

static void submit_next(struct flight *flight, objd_batch *batch)
{
        size_t i = flight->next++;
        objd_value key = objd_bytes(&flight->keys->ordered[i], BENCH_KEY_SIZE);
        struct bench_value bytes = { { 0 } };
        objd_value value = objd_bytes(&bytes, BENCH_VALUE_SIZE);

        objd_batch_clear(batch);
        bench_value_fill(&bytes, flight->keys->order[i]);
        check(flight->set ? objd_batch_dict_set(batch, flight->dict, &key, &value)
                          : objd_batch_dict_get(batch, flight->dict, &key),
              "objd_batch_dict_set or _get");
        check(objd_submit(batch, OBJD_IN_TURN, (void *)(uintptr_t)flight->keys->order[i]), "objd_submit");
}

static objd_batch *collect_one(struct flight *flight)
{
        objd_batch *batch;
        objd_value got;
        void *tag;

        check(objd_collect(flight->conn, OBJD_FOREVER, &batch, &tag), "objd_collect");
        check(objd_batch_result(batch, 0, &got), "objd_batch_result");
        if (!flight->set && (got.size != BENCH_VALUE_SIZE || bench_value_index(got.data) != (uintptr_t)tag))
                bench_die("wrong value");
        return batch;
}

static void fly_once(struct flight *flight, objd_batch **batches)
{
        flight->next = 0;
        for (size_t i = 0; i < N_FLIGHT; i++)
                submit_next(flight, batches[i]);
        while (flight->next < N_REQUESTS)
                submit_next(flight, collect_one(flight));
        for (size_t i = 0; i < N_FLIGHT; i++)
                batches[i] = collect_one(flight);
}

void measure_flight(const char *metric, objd_conn *conn, objd_object *dict, const struct bench_keys *keys,
                    bool set)
{
        struct flight flight = { conn, dict, keys, set, 0 };
        objd_batch *batches[N_FLIGHT];
        double samples[N_REPS];

        for (size_t i = 0; i < N_FLIGHT; i++)
                check(objd_batch_new(conn, &batches[i]), "objd_batch_new");
        for (size_t rep = 0; rep < N_REPS; rep++) {
                uint64_t begin = bench_now();

                fly_once(&flight, batches);
                samples[rep] = (double)(bench_now() - begin) / N_REQUESTS;
        }
        bench_emit(metric, "ns", samples, N_REPS, "a call, 100 single ones under way");
        for (size_t i = 0; i < N_FLIGHT; i++)
                objd_batch_free(batches[i]);
}
