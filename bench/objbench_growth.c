/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What growth costs: the time of every single insert into one dict, and the memory it takes.
 *
 * A machine that others share has pauses of its own. They are measured with the same clock in the same
 * minute: after each stretch of inserts a loop that does nothing but read the clock runs for as long as the
 * stretch took. What is slow is listed, with whether the kernel ran something else meanwhile.
 */

#include "objbench.h"

#include <stdio.h>
#include <sys/resource.h>

#define N_INSERTS 10000000
#define N_ENTRIES 1000000
#define STRETCH 100000 /* inserts between two looks at the kernel's counters */
#define MIB 1048576.0
#define N_BINS 40 /* bin b counts times from 2^b to 2^(b+1) - 1 ns */
#define N_SLOWEST 10
#define SLOW_NS 50000 /* from here on the kernel is asked whether it ran something else */

struct slow {
        uint64_t ns;
        uint64_t at;        /* how many operations came before it */
        bool was_preempted; /* the kernel ran something else meanwhile */
};

struct times {
        uint64_t n;
        uint64_t total_ns;
        uint64_t bins[N_BINS];
        struct slow slowest[N_SLOWEST]; /* the slowest first */
        long n_preempted;               /* involuntary context switches */
        long n_preempted_seen;          /* the process's count of them at the last look */
};

static unsigned bin_of(uint64_t ns)
{
        unsigned bin = ns ? 63 - (unsigned)__builtin_clzll(ns) : 0;

        return bin < N_BINS ? bin : N_BINS - 1;
}

/* Involuntary context switches since the last look. */
static long preempted(struct times *times)
{
        struct rusage usage;
        long n_new;

        getrusage(RUSAGE_SELF, &usage);
        n_new = usage.ru_nivcsw - times->n_preempted_seen;
        times->n_preempted_seen = usage.ru_nivcsw;
        times->n_preempted += n_new;
        return n_new;
}

static void note_slow(struct times *times, uint64_t ns)
{
        size_t at = N_SLOWEST - 1;
        bool was_preempted = ns >= SLOW_NS && preempted(times) > 0;

        while (at > 0 && times->slowest[at - 1].ns < ns) {
                times->slowest[at] = times->slowest[at - 1];
                at--;
        }
        times->slowest[at] = (struct slow){ ns, times->n, was_preempted };
}

static inline void times_add(struct times *times, uint64_t ns)
{
        times->bins[bin_of(ns)]++;
        if (ns > times->slowest[N_SLOWEST - 1].ns)
                note_slow(times, ns);
        times->total_ns += ns;
        times->n++;
}

/* What the other loop has been through does not count for this one. */
static void stretch_begin(struct times *times)
{
        long n_before = times->n_preempted;

        (void)preempted(times);
        times->n_preempted = n_before;
}

/* The time between two looks at the clock is an insert's; making the next key falls outside. */
static void insert_stretch(objd_object *dict, struct times *times, uint64_t *state, size_t n)
{
        struct bench_value bytes = { { 0 } };
        uint64_t words[2] = { 0, 0 };
        objd_value key = objd_bytes(words, sizeof(words)), value = objd_bytes(&bytes, sizeof(bytes));

        stretch_begin(times);
        for (size_t i = 0; i < n; i++) {
                uint64_t start;
                objd_status r;

                words[0] = bench_random(state);
                words[1] = bench_random(state);
                bench_value_fill(&bytes, i);
                start = bench_now();
                r = objd_dict_set(dict, &key, &value);
                times_add(times, bench_now() - start);
                check(r, "objd_dict_set");
        }
        (void)preempted(times);
}

/* From each look at the clock to the next one, without a gap that a pause could hide in. */
static void idle_stretch(struct times *times, uint64_t ns)
{
        uint64_t begin = bench_now(), last = begin;

        stretch_begin(times);
        while (last - begin < ns) {
                uint64_t now = bench_now();

                times_add(times, now - last);
                last = now;
        }
        (void)preempted(times);
}

static void print_slowest(const char *name, const struct times *times)
{
        printf("\n%s: %llu in %.2f s, %ld involuntary context switches; the slowest:\n", name,
               (unsigned long long)times->n, (double)times->total_ns / 1e9, times->n_preempted);
        for (size_t i = 0; i < N_SLOWEST && times->slowest[i].ns; i++) {
                const struct slow *slow = &times->slowest[i];

                printf("%12.1f us, number %llu%s\n", (double)slow->ns / 1000, (unsigned long long)slow->at,
                       slow->was_preempted ? ", the kernel ran something else meanwhile" : "");
        }
}

static void print_times(const struct times *inserts, const struct times *idle)
{
        unsigned last = N_BINS - 1;

        while (last > 0 && !inserts->bins[last] && !idle->bins[last])
                last--;
        printf("%16s %14s %14s\n", "ns, from", "inserts", "idle loop");
        for (unsigned bin = 0; bin <= last; bin++) {
                if (inserts->bins[bin] || idle->bins[bin])
                        printf("%16llu %14llu %14llu\n", 1ULL << bin, (unsigned long long)inserts->bins[bin],
                               (unsigned long long)idle->bins[bin]);
        }
        print_slowest("inserts", inserts);
        print_slowest("idle loop", idle);
}

