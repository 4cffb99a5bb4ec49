/* SPDX-License-Identifier: Apache-2.0 */

/*
 * The private hash table that the dict is measured against: htslib's khash.h in one process, without a lock.
 *
 *     peer_khash get N     random gets, the value copied out
 *     peer_khash set N     random sets of keys that are there, the value copied in
 *     peer_khash pair N    get, alone and from two forked processes with a copy each
 *     peer_khash insert N  inserts, khash plus malloc: from empty in the heap of a new process ("fresh"), of
 *                          the half that has been deleted before ("present"), and from empty in a heap that
 *                          keeps its memory ("refill"); and deletes, khash plus free
 *
 * get and set are measured on the three forms that a user of khash can choose: "map" has keys and values
 * inline in two arrays, "entry" key and value side by side in one, "malloc" a pointer to a malloc'ed key and
 * value. The fastest is what a goal is compared with. Insert and delete are of the malloc form.
 */

#include "bench.h"

#include <htslib/khash.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

struct entry {
        struct bench_key key;
        struct bench_value value;
};

static inline int key_equal(const struct bench_key *a, const struct bench_key *b)
{
        return !memcmp(a->bytes, b->bytes, BENCH_KEY_SIZE);
}

#define map_hash(key) ((khint_t)bench_hash(&(key)))
#define map_equal(a, b) key_equal(&(a), &(b))
#define entry_hash(entry) ((khint_t)bench_hash(&(entry).key))
#define entry_equal(a, b) key_equal(&(a).key, &(b).key)
#define pointer_hash(entry) ((khint_t)bench_hash(&(entry)->key))
#define pointer_equal(a, b) key_equal(&(a)->key, &(b)->key)

typedef struct bench_key map_key;
typedef struct bench_value map_value;
typedef struct entry inline_entry;
typedef struct entry *malloc_entry;

/* The macros narrow their sizes to 32 bits; that is theirs to justify. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wconversion"
#pragma GCC diagnostic ignored "-Wsign-conversion"
KHASH_INIT(map, map_key, map_value, 1, map_hash, map_equal)
KHASH_INIT(entry, inline_entry, char, 0, entry_hash, entry_equal)
KHASH_INIT(malloc, malloc_entry, char, 0, pointer_hash, pointer_equal)
#pragma GCC diagnostic pop

static struct bench_keys keys;

/* ---- The three forms --------------------------------------------------------------------------------- */

static void *map_fill(void)
{
        khash_t(map) *map = kh_init(map);
        struct bench_value value = { { 0 } };
        int r;

        for (size_t i = 0; i < keys.n; i++) {
                khint_t at = kh_put(map, map, keys.key[i], &r);

                bench_value_fill(&value, i);
                kh_val(map, at) = value;
        }
        return map;
}

static void map_free(void *table)
{
        kh_destroy(map, (khash_t(map) *)table);
}

static double map_get(const void *table)
{
        const khash_t(map) *map = table;
        struct bench_value out;
        uint64_t sum = 0, start = bench_now();

        for (size_t i = 0; i < keys.n; i++) {
                khint_t at = kh_get(map, map, keys.ordered[i]);

                if (at == kh_end(map))
                        bench_die("map: a key is missing");
                memcpy(&out, &kh_val(map, at), sizeof(out));
                bench_consume(&out);
                sum += bench_value_index(&out);
        }
        start = bench_now() - start;
        if (sum != bench_sum(keys.n))
                bench_die("map: wrong values");
        return (double)start / (double)keys.n;
}

static double map_set(void *table)
{
        khash_t(map) *map = table;
        struct bench_value value = { { 0 } };
        uint64_t start = bench_now();
        int r;

        for (size_t i = 0; i < keys.n; i++) {
                khint_t at = kh_put(map, map, keys.ordered[i], &r);

                bench_value_fill(&value, keys.order[i]);
                bench_consume(&value);
                memcpy(&kh_val(map, at), &value, sizeof(value));
        }
        return (double)(bench_now() - start) / (double)keys.n;
}

static void *entry_fill(void)
{
        khash_t(entry) *map = kh_init(entry);
        struct entry entry = { { { 0 } }, { { 0 } } };
        int r;

        for (size_t i = 0; i < keys.n; i++) {
                entry.key = keys.key[i];
                bench_value_fill(&entry.value, i);
                kh_put(entry, map, entry, &r);
        }
        return map;
}

static void entry_free(void *table)
{
        kh_destroy(entry, (khash_t(entry) *)table);
}

