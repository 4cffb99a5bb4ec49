/* SPDX-License-Identifier: Apache-2.0 */

/*
 * What others cost a client of the daemon: its gets, one at a time, alone and beside each of those who ask for too much, in turns. Each
 * of these is one or more processes, which are told when to begin and when to be quiet.
 */

#include "objbench.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define N_KEYS 10000
#define N_TURNS 15
#define TURN_NS UINT64_C(100000000)
#define SAMPLES_MAX 100000
#define SETTLE_NS 20000000

/* Who sends all it can: more than the daemon does in a time slice of the kernel's. */
#define N_FLOOD 64
#define N_FLOOD_CALLS 1000

/* Who never reads: what it asks for is far more than the daemon can send. */
#define N_MUTE 32
#define MUTE_BYTES (UINT32_C(1) << 20)

#define N_IDLE 1000
#define N_IDLE_PROCESSES 4 /* nanomsg has room for 512 sockets in a process */
#define N_IDLE_EACH (N_IDLE / N_IDLE_PROCESSES)

/* A byte tells the process to begin, or to be quiet, and it says by one that it has. */
struct player {
        pid_t pid;
        int to, from;
};

/* In memory that all have. */
struct board {
        volatile uint32_t is_over; /* who is at work looks at it */
        volatile uint64_t n_calls; /* that have been answered to who sends all it can */
};

struct stage {
        struct proxied p;
        struct bench_keys keys;
        struct board *board;
};

/* One kind of others, and what it does to the gets. */
struct others {
        const char *metric, *note;
        void (*play)(struct stage *stage, int to, int from);
        size_t n;
        bool is_stopped; /* by a signal, in the midst of what it does */
        struct player players[N_IDLE_PROCESSES];
        double medians[N_TURNS], ratios[N_TURNS], rates[N_TURNS];
};

/* ---- What they do ------------------------------------------------------------------------------------------- */

static bool hear(int from)
{
        char byte;

        return read(from, &byte, 1) == 1;
}

static void say(int to)
{
        if (write(to, "", 1) != 1)
                bench_die("one of the other clients has died");
}

/* When it is told to begin for the first time, there is something to open. */
static objd_object *open_when_told(struct stage *stage, const char *name, int to, objd_conn **ret_conn)
{
        objd_object *dict;

        if (!hear(to))
                bench_die("nobody wants this client");
        *ret_conn = daemon_connect(&stage->p.daemon, stage->p.url);
        check(objd_open(*ret_conn, name, OBJD_DICT, &dict), "objd_open");
        return dict;
}

/* So many gets, from the key with this number on. */
static void submit_gets(objd_batch *batch, objd_object *dict, const struct bench_keys *keys, size_t first,
                        size_t n)
{
        objd_batch_clear(batch);
        for (size_t i = 0; i < n; i++) {
                objd_value key = objd_bytes(&keys->ordered[(first + i) % keys->n], BENCH_KEY_SIZE);

                check(objd_batch_dict_get(batch, dict, &key), "objd_batch_dict_get");
        }
        check(objd_submit(batch, OBJD_IN_TURN, NULL), "objd_submit");
}

static void new_batches(objd_conn *conn, objd_batch **batches, size_t n)
{
        for (size_t i = 0; i < n; i++)
                check(objd_batch_new(conn, &batches[i]), "objd_batch_new");
}

static void collect_all(objd_conn *conn, objd_batch **batches, size_t n)
{
        for (size_t i = 0; i < n; i++)
                check(objd_collect(conn, OBJD_FOREVER, &batches[i], NULL), "objd_collect");
}

/* With so many gets in each of its batches. */
static void flood(struct stage *stage, int to, int from, size_t n_each)
{
        objd_batch *batches[N_FLOOD], *batch;
        objd_object *dict;
        objd_conn *conn;
        size_t n = 0;

        dict = open_when_told(stage, "dict", to, &conn);
        new_batches(conn, batches, N_FLOOD);
        do {
                for (size_t i = 0; i < N_FLOOD; i++)
                        submit_gets(batches[i], dict, &stage->keys, n_each * n++, n_each);
                say(from);
                while (!stage->board->is_over) {
                        check(objd_collect(conn, OBJD_FOREVER, &batch, NULL), "objd_collect");
                        stage->board->n_calls += n_each;
                        submit_gets(batch, dict, &stage->keys, n_each * n++, n_each);
                }
                collect_all(conn, batches, N_FLOOD);
                (void)hear(to);
                say(from);
        } while (hear(to));
}