/* The slowest that the kernel knows no excuse for. What the hypervisor takes, it does not know of. */
static double slowest_own(const struct times *times)
{
        for (size_t i = 0; i < N_SLOWEST; i++) {
                if (!times->slowest[i].was_preempted)
                        return (double)times->slowest[i].ns;
        }
        return (double)times->slowest[N_SLOWEST - 1].ns;
}

static void emit_one(const char *metric, const char *unit, double value, const char *note)
{
        bench_emit(metric, unit, &value, 1, note);
}

void run_hist(int argc, char **argv)
{
        static struct times inserts, idle;
        size_t n = argc ? bench_count(argv[0]) : N_INSERTS;
        objd_object *dict = object_new(arena_new((UINT64_C(1) << 30) + 512 * (uint64_t)n), OBJD_DICT, 0);
        uint64_t state = 1, len;

        bench_pin(1);
        for (size_t done = 0; done < n; done += STRETCH) {
                uint64_t before = inserts.total_ns;

                insert_stretch(dict, &inserts, &state, n - done < STRETCH ? n - done : STRETCH);
                idle_stretch(&idle, inserts.total_ns - before);
        }
        check(objd_dict_len(dict, &len), "objd_dict_len");
        if (len != n)
                bench_die("%llu entries instead of %zu", (unsigned long long)len, n);
        print_times(&inserts, &idle);
        emit_one("slowest_insert", "ns", (double)inserts.slowest[0].ns, "");
        emit_one("slowest_insert_own", "ns", slowest_own(&inserts), "the kernel did not preempt it");
        emit_one("slowest_idle", "ns", (double)idle.slowest[0].ns, "");
}

/* ---- Memory ------------------------------------------------------------------------------------------ */

static objd_stats stats_now(objd_conn *conn)
{
        objd_stats stats;

        check(objd_stats_get(conn, &stats), "objd_stats_get");
        return stats;
}

struct memory {
        double used; /* bytes over the empty store */
        double resident;
};

static struct memory memory_over(objd_conn *conn, const objd_stats *empty)
{
        objd_stats now = stats_now(conn);

        return (struct memory){ (double)now.arena_used - (double)empty->arena_used,
                                (double)now.arena_resident - (double)empty->arena_resident };
}

static void memory_of_entries(size_t n)
{
        objd_conn *conn = arena_new((UINT64_C(1) << 30) + 512 * (uint64_t)n);
        objd_object *dict = object_new(conn, OBJD_DICT, 0);
        objd_stats empty = stats_now(conn);
        struct bench_value bytes = { { 0 } };
        objd_value key = objd_bytes(NULL, BENCH_KEY_SIZE), value = objd_bytes(&bytes, sizeof(bytes));
        struct bench_keys keys;
        struct memory full;

        bench_keys_init(&keys, n, 1);
        for (size_t i = 0; i < n; i++) {
                key.data = keys.key[i].bytes;
                check(objd_dict_set(dict, &key, &value), "objd_dict_set");
        }
        full = memory_over(conn, &empty);
        emit_one("entries_resident", "MiB", full.resident / MIB,
                 "all of them, what the arena takes from the system");
        emit_one("entries_used", "MiB", full.used / MIB, "in chunks");
        emit_one("entry_resident", "B", full.resident / (double)n, "each");
        for (size_t i = 0; i < n; i++) {
                key.data = keys.ordered[i].bytes;
                check(objd_dict_del(dict, &key), "objd_dict_del");
        }
        emit_one("entries_left", "MiB", memory_over(conn, &empty).resident / MIB,
                 "resident after all were deleted");
        objd_release(dict);
        objd_close(conn);
}

static void small_dict_new(objd_conn *conn, int64_t number, objd_ref *ret_ref)
{
        objd_value keys[3] = { objd_cstr("id"), objd_cstr("name"), objd_cstr("state") };
        objd_value values[3] = { objd_int(number), objd_cstr("worker"), objd_cstr("ready") };
        objd_object *dict;

        check(objd_create(conn, NULL, OBJD_DICT, NULL, &dict), "objd_create");
        for (size_t i = 0; i < 3; i++)
                check(objd_dict_set(dict, &keys[i], &values[i]), "objd_dict_set");
        *ret_ref = objd_ref_of(dict);
        objd_release(dict);
}

static void memory_of_dicts(size_t n)
{
        objd_conn *conn = arena_new((UINT64_C(1) << 30) + 2048 * (uint64_t)n);
        objd_stats empty = stats_now(conn);
        objd_ref *refs = (objd_ref *)bench_shared(n * sizeof(*refs));
        struct memory full;

        for (size_t i = 0; i < n; i++)
                small_dict_new(conn, (int64_t)i, &refs[i]);
        full = memory_over(conn, &empty);
        emit_one("dict_resident", "B", full.resident / (double)n, "each");
        emit_one("dict_used", "B", full.used / (double)n, "each, in chunks and slots");
        for (size_t i = 0; i < n; i++) {
                objd_object *dict;

                check(objd_open_ref(conn, refs[i], OBJD_DICT, &dict), "objd_open_ref");
                check(objd_destroy(dict), "objd_destroy");
                objd_release(dict);
        }
        emit_one("dicts_left", "MiB", memory_over(conn, &empty).resident / MIB,
                 "resident after all were deleted");
        objd_close(conn);
}

void run_memory(int argc, char **argv)
{
        size_t n = argc ? bench_count(argv[0]) : N_ENTRIES;

        memory_of_entries(n);
        memory_of_dicts(n);
}