static double entry_get(const void *table)
{
        const khash_t(entry) *map = table;
        struct bench_value out;
        struct entry wanted = { { { 0 } }, { { 0 } } };
        uint64_t sum = 0, start = bench_now();

        for (size_t i = 0; i < keys.n; i++) {
                khint_t at;

                wanted.key = keys.ordered[i];
                at = kh_get(entry, map, wanted);
                if (at == kh_end(map))
                        bench_die("entry: a key is missing");
                memcpy(&out, &kh_key(map, at).value, sizeof(out));
                bench_consume(&out);
                sum += bench_value_index(&out);
        }
        start = bench_now() - start;
        if (sum != bench_sum(keys.n))
                bench_die("entry: wrong values");
        return (double)start / (double)keys.n;
}

static double entry_set(void *table)
{
        khash_t(entry) *map = table;
        struct bench_value value = { { 0 } };
        struct entry wanted = { { { 0 } }, { { 0 } } };
        uint64_t start = bench_now();
        int r;

        for (size_t i = 0; i < keys.n; i++) {
                khint_t at;

                wanted.key = keys.ordered[i];
                at = kh_put(entry, map, wanted, &r);
                bench_value_fill(&value, keys.order[i]);
                bench_consume(&value);
                memcpy(&kh_key(map, at).value, &value, sizeof(value));
        }
        return (double)(bench_now() - start) / (double)keys.n;
}

static struct entry *entry_new(const struct bench_key *key, const struct bench_value *value)
{
        struct entry *entry = (struct entry *)malloc(sizeof(*entry));

        if (!entry)
                bench_die("no memory for an entry");
        entry->key = *key;
        entry->value = *value;
        return entry;
}

/* Inserts the first n keys of the random order. */
static double malloc_insert(khash_t(malloc) * map, size_t n)
{
        struct bench_value value = { { 0 } };
        uint64_t start = bench_now();
        int r;

        for (size_t i = 0; i < n; i++) {
                bench_value_fill(&value, keys.order[i]);
                bench_consume(&value);
                kh_put(malloc, map, entry_new(&keys.ordered[i], &value), &r);
        }
        return (double)(bench_now() - start) / (double)n;
}

static void *malloc_fill(void)
{
        khash_t(malloc) *map = kh_init(malloc);

        (void)malloc_insert(map, keys.n);
        return map;
}

static double malloc_get(const void *table)
{
        const khash_t(malloc) *map = table;
        struct bench_value out;
        struct entry wanted = { { { 0 } }, { { 0 } } };
        uint64_t sum = 0, start = bench_now();

        for (size_t i = 0; i < keys.n; i++) {
                khint_t at;

                wanted.key = keys.ordered[i];
                at = kh_get(malloc, map, &wanted);
                if (at == kh_end(map))
                        bench_die("malloc: a key is missing");
                memcpy(&out, &kh_key(map, at)->value, sizeof(out));
                bench_consume(&out);
                sum += bench_value_index(&out);
        }
        start = bench_now() - start;
        if (sum != bench_sum(keys.n))
                bench_die("malloc: wrong values");
        return (double)start / (double)keys.n;
}

static double malloc_set(void *table)
{
        khash_t(malloc) *map = table;
        struct bench_value value = { { 0 } };
        struct entry wanted = { { { 0 } }, { { 0 } } };
        uint64_t start = bench_now();

        for (size_t i = 0; i < keys.n; i++) {
                khint_t at;

                wanted.key = keys.ordered[i];
                at = kh_get(malloc, map, &wanted);
                bench_value_fill(&value, keys.order[i]);
                bench_consume(&value);
                memcpy(&kh_key(map, at)->value, &value, sizeof(value));
        }
        return (double)(bench_now() - start) / (double)keys.n;
}

/* Deletes the first n keys of the random order. */
static double malloc_delete(khash_t(malloc) * map, size_t n)
{
        struct entry wanted = { { { 0 } }, { { 0 } } };
        uint64_t start = bench_now();

        for (size_t i = 0; i < n; i++) {
                khint_t at;

                wanted.key = keys.ordered[i];
                at = kh_get(malloc, map, &wanted);
                free(kh_key(map, at));
                kh_del(malloc, map, at);
        }
        return (double)(bench_now() - start) / (double)n;
}

static void malloc_free(void *table)
{
        khash_t(malloc) *map = table;

        (void)malloc_delete(map, keys.n);
        kh_destroy(malloc, map);
}