static void play_flood(struct stage *stage, int to, int from)
{
        flood(stage, to, from, N_FLOOD_CALLS);
}

static void play_singles(struct stage *stage, int to, int from)
{
        flood(stage, to, from, 1);
}

/* For comparison: it takes of the machine what the others' processes take, and nothing of the daemon. */
static void play_busy(struct stage *stage, int to, int from)
{
        while (hear(to)) {
                say(from);
                while (!stage->board->is_over)
                        (void)bench_now();
                (void)hear(to);
                say(from);
        }
}

static void play_mute(struct stage *stage, int to, int from)
{
        objd_value key = objd_cstr("large");
        objd_batch *batches[N_MUTE];
        objd_object *dict;
        objd_conn *conn;

        dict = open_when_told(stage, "large", to, &conn);
        new_batches(conn, batches, N_MUTE);
        do {
                for (size_t i = 0; i < N_MUTE; i++) {
                        objd_batch_clear(batches[i]);
                        check(objd_batch_dict_get(batches[i], dict, &key), "objd_batch_dict_get");
                        check(objd_submit(batches[i], OBJD_IN_TURN, NULL), "objd_submit");
                }
                say(from);
                (void)hear(to);
                collect_all(conn, batches, N_MUTE);
                say(from);
        } while (hear(to));
}

static void play_idle(struct stage *stage, int to, int from)
{
        static objd_conn *conns[N_IDLE_EACH];

        while (hear(to)) {
                for (size_t i = 0; i < N_IDLE_EACH; i++)
                        conns[i] = daemon_connect(&stage->p.daemon, stage->p.url);
                say(from);
                (void)hear(to);
                for (size_t i = 0; i < N_IDLE_EACH; i++)
                        objd_close(conns[i]);
                say(from);
        }
}

/* ---- Telling them ------------------------------------------------------------------------------------------- */

static void start_player(struct stage *stage, const struct others *others, struct player *player)
{
        int to[2], from[2];

        if (pipe(to) || pipe(from))
                bench_die("there is no pipe");
        player->pid = fork();
        if (player->pid < 0)
                bench_die("there is no other process");
        if (!player->pid) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(to[1]);
                close(from[0]);
                others->play(stage, to[0], from[1]);
                _exit(0);
        }
        close(to[0]);
        close(from[1]);
        player->to = to[1];
        player->from = from[0];
}

static void tell_all(const struct others *others)
{
        for (size_t i = 0; i < others->n; i++)
                say(others->players[i].to);
        for (size_t i = 0; i < others->n; i++)
                if (!hear(others->players[i].from))
                        bench_die("one of the other clients has died");
}

static void settle(void)
{
        const struct timespec pause = { 0, SETTLE_NS };

        nanosleep(&pause, NULL);
}

static void begin(const struct stage *stage, const struct others *others)
{
        stage->board->is_over = 0;
        tell_all(others);
        if (others->is_stopped)
                kill(others->players[0].pid, SIGSTOP);
        settle();
}

static void end(const struct stage *stage, const struct others *others)
{
        if (others->is_stopped)
                kill(others->players[0].pid, SIGCONT);
        stage->board->is_over = 1;
        tell_all(others);
        settle();
}

static void dismiss(const struct others *others)
{
        for (size_t i = 0; i < others->n; i++) {
                kill(others->players[i].pid, SIGKILL);
                waitpid(others->players[i].pid, NULL, 0);
                close(others->players[i].to);
                close(others->players[i].from);
        }
}

/* ---- The quiet client --------------------------------------------------------------------------------------- */

