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
                run->call(run->object, &random, &buf, &run->events[worker->number * run->n + i]);
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

        for (uint64_t i = 0; i < HISTORY_THREADS; i++) {
                workers[i] = (struct worker){ process->run, process->number * HISTORY_THREADS + i, 0 };
                child_check(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
        }
        for (int i = 0; i < HISTORY_THREADS; i++)
                pthread_join(workers[i].thread, NULL);
        return 0;
}

static size_t size_of(size_t n)
{
        return HISTORY_WORKERS * n * sizeof(struct linear_event);
}

struct linear_event *history_record(objd_object *object, uint64_t seed, size_t n, history_call call)
{
        struct run run = { .object = object, .seed = seed, .n = n, .call = call };
        struct process processes[HISTORY_PROCESSES];
        pid_t pids[HISTORY_PROCESSES];

        run.events = mmap(NULL, size_of(n), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(run.events, MAP_FAILED);
        gate_init(&run.ready);
        gate_init(&run.go);
        for (uint64_t i = 0; i < HISTORY_PROCESSES; i++) {
                processes[i] = (struct process){ &run, i };
                pids[i] = child_start(run_process, &processes[i]);
        }
        for (int i = 0; i < HISTORY_WORKERS; i++)
                gate_wait(&run.ready);
        gate_open(&run.go, HISTORY_WORKERS);
        for (int i = 0; i < HISTORY_PROCESSES; i++)
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
