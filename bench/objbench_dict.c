/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The dict's rows. The keys of a timed loop are made before it, in the order in which they are used; its
 * objd_value structs are made once and pointed at the next key, as a program that cares would do.
 */

#include "objbench.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

struct subject {
        objd_conn *conn;
        objd_object *dict;
        struct bench_keys keys;
};

/* 512 bytes an entry are more than twice what one takes; unused they cost nothing. */
static uint64_t arena_size(size_t n)
{
        return (UINT64_C(256) << 20) + 512 * (uint64_t)n;
}

static void subject_init(struct subject *subject, const char *count)
{
        size_t n = bench_count(count);

        bench_pin(1);
        bench_keys_init(&subject->keys, n, 1);
        subject->conn = arena_new(arena_size(n));
        subject->dict = object_new(subject->conn, OBJD_DICT, 0);
}

/* Inserts the first n keys of the random order. */
static double time_insert(objd_object *dict, const struct bench_keys *keys, size_t n)
{
        struct bench_value bytes = { { 0 } };
        objd_value key = objd_bytes(NULL, BENCH_KEY_SIZE), value = objd_bytes(&bytes, sizeof(bytes));
        uint64_t start = bench_now();
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < n && !r; i++) {
                key.data = keys->ordered[i].bytes;
                bench_value_fill(&bytes, keys->order[i]);
                r = objd_dict_set(dict, &key, &value);
        }
        start = bench_now() - start;
        check(r, "objd_dict_set");
        return (double)start / (double)n;
}

static double time_get(objd_object *dict, const struct bench_keys *keys, objd_buf *buf)
{
        objd_value key = objd_bytes(NULL, BENCH_KEY_SIZE), value = objd_nil();
        uint64_t sum = 0, start = bench_now();
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < keys->n; i++) {
                key.data = keys->ordered[i].bytes;
                r = objd_dict_get(dict, &key, &value, buf);
                if (r)
                        break;
                bench_consume(value.data);
                sum += bench_value_index(value.data);
        }
        start = bench_now() - start;
        check(r, "objd_dict_get");
        if (sum != bench_sum(keys->n) || value.size != BENCH_VALUE_SIZE)
                bench_die("wrong values");
        return (double)start / (double)keys->n;
}

/* Sets every step-th key of the random order from first on. */
static double time_set(objd_object *dict, const struct bench_keys *keys, size_t first, size_t step)
{
        struct bench_value bytes = { { 0 } };
        objd_value key = objd_bytes(NULL, BENCH_KEY_SIZE), value = objd_bytes(&bytes, sizeof(bytes));
        uint64_t start = bench_now();
        objd_status r = OBJD_OK;

        for (size_t i = first; i < keys->n && !r; i += step) {
                key.data = keys->ordered[i].bytes;
                bench_value_fill(&bytes, keys->order[i]);
                r = objd_dict_set(dict, &key, &value);
        }
        start = bench_now() - start;
        check(r, "objd_dict_set");
        return (double)start * (double)step / (double)keys->n;
}

/* Deletes the first n keys of the random order. */
static double time_delete(objd_object *dict, const struct bench_keys *keys, size_t n)
{
        objd_value key = objd_bytes(NULL, BENCH_KEY_SIZE);
        uint64_t start = bench_now();
        objd_status r = OBJD_OK;

        for (size_t i = 0; i < n && !r; i++) {
                key.data = keys->ordered[i].bytes;
                r = objd_dict_del(dict, &key);
        }
        start = bench_now() - start;
        check(r, "objd_dict_del");
        return (double)start / (double)n;
}

void run_dict_get(int argc, char **argv)
{
        double samples[BENCH_MAX_REPS];
        struct subject subject;
        objd_buf buf = OBJD_BUF_INIT;
        size_t reps;

        (void)argc;
        subject_init(&subject, argv[0]);
        reps = bench_reps(subject.keys.n);
        (void)time_insert(subject.dict, &subject.keys, subject.keys.n);
        (void)time_get(subject.dict, &subject.keys, &buf);
        for (size_t rep = 0; rep < reps; rep++)
                samples[rep] = time_get(subject.dict, &subject.keys, &buf);
        bench_emit("get", "ns", samples, reps, "");
}

