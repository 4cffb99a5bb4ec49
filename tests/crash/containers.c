/* SPDX-License-Identifier: Apache-2.0 */

/*
 * containers.c -- clients in PID, mount and user namespaces of their own, all of them process 1, on one arena
 *
 * Their pids, their threads' ids and their uids are equal, so whatever told clients apart by one of these would take one
 * for another: a holder, a waiter or a bystander is killed, and only what was the dead one's may move on. Skipped, with the reason,
 * where unshare() is not permitted.
 */

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/inside.h"
#include "support/test.h"

#define SECOND 1000000000LL

/* ---- Containers ------------------------------------------------------------------------------------------ */

struct container {
        pid_t outer; /* our child, which waits for the container's process and ends as it did */
        pid_t inner; /* the container's process 1, as we see it */
};

static bool write_file(const char *path, const char *text)
{
        int fd = open(path, O_WRONLY | O_CLOEXEC);
        bool written = fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);

        if (fd >= 0)
                close(fd);
        return written;
}

/* This process gets namespaces of its own, and its children will be process 1 and so on. Inside it is user 0. */
static bool enter_namespaces(void)
{
        unsigned uid = geteuid(), gid = getegid();
        char map[64];

        if (unshare(CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNS) < 0)
                return false;
        (void)write_file("/proc/self/setgroups",
                         "deny"); /* asked for by the kernel before a gid_map, of users */
        snprintf(map, sizeof(map), "0 %u 1", uid);
        if (!write_file("/proc/self/uid_map", map))
                return false;
        snprintf(map, sizeof(map), "0 %u 1", gid);
        return write_file("/proc/self/gid_map", map) &&
               mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0;
}

/* As process 1: a /proc that knows only this container. */
static int run_inside(int (*fn)(void *context), void *context)
{
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        child_check(getpid() == 1 && gettid() == 1 && geteuid() == 0);
        (void)mount("proc", "/proc", "proc", 0,
                    NULL); /* some hosts cover parts of theirs, and then do not permit it */
        return fn(context);
}

struct start {
        int (*fn)(void *context);
        void *context;
        int pid_pipe;
};

static int stand_outside(void *context)
{
        const struct start *start = context;
        int status;
        pid_t pid;

        child_check(enter_namespaces());
        pid = fork();
        if (pid == 0)
                _exit(run_inside(start->fn, start->context));
        child_check(pid > 0 && write(start->pid_pipe, &pid, sizeof(pid)) == sizeof(pid));
        child_check(waitpid(pid, &status, 0) == pid);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

static struct container container_start(int (*fn)(void *context), void *context)
{
        struct start start = { fn, context, -1 };
        struct container container;
        int fds[2];

        assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
        start.pid_pipe = fds[1];
        container.outer = child_start(stand_outside, &start);
        close(fds[1]);
        assert_int_equal(read(fds[0], &container.inner, sizeof(container.inner)), sizeof(container.inner));
        close(fds[0]);
        return container;
}

static void container_kill(const struct container *container)
{
        assert_int_equal(kill(container->inner, SIGKILL), 0);
        assert_int_equal(WEXITSTATUS(child_wait(container->outer)), 99);
}

static int try_namespaces(void *context)
{
        int *ret_error = context;

        *ret_error = enter_namespaces() ? 0 : errno;
        return 0;
}

/* Whether there can be containers; says why not. */
static bool are_permitted(void)
{
        int *error = mmap(NULL, sizeof(*error), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        int e;

        assert_true(error != MAP_FAILED);
        child_expect_success(child_start(try_namespaces, error));
        e = *error;
        munmap(error, sizeof(*error));
        if (e)
                printf("skipped: no namespaces for us: %s\n", strerror(e));
        return e == 0;
}

/* ---- Holder, waiter and bystander ------------------------------------------------------------------------ */

enum role { HOLDER, WAITER, BYSTANDER, N_ROLES };

struct scene {
        struct fixture *f;
        objd_conn *conn;      /* ours */
        objd_conn *inherited; /* of an embedded arena; NULL: each connects for itself */
        objd_object *wanted, *other, *queue;
        struct gate ready[N_ROLES], leave;
        objd_status expected; /* what the waiter gets */
        struct container container[N_ROLES];
};

static objd_conn *connect_inside(const struct scene *scene)
{
        objd_conn *conn = scene->inherited;

        if (!conn)
                child_ok(objd_connect(scene->f->url, &conn));
        return conn;
}

static objd_object *open_inside(objd_conn *conn, const char *name)
{
        objd_object *object = NULL;

        child_ok(objd_open(conn, name, OBJD_KIND_ANY, &object));
        return object;
}

static int hold(void *context)
{
        const struct scene *scene = context;
        objd_conn *conn = connect_inside(scene);
        objd_object *lock = open_inside(conn, "wanted");

        child_ok(objd_lock_take(lock, OBJD_NOWAIT, NULL));
        gate_open(&scene->ready[HOLDER], 1);
        gate_wait(&scene->leave);
        child_ok(objd_lock_give(lock));
        objd_release(lock);
        objd_close(conn);
        return 0;
}

static int wait_for_it(void *context)
{
        const struct scene *scene = context;
        objd_conn *conn = connect_inside(scene);
        objd_object *lock = open_inside(conn, "wanted");

        gate_open(&scene->ready[WAITER], 1);
        child_check(objd_lock_take(lock, PATIENCE_NS, NULL) == scene->expected);
        child_ok(objd_lock_give(lock));
        objd_release(lock);
        objd_close(conn);
        return 0;
}

static int stand_by(void *context)
{
        const struct scene *scene = context;
        objd_conn *conn = connect_inside(scene);
        objd_object *lock = open_inside(conn, "other"), *queue = open_inside(conn, "queue"), *anonymous;
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        uint64_t lease;

        child_ok(objd_lock_take(lock, OBJD_NOWAIT, NULL));
        child_ok(objd_queue_get_lease(queue, OBJD_FOREVER, &value, &buf, &lease, OBJD_NOWAIT));
        child_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &anonymous));
        gate_open(&scene->ready[BYSTANDER], 1);
        gate_wait(&scene->leave);
        child_ok(objd_lock_give(lock));
        child_ok(objd_queue_ack(queue, lease));
        objd_release(anonymous);
        objd_release(lock);
        objd_release(queue);
        objd_buf_free(&buf);
        objd_close(conn);
        return 0;
}

