/* SPDX-License-Identifier: Apache-2.0 */

/*
 * linear_dict.c -- calls on one dict from several processes and threads, as if they had come one after the other
 *
 * usage: test-linear-dict [WAY [SECONDS]]; the way is "handle" or "all" (support/way.h), the seed is OBJD_TEST_SEED.
 *
 * Dicts are linearizable key by key, so each key has a history of its own, which keeps the search small. Other
 * entries come and go meanwhile, so that segments are rebuilt and split below the keys that are looked at, and in one
 * kind of round the dict is cleared all the time, which is an event of every key's history.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "model/history.h"
#include "support/child.h"
#include "support/linear.h"
#include "support/random.h"
#include "support/way.h"

#define N_KEYS 3
#define N_EVENTS 300 /* of each worker in a round */
#define MAX_STEPS 20000000

enum { GET, SET, SET_NEW, CAS, ADD, DEL, POP, CLEAR, N_KEY_OPS = CLEAR };

/* ---- The model: one key -------------------------------------------------------------------------------- */

struct cell {
        int64_t there;
        int64_t value;
};

static void cell_init(void *state)
{
        memset(state, 0, sizeof(struct cell));
}

static void cell_set(struct cell *cell, bool there, int64_t value)
{
        cell->there = there;
        cell->value = there ? value : 0;
}

/* What a call answers when the key is not there. */
static objd_status missing_status(uint32_t op)
{
        return op == CAS ? OBJD_E_MISMATCH : op == GET || op == DEL || op == POP ? OBJD_E_NOTFOUND : OBJD_OK;
}

static bool cell_step(void *state, const struct linear_event *e)
{
        struct cell *cell = state;
        objd_status expected = OBJD_OK;

        if (!cell->there)
                expected = missing_status(e->op);
        else if ((e->op == CAS && cell->value != e->args[0]))
                expected = OBJD_E_MISMATCH;
        else if (e->op == SET_NEW)
                expected = OBJD_E_EXISTS;
        if ((objd_status)e->status != expected)
                return false;
        if (expected)
                return true;
        switch (e->op) {
        case GET:
                return e->result == cell->value;
        case SET:
        case SET_NEW:
                cell_set(cell, true, e->args[0]);
                return true;
        case CAS:
                cell_set(cell, true, e->args[1]);
                return true;
        case ADD:
                cell_set(cell, true, cell->value + e->args[0]);
                return e->result == cell->value;
        case POP:
                if (e->result != cell->value)
                        return false;
                cell_set(cell, false, 0);
                return true;
        default:
                cell_set(cell, false, 0);
                return true;
        }
}

static const struct linear_model cell_model = { sizeof(struct cell), cell_init, cell_step };

/* ---- The checker itself --------------------------------------------------------------------------------- */

static enum linear_result judge(struct linear_event *events, size_t n)
{
        return linear_check(&cell_model, events, n, MAX_STEPS);
}

static void the_checker_takes_what_can_be_put_in_order(void **state)
{
        /* The get overlaps both sets and sees the first; the add comes between. */
        struct linear_event overlapping[] = {
                { 0, 10, SET, 0, { 1, 0 }, 0 },  { 5, 30, GET, 0, { 0, 0 }, 1 },
                { 8, 20, SET, 0, { 2, 0 }, 0 },  { 15, 25, ADD, 0, { 5, 0 }, 7 },
                { 40, 50, CAS, 0, { 7, 9 }, 0 }, { 60, 70, POP, 0, { 0, 0 }, 9 },
                { 80, 90, DEL, 4, { 0, 0 }, 0 }, { 95, 99, CLEAR, 0, { 0, 0 }, 0 },
        };

        (void)state;
        assert_int_equal(judge(overlapping, sizeof(overlapping) / sizeof(*overlapping)), LINEAR_YES);
        assert_int_equal(judge(overlapping, 0), LINEAR_YES);
}

