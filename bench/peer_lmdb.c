/* SPDX-License-Identifier: Apache-2.0 */

/*
 * LMDB on /dev/shm, so that no disk is in the way; NOSYNC and WRITEMAP, its fastest mode.
 *
 *     peer_lmdb get N    random gets in one read transaction that is kept open, the value copied out
 *     peer_lmdb set N    random puts to keys that are there, a transaction each
 */

#include "bench.h"

#include <lmdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define N_PUTS 100000 /* in a repetition; a put's cost does not depend on how many follow */

struct store {
        MDB_env *env;
        MDB_dbi dbi;
        struct bench_keys keys;
};

static void check(int error, const char *what)
{
        if (error)
                bench_die("%s: %s", what, mdb_strerror(error));
}

/* The directory goes as soon as the files are open and mapped. */
static void store_init(struct store *store, size_t n)
{
        char dir[] = "/dev/shm/objbench-lmdb-XXXXXX", path[64];

        bench_keys_init(&store->keys, n, 1);
        if (!mkdtemp(dir))
                bench_die("no directory in /dev/shm");
        check(mdb_env_create(&store->env), "mdb_env_create");
        check(mdb_env_set_mapsize(store->env, (size_t)1 << 32), "mdb_env_set_mapsize");
        check(mdb_env_open(store->env, dir, MDB_NOSYNC | MDB_WRITEMAP, 0600), "mdb_env_open");
        snprintf(path, sizeof(path), "%s/data.mdb", dir);
        unlink(path);
        snprintf(path, sizeof(path), "%s/lock.mdb", dir);
        unlink(path);
        rmdir(dir);
}

static void put(struct store *store, MDB_txn *txn, const struct bench_key *key, uint64_t index)
{
        struct bench_value value = { { 0 } };
        MDB_val mdb_key = { sizeof(*key), (void *)(uintptr_t)key->bytes };
        MDB_val mdb_value = { sizeof(value), value.bytes };

        bench_value_fill(&value, index);
        check(mdb_put(txn, store->dbi, &mdb_key, &mdb_value, 0), "mdb_put");
}

static void fill(struct store *store)
{
        MDB_txn *txn;

        check(mdb_txn_begin(store->env, NULL, 0, &txn), "mdb_txn_begin");
        check(mdb_dbi_open(txn, NULL, 0, &store->dbi), "mdb_dbi_open");
        for (size_t i = 0; i < store->keys.n; i++)
                put(store, txn, &store->keys.key[i], i);
        check(mdb_txn_commit(txn), "mdb_txn_commit");
}

static double time_get(struct store *store, MDB_txn *txn)
{
        struct bench_value out;
        uint64_t sum = 0, start = bench_now();

        for (size_t i = 0; i < store->keys.n; i++) {
                MDB_val key = { BENCH_KEY_SIZE, store->keys.ordered[i].bytes }, value;

                check(mdb_get(txn, store->dbi, &key, &value), "mdb_get");
                memcpy(&out, value.mv_data, sizeof(out));
                bench_consume(&out);
                sum += bench_value_index(&out);
        }
        start = bench_now() - start;
        if (sum != bench_sum(store->keys.n))
                bench_die("wrong values");
        return (double)start / (double)store->keys.n;
}

static double time_set(struct store *store, size_t n)
{
        uint64_t start = bench_now();

        for (size_t i = 0; i < n; i++) {
                MDB_txn *txn;

                check(mdb_txn_begin(store->env, NULL, 0, &txn), "mdb_txn_begin");
                put(store, txn, &store->keys.ordered[i], store->keys.order[i]);
                check(mdb_txn_commit(txn), "mdb_txn_commit");
        }
        return (double)(bench_now() - start) / (double)n;
}

static void run_get(struct store *store)
{
        double samples[BENCH_MAX_REPS];
        size_t reps = store->keys.n <= 200000 ? 9 : 3;
        MDB_txn *txn;

        check(mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn), "mdb_txn_begin");
        (void)time_get(store, txn);
        for (size_t rep = 0; rep < reps; rep++)
                samples[rep] = time_get(store, txn);
        mdb_txn_abort(txn);
        bench_emit("get", "ns", samples, reps, "one read transaction");
}

static void run_set(struct store *store)
{
        double samples[BENCH_MAX_REPS];
        size_t n = store->keys.n < N_PUTS ? store->keys.n : N_PUTS, reps = 5;

        (void)time_set(store, n);
        for (size_t rep = 0; rep < reps; rep++)
                samples[rep] = time_set(store, n);
        bench_emit("set", "ns", samples, reps, "a transaction each");
}

int main(int argc, char **argv)
{
        static struct store store;

        if (argc != 3)
                bench_die("usage: peer_lmdb get|set N");
        bench_pin(1);
        store_init(&store, bench_count(argv[2]));
        fill(&store);
        if (!strcmp(argv[1], "get"))
                run_get(&store);
        else if (!strcmp(argv[1], "set"))
                run_set(&store);
        else
                bench_die("no such row: %s", argv[1]);
        mdb_env_close(store.env);
        return 0;
}
