/* SPDX-License-Identifier: Apache-2.0 */

/*
 * Rows that need two processes: the same work alone and at once, a stream, the wake of a sleeper. Every pair
 * is pinned to two processors, because where the scheduler puts it decides more than what is measured. What
 * waits for its turn sleeps, so that "alone" means an idle second processor; only the last step to a common
 * start is a spin.
 */

#include "bench.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <signal.h>
#include <unistd.h>

#define SETTLE_NS UINT64_C(200000)     /* how long a sleeper sleeps at least before it is woken */
#define ASLEEP_NS UINT64_C(2000000000) /* a waiter that is not asleep by then is an error */

struct pair_shm {
        pthread_barrier_t turn;
        atomic_uint n_ready[BENCH_MAX_REPS];
        double alone[2][BENCH_MAX_REPS];
        double both[2][BENCH_MAX_REPS];
};

static void barrier_init(pthread_barrier_t *barrier, unsigned count)
{
        pthread_barrierattr_t attr;

        pthread_barrierattr_init(&attr);
        pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        if (pthread_barrier_init(barrier, &attr, count))
                bench_die("pthread_barrier_init failed");
        pthread_barrierattr_destroy(&attr);
}

/*
 * The processors are those that the program was started with: a child of a process that has pinned itself
 * already must not end up on its parent's.
 */
void bench_pin(unsigned side)
{
        static cpu_set_t allowed;
        static bool is_known;
        size_t first = CPU_SETSIZE, last = 0;
        cpu_set_t one;

        if (!is_known && sched_getaffinity(0, sizeof(allowed), &allowed))
                bench_die("sched_getaffinity: %s", strerror(errno));
        is_known = true;
        for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
                if (!CPU_ISSET(cpu, &allowed))
                        continue;
                if (first == CPU_SETSIZE)
                        first = cpu;
                last = cpu;
        }
        if (first >= last)
                bench_die("two processors are needed, and there is one");
        CPU_ZERO(&one);
        CPU_SET(side ? last : first, &one);
        if (sched_setaffinity(0, sizeof(one), &one))
                bench_die("sched_setaffinity: %s", strerror(errno));
}

unsigned bench_free_port(void)
{
        struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t size = sizeof(address);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

        if (fd < 0 || bind(fd, (struct sockaddr *)&address, size) ||
            getsockname(fd, (struct sockaddr *)&address, &size))
                bench_die("there is no port on the loopback: %s", strerror(errno));
        close(fd);
        return ntohs(address.sin_port);
}

/* A child that dies with its parent; returns true in the child. */
static bool fork_child(pid_t *ret_pid)
{
        pid_t pid = fork();

        if (pid < 0)
                bench_die("fork: %s", strerror(errno));
        if (!pid)
                prctl(PR_SET_PDEATHSIG, SIGKILL);
        *ret_pid = pid;
        return !pid;
}

static void wait_child(pid_t pid)
{
        int status;

        if (waitpid(pid, &status, 0) != pid || status)
                bench_die("a measuring process failed (wait status 0x%x)", (unsigned)status);
}

static void spin_together(atomic_uint *n_ready, unsigned count)
{
        atomic_fetch_add(n_ready, 1);
        while (atomic_load(n_ready) < count)
                ;
}

static double time_work(bench_work work, void *arg, unsigned side, size_t pass, size_t n_ops)
{
        uint64_t start = bench_now();

        work(arg, side, pass);
        return (double)(bench_now() - start) / (double)n_ops;
}

static void pair_child(struct pair_shm *shm, bench_work work, void *arg, unsigned side, size_t n_ops,
                       size_t n_passes)
{
        /* A pass of its own that does not count warms the caches and this process's page tables. */
        (void)time_work(work, arg, side, 0, n_ops);
        for (size_t pass = 0; pass < n_passes; pass++) {
                for (unsigned turn = 0; turn < 2; turn++) {
                        pthread_barrier_wait(&shm->turn);
                        if (turn == side)
                                shm->alone[side][pass] = time_work(work, arg, side, pass, n_ops);
                }
                pthread_barrier_wait(&shm->turn);
                spin_together(&shm->n_ready[pass], 2);
                shm->both[side][pass] = time_work(work, arg, side, pass, n_ops);
        }
}