static void the_checker_refuses_what_cannot(void **state)
{
        struct linear_event stale[] = { /* a get that began after the second set had ended */
                                        { 0, 10, SET, 0, { 1, 0 }, 0 },
                                        { 20, 30, SET, 0, { 2, 0 }, 0 },
                                        { 40, 50, GET, 0, { 0, 0 }, 1 }
        };
        struct linear_event lost[] = { /* two adds at once, of which one was lost */
                                       { 0, 10, ADD, 0, { 1, 0 }, 1 },
                                       { 5, 15, ADD, 0, { 1, 0 }, 1 }
        };
        struct linear_event back[] = { /* two gets in a row see a concurrent set come and go */
                                       { 0, 100, SET, 0, { 1, 0 }, 0 },
                                       { 10, 20, GET, 0, { 0, 0 }, 1 },
                                       { 30, 40, GET, OBJD_E_NOTFOUND, { 0, 0 }, 0 }
        };
        struct linear_event twice[] = { /* two pops of one value */
                                        { 0, 10, SET, 0, { 1, 0 }, 0 },
                                        { 20, 40, POP, 0, { 0, 0 }, 1 },
                                        { 25, 45, POP, 0, { 0, 0 }, 1 }
        };

        (void)state;
        assert_int_equal(judge(stale, 3), LINEAR_NO);
        assert_int_equal(judge(lost, 2), LINEAR_NO);
        assert_int_equal(judge(back, 3), LINEAR_NO);
        assert_int_equal(judge(twice, 3), LINEAR_NO);
}

/* ---- Recording ------------------------------------------------------------------------------------------ */

struct history {
        size_t n;
        struct linear_event events[N_EVENTS];
        uint32_t keys[N_EVENTS]; /* N_KEYS: of all */
};

struct round {
        objd_object *dict;
        struct history *histories; /* shared with the children; one for each worker */
        uint64_t seed;
        bool clears;
        struct gate ready, go;
};

struct worker {
        struct round *round;
        objd_object *dict;
        uint32_t number;
        struct random random;
        objd_buf buf;
        pthread_t thread;
};

static void call(struct worker *w, struct linear_event *e, uint32_t key_number)
{
        objd_object *dict = w->dict;
        objd_value key = objd_int(-1 - (int64_t)key_number), a = objd_int(e->args[0]),
                   b = objd_int(e->args[1]);
        objd_value value = objd_nil();

        e->begin_ns = test_now_ns();
        switch (e->op) {
        case GET:
                e->status = (int32_t)objd_dict_get(dict, &key, &value, &w->buf);
                break;
        case SET:
                e->status = (int32_t)objd_dict_set(dict, &key, &a);
                break;
        case SET_NEW:
                e->status = (int32_t)objd_dict_set_new(dict, &key, &a);
                break;
        case CAS:
                e->status = (int32_t)objd_dict_cas(dict, &key, &a, &b);
                break;
        case ADD:
                e->status = (int32_t)objd_dict_add_int(dict, &key, e->args[0], &e->result);
                break;
        case DEL:
                e->status = (int32_t)objd_dict_del(dict, &key);
                break;
        case POP:
                e->status = (int32_t)objd_dict_pop(dict, &key, &value, &w->buf);
                break;
        default:
                e->status = (int32_t)objd_dict_clear(dict);
                break;
        }
        e->end_ns = test_now_ns();
        if (value.type == OBJD_INT)
                e->result = value.u.integer;
}

/* Entries that nobody looks at, so many at once that the dict changes its form. */
static void disturb(struct worker *w)
{
        int64_t first = (int64_t)random_below(&w->random, 4) * 400;
        bool sets = random_below(&w->random, 2);

        for (int64_t i = first; i < first + 400; i += 1 + (int64_t)random_below(&w->random, 4)) {
                objd_value key = objd_int(i), value = objd_int(i);
                objd_status r = sets ? objd_dict_set(w->dict, &key, &value) : objd_dict_del(w->dict, &key);

                child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        }
}

static void *work(void *context)
{
        struct worker *w = context;
        struct history *history = &w->round->histories[w->number];

        gate_open(&w->round->ready, 1);
        gate_wait(&w->round->go);
        for (size_t i = 0; i < N_EVENTS; i++) {
                struct linear_event *e = &history->events[i];
                bool clears = w->round->clears && random_below(&w->random, 40) == 0;

                e->op = clears ? CLEAR : (uint32_t)random_below(&w->random, N_KEY_OPS);
                e->args[0] = (int64_t)random_below(&w->random, 4);
                e->args[1] = (int64_t)random_below(&w->random, 4);
                history->keys[i] = clears ? N_KEYS : (uint32_t)random_below(&w->random, N_KEYS);
                call(w, e, history->keys[i]);
                history->n = i + 1;
                if (random_below(&w->random, 25) == 0)
                        disturb(w);
        }
        objd_buf_free(&w->buf);
        return NULL;
}

