/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What the kernel and the C library give a program that shares nothing but memory.
 *
 *     peer_posix mutex      lock and unlock of a process-shared robust mutex, nobody else about
 *     peer_posix putget     POSIX message queue, send and receive in one process
 *     peer_posix stream     POSIX message queue, from one process to another
 *     peer_posix wake       a bare futex: wake of a sleeper
 *
 * A message queue is as deep as an unprivileged program may make it (/proc/sys/fs/mqueue/msg_max), and at
 * most as deep as the other bounded queues.
 */

#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

#define N_MUTEX 1000000
#define N_PUTGET 100000
#define N_STREAM 200000
#define N_WAKE 200

static void run_mutex(void)
{
        pthread_mutex_t *mutex = (pthread_mutex_t *)bench_shared(sizeof(*mutex));
        double samples[BENCH_MAX_REPS];
        size_t reps = bench_reps(N_MUTEX);
        pthread_mutexattr_t attr;

        pthread_mutexattr_init(&attr);
        pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
        if (pthread_mutex_init(mutex, &attr))
                bench_die("pthread_mutex_init failed");
        for (size_t rep = 0; rep < reps; rep++) {
                uint64_t start = bench_now();
                int error = 0;

                for (size_t i = 0; i < N_MUTEX; i++) {
                        error |= pthread_mutex_lock(mutex);
                        error |= pthread_mutex_unlock(mutex);
                }
                samples[rep] = (double)(bench_now() - start) / N_MUTEX;
                if (error)
                        bench_die("pthread_mutex_lock failed");
        }
        bench_emit("mutex", "ns", samples, reps, "");
}

static long queue_depth(void)
{
        FILE *file = fopen("/proc/sys/fs/mqueue/msg_max", "r");
        long depth = 10;

        if (file) {
                if (fscanf(file, "%ld", &depth) != 1)
                        bench_die("/proc/sys/fs/mqueue/msg_max holds no number");
                fclose(file);
        }
        return depth < BENCH_QUEUE_BOUND ? depth : BENCH_QUEUE_BOUND;
}

/* An open queue whose name is gone already. */
static mqd_t queue_open(void)
{
        struct mq_attr attr = { .mq_maxmsg = queue_depth(), .mq_msgsize = BENCH_ITEM_SIZE };
        char name[64];
        mqd_t queue;

        snprintf(name, sizeof(name), "/objbench-%d", (int)getpid());
        queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
        if (queue == (mqd_t)-1)
                bench_die("mq_open: %s", strerror(errno));
        mq_unlink(name);
        return queue;
}

static void queue_send(mqd_t queue, uint64_t i)
{
        char item[BENCH_ITEM_SIZE] = { 0 };

        memcpy(item, &i, sizeof(i));
        if (mq_send(queue, item, sizeof(item), 0))
                bench_die("mq_send: %s", strerror(errno));
}

static uint64_t queue_receive(mqd_t queue)
{
        char item[BENCH_ITEM_SIZE];

        if (mq_receive(queue, item, sizeof(item), NULL) != sizeof(item))
                bench_die("mq_receive: %s", strerror(errno));
        return bench_value_index(item);
}

static void queue_produce(void *arg, size_t n)
{
        for (size_t i = 0; i < n; i++)
                queue_send(*(mqd_t *)arg, i);
}

static void queue_consume(void *arg, size_t n)
{
        for (size_t i = 0; i < n; i++) {
                if (queue_receive(*(mqd_t *)arg) != i)
                        bench_die("out of order");
        }
}

static void run_putget(void)
{
        double samples[BENCH_MAX_REPS];
        size_t reps = bench_reps(N_PUTGET);
        mqd_t queue = queue_open();

        for (size_t rep = 0; rep < reps; rep++) {
                uint64_t start = bench_now();

                for (size_t i = 0; i < N_PUTGET; i++) {
                        queue_send(queue, i);
                        if (queue_receive(queue) != i)
                                bench_die("out of order");
                }
                samples[rep] = (double)(bench_now() - start) / N_PUTGET;
        }
        bench_emit("putget", "ns", samples, reps, "");
}

static void run_stream(void)
{
        mqd_t queue = queue_open();
        char note[32];

        snprintf(note, sizeof(note), "%ld deep", queue_depth());
        bench_stream(queue_produce, queue_consume, &queue, N_STREAM, 5, note);
}

static void run_wake(void)
{
        struct bench_way way = bench_bare_futex();

        bench_wake(&way, 1, N_WAKE);
}

int main(int argc, char **argv)
{
        static const struct {
                const char *name;
                void (*run)(void);
        } rows[] = { { "mutex", run_mutex },
                     { "putget", run_putget },
                     { "stream", run_stream },
                     { "wake", run_wake } };

        if (argc != 2)
                bench_die("usage: peer_posix mutex|putget|stream|wake");
        bench_pin(1);
        for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
                if (strcmp(argv[1], rows[i].name))
                        continue;
                rows[i].run();
                return 0;
        }
        bench_die("no such row: %s", argv[1]);
}