static void pair_report(struct pair_shm *shm, size_t n_passes)
{
        static const char *const names[2][3] = { { "alone0", "both0", "kept0" },
                                                 { "alone1", "both1", "kept1" } };
        double kept[2][BENCH_MAX_REPS], together[BENCH_MAX_REPS];

        for (size_t pass = 0; pass < n_passes; pass++) {
                for (unsigned side = 0; side < 2; side++)
                        kept[side][pass] = shm->alone[side][pass] / shm->both[side][pass];
                together[pass] = kept[0][pass] + kept[1][pass];
        }
        for (unsigned side = 0; side < 2; side++) {
                bench_emit(names[side][0], "ns", shm->alone[side], n_passes, "");
                bench_emit(names[side][1], "ns", shm->both[side], n_passes, "");
                bench_emit(names[side][2], "x", kept[side], n_passes, "alone/both");
        }
        bench_emit("together", "x", together, n_passes, "sum of alone/both");
}

void bench_pair(bench_setup setup, bench_work work, void *arg, size_t n_ops, size_t n_passes)
{
        struct pair_shm *shm = (struct pair_shm *)bench_shared(sizeof(*shm));
        pid_t pids[2];

        if (n_passes > BENCH_MAX_REPS)
                n_passes = BENCH_MAX_REPS;
        barrier_init(&shm->turn, 2);
        for (unsigned side = 0; side < 2; side++) {
                if (!fork_child(&pids[side]))
                        continue;
                bench_pin(side);
                if (setup)
                        setup(arg, side);
                pair_child(shm, work, arg, side, n_ops, n_passes);
                _exit(0);
        }
        for (unsigned side = 0; side < 2; side++)
                wait_child(pids[side]);
        pair_report(shm, n_passes);
}

struct stream_shm {
        atomic_uint n_ready[BENCH_MAX_REPS];
        uint64_t start_ns[BENCH_MAX_REPS];
        uint64_t end_ns[BENCH_MAX_REPS];
        pthread_barrier_t turn;
};

void bench_stream(bench_stream_end produce, bench_stream_end consume, void *arg, size_t n, size_t reps,
                  const char *note)
{
        struct stream_shm *shm = (struct stream_shm *)bench_shared(sizeof(*shm));
        double samples[BENCH_MAX_REPS];
        pid_t pids[2];

        if (reps > BENCH_MAX_REPS)
                reps = BENCH_MAX_REPS;
        barrier_init(&shm->turn, 2);
        for (unsigned side = 0; side < 2; side++) {
                if (!fork_child(&pids[side]))
                        continue;
                bench_pin(side);
                for (size_t rep = 0; rep < reps; rep++) {
                        pthread_barrier_wait(&shm->turn);
                        spin_together(&shm->n_ready[rep], 2);
                        if (side) {
                                consume(arg, n);
                                shm->end_ns[rep] = bench_now();
                        } else {
                                shm->start_ns[rep] = bench_now();
                                produce(arg, n);
                        }
                }
                _exit(0);
        }
        for (unsigned side = 0; side < 2; side++)
                wait_child(pids[side]);
        for (size_t rep = 0; rep < reps; rep++)
                samples[rep] = (double)(shm->end_ns[rep] - shm->start_ns[rep]) / (double)n;
        bench_emit("stream", "ns", samples, reps, note);
}

struct wake_shm {
        atomic_uint waiting; /* the sample that the sleeper is about to wait in, from 1 */
        atomic_uint woken;   /* the sample that it has been woken from */
        atomic_bool slept;
        uint64_t awake_ns;
};

