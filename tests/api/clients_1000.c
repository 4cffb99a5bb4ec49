/* SPDX-License-Identifier: Apache-2.0 */

/*
 * clients_1000.c -- a thousand clients of one daemon, each waiting in a queue get: woken once each, by the puts of a handle client
 *
 * usage: test-clients-1000 [CLIENTS]
 *
 * Half of them wait in one queue, the other half each in a queue of its own. Prints what they cost the daemon, and how long it takes
 * from a put until the client has the item; nothing is expected of these numbers.
 */

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

#define N_PROCESSES 4 /* nanomsg has room for 512 sockets in a process */
#define N_MAX (N_PROCESSES * 500)
#define STACK_BYTES (256u << 10)

/* What the clients have to say; in memory that all processes share. */
struct board {
        uint32_t n;        /* clients */
        uint32_t n_called; /* those that are in their get, or about to be */
        uint32_t n_woken;
        struct {
                uint32_t n_items;
                uint32_t waits_alone;
                int64_t latency_ns;
        } client[N_MAX];
};

static struct board *board;
static char url[160];

struct waiter {
        uint32_t number;
        objd_conn *conn;
        objd_object *queue;
};

static void queue_name(char *name, size_t size, uint32_t number)
{
        if (number % 2)
                (void)snprintf(name, size, "own %u", number);
        else
                (void)snprintf(name, size, "common");
}

/* The item says when it was put. */
static void *wait_once(void *context)
{
        struct waiter *w = context;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value item;

        __atomic_fetch_add(&board->n_called, 1, __ATOMIC_RELEASE);
        child_ok(objd_queue_get(w->queue, &item, &buf, 4 * PATIENCE_NS));
        board->client[w->number].latency_ns = test_now_ns() - item.u.integer;
        __atomic_fetch_add(&board->client[w->number].n_items, 1, __ATOMIC_RELEASE);
        __atomic_fetch_add(&board->n_woken, 1, __ATOMIC_RELEASE);
        objd_buf_free(&buf);
        return NULL;
}

/* A thousand at once, on a machine with other things to do: a daemon that takes its time is no fault here. */
static void connect_one(struct waiter *w)
{
        const int64_t until_ns = test_now_ns() + PATIENCE_NS;
        objd_status r;
        char name[32];

        queue_name(name, sizeof(name), w->number);
        do
                r = objd_connect(url, &w->conn);
        while (r == OBJD_E_NODAEMON && test_now_ns() < until_ns);
        child_ok(r);
        child_ok(objd_set_timeout(w->conn, PATIENCE_NS));
        child_ok(objd_open(w->conn, name, OBJD_QUEUE, &w->queue));
}

/* One process: the clients with its number, modulo that of processes. */
static int wait_all(void *context)
{
        const uint32_t first = *(const uint32_t *)context,
                       n = (board->n - first + N_PROCESSES - 1) / N_PROCESSES;
        struct waiter *waiters = calloc(n, sizeof(*waiters));
        pthread_t *threads = calloc(n, sizeof(*threads));
        pthread_attr_t small;

        child_check(waiters && threads && pthread_attr_init(&small) == 0 &&
                    pthread_attr_setstacksize(&small, STACK_BYTES) == 0);
        for (uint32_t i = 0; i < n; i++) {
                waiters[i].number = first + i * N_PROCESSES;
                connect_one(&waiters[i]);
        }
        for (uint32_t i = 0; i < n; i++)
                child_check(pthread_create(&threads[i], &small, wait_once, &waiters[i]) == 0);
        for (uint32_t i = 0; i < n; i++)
                child_check(pthread_join(threads[i], NULL) == 0);
        for (uint32_t i = 0; i < n; i++) {
                objd_release(waiters[i].queue);
                objd_close(waiters[i].conn);
        }
        (void)pthread_attr_destroy(&small);
        free(waiters);
        free(threads);
        return 0;
}

/* ---- What is measured -------------------------------------------------------------------------------------- */

/* KiB of the process's own memory; what it has mapped of the store is not part of it. */
static long own_kib(pid_t pid)
{
        char path[64], line[256];
        long kib = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
        file = fopen(path, "re");
        assert_non_null(file);
        while (fgets(line, sizeof(line), file))
                (void)sscanf(line, "RssAnon: %ld kB", &kib);
        fclose(file);
        return kib;
}

static int by_size(const void *a, const void *b)
{
        const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

        return (x > y) - (x < y);
}

