/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kill_client.c -- a client without a mapping, killed at each system call and between any two instructions of its calls
 *
 * What such a client does to the store the daemon does for it, and it may die with the request half written, sent, being served, or
 * answered. It is stepped through one call by ptrace (its thread that makes the call; the session's own thread runs on), killed, and
 * when its session is over: the change has been made, all of it, or it has not; what it held is free; nothing is left of it.
 *
 * How the session ends: by local: the daemon sees the client's socket hang up. By ipc: it hears no more of it for a while, which is taken
 * for passed.
 *
 *   test-kill-client [local|ipc] [--all] [--stride N] [--seed N]
 *
 * Without options it dies at every second system call of each sort of call (by ipc at every sixth), and at three instructions that the
 * seed says; with --all at each system call, and at every N-th of its first 20,000
 * instructions (50), which is to the end of all but connecting.
 */

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena/session.h"
#include "object/object.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/inside.h"
#include "support/test.h"

/* Of a sample: at which of the system calls, of which there are more by ipc; */
#define CALLS_STRIDE_LOCAL 2
#define CALLS_STRIDE_IPC 6

/* and instructions at which each call is killed, and how far into it. */
#define PLACES_OF_SAMPLE 3
#define REACH_OF_SAMPLE 2000

/* With --all. To connect takes many more instructions, at the rest of which only system calls are of interest. */
#define REACH_OF_ALL 20000

#define OLD 10
#define NEW 11

static struct {
        const char *way;
        bool all;
        uint64_t stride, seed;
} options = { .way = "local", .stride = 50, .seed = 1 };

static struct {
        uint64_t calls, kills, kills_inside;
} total;

/* ---- The store ------------------------------------------------------------------------------------------ */

/* By handle; and the same objects as the client has them. */
struct objects {
        objd_conn *conn;
        objd_object *dict, *other, *queue, *lock;
        objd_batch *batch;
};

static objd_status open_objects(objd_conn *conn, struct objects *ret_objects)
{
        struct objects *o = ret_objects;
        objd_status r = objd_open_or_create(conn, "dict", OBJD_DICT, NULL, &o->dict);

        o->conn = conn;
        if (r == OBJD_OK)
                r = objd_open_or_create(conn, "other", OBJD_DICT, NULL, &o->other);
        if (r == OBJD_OK)
                r = objd_open_or_create(conn, "queue", OBJD_QUEUE, NULL, &o->queue);
        if (r == OBJD_OK)
                r = objd_open_or_create(conn, "lock", OBJD_LOCK, NULL, &o->lock);
        return r == OBJD_OK ? objd_batch_new(conn, &o->batch) : r;
}

static void set_number(objd_object *dict, int64_t number)
{
        objd_value key = objd_cstr("key"), value = objd_int(number);

        assert_ok(objd_dict_set(dict, &key, &value));
}

static int64_t number_in(objd_object *dict)
{
        objd_value key = objd_cstr("key"), value;
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_dict_get(dict, &key, &value, &buf));
        objd_buf_free(&buf);
        return value.u.integer;
}

static uint64_t items_in(objd_object *queue)
{
        uint64_t n;

        assert_ok(objd_queue_len(queue, &n));
        return n;
}

/* Both dicts have the old number, the queue so many items, and the lock is free. */
static void reset(const struct objects *o, uint64_t n_items)
{
        objd_value item = objd_int(OLD), unused;
        objd_buf buf = OBJD_BUF_INIT;

        set_number(o->dict, OLD);
        set_number(o->other, OLD);
        while (items_in(o->queue))
                assert_ok(objd_queue_get(o->queue, &unused, &buf, OBJD_NOWAIT));
        for (uint64_t i = 0; i < n_items; i++)
                assert_ok(objd_queue_put(o->queue, &item, OBJD_NOWAIT));
        objd_buf_free(&buf);
}

/* ---- Calls ---------------------------------------------------------------------------------------------- */