static void scene_begin(struct scene *scene, struct fixture *f, bool embedded, objd_status expected)
{
        int (*const play[N_ROLES])(void *) = { hold, wait_for_it, stand_by };
        objd_value item = objd_int(7);

        *scene = (struct scene){ .f = f, .expected = expected };
        if (embedded)
                assert_ok(objd_connect("embedded:16M", &scene->conn));
        else
                scene->conn = fixture_connect(f);
        scene->inherited = embedded ? scene->conn : NULL;
        assert_ok(objd_create(scene->conn, "wanted", OBJD_LOCK, NULL, &scene->wanted));
        assert_ok(objd_create(scene->conn, "other", OBJD_LOCK, NULL, &scene->other));
        assert_ok(objd_create(scene->conn, "queue", OBJD_QUEUE, NULL, &scene->queue));
        assert_ok(objd_queue_put(scene->queue, &item, OBJD_NOWAIT));
        gate_init(&scene->leave);
        for (enum role role = HOLDER; role < N_ROLES; role++) {
                gate_init(&scene->ready[role]);
                scene->container[role] = container_start(play[role], scene);
                gate_wait(&scene->ready[role]);
        }
}

/* The living end as they would have. */
static void scene_end(struct scene *scene, enum role dead)
{
        gate_open(&scene->leave, N_ROLES);
        for (enum role role = HOLDER; role < N_ROLES; role++) {
                if (role != dead)
                        child_expect_success(scene->container[role].outer);
                gate_deinit(&scene->ready[role]);
        }
        gate_deinit(&scene->leave);
        inside_check(scene->conn);
        assert_ok(objd_destroy(scene->wanted));
        assert_ok(objd_destroy(scene->other));
        assert_ok(objd_destroy(scene->queue));
        objd_release(scene->wanted);
        objd_release(scene->other);
        objd_release(scene->queue);
        objd_close(scene->conn);
}

static void expect_taken(objd_object *lock)
{
        /* More often than once, since whoever is asked for looks for the dead. */
        for (int i = 0; i < 20; i++, usleep(5000))
                assert_status(objd_lock_take(lock, OBJD_NOWAIT, NULL), OBJD_E_BUSY);
}

static void expect_leased(objd_object *queue, bool leased)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        assert_status(objd_queue_get(queue, &value, &buf, leased ? SECOND / 10 : PATIENCE_NS),
                      leased ? OBJD_E_TIMEOUT : OBJD_OK);
        objd_buf_free(&buf);
}

static void kill_holder(struct fixture *f, bool embedded)
{
        struct scene scene;

        scene_begin(&scene, f, embedded, OBJD_E_OWNER_DIED);
        container_kill(&scene.container[HOLDER]);
        child_expect_success(scene.container[WAITER].outer);
        expect_taken(scene.other);
        expect_leased(scene.queue, true);
        scene.container[WAITER] =
                container_start(wait_for_it, &(struct scene){ .f = f,
                                                              .inherited = scene.inherited,
                                                              .ready = { scene.ready[0], scene.ready[1] },
                                                              .expected = OBJD_OK });
        scene_end(&scene, HOLDER);
}

