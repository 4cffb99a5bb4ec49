/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The rows of what goes through the daemon. Neither end is bound to a processor: who may run on one only does not look out for the
 * other. What each costs without objd is in peer_carrier.c.
 */

#include "objbench.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define N_KEYS 100000
#define N_ONE 20000
#define N_REPS 9
#define N_ASLEEP 301
#define ASLEEP_PAUSE_NS 2000000 /* long after the daemon has ceased to look */
#define N_BATCH 100
#define N_BATCHES 400
#define N_LARGE 9
#define LARGE_BYTES (UINT32_C(16) << 20)
#define N_WAKES 200

/* ---- The ways --------------------------------------------------------------------------------------------- */

static void make_directory(struct daemon *daemon)
{
        strcpy(daemon->directory, "/dev/shm/objbench-objd-XXXXXX");
        if (!mkdtemp(daemon->directory))
                bench_die("there is no room for a directory in /dev/shm");
}

/* Of the loopback; the only key is the client's, and may do everything. */
static void make_key(const struct proxied *p, const char *objd, char path[128])
{
        char command[1024];

        snprintf(path, 128, "%s/key", p->daemon.directory);
        snprintf(command, sizeof(command), "$(dirname %s)/../tools/objctl keygen %s >/dev/null", objd, path);
        if (system(command))
                bench_die("%s failed", command);
        setenv("OBJD_KEY_FILE", path, 1);
}

void proxied_listen(struct proxied *p, const char *way, const char *objd)
{
        const char *extra[] = { "--size", "1G", NULL, NULL, NULL, NULL, NULL };
        char key[128];

        memset(p, 0, sizeof(*p));
        make_directory(&p->daemon);
        if (strcmp(way, "local") == 0) {
                snprintf(p->url, sizeof(p->url), "local:%s/bench", p->daemon.directory);
        } else if (strcmp(way, "ipc") == 0) {
                snprintf(p->url, sizeof(p->url), "ipc://%s/rpc", p->daemon.directory);
        } else if (strcmp(way, "tcp") == 0) {
                snprintf(p->url, sizeof(p->url), "tcp://127.0.0.1:%u", bench_free_port());
                make_key(p, objd, key);
                extra[4] = "--keys";
                extra[5] = key;
        } else {
                bench_die("no such way: %s", way);
        }
        if (strcmp(way, "local") != 0) {
                extra[2] = "--rpc";
                extra[3] = p->url;
        }
        daemon_start(&p->daemon, objd, extra);
}

static void start(struct proxied *p, const char *way, const char *objd)
{
        proxied_listen(p, way, objd);
        p->conn = daemon_connect(&p->daemon, p->url);
}

void proxied_stop(struct proxied *p)
{
        objd_close(p->conn);
        daemon_stop(&p->daemon);
}

/* ---- One at a time, and in batches ------------------------------------------------------------------------ */

objd_object *make_dict(struct proxied *p, const struct bench_keys *keys)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_conn *near = daemon_connect(&p->daemon, p->daemon.url);
        struct bench_value bytes = { { 0 } };
        objd_object *dict;

        config.key_type = config.value_type = OBJD_BYTES;
        check(objd_create(near, "dict", OBJD_DICT, &config, &dict), "objd_create");
        for (size_t i = 0; i < keys->n; i++) {
                objd_value key = objd_bytes(&keys->key[i], sizeof(keys->key[i]));
                objd_value value = objd_bytes(&bytes, sizeof(bytes));

                bench_value_fill(&bytes, i);
                check(objd_dict_set(dict, &key, &value), "objd_dict_set");
        }
        objd_release(dict);
        objd_close(near);
        check(objd_open(p->conn, "dict", OBJD_DICT, &dict), "objd_open");
        return dict;
}

void get_one(objd_object *dict, const struct bench_keys *keys, size_t i, objd_buf *buf)
{
        objd_value key = objd_bytes(&keys->ordered[i], sizeof(keys->ordered[i])), value;

        check(objd_dict_get(dict, &key, &value, buf), "objd_dict_get");
        if (value.size != BENCH_VALUE_SIZE || bench_value_index(value.data) != keys->order[i])
                bench_die("wrong value");
}