/* Old or new; new for certain if the client had its answer. */
static void expect_either(int64_t found, int64_t old, int64_t new, bool answered)
{
        if (found != new && (answered || found != old))
                fail_msg("%lld is there, which is neither %lld nor %lld, or was answered otherwise",
                         (long long)found, (long long)old, (long long)new);
}

static objd_status set_new(struct objects *o)
{
        objd_value key = objd_cstr("key"), value = objd_int(NEW);

        return objd_dict_set(o->dict, &key, &value);
}

static objd_status add_one(struct objects *o)
{
        objd_value key = objd_cstr("key");
        int64_t sum;

        return objd_dict_add_int(o->dict, &key, NEW - OLD, &sum);
}

static void expect_number(const struct objects *o, bool answered)
{
        expect_either(number_in(o->dict), OLD, NEW, answered);
}

static objd_status put_item(struct objects *o)
{
        objd_value item = objd_int(NEW);

        return objd_queue_put(o->queue, &item, OBJD_NOWAIT);
}

static void expect_put(const struct objects *o, bool answered)
{
        expect_either((int64_t)items_in(o->queue), 1, 2, answered);
}

static objd_status get_item(struct objects *o)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value item;
        objd_status r = objd_queue_get(o->queue, &item, &buf, OBJD_NOWAIT);

        objd_buf_free(&buf);
        return r;
}

static void expect_got(const struct objects *o, bool answered)
{
        expect_either((int64_t)items_in(o->queue), 1, 0, answered);
}

/* It waits in the daemon, for as short as it takes to be killed there. */
static objd_status wait_for_item(struct objects *o)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value item;
        objd_status r = objd_queue_get(o->queue, &item, &buf, 20000000);

        objd_buf_free(&buf);
        return r == OBJD_E_TIMEOUT ? OBJD_OK : r;
}

/* Nobody waits any more: the next item is who comes next's. */
static void expect_nobody_waits(const struct objects *o, bool answered)
{
        (void)answered;
        assert_int_equal(items_in(o->queue), 0);
        assert_ok(put_item(&(struct objects){ .queue = o->queue }));
        assert_int_equal(items_in(o->queue), 1);
}

static objd_status lease_item(struct objects *o)
{
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t lease;
        objd_value item;
        objd_status r = objd_queue_get_lease(o->queue, 3600000000000LL, &item, &buf, &lease, OBJD_NOWAIT);

        objd_buf_free(&buf);
        return r;
}

static void expect_item_is_back(const struct objects *o, bool answered)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value item;

        (void)answered;
        assert_ok(objd_queue_get(o->queue, &item, &buf, PATIENCE_NS));
        assert_int_equal(item.u.integer, OLD);
        objd_buf_free(&buf);
}

static objd_status take_lock(struct objects *o)
{
        objd_status r = objd_lock_take(o->lock, OBJD_NOWAIT, NULL);

        return r == OBJD_E_OWNER_DIED ? OBJD_OK : r;
}

static void expect_free(const struct objects *o, bool answered)
{
        objd_status r = objd_lock_take(o->lock, PATIENCE_NS, NULL);

        if (r != OBJD_E_OWNER_DIED)
                assert_ok(r);
        if (answered)
                assert_status(r, OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(o->lock));
}

static objd_status make_named(struct objects *o)
{
        objd_object *made;

        return objd_create(o->conn, "made", OBJD_LIST, NULL, &made);
}

static void expect_made(const struct objects *o, bool answered)
{
        objd_status r = objd_delete(o->conn, "made");

        if (answered || r != OBJD_E_NOTFOUND)
                assert_ok(r);
}

static objd_status make_anonymous(struct objects *o)
{
        objd_object *made;

        return objd_create(o->conn, NULL, OBJD_DICT, NULL, &made);
}

static void expect_nothing(const struct objects *o, bool answered)
{
        (void)o, (void)answered; /* what is left of it, or not, is seen after each call */
}

static objd_status fill_batch(struct objects *o)
{
        objd_value key = objd_cstr("key"), value = objd_int(NEW);
        objd_status r = objd_batch_dict_set(o->batch, o->dict, &key, &value);

        if (r == OBJD_OK)
                r = objd_batch_dict_set(o->batch, o->other, &key, &value);
        return r == OBJD_OK ? objd_batch_queue_put(o->batch, o->queue, &value, 0) : r;
}