static void kill_waiter(struct fixture *f, bool embedded)
{
        struct scene scene;

        scene_begin(&scene, f, embedded, OBJD_OK);
        container_kill(&scene.container[WAITER]);
        expect_taken(scene.wanted);
        expect_taken(scene.other);
        expect_leased(scene.queue, true);
        scene_end(&scene, WAITER);
}

static void kill_bystander(struct fixture *f, bool embedded)
{
        struct scene scene;

        scene_begin(&scene, f, embedded, OBJD_OK);
        container_kill(&scene.container[BYSTANDER]);
        assert_status(objd_lock_take(scene.other, PATIENCE_NS, NULL), OBJD_E_OWNER_DIED);
        assert_ok(objd_lock_give(scene.other));
        expect_leased(scene.queue, false);
        expect_taken(scene.wanted);
        scene_end(&scene, BYSTANDER);
}

static void only_what_was_the_dead_ones_moves_on(void **state)
{
        struct fixture *f = *state;

        if (!are_permitted())
                skip();
        fixture_start(f, (const char *const[]){ "--size", "16M", NULL });
        for (int embedded = 0; embedded <= 1; embedded++) {
                kill_holder(f, embedded);
                kill_waiter(f, embedded);
                kill_bystander(f, embedded);
        }
}

/* ---- In the middle of changes ---------------------------------------------------------------------------- */

#define N_WORKERS 3

struct count {
        struct fixture *f;
        uint64_t *acknowledged; /* shared */
};

static int keep_adding(void *context)
{
        const struct count *count = context;
        objd_value key = objd_int(1), item = objd_int(1);
        objd_object *dict, *list;
        objd_conn *conn;

        child_ok(objd_connect(count->f->url, &conn));
        child_ok(objd_open(conn, "dict", OBJD_DICT, &dict));
        child_ok(objd_open(conn, "list", OBJD_LIST, &list));
        for (;;) {
                child_ok(objd_dict_add_int(dict, &key, 1, NULL));
                __atomic_add_fetch(count->acknowledged, 1, __ATOMIC_SEQ_CST);
                child_ok(objd_list_append(list, &item));
                child_ok(objd_list_del(list, 0));
        }
}

static uint64_t sum_of(objd_object *dict)
{
        objd_value key = objd_int(1), value;
        objd_buf buf = OBJD_BUF_INIT;

        assert_ok(objd_dict_get(dict, &key, &value, &buf));
        objd_buf_free(&buf);
        return (uint64_t)value.u.integer;
}

static void a_death_in_the_middle_of_a_change_stops_nobody_else(void **state)
{
        struct count count = { .f = *state };
        struct container worker[N_WORKERS];
        objd_object *dict, *list;
        unsigned n_deaths = 0;
        objd_conn *conn;
        uint64_t sum;

        if (!are_permitted())
                skip();
        count.acknowledged =
                mmap(NULL, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        fixture_start(count.f, (const char *const[]){ "--size", "16M", NULL });
        conn = fixture_connect(count.f);
        assert_ok(objd_create(conn, "dict", OBJD_DICT, NULL, &dict));
        assert_ok(objd_create(conn, "list", OBJD_LIST, NULL, &list));
        for (int i = 0; i < N_WORKERS; i++)
                worker[i] = container_start(keep_adding, &count);
        for (; n_deaths < 30; n_deaths++) {
                struct container *dying = &worker[n_deaths % N_WORKERS];
                uint64_t before = __atomic_load_n(count.acknowledged, __ATOMIC_SEQ_CST);

                /* Some work is done between two deaths, by those who live. */
                for (int64_t end = test_now_ns() + PATIENCE_NS;
                     __atomic_load_n(count.acknowledged, __ATOMIC_SEQ_CST) < before + 100;)
                        assert_true(test_now_ns() < end);
                container_kill(dying);
                *dying = container_start(keep_adding, &count);
        }
        for (int i = 0; i < N_WORKERS; i++, n_deaths++)
                container_kill(&worker[i]);
        sum = sum_of(dict);
        assert_true(sum >= *count.acknowledged && sum <= *count.acknowledged + n_deaths);
        inside_check(conn);
        objd_release(dict);
        objd_release(list);
        objd_close(conn);
        munmap(count.acknowledged, sizeof(uint64_t));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(only_what_was_the_dead_ones_moves_on),
                FIXTURE_TEST(a_death_in_the_middle_of_a_change_stops_nobody_else),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