/* Deletes are timed on the same dict as the sets they are compared with, down to the empty dict. */
void run_dict_set(int argc, char **argv)
{
        double sets[BENCH_MAX_REPS], deletes[BENCH_MAX_REPS];
        struct subject subject;
        size_t reps;

        (void)argc;
        subject_init(&subject, argv[0]);
        reps = bench_reps(subject.keys.n);
        for (size_t rep = 0; rep < reps; rep++) {
                (void)time_insert(subject.dict, &subject.keys, subject.keys.n);
                (void)time_set(subject.dict, &subject.keys, 0, 1);
                sets[rep] = time_set(subject.dict, &subject.keys, 0, 1);
                deletes[rep] = time_delete(subject.dict, &subject.keys, subject.keys.n);
        }
        bench_emit("set", "ns", sets, reps, "");
        bench_emit("delete", "ns", deletes, reps, "from full to empty, in random order");
}

static uint64_t resident(objd_conn *conn)
{
        objd_stats stats;

        check(objd_stats_get(conn, &stats), "objd_stats_get");
        return stats.arena_resident;
}

/* Each repetition in a process and an arena of its own: every page is touched for the first time. */
static void run_insert_fresh(const struct bench_keys *keys, size_t reps)
{
        double *samples = (double *)bench_shared(reps * sizeof(*samples));

        for (size_t rep = 0; rep < reps; rep++) {
                int status;
                pid_t pid = fork();

                if (!pid) {
                        objd_conn *conn = arena_new(arena_size(keys->n));
                        objd_object *dict = object_new(conn, OBJD_DICT, 0);

                        samples[rep] = time_insert(dict, keys, keys->n);
                        objd_release(dict);
                        objd_close(conn);
                        _exit(0);
                }
                if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
                        bench_die("a measuring process failed");
        }
        bench_emit("insert_fresh", "ns", samples, reps, "a fresh arena");
}

/*
 * Deletes the first n keys and inserts them again. How much of the memory was still there in between is
 * printed too: the row says "pages present".
 */
static void run_insert_again(const struct bench_keys *keys, size_t n, const char *const names[2], size_t reps,
                             const char *note)
{
        double samples[BENCH_MAX_REPS], present[BENCH_MAX_REPS];
        objd_conn *conn = arena_new(arena_size(keys->n));
        objd_object *dict = object_new(conn, OBJD_DICT, 0);

        (void)time_insert(dict, keys, keys->n);
        /* One repetition more than is counted: the first fill leaves another layout than the later ones. */
        for (size_t rep = 0; rep <= reps; rep++) {
                size_t at = rep ? rep - 1 : 0;
                uint64_t before;

                (void)time_delete(dict, keys, n);
                before = resident(conn);
                samples[at] = time_insert(dict, keys, n);
                present[at] = (double)before / (double)resident(conn);
        }
        bench_emit(names[0], "ns", samples, reps, note);
        bench_emit(names[1], "x", present, reps, "memory before / after these inserts");
        objd_release(dict);
        objd_close(conn);
}

void run_dict_insert(int argc, char **argv)
{
        static const char *const present[2] = { "insert_present", "present_share" };
        static const char *const refill[2] = { "insert_refill", "refill_share" };
        struct bench_keys keys;
        size_t reps;

        (void)argc;
        bench_pin(1);
        bench_keys_init(&keys, bench_count(argv[0]), 1);
        reps = keys.n <= 200000 ? 9 : 3;
        run_insert_fresh(&keys, reps);
        run_insert_again(&keys, keys.n / 2, present, reps, "half deleted, and put back");
        run_insert_again(&keys, keys.n, refill, reps, "all deleted, and put back");
}

struct pair {
        struct subject subject;
        objd_buf buf; /* each child has its own copy */
};

static void pair_get(void *arg, unsigned side, size_t pass)
{
        struct pair *pair = (struct pair *)arg;

        (void)side;
        (void)pass;
        (void)time_get(pair->subject.dict, &pair->subject.keys, &pair->buf);
}

/* The sides have the even and the odd places of the random order: different keys. */
static void pair_set(void *arg, unsigned side, size_t pass)
{
        struct pair *pair = (struct pair *)arg;

        (void)pass;
        (void)time_set(pair->subject.dict, &pair->subject.keys, side, 2);
}

void run_dict_pair_get(int argc, char **argv)
{
        static struct pair pair;

        (void)argc;
        subject_init(&pair.subject, argv[0]);
        (void)time_insert(pair.subject.dict, &pair.subject.keys, pair.subject.keys.n);
        bench_pair(NULL, pair_get, &pair, pair.subject.keys.n, bench_passes(pair.subject.keys.n));
}

void run_dict_pair_set(int argc, char **argv)
{
        static struct pair pair;

        (void)argc;
        subject_init(&pair.subject, argv[0]);
        (void)time_insert(pair.subject.dict, &pair.subject.keys, pair.subject.keys.n);
        bench_pair(NULL, pair_set, &pair, pair.subject.keys.n / 2, bench_passes(pair.subject.keys.n));
}