static objd_status commit_batch(struct objects *o)
{
        objd_status r = fill_batch(o);

        return r == OBJD_OK ? objd_batch_commit(o->batch, NULL) : r;
}

static void expect_all_or_nothing(const struct objects *o, bool answered)
{
        int64_t number = number_in(o->dict);

        expect_either(number, OLD, NEW, answered);
        assert_int_equal(number_in(o->other), number);
        assert_int_equal(items_in(o->queue), number == NEW);
}

static objd_status submit_in_turn(struct objects *o)
{
        objd_batch *back;
        objd_status r = fill_batch(o);

        if (r == OBJD_OK)
                r = objd_submit(o->batch, OBJD_IN_TURN, NULL);
        return r == OBJD_OK ? objd_collect(o->conn, OBJD_FOREVER, &back, NULL) : r;
}

static void expect_in_order(const struct objects *o, bool answered)
{
        int64_t first = number_in(o->dict), second = number_in(o->other);

        expect_either(first, OLD, NEW, answered);
        expect_either(second, OLD, first, answered);
        expect_either((int64_t)items_in(o->queue), 0, second == NEW, answered);
}

/* Ends a session that has something of everything. */
static objd_status say_goodbye(struct objects *o)
{
        objd_close(o->conn);
        return OBJD_OK;
}

static objd_status have_everything(struct objects *o)
{
        objd_status r = take_lock(o);

        if (r == OBJD_OK)
                r = lease_item(o);
        return r == OBJD_OK ? make_anonymous(o) : r;
}

static void expect_all_is_back(const struct objects *o, bool answered)
{
        expect_item_is_back(o, answered);
        expect_free(o, false);
}

struct client_test {
        const char *name;
        uint64_t n_items;                          /* in the queue before */
        bool connects;                             /* the call is to connect, and the rest of it */
        objd_status (*prepare)(struct objects *o); /* in the client, before it is stepped */
        objd_status (*call)(struct objects *o);
        void (*expect)(const struct objects *o, bool answered);
};

static const struct client_test tests[] = {
        { "connect", .connects = true, .call = set_new, .expect = expect_number },
        { "dict set", .call = set_new, .expect = expect_number },
        { "dict add", .call = add_one, .expect = expect_number },
        { "queue put", 1, .call = put_item, .expect = expect_put },
        { "queue get", 1, .call = get_item, .expect = expect_got },
        { "queue get that waits", .call = wait_for_item, .expect = expect_nobody_waits },
        { "queue lease", 1, .call = lease_item, .expect = expect_item_is_back },
        { "lock take", .call = take_lock, .expect = expect_free },
        { "create", .call = make_named, .expect = expect_made },
        { "create without a name", .call = make_anonymous, .expect = expect_nothing },
        { "batch, atomic", .call = commit_batch, .expect = expect_all_or_nothing },
        { "batch, in turn", .call = submit_in_turn, .expect = expect_in_order },
        { "goodbye", 1, .prepare = have_everything, .call = say_goodbye, .expect = expect_all_is_back },
};

/* ---- The client ----------------------------------------------------------------------------------------- */

enum phase { PHASE_BEFORE, PHASE_INSIDE, PHASE_DONE };

struct shared {
        volatile int phase;
        volatile objd_status status;
};

struct client {
        const struct client_test *test;
        const char *url;
        struct shared *shared;
};

static objd_status connect_client(const struct client *client, struct objects *o)
{
        objd_conn *conn;
        objd_status r = objd_connect(client->url, &conn);

        return r == OBJD_OK ? open_objects(conn, o) : r;
}

static int be_client(void *context)
{
        const struct client *client = context;
        const struct client_test *test = client->test;
        struct objects o = { 0 };
        objd_status r = OBJD_OK;

        if (!test->connects)
                child_ok(connect_client(client, &o));
        if (test->prepare)
                child_ok(test->prepare(&o));
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        raise(SIGSTOP);
        client->shared->phase = PHASE_INSIDE;
        if (test->connects)
                r = connect_client(client, &o);
        client->shared->status = r == OBJD_OK ? test->call(&o) : r;
        client->shared->phase = PHASE_DONE;
        raise(SIGSTOP);
        return 1;
}