static void print_latency(const char *what, bool alone)
{
        static int64_t all[N_MAX];
        size_t n = 0;

        for (uint32_t i = 0; i < board->n; i++)
                if (!!board->client[i].waits_alone == alone)
                        all[n++] = board->client[i].latency_ns;
        if (!n)
                return;
        qsort(all, n, sizeof(all[0]), by_size);
        printf("%s: %zu clients, from the put to the item: median %.0f us, 99%% %.0f us, longest %.0f us\n",
               what, n, (double)all[n / 2] / 1000, (double)all[n * 99 / 100] / 1000,
               (double)all[n - 1] / 1000);
}

/* ---- The test ----------------------------------------------------------------------------------------------- */

static bool all_have_called(void *context)
{
        (void)context;
        return __atomic_load_n(&board->n_called, __ATOMIC_ACQUIRE) == board->n;
}

/* The daemon says in the store how many batches of each client wait. */
static bool all_wait(void *context)
{
        struct fixture *f = context;
        char command[256], line[512];
        uint32_t n = 0;
        FILE *pipe;

        snprintf(command, sizeof(command), "\"$OBJD_TEST_BIN_OBJCTL\" --url %s clients --json", f->url);
        pipe = popen(command, "re"); /* NOLINT: the command is ours */
        assert_non_null(pipe);
        while (fgets(line, sizeof(line), pipe))
                n += strstr(line, "\"waiting\":1") != NULL;
        assert_int_equal(pclose(pipe), 0);
        return n == board->n;
}

static bool n_are_woken(void *context)
{
        return __atomic_load_n(&board->n_woken, __ATOMIC_ACQUIRE) == *(const uint32_t *)context;
}

static void put_now(objd_object *queue)
{
        objd_value item = objd_int(test_now_ns());

        assert_ok(objd_queue_put(queue, &item, PATIENCE_NS));
}

/* One after the other: each has its item before the next put. */
static void wake_those_alone(objd_object **queues)
{
        uint32_t n_woken = 0;

        for (uint32_t i = 1; i < board->n; i += 2) {
                n_woken++;
                put_now(queues[i]);
                wait_until(n_are_woken, &n_woken, "the client has its item");
                assert_int_equal(board->client[i].n_items, 1);
        }
}

static void expect_once_each(objd_object **queues)
{
        uint64_t len;

        for (uint32_t i = 0; i < board->n; i++) {
                assert_int_equal(board->client[i].n_items, 1);
                assert_ok(objd_queue_len(queues[i], &len));
                assert_int_equal(len, 0);
        }
}

static void a_thousand_are_woken_once_each(void **state)
{
        static objd_object *queues[N_MAX];
        struct fixture *f = *state;
        const char *options[] = { "--rpc", url, "--size", "4G", NULL };
        uint32_t numbers[N_PROCESSES], all = board->n;
        pid_t pids[N_PROCESSES];
        objd_conn *conn;
        long before;
        char name[32];

        snprintf(url, sizeof(url), "ipc://%s/rpc.sock", f->base);
        fixture_start(f, options);
        conn = fixture_connect(f);
        for (uint32_t i = 0; i < board->n; i++) {
                queue_name(name, sizeof(name), i);
                board->client[i].waits_alone = i % 2;
                assert_ok(objd_open_or_create(conn, name, OBJD_QUEUE, NULL, &queues[i]));
        }
        before = own_kib(f->pid);
        for (uint32_t i = 0; i < N_PROCESSES; i++) {
                numbers[i] = i;
                pids[i] = child_start(wait_all, &numbers[i]);
        }
        wait_until(all_have_called, NULL, "all clients have called");
        wait_until(all_wait, f, "the daemon has parked all of them");
        printf("%u clients: %.1f KiB of the daemon's memory each\n", board->n,
               (double)(own_kib(f->pid) - before) / board->n);
        assert_int_equal(board->n_woken, 0);
        wake_those_alone(queues);
        for (uint32_t i = 0; i < board->n; i += 2)
                put_now(queues[i]);
        wait_until(n_are_woken, &all, "all clients have their items");
        for (uint32_t i = 0; i < N_PROCESSES; i++)
                child_expect_success(pids[i]);
        expect_once_each(queues);
        print_latency("each in a queue of its own, woken one after the other", true);
        print_latency("all in one queue, as many puts at once", false);
        for (uint32_t i = 0; i < board->n; i++)
                objd_release(queues[i]);
        objd_close(conn);
        assert_int_equal(fixture_stop(f, SIGTERM), 0);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = { FIXTURE_TEST(a_thousand_are_woken_once_each) };

        board = mmap(NULL, sizeof(*board), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (board == MAP_FAILED)
                return 1;
        board->n = argc > 1 ? (uint32_t)strtoul(argv[1], NULL, 10) : 1000;
        if (!board->n || board->n > N_MAX) {
                fprintf(stderr, "usage: %s [CLIENTS], 1 to %d\n", argv[0], N_MAX);
                return 2;
        }
        return cmocka_run_group_tests(tests, NULL, NULL);
}