struct process {
        struct round *round;
        uint32_t number;
};

static int run_process(void *context)
{
        struct process *process = context;
        struct worker workers[HISTORY_THREADS];
        objd_conn *conn;
        objd_object *dict = history_open(process->round->dict, process->number, &conn);

        for (uint32_t i = 0; i < HISTORY_THREADS; i++) {
                uint32_t number = process->number * HISTORY_THREADS + i;

                workers[i] =
                        (struct worker){ process->round, dict, number, { process->round->seed + number * 77 },
                                         OBJD_BUF_INIT,  0 };
                child_check(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0);
        }
        for (uint32_t i = 0; i < HISTORY_THREADS; i++)
                pthread_join(workers[i].thread, NULL);
        history_close(dict, conn);
        return 0;
}

/* ---- Judging -------------------------------------------------------------------------------------------- */

static void print_history(const struct linear_event *events, size_t n)
{
        static const char *const names[] = { "get", "set", "set-new", "cas", "add", "del", "pop", "clear" };

        for (size_t i = 0; i < n; i++)
                print_error("%" PRId64 "..%" PRId64 " %s(%" PRId64 ", %" PRId64 ") %s %" PRId64 "\n",
                            events[i].begin_ns - events[0].begin_ns, events[i].end_ns - events[0].begin_ns,
                            names[events[i].op], events[i].args[0], events[i].args[1],
                            objd_strerror((objd_status)events[i].status), events[i].result);
}

static void judge_key(const struct round *round, uint32_t key)
{
        static struct linear_event events[HISTORY_WORKERS_MAX * N_EVENTS];
        enum linear_result result;
        size_t n = 0;

        for (uint32_t w = 0; w < history_workers(); w++)
                for (size_t i = 0; i < round->histories[w].n; i++)
                        if (round->histories[w].keys[i] == key || round->histories[w].keys[i] == N_KEYS)
                                events[n++] = round->histories[w].events[i];
        result = linear_check(&cell_model, events, n, MAX_STEPS);
        if (result == LINEAR_NO)
                print_history(events, n);
        assert_int_not_equal(result, LINEAR_NO);
        assert_int_not_equal(result, LINEAR_GAVE_UP);
}

static void run_round(objd_conn *conn, struct history *histories, uint64_t seed, bool clears)
{
        struct round round = { .histories = histories, .seed = seed, .clears = clears };
        struct process processes[HISTORY_PROCESSES_MAX];
        pid_t pids[HISTORY_PROCESSES_MAX];

        memset(histories, 0, history_workers() * sizeof(*histories));
        gate_init(&round.ready);
        gate_init(&round.go);
        round.dict = way_dict(conn, NULL);
        for (uint32_t i = 0; i < history_processes(); i++) {
                processes[i] = (struct process){ &round, i };
                pids[i] = child_start(run_process, &processes[i]);
        }
        for (uint32_t i = 0; i < history_workers(); i++)
                gate_wait(&round.ready);
        gate_open(&round.go, history_workers());
        for (uint32_t i = 0; i < history_processes(); i++)
                child_expect_success(pids[i]);
        for (uint32_t key = 0; key < N_KEYS; key++)
                judge_key(&round, key);
        way_check(conn);
        assert_ok(objd_destroy(round.dict));
        objd_release(round.dict);
        gate_deinit(&round.ready);
        gate_deinit(&round.go);
}

static double seconds;

static void concurrent_histories_are_linearizable(void **state)
{
        struct random random = random_begin("test-linear-dict");
        size_t size = history_workers() * sizeof(struct history);
        struct history *histories =
                mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int64_t end_ns = test_now_ns() + (int64_t)((seconds > 0 ? seconds : (double)way_few(5, 2)) * 1e9);
        uint64_t used = way_used(*state);
        int rounds = 0;

        assert_ptr_not_equal(histories, MAP_FAILED);
        do
                run_round(*state, histories, random_next(&random), rounds % 2);
        while (++rounds < 2 || test_now_ns() < end_ns);
        assert_int_equal(way_used(*state), used);
        print_message("%d rounds\n", rounds);
        munmap(histories, size);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(the_checker_takes_what_can_be_put_in_order),
                cmocka_unit_test(the_checker_refuses_what_cannot),
                WAY_TEST(concurrent_histories_are_linearizable),
        };

        if (argc > 2)
                seconds = atof(argv[2]);
        return way_run(argc, argv, tests);
}