static void set_one(objd_object *dict, const struct bench_keys *keys, size_t i, objd_buf *buf)
{
        objd_value key = objd_bytes(&keys->ordered[i], sizeof(keys->ordered[i]));
        struct bench_value bytes = { { 0 } };
        objd_value value = objd_bytes(&bytes, sizeof(bytes));

        (void)buf;
        bench_value_fill(&bytes, keys->order[i]);
        check(objd_dict_set(dict, &key, &value), "objd_dict_set");
}

typedef void (*one_fn)(objd_object *dict, const struct bench_keys *keys, size_t i, objd_buf *buf);

static void measure_one(const char *metric, one_fn fn, objd_object *dict, const struct bench_keys *keys)
{
        double samples[N_REPS];
        objd_buf buf = OBJD_BUF_INIT;

        for (size_t rep = 0; rep < N_REPS; rep++) {
                uint64_t begin = bench_now();

                for (size_t i = 0; i < N_ONE; i++)
                        fn(dict, keys, i, &buf);
                samples[rep] = (double)(bench_now() - begin) / N_ONE;
        }
        bench_emit(metric, "ns", samples, N_REPS, "one at a time");
        objd_buf_free(&buf);
}

static void measure_asleep(const char *metric, one_fn fn, objd_object *dict, const struct bench_keys *keys)
{
        const struct timespec pause = { 0, ASLEEP_PAUSE_NS };
        double samples[N_ASLEEP];
        objd_buf buf = OBJD_BUF_INIT;

        for (size_t i = 0; i < N_ASLEEP; i++) {
                uint64_t begin;

                nanosleep(&pause, NULL);
                begin = bench_now();
                fn(dict, keys, i, &buf);
                samples[i] = (double)(bench_now() - begin);
        }
        bench_emit(metric, "ns", samples, N_ASLEEP, "2 ms after the last one");
        objd_buf_free(&buf);
}

/* A hundred calls that share a message, as those that Redis is sent in a pipeline do. */
static void batch_once(objd_batch *batch, objd_object *dict, const struct bench_keys *keys, size_t first,
                       bool set)
{
        struct bench_value bytes = { { 0 } };
        objd_value got;

        objd_batch_clear(batch);
        for (size_t i = first; i < first + N_BATCH; i++) {
                objd_value key = objd_bytes(&keys->ordered[i], BENCH_KEY_SIZE);
                objd_value value = objd_bytes(&bytes, BENCH_VALUE_SIZE);

                bench_value_fill(&bytes, keys->order[i]);
                check(set ? objd_batch_dict_set(batch, dict, &key, &value)
                          : objd_batch_dict_get(batch, dict, &key),
                      "objd_batch_dict_set or _get");
        }
        check(objd_batch_commit(batch, NULL), "objd_batch_commit");
        for (size_t i = 0; i < N_BATCH && !set; i++) {
                check(objd_batch_result(batch, i, &got), "objd_batch_result");
                if (got.size != BENCH_VALUE_SIZE || bench_value_index(got.data) != keys->order[first + i])
                        bench_die("wrong value");
        }
}

static void measure_batch(const char *metric, const struct proxied *p, objd_object *dict,
                          const struct bench_keys *keys, bool set)
{
        double samples[N_REPS];
        objd_batch *batch;

        check(objd_batch_new(p->conn, &batch), "objd_batch_new");
        for (size_t rep = 0; rep < N_REPS; rep++) {
                uint64_t begin = bench_now();

                for (size_t i = 0; i < N_BATCHES; i++)
                        batch_once(batch, dict, keys, i * N_BATCH, set);
                samples[rep] = (double)(bench_now() - begin) / (N_BATCHES * N_BATCH);
        }
        bench_emit(metric, "ns", samples, N_REPS, "a call, in batches of 100");
        objd_batch_free(batch);
}

