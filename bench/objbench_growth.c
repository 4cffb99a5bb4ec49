/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What growth costs: the time of every single insert into one dict, and the memory it takes.
 *
 * A machine that others share has pauses of its own. They are measured with the same clock in the same
 * minute: after each stretch of inserts a loop that does nothing but read the clock runs for as long as the
 * stretch took. And the same inserts are done several times, each time by a new process into a new arena: the keys are the same,
 * and so is the arena's random number, so the library does the same in each. What an insert takes in its fastest run is what it
 * takes by its own doing; a pause of the machine does not come to the same one out of ten million again and again.
 */

#include "objbench.h"

#include <stdio.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define N_INSERTS 10000000
#define N_ENTRIES 1000000
#define STRETCH 100000 /* inserts between two looks at the kernel's counters */
#define MIB 1048576.0
#define N_BINS 40 /* bin b counts times from 2^b to 2^(b+1) - 1 ns */
#define N_SLOWEST 10
#define N_RUNS 5
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

/* What the runs give to the process that started them. */
struct runs {
        struct times inserts[N_RUNS], idle[N_RUNS];
        uint32_t fastest[]; /* ns of each insert in its fastest run */
};

/* Where the library asks for random bytes it gets the system's, but for arenas that are to be alike. */
static bool want_alike;

__attribute__((visibility("default"))) ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
        if (!want_alike)
                return (ssize_t)syscall(SYS_getrandom, buffer, size, flags);
        memset(buffer, 0x5a, size);
        return (ssize_t)size;
}

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

static void note_slow(struct times *times, uint64_t ns, bool was_preempted)
{
        size_t at = N_SLOWEST - 1;

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
                note_slow(times, ns, ns >= SLOW_NS && preempted(times) > 0);
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
static void insert_stretch(objd_object *dict, struct times *times, uint64_t *state, uint32_t *fastest,
                           size_t n)
{
        struct bench_value bytes = { { 0 } };
        uint64_t words[2] = { 0, 0 };
        objd_value key = objd_bytes(words, sizeof(words)), value = objd_bytes(&bytes, sizeof(bytes));

        stretch_begin(times);
        for (size_t i = 0; i < n; i++) {
                uint64_t start, ns;
                objd_status r;

                words[0] = bench_random(state);
                words[1] = bench_random(state);
                bench_value_fill(&bytes, i);
                start = bench_now();
                r = objd_dict_set(dict, &key, &value);
                ns = bench_now() - start;
                times_add(times, ns);
                if (ns < fastest[i])
                        fastest[i] = (uint32_t)ns;
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

/* The run whose slowest insert was the fastest. */
static size_t best_run(const struct runs *runs)
{
        size_t best = 0;

        for (size_t run = 1; run < N_RUNS; run++)
                if (runs->inserts[run].slowest[0].ns < runs->inserts[best].slowest[0].ns)
                        best = run;
        return best;
}

static void count_fastest(const struct runs *runs, size_t n, struct times *ret_times)
{
        for (size_t i = 0; i < n; i++) {
                const uint64_t ns = runs->fastest[i];

                ret_times->bins[bin_of(ns)]++;
                if (ns > ret_times->slowest[N_SLOWEST - 1].ns)
                        note_slow(ret_times, ns, false);
                ret_times->total_ns += ns;
                ret_times->n++;
        }
}

static void print_times(const struct runs *runs, const struct times *fastest)
{
        const size_t best = best_run(runs);
        const struct times *inserts = &runs->inserts[best], *idle = &runs->idle[best];
        unsigned last = N_BINS - 1;

        while (last > 0 && !inserts->bins[last] && !idle->bins[last])
                last--;
        printf("%16s %14s %14s %14s\n", "ns, from", "fastest of 5", "inserts", "idle loop");
        for (unsigned bin = 0; bin <= last; bin++) {
                if (inserts->bins[bin] || idle->bins[bin])
                        printf("%16llu %14llu %14llu %14llu\n", 1ULL << bin,
                               (unsigned long long)fastest->bins[bin], (unsigned long long)inserts->bins[bin],
                               (unsigned long long)idle->bins[bin]);
        }
        print_slowest("each insert in its fastest run", fastest);
        print_slowest("inserts of the best run", inserts);
        print_slowest("idle loop beside it", idle);
}

static void emit_one(const char *metric, const char *unit, double value, const char *note)
{
        bench_emit(metric, unit, &value, 1, note);
}

/* All inserts, by a process of its own. */
static void hist_run(struct runs *runs, size_t run, size_t n)
{
        struct times *inserts = &runs->inserts[run], *idle = &runs->idle[run];
        uint64_t state = 1, len;
        objd_object *dict;

        want_alike = true;
        dict = object_new(arena_new((UINT64_C(1) << 30) + 512 * (uint64_t)n), OBJD_DICT, 0);
        for (size_t done = 0; done < n; done += STRETCH) {
                uint64_t before = inserts->total_ns;

                insert_stretch(dict, inserts, &state, &runs->fastest[done],
                               n - done < STRETCH ? n - done : STRETCH);
                idle_stretch(idle, inserts->total_ns - before);
        }
        check(objd_dict_len(dict, &len), "objd_dict_len");
        if (len != n)
                bench_die("%llu entries instead of %zu", (unsigned long long)len, n);
}

static void hist_runs(struct runs *runs, size_t n)
{
        for (size_t run = 0; run < N_RUNS; run++) {
                int status;
                pid_t pid = fork();

                if (!pid) {
                        hist_run(runs, run, n);
                        _exit(0);
                }
                if (pid < 0 || waitpid(pid, &status, 0) != pid || status)
                        bench_die("a measuring process failed");
        }
}

void run_hist(int argc, char **argv)
{
        size_t n = argc ? bench_count(argv[0]) : N_INSERTS, best;
        struct runs *runs = (struct runs *)bench_shared(sizeof(*runs) + n * sizeof(runs->fastest[0]));
        static struct times fastest;

        bench_pin(1);
        for (size_t i = 0; i < n; i++)
                runs->fastest[i] = UINT32_MAX;
        hist_runs(runs, n);
        count_fastest(runs, n, &fastest);
        print_times(runs, &fastest);
        best = best_run(runs);
        emit_one("slowest_insert", "ns", (double)runs->inserts[best].slowest[0].ns, "in the best run");
        emit_one("slowest_insert_own", "ns", (double)fastest.slowest[0].ns, "each in its fastest run");
        emit_one("slowest_idle", "ns", (double)runs->idle[best].slowest[0].ns, "beside the best run");
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