static long voluntary_switches(void)
{
        struct rusage usage;

        getrusage(RUSAGE_THREAD, &usage);
        return usage.ru_nvcsw;
}

static void sleeper(struct wake_shm *shm, const struct bench_way *ways, size_t n_ways, size_t n_samples)
{
        for (unsigned sample = 1; sample <= n_ways * n_samples; sample++) {
                const struct bench_way *way = &ways[sample % n_ways];
                long n_before = voluntary_switches();

                atomic_store(&shm->waiting, sample);
                way->wait(way->arg);
                shm->awake_ns = bench_now();
                atomic_store(&shm->slept, voluntary_switches() > n_before);
                atomic_store(&shm->woken, sample);
        }
}

/* Whether the kernel shows this single-threaded process asleep. */
static bool is_asleep(pid_t pid)
{
        char path[64], line[512], *after_name;
        FILE *file;
        size_t n;

        snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
        file = fopen(path, "r");
        if (!file)
                bench_die("%s: %s", path, strerror(errno));
        n = fread(line, 1, sizeof(line) - 1, file);
        fclose(file);
        line[n] = '\0';
        after_name = strrchr(line, ')');
        return after_name && after_name[1] == ' ' && after_name[2] == 'S';
}

/* Waits until the sleeper has slept for a while without a break: a waiter may wake to look around. */
static void await_sleep(pid_t pid)
{
        uint64_t begin = bench_now(), since = begin;

        while (bench_now() - since < SETTLE_NS) {
                if (!is_asleep(pid))
                        since = bench_now();
                if (bench_now() - begin > ASLEEP_NS)
                        bench_die("the waiter does not go to sleep");
        }
}

static void waker(struct wake_shm *shm, pid_t pid, const struct bench_way *ways, size_t n_ways,
                  size_t n_samples)
{
        double *samples = (double *)bench_shared(n_ways * n_samples * sizeof(*samples));
        size_t *n_slept = (size_t *)bench_shared(n_ways * sizeof(*n_slept));

        for (unsigned sample = 1; sample <= n_ways * n_samples; sample++) {
                size_t w = sample % n_ways;
                uint64_t start_ns;

                while (atomic_load(&shm->waiting) != sample)
                        ;
                await_sleep(pid);
                start_ns = bench_now();
                ways[w].wake(ways[w].arg);
                while (atomic_load(&shm->woken) != sample)
                        ;
                if (atomic_load(&shm->slept))
                        samples[w * n_samples + n_slept[w]++] = (double)(shm->awake_ns - start_ns);
        }
        for (size_t w = 0; w < n_ways; w++) {
                if (!n_slept[w])
                        bench_die("%s: the waiter never slept", ways[w].metric);
                bench_emit(ways[w].metric, "ns", samples + w * n_samples, n_slept[w], "");
        }
}

void bench_wake(const struct bench_way *ways, size_t n_ways, size_t n_samples)
{
        struct wake_shm *shm = (struct wake_shm *)bench_shared(sizeof(*shm));
        pid_t pid;

        if (fork_child(&pid)) {
                bench_pin(1);
                sleeper(shm, ways, n_ways, n_samples);
                _exit(0);
        }
        bench_pin(0);
        waker(shm, pid, ways, n_ways, n_samples);
        wait_child(pid);
}

static void futex_wait(void *arg)
{
        atomic_uint *word = (atomic_uint *)arg;

        while (!atomic_load(word))
                syscall(SYS_futex, word, FUTEX_WAIT, 0, NULL, NULL, 0);
        atomic_store(word, 0);
}

static void futex_wake(void *arg)
{
        atomic_uint *word = (atomic_uint *)arg;

        atomic_store(word, 1);
        syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}

struct bench_way bench_bare_futex(void)
{
        struct bench_way way = { "futex", futex_wait, futex_wake, bench_shared(sizeof(atomic_uint)) };

        return way;
}
