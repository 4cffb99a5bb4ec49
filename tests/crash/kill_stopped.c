/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kill_stopped.c -- who is dead and who is not: the stopped, the zombies, processes without a main thread, and those who owe a wake
 *
 * With an argument, the holder is stopped for so many seconds instead of 2.
 */

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/sys.h"
#include "object/check.h"
#include "object/object.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/test.h"

static int64_t stopped_ns = 2000000000LL;

#define PROMISED_NS 100000000LL /* how soon what the dead held is to be had */
#define TRIES 100               /* a machine with other things to do may take longer, but not each time */

/* ---- A process that is stopped inside a call ------------------------------------------------------------- */

struct stopped {
        struct fixture *fixture;
        const char *name;
        objd_kind kind;
        objd_status (*call)(objd_object *object);
        pid_t pid;
};

static objd_status set_in_dict(objd_object *dict)
{
        objd_value key = objd_int(1), value = objd_cstr("from who was stopped");

        return objd_dict_set(dict, &key, &value);
}

static objd_status put_in_queue(objd_object *queue)
{
        objd_value value = objd_int(1);

        return objd_queue_put(queue, &value, OBJD_NOWAIT);
}

static int be_traced(void *context)
{
        struct stopped *s = context;
        objd_conn *conn;
        objd_object *object;

        child_ok(objd_connect(s->fixture->url, &conn));
        child_ok(objd_open(conn, s->name, s->kind, &object));
        /* The lane is claimed before instructions count. */
        child_ok(objd_info_get(object, &(objd_info){ 0 }));
        child_check(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
        raise(SIGSTOP);
        child_ok(s->call(object));
        objd_release(object);
        objd_close(conn);
        return 0;
}

static void start_traced(struct stopped *s)
{
        int status;

        s->pid = child_start(be_traced, s);
        assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
        assert_true(WIFSTOPPED(status));
}

/* One instruction; false if it has ended. */
static bool step(const struct stopped *s)
{
        int status;

        assert_int_equal(ptrace(PTRACE_SINGLESTEP, s->pid, NULL, NULL), 0);
        assert_int_equal(waitpid(s->pid, &status, 0), s->pid);
        return WIFSTOPPED(status);
}

/* Lets the process run until it holds the object's lock and has begun, and stops it there, as kill -STOP does. */
static void stop_inside(struct stopped *s, const objd_object *object)
{
        int status;

        start_traced(s);
        while (!(word_get(&object->shm->line.word) & LOCK_WRITING))
                assert_true(step(s));
        assert_int_equal(ptrace(PTRACE_DETACH, s->pid, NULL, SIGSTOP), 0);
        do {
                assert_int_equal(waitpid(s->pid, &status, WUNTRACED), s->pid);
        } while (!WIFSTOPPED(status));
        assert_true(word_get(&object->shm->line.word) & LOCK_WRITING);
}

static objd_object *make(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object;

        assert_ok(objd_open_or_create(conn, name, kind, NULL, &object));
        return object;
}

static void print_fault(void *context, const char *object, const char *sentence)
{
        (void)context;
        fprintf(stderr, "%s: %s\n", object, sentence);
}

static void check_store(objd_conn *conn)
{
        uint64_t n = 0;

        assert_ok(check_arena(conn, print_fault, NULL, &n));
        assert_int_equal(n, 0);
}

/* ---- The stopped ---------------------------------------------------------------------------------------- */

static int wait_for_it(void *context)
{
        struct stopped *s = context;
        objd_value key = objd_int(2), value = objd_int(2);
        objd_conn *conn;
        objd_object *object;

        child_ok(objd_connect(s->fixture->url, &conn));
        child_ok(objd_set_timeout(conn, OBJD_FOREVER));
        child_ok(objd_open(conn, s->name, s->kind, &object));
        child_ok(objd_dict_set(object, &key, &value));
        objd_release(object);
        objd_close(conn);
        return 0;
}

struct says {
        struct fixture *fixture;
        char holder[128], waiter[128];
};

static bool objctl_says(void *context)
{
        const struct says *says = context;
        const char *program = getenv("OBJD_TEST_BIN_OBJCTL");
        char command[512], output[4096];
        size_t n;
        FILE *f;

        snprintf(command, sizeof(command), "exec %s --url %s locks 2>&1", program ? program : "tools/objctl",
                 says->fixture->url);
        f = popen(command, "re");
        assert_non_null(f);
        n = fread(output, 1, sizeof(output) - 1, f);
        output[n] = '\0';
        (void)pclose(f);
        return strstr(output, says->holder) && strstr(output, says->waiter);
}

static void a_stopped_holder_keeps_what_it_holds(void **state)
{
        struct fixture *f = *state;
        struct stopped s = { .fixture = f, .name = "held", .kind = OBJD_DICT, .call = set_in_dict };
        objd_value key = objd_int(1), value = objd_int(1), other = objd_int(2);
        objd_buf buf = OBJD_BUF_INIT;
        objd_object *held, *others;
        struct says says = { .fixture = f };
        uint64_t word;
        objd_conn *conn;
        pid_t waiter;
        int64_t end_ns;
        char name[64];

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        held = make(conn, "held", OBJD_DICT);
        others = make(conn, "others", OBJD_DICT);
        assert_ok(objd_dict_set(held, &other, &value));
        stop_inside(&s, held);
        word = word_get(&held->shm->line.word);

        /* Whoever waits for it finds out for whom; and so does everybody else. */
        waiter = child_start(wait_for_it, &s);
        snprintf(says.holder, sizeof(says.holder), "line of held: locked by process %d ", (int)s.pid);
        snprintf(says.waiter, sizeof(says.waiter), "; waiting: process %d\n", (int)waiter);
        wait_until(objctl_says, &says, "objctl locks says who holds it and who waits");
        snprintf(name, sizeof(name), "process %d ", (int)s.pid);
        assert_ok(objd_set_timeout(conn, 100000000));
        for (end_ns = test_now_ns() + stopped_ns; test_now_ns() < end_ns;) {
                assert_ok(objd_dict_set(others, &key, &value));
                assert_ok(objd_dict_get(others, &key, &value, &buf));
                assert_status(objd_dict_set(held, &key, &value), OBJD_E_BUSY);
                assert_contains(objd_last_error(), name);
                assert_status(objd_dict_get(held, &key, &value, &buf), OBJD_E_BUSY);
                assert_int_equal(word_get(&held->shm->line.word) & ~LOCK_WAITERS, word & ~LOCK_WAITERS);
        }

        /* Nobody has robbed it: it goes on as if nothing had been. */
        assert_int_equal(kill(s.pid, SIGCONT), 0);
        child_expect_success(s.pid);
        child_expect_success(waiter);
        assert_ok(objd_dict_get(held, &key, &value, &buf));
        assert_int_equal(value.size, strlen("from who was stopped"));
        assert_ok(objd_dict_get(held, &other, &value, &buf));
        assert_int_equal(value.u.integer, 2);
        check_store(conn);
        objd_buf_free(&buf);
        objd_release(held);
        objd_release(others);
        objd_close(conn);
}

/* ---- The dead ------------------------------------------------------------------------------------------- */

static void a_zombie_is_dead(void **state)
{
        struct fixture *f = *state;
        struct stopped s = { .fixture = f, .name = "held", .kind = OBJD_DICT, .call = set_in_dict };
        objd_value key = objd_int(1), value = objd_int(1);
        int64_t best_ns = INT64_MAX;
        objd_object *held;
        objd_conn *conn;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        held = make(conn, "held", OBJD_DICT);
        for (int i = 0; i < TRIES && best_ns > PROMISED_NS; i++) {
                siginfo_t info;
                int64_t start_ns;

                stop_inside(&s, held);
                assert_int_equal(kill(s.pid, SIGKILL), 0);
                /* It is dead, and its parent has not asked yet. */
                assert_int_equal(waitid(P_PID, (id_t)s.pid, &info, WEXITED | WNOWAIT), 0);
                start_ns = test_now_ns();
                assert_ok(objd_dict_set(held, &key, &value));
                if (test_now_ns() - start_ns < best_ns)
                        best_ns = test_now_ns() - start_ns;
                assert_int_equal(waitpid(s.pid, NULL, 0), s.pid);
        }
        assert_true(best_ns < PROMISED_NS);
        check_store(conn);
        objd_release(held);
        objd_close(conn);
}

/* ---- A process without its main thread ------------------------------------------------------------------ */

struct halves {
        struct fixture *fixture;
        struct gate taken;
        objd_ref *anonymous; /* shared */
};

static void *hold_lock(void *context)
{
        struct halves *h = context;
        objd_conn *conn;
        objd_object *lock, *anonymous;

        child_ok(objd_connect(h->fixture->url, &conn));
        child_ok(objd_open(conn, "lock", OBJD_LOCK, &lock));
        child_ok(objd_lock_take(lock, OBJD_NOWAIT, NULL));
        child_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &anonymous));
        *h->anonymous = objd_ref_of(anonymous);
        gate_open(&h->taken, 1);
        for (;;)
                pause();
        return NULL;
}