static void go_on(pid_t pid, enum __ptrace_request how)
{
        int status = 0;

        if (ptrace(how, pid, NULL, NULL) < 0 || waitpid(pid, &status, 0) != pid)
                fail_msg("the client cannot be stepped");
        if (!WIFSTOPPED(status))
                fail_msg("the client has come to its end");
}

/* One that has just begun its call. */
static pid_t start_client(struct client *client)
{
        pid_t pid;
        int status;

        *client->shared = (struct shared){ .phase = PHASE_BEFORE };
        pid = child_start(be_client, client);
        if (waitpid(pid, &status, 0) != pid || !WIFSTOPPED(status))
                fail_msg("the client has not come to its call");
        while (client->shared->phase == PHASE_BEFORE)
                go_on(pid, PTRACE_SINGLESTEP);
        return pid;
}

struct sweep {
        struct objects near;
        struct client client;
        uint64_t n_objects;
        uint64_t used; /* in an empty store */
};

/* ---- Its end -------------------------------------------------------------------------------------------- */

/* How many sessions there are; ends them, if they are to end. */
static size_t find_sessions(struct arena *arena, bool ends)
{
        uint64_t high = word_get(&arena->header->clients_high);
        size_t n = 0;

        for (uint32_t i = 1; i < high; i++) {
                struct client_shm *client = arena_client(arena, i);

                if (!half_get_acquire(&client->claimed) || !(word_get(&client->flags) & CLIENT_IS_SESSION))
                        continue;
                n++;
                if (ends)
                        session_end(arena, id_make(i, client->generation));
        }
        return n;
}

static uint64_t count_objects(objd_conn *conn)
{
        objd_stats stats;

        assert_ok(objd_stats_get(conn, &stats));
        return stats.n_objects;
}

/*
 * Whatever it asked for needs its session, so nothing more of that is done from here on. Only a hello that nobody has taken yet may
 * still come to be a session, and end.
 */
static bool is_over(void *context)
{
        const struct sweep *sweep = context;

        return find_sessions(sweep->near.conn->arena, strcmp(options.way, "ipc") == 0) == 0;
}

static bool nothing_is_left(void *context)
{
        const struct sweep *sweep = context;

        return is_over(context) && count_objects(sweep->near.conn) == sweep->n_objects;
}

static bool is_empty(void *context)
{
        const struct sweep *sweep = context;

        return is_over(context) && inside_used(sweep->near.conn) == sweep->used;
}

/* ---- Killing it ----------------------------------------------------------------------------------------- */

/* Kills it after n stops; false if its call was through by then. */
static bool kill_at(struct sweep *sweep, enum __ptrace_request how, uint64_t n)
{
        const struct client_test *test = sweep->client.test;
        const struct shared *shared = sweep->client.shared;
        bool answered;
        pid_t pid;

        reset(&sweep->near, test->n_items);
        pid = start_client(&sweep->client);
        for (uint64_t i = 0; i < n && shared->phase == PHASE_INSIDE; i++)
                go_on(pid, how);
        answered = shared->phase == PHASE_DONE;
        if (answered && shared->status)
                fail_msg("%s: %s", test->name, objd_strerror(shared->status));
        child_kill(pid);
        wait_until(is_over, sweep, "the client's session is over");
        test->expect(&sweep->near, answered);
        wait_until(nothing_is_left, sweep, "nothing is left of the client");
        total.kills++;
        total.kills_inside += !answered;
        return !answered;
}