/* ---- Rows -------------------------------------------------------------------------------------------- */

/*
 * One form after the other, each with the caches to itself. The form is a table of its calls; a repetition is
 * one call for all the keys, so the pointers cost nothing.
 */
struct form {
        const char *name;
        void *(*fill)(void);
        double (*get)(const void *table);
        double (*set)(void *table);
        void (*free)(void *table);
};

static const struct form forms[] = {
        { "map", map_fill, map_get, map_set, map_free },
        { "entry", entry_fill, entry_get, entry_set, entry_free },
        { "malloc", malloc_fill, malloc_get, malloc_set, malloc_free },
};

static void run_forms(bool set)
{
        size_t reps = bench_reps(keys.n);
        double samples[BENCH_MAX_REPS];

        for (size_t i = 0; i < sizeof(forms) / sizeof(*forms); i++) {
                const struct form *form = &forms[i];
                void *table = form->fill();

                (void)form->get(table);
                for (size_t rep = 0; rep < reps; rep++)
                        samples[rep] = set ? form->set(table) : form->get(table);
                (void)form->get(table);
                bench_emit(form->name, "ns", samples, reps, "");
                form->free(table);
        }
}

static void run_get(void)
{
        run_forms(false);
}

static void run_set(void)
{
        run_forms(true);
}

/* glibc gives nothing back to the system from here on, and takes large blocks from the heap as well. */
static void keep_memory(void)
{
        if (!mallopt(M_TRIM_THRESHOLD, INT32_MAX) || !mallopt(M_MMAP_MAX, 0))
                bench_die("mallopt failed");
}

/* Deletes the first n keys and inserts them again. */
static void run_insert_again(size_t n, const char *const names[2], size_t reps, const char *note)
{
        double inserts[BENCH_MAX_REPS], deletes[BENCH_MAX_REPS];
        khash_t(malloc) *map = malloc_fill();

        /* One repetition more than is counted: the first fill leaves another layout than the later ones. */
        for (size_t rep = 0; rep <= reps; rep++) {
                size_t at = rep ? rep - 1 : 0;

                deletes[at] = malloc_delete(map, n);
                inserts[at] = malloc_insert(map, n);
        }
        bench_emit(names[0], "ns", inserts, reps, note);
        bench_emit(names[1], "ns", deletes, reps, "free included");
        malloc_free(map);
}

/* The same from an empty table, growth included. */
static void run_insert_refill(size_t reps)
{
        double samples[BENCH_MAX_REPS];

        for (size_t rep = 0; rep < reps; rep++) {
                khash_t(malloc) *map = kh_init(malloc);

                samples[rep] = malloc_insert(map, keys.n);
                malloc_free(map);
        }
        bench_emit("insert_refill", "ns", samples, reps, "from empty, malloc'ed memory reused");
}

/* Each repetition in a process of its own, whose heap nobody has touched. */
static void run_insert_fresh(size_t reps)
{
        double *samples = (double *)bench_shared(reps * sizeof(*samples));

        for (size_t rep = 0; rep < reps; rep++) {
                int status;
                pid_t pid = fork();

                if (!pid) {
                        samples[rep] = malloc_insert(kh_init(malloc), keys.n);
                        _exit(0);
                }
                if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
                        bench_die("a measuring process failed");
        }
        bench_emit("insert_fresh", "ns", samples, reps, "a new process's heap");
}

static void run_insert(void)
{
        static const char *const present[2] = { "insert_present", "delete" };
        size_t reps = keys.n <= 200000 ? 9 : 3;

        run_insert_fresh(reps);
        keep_memory();
        run_insert_again(keys.n / 2, present, reps, "half deleted, and put back");
        run_insert_refill(reps);
}

static void pair_work(void *arg, unsigned side, size_t pass)
{
        (void)side;
        (void)pass;
        (void)map_get(arg);
}

static void run_pair(void)
{
        bench_pair(NULL, pair_work, map_fill(), keys.n, bench_passes(keys.n));
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } rows[] = { { "get", run_get }, { "set", run_set }, { "insert", run_insert }, { "pair", run_pair } };

        if (argc != 3)
                bench_die("usage: peer_khash get|set|insert|pair N");
        bench_keys_init(&keys, bench_count(argv[2]), 1);
        bench_pin(1);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                if (strcmp(argv[1], rows[i].name))
                        continue;
                rows[i].run();
                return 0;
        }
        bench_die("no such row: %s", argv[1]);
}