static int be_without_main_thread(void *context)
{
        pthread_t thread;

        child_check(pthread_create(&thread, NULL, hold_lock, context) == 0);
        pthread_exit(NULL);
}

/* The main thread is a zombie as long as there are others. */
static bool has_no_main_thread(void *context)
{
        char path[64], state = 0;
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/stat", *(int *)context);
        file = fopen(path, "re");
        if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
                state = 0;
        if (file)
                fclose(file);
        return state == 'Z';
}

static void a_process_whose_main_thread_has_left_is_alive(void **state)
{
        struct fixture *f = *state;
        struct halves h = { .fixture = f };
        objd_object *lock, *anonymous;
        objd_conn *conn;
        pid_t pid;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        lock = make(conn, "lock", OBJD_LOCK);
        gate_init(&h.taken);
        h.anonymous =
                mmap(NULL, sizeof(*h.anonymous), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(h.anonymous != MAP_FAILED);
        pid = child_start(be_without_main_thread, &h);
        gate_wait(&h.taken);
        wait_until(has_no_main_thread, &(int){ pid }, "the main thread leaves");

        for (int i = 0; i < 10; i++) {
                assert_status(objd_lock_take(lock, 50000000, NULL), OBJD_E_TIMEOUT);
                check_store(conn); /* looks for the dead, too */
        }
        assert_ok(objd_open_ref(conn, *h.anonymous, OBJD_DICT, &anonymous));

        child_kill(pid);
        assert_status(objd_lock_take(lock, PATIENCE_NS, NULL), OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(lock));
        check_store(conn);
        assert_status(objd_dict_clear(anonymous), OBJD_E_GONE);
        objd_release(anonymous);
        objd_release(lock);
        objd_close(conn);
        gate_deinit(&h.taken);
        munmap(h.anonymous, sizeof(*h.anonymous));
}

/* ---- Those who owe a wake ------------------------------------------------------------------------------- */

struct getter {
        struct fixture *fixture;
};

static int get_one(void *context)
{
        struct getter *g = context;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        objd_conn *conn;
        objd_object *queue;

        child_ok(objd_connect(g->fixture->url, &conn));
        child_ok(objd_open(conn, "queue", OBJD_QUEUE, &queue));
        child_ok(objd_queue_get(queue, &value, &buf, PATIENCE_NS));
        objd_buf_free(&buf);
        objd_release(queue);
        objd_close(conn);
        return 0;
}

/* Whether the process sleeps in the futex call; it goes back there after each slice. */
static bool sleeps(void *context)
{
        char path[64], text[256] = "";
        FILE *file;

        snprintf(path, sizeof(path), "/proc/%d/syscall", *(int *)context);
        file = fopen(path, "re");
        if (file && !fgets(text, sizeof(text), file))
                text[0] = 0;
        if (file)
                fclose(file);
        return strtol(text, NULL, 10) == 202; /* futex on x86-64 */
}

static pid_t start_getter(struct getter *g)
{
        pid_t pid = child_start(get_one, g);

#if defined(__x86_64__)
        wait_until(sleeps, &(int){ pid }, "the getter falls asleep");
#else
        usleep(200000);
        (void)sleeps;
#endif
        return pid;
}

enum put_end {
        PUT_DIED,    /* the item was there, the call was not through */
        PUT_THROUGH, /* it was through before those steps were made */
        PUT_UNSEEN, /* the getter, which looks around between its sleeps, had the item before it was seen here */
};

/* The putter dies `steps` instructions after its item is there. */
static enum put_end put_and_die(struct stopped *s, objd_object *queue, int steps)
{
        uint64_t len = 0;
        bool alive = true;

        start_traced(s);
        while (alive && !len) {
                objd_status r;

                alive = step(s);
                r = objd_queue_len(queue, &len); /* of a queue that it is changing, it is not known */
                assert_true(r == OBJD_OK || r == OBJD_E_BUSY);
        }
        for (int i = 0; i < steps && alive; i++)
                alive = step(s);
        if (alive) {
                kill(s->pid, SIGKILL);
                assert_int_equal(waitpid(s->pid, NULL, 0), s->pid);
                return PUT_DIED;
        }
        return len ? PUT_THROUGH : PUT_UNSEEN;
}

static void a_putter_that_dies_before_its_wake_keeps_nobody_asleep(void **state)
{
        struct fixture *f = *state;
        struct stopped s = { .fixture = f, .name = "queue", .kind = OBJD_QUEUE, .call = put_in_queue };
        struct getter g = { .fixture = f };
        objd_object *queue;
        objd_conn *conn;
        enum put_end end = PUT_DIED;
        int n_died = 0;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        queue = make(conn, "queue", OBJD_QUEUE);
        assert_ok(objd_set_timeout(conn, OBJD_NOWAIT));
        for (int i = 0; i < TRIES && (end != PUT_THROUGH || n_died <= 3) && n_died < 12; i++) {
                pid_t getter = start_getter(&g);

                end = put_and_die(&s, queue, n_died * 9);
                child_expect_success(getter);
                n_died += end == PUT_DIED;
        }
        assert_ok(objd_set_timeout(conn, PATIENCE_NS));
        check_store(conn);
        assert_true(n_died > 3);
        objd_release(queue);
        objd_close(conn);
}

static long (*true_futex)(const uint32_t *word, int op, uint32_t value, const int64_t *timeout_ns);
static int n_wakes;

static long count_wakes(const uint32_t *word, int op, uint32_t value, const int64_t *timeout_ns)
{
        n_wakes += op == FUTEX_WAKE;
        return true_futex(word, op, value, timeout_ns);
}

/* Every sleep ends by itself after a while, so that a wake that is missing shows in nothing but time: wakes are counted. */
static void a_put_wakes_who_sleeps(void **state)
{
        struct fixture *f = *state;
        struct getter g = { .fixture = f };
        objd_object *queue;
        objd_conn *conn;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        queue = make(conn, "queue", OBJD_QUEUE);
        true_futex = sys.futex;
        sys.futex = count_wakes;
        n_wakes = 0;
        /* The getter looks around between two sleeps: a put may come just then. */
        for (int i = 0; i < TRIES && !n_wakes; i++) {
                pid_t getter = start_getter(&g);

                assert_ok(put_in_queue(queue));
                child_expect_success(getter);
        }
        sys.futex = true_futex;
        assert_true(n_wakes > 0);
        objd_release(queue);
        objd_close(conn);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_stopped_holder_keeps_what_it_holds),
                FIXTURE_TEST(a_zombie_is_dead),
                FIXTURE_TEST(a_process_whose_main_thread_has_left_is_alive),
                FIXTURE_TEST(a_putter_that_dies_before_its_wake_keeps_nobody_asleep),
                FIXTURE_TEST(a_put_wakes_who_sleeps),
        };

        if (argc > 1)
                stopped_ns = strtoll(argv[1], NULL, 10) * 1000000000LL;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