static void kill_everywhere(struct sweep *sweep)
{
        uint64_t stride = options.way[0] == 'i' ? CALLS_STRIDE_IPC : CALLS_STRIDE_LOCAL, place = options.seed,
                 n;

        if (options.all)
                stride = 1;
        for (n = options.seed % stride; kill_at(sweep, PTRACE_SYSCALL, n);)
                n += stride;
        if (options.all) {
                for (n = options.seed % options.stride;
                     n < REACH_OF_ALL && kill_at(sweep, PTRACE_SINGLESTEP, n);)
                        n += options.stride;
                return;
        }
        for (int i = 0; i < PLACES_OF_SAMPLE; i++) {
                place = place * 6364136223846793005ULL + 1442695040888963407ULL;
                (void)kill_at(sweep, PTRACE_SINGLESTEP, (place >> 33) % REACH_OF_SAMPLE);
        }
}

static void close_objects(struct objects *o)
{
        objd_batch_free(o->batch);
        objd_release(o->dict);
        objd_release(o->other);
        objd_release(o->queue);
        objd_release(o->lock);
        objd_close(o->conn);
}

static void empty_the_store(const struct objects *o)
{
        static const char *const names[] = { "dict", "other", "queue", "lock" };

        for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
                assert_ok(objd_delete(o->conn, names[i]));
}

static void a_client_that_dies_leaves_its_change_whole_or_not_made(void **state)
{
        struct fixture *f = *state;
        char ipc[128], local[128];
        struct sweep sweep = { .client.url = options.way[0] == 'i' ? ipc : local };

        snprintf(ipc, sizeof(ipc), "ipc://%s/rpc", f->base);
        snprintf(local, sizeof(local), "local:%s/test", f->directory);
        fixture_start(f, (const char *[]){ "--rpc", ipc, NULL });
        sweep.client.shared = mmap(NULL, sizeof(*sweep.client.shared), PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_ptr_not_equal(sweep.client.shared, MAP_FAILED);
        sweep.near.conn = fixture_connect(f);
        sweep.used = inside_used(sweep.near.conn);
        assert_ok(open_objects(sweep.near.conn, &sweep.near));
        sweep.n_objects = count_objects(sweep.near.conn);
        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
                uint64_t kills = total.kills;

                sweep.client.test = &tests[i];
                kill_everywhere(&sweep);
                total.calls++;
                printf("%-24s killed %llu times\n", tests[i].name, (unsigned long long)(total.kills - kills));
        }
        inside_check(sweep.near.conn);
        empty_the_store(&sweep.near);
        wait_until(is_empty, &sweep, "the store has no more memory than an empty one");
        close_objects(&sweep.near);
        munmap(sweep.client.shared, sizeof(*sweep.client.shared));
}

/* ---- The program ---------------------------------------------------------------------------------------- */

static void read_options(int argc, char **argv)
{
        static const struct option names[] = {
                { "all", no_argument, NULL, 'a' },
                { "stride", required_argument, NULL, 's' },
                { "seed", required_argument, NULL, 'r' },
                { NULL, 0, NULL, 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", names, NULL)) >= 0) {
                if (c == 'a')
                        options.all = true;
                else if (c == 's' && strtoull(optarg, NULL, 0))
                        options.stride = strtoull(optarg, NULL, 0);
                else if (c == 'r')
                        options.seed = strtoull(optarg, NULL, 0);
                else
                        exit(2);
        }
        if (optind < argc)
                options.way = argv[optind];
        if (strcmp(options.way, "local") && strcmp(options.way, "ipc")) {
                fprintf(stderr, "usage: %s [local|ipc] [--all] [--stride N] [--seed N]\n", argv[0]);
                exit(2);
        }
}

int main(int argc, char **argv)
{
        const struct CMUnitTest suite[] = {
                FIXTURE_TEST(a_client_that_dies_leaves_its_change_whole_or_not_made),
        };
        int status;

        read_options(argc, argv);
        setvbuf(stdout, NULL, _IOLBF, 0);
        printf("by %s, seed %llu\n", options.way, (unsigned long long)options.seed);
        status = cmocka_run_group_tests(suite, NULL, NULL);
        printf("in all: %llu calls, their clients killed %llu times, %llu of them before the call was through\n",
               (unsigned long long)total.calls, (unsigned long long)total.kills,
               (unsigned long long)total.kills_inside);
        return status;
}