static int compare(const void *a, const void *b)
{
        const double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

/* The median of all the gets that there is time for, and how many the others get answered in that time, a second. */
static double time_gets(const struct stage *stage, objd_object *dict, double *ret_rate)
{
        static double samples[SAMPLES_MAX];
        const struct bench_keys *keys = &stage->keys;
        uint64_t n_calls = stage->board->n_calls;
        uint64_t first = bench_now(), before = first, now = first;
        objd_buf buf = OBJD_BUF_INIT;
        size_t n = 0;

        while (n < SAMPLES_MAX && now - first < TURN_NS) {
                get_one(dict, keys, n % keys->n, &buf);
                now = bench_now();
                samples[n++] = (double)(now - before);
                before = now;
        }
        *ret_rate = (double)(stage->board->n_calls - n_calls) * 1e9 / (double)(now - first);
        objd_buf_free(&buf);
        qsort(samples, n, sizeof(*samples), compare);
        return samples[n / 2];
}

/* Alone before and after, since what a machine does changes from one moment to the next. */
static void take_turn(const struct stage *stage, struct others *others, objd_object *dict, size_t turn,
                      double *ret_alone)
{
        double none, alone = time_gets(stage, dict, &none);

        begin(stage, others);
        others->medians[turn] = time_gets(stage, dict, &others->rates[turn]);
        end(stage, others);
        *ret_alone = (alone + time_gets(stage, dict, &none)) / 2;
        others->ratios[turn] = others->medians[turn] / *ret_alone;
}

static void make_large(const struct stage *stage)
{
        objd_conn *near = daemon_connect(&stage->p.daemon, stage->p.daemon.url);
        objd_value key = objd_cstr("large"), value = objd_bytes(bench_shared(MUTE_BYTES), MUTE_BYTES);
        objd_object *dict;

        check(objd_create(near, "large", OBJD_DICT, NULL, &dict), "objd_create");
        check(objd_dict_set(dict, &key, &value), "objd_dict_set");
        objd_release(dict);
        objd_close(near);
}

static void emit(struct others *others)
{
        char metric[64];

        snprintf(metric, sizeof(metric), "%s_ratio", others->metric);
        bench_emit(others->metric, "ns", others->medians, N_TURNS, others->note);
        bench_emit(metric, "x", others->ratios, N_TURNS, "over the same alone, just before and after");
        if (others->rates[0] > 0) {
                snprintf(metric, sizeof(metric), "%s_calls", others->metric);
                bench_emit(metric, "1/s", others->rates, N_TURNS, "its gets meanwhile");
        }
}

/* The others are forked while no process of ours has a connection. */
void run_rpc_others(int argc, char **argv)
{
        static struct others all[] = {
                { .metric = "get_flood",
                  .note = "beside 64 batches of 1000 gets",
                  .play = play_flood,
                  .n = 1 },
                { .metric = "get_singles",
                  .note = "beside 64 batches of one get",
                  .play = play_singles,
                  .n = 1 },
                { .metric = "get_busy",
                  .note = "beside a process that only reads the clock",
                  .play = play_busy,
                  .n = 1 },
                { .metric = "get_mute",
                  .note = "beside a client that does not read",
                  .play = play_mute,
                  .n = 1,
                  .is_stopped = true },
                { .metric = "get_idle",
                  .note = "beside 1000 sessions",
                  .play = play_idle,
                  .n = N_IDLE_PROCESSES },
        };
        const size_t n = sizeof(all) / sizeof(*all);
        static struct stage stage;
        double alone[N_TURNS];
        objd_object *dict;

        (void)argc;
        bench_keys_init(&stage.keys, N_KEYS, 1);
        stage.board = bench_shared(sizeof(*stage.board));
        proxied_listen(&stage.p, argv[0], argv[1]);
        for (size_t i = 0; i < n; i++)
                for (size_t j = 0; j < all[i].n; j++)
                        start_player(&stage, &all[i], &all[i].players[j]);
        stage.p.conn = daemon_connect(&stage.p.daemon, stage.p.url);
        dict = make_dict(&stage.p, &stage.keys);
        make_large(&stage);
        for (size_t turn = 0; turn < N_TURNS; turn++)
                for (size_t i = 0; i < n; i++)
                        take_turn(&stage, &all[i], dict, turn, &alone[turn]);
        bench_emit("get_alone", "ns", alone, N_TURNS, "one at a time");
        for (size_t i = 0; i < n; i++) {
                emit(&all[i]);
                dismiss(&all[i]);
        }
        objd_release(dict);
        proxied_stop(&stage.p);
}
