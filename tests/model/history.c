/* SPDX-License-Identifier: Apache-2.0 */

/*
 * history.c -- several processes and threads call one object, and what they saw is recorded
 */

#include "model/history.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/mman.h>

#include "support/child.h"
#include "support/test.h"

#define MAX_STEPS 20000000
#define PROCESSES_MIN 3

size_t history_processes(void)
{
        return way_all() && way_all()->n > PROCESSES_MIN ? way_all()->n : PROCESSES_MIN;
}

size_t history_workers(void)
{
        return history_processes() * HISTORY_THREADS;
}

objd_object *history_open(objd_object *object, size_t process, objd_conn **ret_conn)
{
        objd_object *own = NULL;

        *ret_conn = NULL;
        if (!way_all())
                return object;
        child_ok(objd_connect(way_all()->urls[process % way_all()->n], ret_conn));
        child_ok(objd_set_timeout(*ret_conn, PATIENCE_NS));
        child_ok(objd_open_ref(*ret_conn, objd_ref_of(object), OBJD_KIND_ANY, &own));
        return own;
}

void history_close(objd_object *object, objd_conn *conn)
{
        if (conn)
                objd_release(object);
        objd_close(conn);
}

struct run {
        objd_object *object;
        struct linear_event *events; /* shared with the children */
        uint64_t seed;
        size_t n;
        history_call call;
        struct gate ready, go;
};

struct worker {
        struct run *run;
        objd_object *object;
        uint64_t number;
        pthread_t thread;
};

static void *work(void *context)
{
        struct worker *worker = context;
        struct run *run = worker->run;
        struct random random = { run->seed + 977 * worker->number };
        objd_buf buf = OBJD_BUF_INIT;

        gate_open(&run->ready, 1);
        gate_wait(&run->go);
        for (size_t i = 0; i < run->n; i++)
                run->call(worker->object, &random, &buf, &run->events[worker->number * run->n + i]);
        objd_buf_free(&buf);
        return NULL;
}

struct process {
        struct run *run;
        uint64_t number;
};

static int run_process(void *context)
{
        struct process *process = context;
        struct worker workers[HISTORY_THREADS];
        objd_conn *conn;
        objd_object *object = history_open(process->run->object, process->number, &conn);

        for (uint64_t i = 0; i < HISTORY_THREADS; i++) {
                workers[i] =
                        (struct worker){ process->run, object, process->number * HISTORY_THREADS + i, 0 };
                child_check(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
        }
        for (int i = 0; i < HISTORY_THREADS; i++)
                pthread_join(workers[i].thread, NULL);
        history_close(object, conn);
        return 0;
}

static size_t size_of(size_t n)
{
        return history_workers() * n * sizeof(struct linear_event);
}

struct linear_event *history_record(objd_object *object, uint64_t seed, size_t n, history_call call)
{
        struct run run = { .object = object, .seed = seed, .n = n, .call = call };
        struct process processes[HISTORY_PROCESSES_MAX];
        pid_t pids[HISTORY_PROCESSES_MAX];

        run.events = mmap(NULL, size_of(n), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(run.events, MAP_FAILED);
        gate_init(&run.ready);
        gate_init(&run.go);
        for (size_t i = 0; i < history_processes(); i++) {
                processes[i] = (struct process){ &run, i };
                pids[i] = child_start(run_process, &processes[i]);
        }
        for (size_t i = 0; i < history_workers(); i++)
                gate_wait(&run.ready);
        gate_open(&run.go, history_workers());
        for (size_t i = 0; i < history_processes(); i++)
                child_expect_success(pids[i]);
        gate_deinit(&run.ready);
        gate_deinit(&run.go);
        return run.events;
}

void history_free(struct linear_event *events, size_t n)
{
        munmap(events, size_of(n));
}

void history_judge(const struct linear_model *model, struct linear_event *events, size_t n,
                   const char *const *op_names)
{
        enum linear_result result = linear_check(model, events, n, MAX_STEPS);

        for (size_t i = 0; i < n && result == LINEAR_NO; i++)
                print_error("%" PRId64 "..%" PRId64 " %s(%" PRId64 ", %" PRId64 ") %s %" PRId64 "\n",
                            events[i].begin_ns - events[0].begin_ns, events[i].end_ns - events[0].begin_ns,
                            op_names[events[i].op], events[i].args[0], events[i].args[1],
                            objd_strerror((objd_status)events[i].status), events[i].result);
        assert_int_not_equal(result, LINEAR_NO);
        /* What the search cannot decide says nothing; rounds are short enough for it to decide nearly all. */
        if (result == LINEAR_GAVE_UP)
                print_message("one history was too long to judge\n");
}