static void measure_large(objd_object *dict)
{
        double gets[N_LARGE], sets[N_LARGE];
        objd_value key = objd_bytes("a large value....", BENCH_KEY_SIZE), value, got;
        objd_buf buf = OBJD_BUF_INIT;
        void *bytes = bench_shared(LARGE_BYTES);

        memset(bytes, 7, LARGE_BYTES);
        value = objd_bytes(bytes, LARGE_BYTES);
        check(objd_dict_set(dict, &key, &value), "objd_dict_set");
        check(objd_dict_get(dict, &key, &got, &buf), "objd_dict_get");
        for (size_t rep = 0; rep < N_LARGE; rep++) {
                uint64_t begin = bench_now();

                check(objd_dict_set(dict, &key, &value), "objd_dict_set");
                sets[rep] = (double)(bench_now() - begin);
                begin = bench_now();
                check(objd_dict_get(dict, &key, &got, &buf), "objd_dict_get");
                gets[rep] = (double)(bench_now() - begin);
                if (got.size != LARGE_BYTES || memcmp(got.data, bytes, LARGE_BYTES) != 0)
                        bench_die("wrong value");
        }
        bench_emit("set_16M", "ns", sets, N_LARGE, "a value of 16 MiB");
        bench_emit("get_16M", "ns", gets, N_LARGE, "a value of 16 MiB");
        objd_buf_free(&buf);
}

void run_rpc(int argc, char **argv)
{
        struct bench_keys keys;
        struct proxied p;
        objd_object *dict;

        (void)argc;
        bench_keys_init(&keys, N_KEYS, 1);
        start(&p, argv[0], argv[1]);
        dict = make_dict(&p, &keys);
        measure_one("get", get_one, dict, &keys);
        measure_one("set", set_one, dict, &keys);
        measure_asleep("get_asleep", get_one, dict, &keys);
        measure_asleep("set_asleep", set_one, dict, &keys);
        measure_batch("get_batch", &p, dict, &keys, false);
        measure_batch("set_batch", &p, dict, &keys, true);
        measure_flight("get_flight", p.conn, dict, &keys, false);
        measure_flight("set_flight", p.conn, dict, &keys, true);
        measure_large(dict);
        objd_release(dict);
        proxied_stop(&p);
}

/* ---- Wake ------------------------------------------------------------------------------------------------- */

struct wake_ends {
        struct proxied p;
        objd_conn *near;
        objd_object *near_queue, *far_queue;
};

static void wait_far(void *arg)
{
        struct wake_ends *ends = (struct wake_ends *)arg;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        check(objd_queue_get(ends->far_queue, &value, &buf, OBJD_FOREVER), "objd_queue_get");
        objd_buf_free(&buf);
}

static void put_near(void *arg)
{
        struct wake_ends *ends = (struct wake_ends *)arg;
        objd_value value = objd_int(1);

        check(objd_queue_put(ends->near_queue, &value, OBJD_FOREVER), "objd_queue_put");
}

/* The daemon shares the putter's processor, which is idle once the put is done. */
void run_rpc_wake(int argc, char **argv)
{
        struct wake_ends ends;
        struct bench_way ways[2];

        (void)argc;
        memset(&ends, 0, sizeof(ends));
        start(&ends.p, argv[0], argv[1]);
        ends.near = daemon_connect(&ends.p.daemon, ends.p.daemon.url);
        check(objd_create(ends.near, "queue", OBJD_QUEUE, NULL, &ends.near_queue), "objd_create");
        check(objd_open(ends.p.conn, "queue", OBJD_QUEUE, &ends.far_queue), "objd_open");
        ways[0] = (struct bench_way){ "wake", wait_far, put_near, &ends };
        ways[1] = bench_bare_futex();
        bench_wake(ways, 2, N_WAKES);
        objd_release(ends.near_queue);
        objd_release(ends.far_queue);
        objd_close(ends.near);
        proxied_stop(&ends.p);
}
