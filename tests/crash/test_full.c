/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_full.c -- an arena without room, and a file system without room under an arena
 *
 * The call that needs what is not there says OBJD_E_NOMEM and has changed nothing; what gives memory back works, and gives
 * all of it back. A file system that is full shows at no other moment, as a SIGBUS would.
 */

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"
#include "support/inside.h"
#include "support/numbers.h"
#include "support/random.h"
#include "support/test.h"

#define KEY_SIZE 32
#define VALUE_MAX ((size_t)1 << 20)
#define N_PER_LARGE 1000
#define LARGE 900
#define LEFT_MAX ((uint64_t)1 << 20)

/* ---- Keys and values that can be told from one another ------------------------------------------------- */

static objd_value key_of(uint64_t n, char text[KEY_SIZE])
{
        snprintf(text, KEY_SIZE, "key-%012llu", (unsigned long long)n);
        return objd_cstr(text);
}

/* Most are short; one in sixteen has blocks of its own, and very few are so large that a reader takes long. */
static objd_value value_of(uint64_t n, uint8_t bytes[VALUE_MAX])
{
        size_t size = n % N_PER_LARGE == LARGE ? VALUE_MAX : n % 16 == 0 ? 70000 : 100;

        memset(bytes, (int)(n % 251), size);
        return objd_bytes(bytes, size);
}

static bool is_value_of(const objd_value *value, uint64_t n)
{
        static uint8_t bytes[VALUE_MAX];
        objd_value expected = value_of(n, bytes);

        return objd_value_equal(value, &expected);
}

/* ---- A small arena: each kind as something that can be filled ----------------------------------------- */

/* put adds item n after n - 1; take deletes item n, which is the first that is left. */
struct filler {
        objd_kind kind;
        objd_status (*put)(objd_object *object, uint64_t n);
        objd_status (*take)(objd_object *object, uint64_t n);
        objd_status (*len)(objd_object *object, uint64_t *ret_len);
        void (*check)(objd_object *object, uint64_t first,
                      uint64_t end); /* items first to end - 1 are there */
};

static objd_status dict_put(objd_object *dict, uint64_t n)
{
        static uint8_t bytes[VALUE_MAX];
        objd_value key, value = value_of(n, bytes);
        char text[KEY_SIZE];

        key = key_of(n, text);
        return objd_dict_set(dict, &key, &value);
}

static objd_status dict_take(objd_object *dict, uint64_t n)
{
        char text[KEY_SIZE];
        objd_value key = key_of(n, text);

        return objd_dict_del(dict, &key);
}

static void dict_check(objd_object *dict, uint64_t first, uint64_t end)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value key, value;
        bool found = true;
        char text[KEY_SIZE];

        for (uint64_t n = first; n < end; n++) {
                key = key_of(n, text);
                assert_ok(objd_dict_get(dict, &key, &value, &buf));
                assert_true(is_value_of(&value, n));
        }
        key = key_of(end, text);
        assert_ok(objd_dict_contains(dict, &key, &found));
        assert_false(found);
        objd_buf_free(&buf);
}

static objd_status list_put(objd_object *list, uint64_t n)
{
        static uint8_t bytes[VALUE_MAX];
        objd_value value = value_of(n, bytes);

        return objd_list_append(list, &value);
}

static objd_status list_take(objd_object *list, uint64_t n)
{
        (void)n;
        return objd_list_del(list, 0);
}

static void list_check(objd_object *list, uint64_t first, uint64_t end)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        for (uint64_t n = first; n < end; n++) {
                assert_ok(objd_list_get(list, (int64_t)(n - first), &value, &buf));
                assert_true(is_value_of(&value, n));
        }
        assert_status(objd_list_get(list, (int64_t)(end - first), &value, &buf), OBJD_E_RANGE);
        objd_buf_free(&buf);
}

static objd_status queue_put(objd_object *queue, uint64_t n)
{
        static uint8_t bytes[VALUE_MAX];
        objd_value value = value_of(n, bytes);

        return objd_queue_put(queue, &value, OBJD_NOWAIT);
}

static objd_status queue_take(objd_object *queue, uint64_t n)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        objd_status r = objd_queue_get(queue, &value, &buf, OBJD_NOWAIT);

        if (r == OBJD_OK)
                assert_true(is_value_of(&value, n));
        objd_buf_free(&buf);
        return r;
}

/* A queue shows its head; the others show when they are taken. */
static void queue_check(objd_object *queue, uint64_t first, uint64_t end)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;

        (void)end;
        assert_ok(objd_queue_peek(queue, &value, &buf));
        assert_true(is_value_of(&value, first));
        objd_buf_free(&buf);
}

static const struct filler fillers[] = {
        { OBJD_DICT, dict_put, dict_take, objd_dict_len, dict_check },
        { OBJD_LIST, list_put, list_take, objd_list_len, list_check },
        { OBJD_QUEUE, queue_put, queue_take, objd_queue_len, queue_check },
};

/* Puts items from n on until there is no room; gives the first that could not be put. */
static uint64_t fill_up(objd_conn *conn, const struct filler *filler, objd_object *object, uint64_t n)
{
        uint64_t used, before = 0, after = 0;
        objd_status r;

        do {
                used = inside_used(conn);
                assert_ok(filler->len(object, &before));
                r = filler->put(object, n++);
        } while (r == OBJD_OK);
        assert_status(r, OBJD_E_NOMEM);

        assert_ok(filler->len(object, &after));
        assert_int_equal(after, before);
        assert_int_equal(inside_used(conn), used);
        return n - 1;
}

static void empty(const struct filler *filler, objd_object *object, uint64_t first, uint64_t end)
{
        uint64_t len = 1;

        for (uint64_t n = first; n < end; n++)
                assert_ok(filler->take(object, n));
        assert_ok(filler->len(object, &len));
        assert_int_equal(len, 0);
}

static void fill_and_empty(objd_conn *conn, const struct filler *filler)
{
        objd_object *object = NULL;
        uint64_t end, first_end = 0;

        assert_ok(objd_create(conn, "object", filler->kind, NULL, &object));
        /* The first filling may leave the arena in larger pieces than it began with: a later one may go further. */
        for (int round = 0; round < 4; round++) {
                end = fill_up(conn, filler, object, 0);
                filler->check(object, 0, end);
                inside_check(conn);
                first_end = round ? first_end : end;
                assert_true(end >= first_end);

                /* Half of them go, the rest is whole; then all go. */
                for (uint64_t n = 0; n < end / 2; n++)
                        assert_ok(filler->take(object, n));
                filler->check(object, end / 2, end);
                empty(filler, object, end / 2, end);
        }
        assert_true(first_end > 100);
        assert_ok(objd_destroy(object));
        objd_release(object);
}

static void a_full_arena_changes_nothing_and_can_be_emptied(void **state)
{
        (void)state;
        for (size_t i = 0; i < sizeof(fillers) / sizeof(fillers[0]); i++) {
                objd_conn *conn = NULL;

                assert_ok(objd_connect("embedded:2M", &conn));
                fill_and_empty(conn, &fillers[i]);
                inside_check(conn);
                objd_close(conn);
        }
}

/* Makes named objects until there is no room, and gives how many. */
static uint64_t make_objects(objd_conn *conn)
{
        uint64_t n_objects = stats_of(conn).n_objects;
        objd_object *object = NULL;
        uint64_t n = 0;
        char name[KEY_SIZE];
        objd_status r;

        for (;; n++) {
                key_of(n, name);
                r = objd_create(conn, name, n % 2 ? OBJD_LOCK : OBJD_DICT, NULL, &object);
                if (r)
                        break;
                objd_release(object);
        }
        assert_status(r, OBJD_E_NOMEM);
        assert_int_equal(stats_of(conn).n_objects, n_objects + n);
        assert_status(objd_open(conn, name, OBJD_KIND_ANY, &object), OBJD_E_NOTFOUND);
        return n;
}

static void delete_objects(objd_conn *conn, uint64_t n)
{
        objd_object *object = NULL;
        char name[KEY_SIZE];

        for (uint64_t i = 0; i < n; i++) {
                key_of(i, name);
                assert_ok(objd_open(conn, name, i % 2 ? OBJD_LOCK : OBJD_DICT, &object));
                objd_release(object);
                assert_ok(objd_delete(conn, name));
        }
}

static void objects_can_be_made_until_the_arena_is_full(void **state)
{
        objd_conn *conn = NULL;
        uint64_t n_first = 0;

        (void)state;
        assert_ok(objd_connect("embedded:2M", &conn));
        for (int round = 0; round < 3; round++) {
                uint64_t n = make_objects(conn);

                inside_check(conn);
                n_first = round ? n_first : n;
                assert_true(n > 100);
                assert_true(n >= n_first);
                delete_objects(conn, n);
        }
        inside_check(conn);
        objd_close(conn);
}

/* ---- A file system that is full ---------------------------------------------------------------------- */

#define FILE_SYSTEM_SIZE ((uint64_t)12 << 20)

/* The fixture's store gets a file system of 12 MiB of its own, which nobody else sees. */
static int mount_setup(void **state)
{
        struct fixture *f = fixture_new();

        *state = f;
        if (geteuid() != 0)
                return 0;
        if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
            mkdir(f->directory, 0700) < 0 ||
            mount("tmpfs", f->directory, "tmpfs", 0, "size=12m,mode=700") < 0)
                fail_msg("%s: a tmpfs: %s", f->directory, strerror(errno));
        return 0;
}

static int mount_teardown(void **state)
{
        struct fixture *f = *state;

        if (f->pid)
                assert_int_equal(fixture_stop(f, SIGTERM), 0);
        if (geteuid() == 0 && umount2(f->directory, MNT_DETACH) < 0)
                fail_msg("%s: %s", f->directory, strerror(errno));
        return fixture_free(f);
}

static uint64_t resident(const struct fixture *f)
{
        struct stat st;
        char path[128];

        fixture_path(f, ".arena", path);
        if (stat(path, &st) < 0)
                fail_msg("%s: %s", path, strerror(errno));
        return (uint64_t)st.st_blocks * 512;
}

#define N_KEYS 4000
#define N_READERS 3
#define RUN_NS 3000000000LL

/* Sets all keys from first on, or stops when so many calls had no memory. Gives how many had none. */
static uint64_t set_keys(objd_object *dict, uint64_t first, uint64_t max_failed)
{
        uint64_t n_failed = 0;

        for (uint64_t i = 0; i < N_KEYS && n_failed < max_failed; i++) {
                objd_status r = dict_put(dict, (first + i) % N_KEYS);

                child_check(r == OBJD_OK || r == OBJD_E_NOMEM);
                n_failed += r == OBJD_E_NOMEM;
        }
        return n_failed;
}

struct party {
        const struct fixture *f;
        struct gate ready, go;
        uint64_t seed;
};

/* A process goes on for as long as this, and, on a machine that is slow, until it has done what it is there for. */
static bool goes_on(int64_t start_ns, bool is_done)
{
        int64_t ns = test_now_ns() - start_ns;

        return ns < RUN_NS || (!is_done && ns < PATIENCE_NS);
}

static objd_object *join(const struct party *party, objd_conn **ret_conn)
{
        objd_object *dict = NULL;

        child_ok(objd_connect(party->f->url, ret_conn));
        child_ok(objd_open(*ret_conn, "dict", OBJD_DICT, &dict));
        gate_open(&party->ready, 1);
        gate_wait(&party->go);
        return dict;
}

/* The large ones more often than their share: while one is read, it may well go, and its room be filled. */
static uint64_t choose_key(struct random *random)
{
        uint64_t n = random_below(random, N_KEYS);

        return random_below(random, 2) ? n : n - n % N_PER_LARGE + LARGE;
}

static int read_keys(void *context)
{
        const struct party *party = context;
        struct random random = { party->seed };
        objd_buf buf = OBJD_BUF_INIT;
        uint64_t n_found = 0, n_missed = 0;
        objd_value key, value;
        objd_object *dict;
        objd_conn *conn;
        int64_t start_ns;
        char text[KEY_SIZE];

        dict = join(party, &conn);
        start_ns = test_now_ns();
        while (goes_on(start_ns, n_found > 0 && n_missed > 0)) {
                uint64_t n = choose_key(&random);
                objd_status r;

                key = key_of(n, text);
                r = objd_dict_get(dict, &key, &value, &buf);
                child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND || r == OBJD_E_NOMEM);
                child_check(r != OBJD_OK || is_value_of(&value, n));
                n_found += r == OBJD_OK;
                n_missed += r == OBJD_E_NOTFOUND;
        }
        child_check(n_found > 0 && n_missed > 0);
        objd_buf_free(&buf);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

/*
 * What keys gave back is taken by another file for a moment: whoever then still looks at memory that the arena has given
 * up cannot have it again.
 */
static void take_room(int fd)
{
        static const uint8_t bytes[65536];

        while (write(fd, bytes, sizeof(bytes)) > 0)
                ;
        child_check(errno == ENOSPC);
        child_check(ftruncate(fd, 0) == 0 && lseek(fd, 0, SEEK_SET) == 0);
}

static int open_other_file(const struct fixture *f)
{
        char path[128];
        int fd;

        fixture_path(f, ".other", path);
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        child_check(fd >= 0);
        return fd;
}

/* Runs of keys go and come back, more of them than there is room for. */
static int churn_keys(void *context)
{
        const struct party *party = context;
        struct random random = { party->seed };
        uint64_t n_failed = 0, n_rounds = 0;
        objd_object *dict;
        objd_conn *conn;
        int fd = open_other_file(party->f);
        int64_t start_ns;

        dict = join(party, &conn);
        start_ns = test_now_ns();
        while (goes_on(start_ns, n_rounds > 1 && n_failed > 1)) {
                uint64_t last = choose_key(&random), n = 1 + random_below(&random, 64);

                for (uint64_t i = n; i-- > 0;) {
                        objd_status r = dict_take(dict, (last + N_KEYS - i) % N_KEYS);

                        child_check(r == OBJD_OK || r == OBJD_E_NOTFOUND);
                }
                take_room(fd);
                n_failed += set_keys(dict, random_below(&random, N_KEYS), 16);
                n_rounds++;
        }
        child_check(n_rounds > 1 && n_failed > 1);
        close(fd);
        objd_release(dict);
        objd_close(conn);
        return 0;
}

static objd_object *start_store(struct fixture *f, objd_conn **ret_conn)
{
        objd_object *dict;

        if (geteuid() != 0)
                skip();
        fixture_start(f, (const char *[]){ "--size", "64M", NULL });
        *ret_conn = fixture_connect(f);
        dict = inside_dict(*ret_conn, "dict");
        return dict;
}

static void delete_keys(objd_object *dict)
{
        uint64_t len = 1;

        for (uint64_t n = 0; n < N_KEYS; n++) {
                objd_status r = dict_take(dict, n);

                assert_true(r == OBJD_OK || r == OBJD_E_NOTFOUND);
        }
        assert_ok(objd_dict_len(dict, &len));
        assert_int_equal(len, 0);
}

static void assert_given_back(const struct fixture *f, uint64_t at_first)
{
        uint64_t now = resident(f);

        if (now > at_first + LEFT_MAX)
                fail_msg("%llu KiB stay behind", (unsigned long long)(now - at_first) / 1024);
}

static int connect_and_leave(void *context)
{
        const struct fixture *f = context;
        objd_object *object = NULL;
        objd_conn *conn = NULL;
        objd_status r;

        r = objd_connect(f->url, &conn);
        child_check(r == OBJD_OK || r == OBJD_E_NOMEM);
        if (r)
                return 0;
        r = objd_create(conn, NULL, OBJD_DICT, NULL, &object);
        child_check(r == OBJD_OK || r == OBJD_E_NOMEM);
        objd_release(object);
        objd_close(conn);
        return 0;
}

/* Every kind of call that takes memory, until none of them gets any. Gives how many objects were made. */
static uint64_t fill_file_system(objd_conn *conn, objd_object *dict, objd_object *list, objd_object *queue)
{
        assert_true(set_keys(dict, 0, N_KEYS) > 0);
        while (list_put(list, 1) == OBJD_OK)
                ;
        assert_status(list_put(list, 1), OBJD_E_NOMEM);
        assert_contains(objd_last_error(), "the file system has no");
        while (queue_put(queue, 1) == OBJD_OK)
                ;
        assert_status(queue_put(queue, 1), OBJD_E_NOMEM);
        return make_objects(conn);
}

static void empty_queue(objd_object *queue)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value value;
        objd_status r;

        do {
                r = objd_queue_get(queue, &value, &buf, OBJD_NOWAIT);
        } while (r == OBJD_OK);
        assert_status(r, OBJD_E_EMPTY);
        objd_buf_free(&buf);
}

static void a_full_file_system_is_a_status_and_all_of_it_comes_back(void **state)
{
        struct fixture *f = *state;
        objd_object *dict, *list = NULL, *queue = NULL;
        uint64_t at_first, n_objects;
        objd_conn *conn = NULL;

        dict = start_store(f, &conn);
        assert_ok(objd_create(conn, "list", OBJD_LIST, NULL, &list));
        assert_ok(objd_create(conn, "queue", OBJD_QUEUE, NULL, &queue));
        at_first = resident(f);

        n_objects = fill_file_system(conn, dict, list, queue);
        child_expect_success(child_start(connect_and_leave, f));
        fixture_check_runs(f);
        inside_check(conn);
        assert_true(resident(f) > FILE_SYSTEM_SIZE - LEFT_MAX);
        assert_true(stats_of(conn).arena_limit < LEFT_MAX);

        delete_objects(conn, n_objects);
        delete_keys(dict);
        assert_ok(objd_list_clear(list));
        empty_queue(queue);
        inside_check(conn);
        assert_given_back(f, at_first);
        assert_true(set_keys(dict, 0, N_KEYS) > 0);

        objd_release(queue);
        objd_release(list);
        objd_release(dict);
        objd_close(conn);
}

/* A reader that is stopped in the middle of a value is who finds out whether its memory goes before its time. */
static void stop_now_and_then(const pid_t *readers, int64_t end_ns)
{
        for (size_t i = 0; test_now_ns() < end_ns; i = (i + 1) % N_READERS) {
                kill(readers[i], SIGSTOP);
                poll(NULL, 0, 20);
                kill(readers[i], SIGCONT);
                poll(NULL, 0, 2);
        }
}

static void readers_of_a_full_file_system_see_no_sigbus(void **state)
{
        struct fixture *f = *state;
        struct party party = { .f = f, .seed = random_begin("test-full").state };
        pid_t pids[N_READERS + 1];
        objd_conn *conn = NULL;
        objd_object *dict = start_store(f, &conn);
        uint64_t at_first = resident(f);

        gate_init(&party.ready);
        gate_init(&party.go);
        for (size_t i = 0; i <= N_READERS; i++) {
                party.seed++;
                pids[i] = child_start(i < N_READERS ? read_keys : churn_keys, &party);
                gate_wait(&party.ready);
        }
        assert_true(set_keys(dict, 0, N_KEYS) > 0);
        gate_open(&party.go, N_READERS + 1);
        stop_now_and_then(pids, test_now_ns() + RUN_NS - RUN_NS / 10);
        for (size_t i = 0; i <= N_READERS; i++)
                child_expect_success(pids[i]);
        fixture_check_runs(f);

        inside_check(conn);
        delete_keys(dict);
        inside_check(conn);
        assert_given_back(f, at_first);

        gate_deinit(&party.go);
        gate_deinit(&party.ready);
        objd_release(dict);
        objd_close(conn);
}

#define MOUNT_TEST(name) cmocka_unit_test_setup_teardown(name, mount_setup, mount_teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_full_arena_changes_nothing_and_can_be_emptied),
                cmocka_unit_test(objects_can_be_made_until_the_arena_is_full),
                MOUNT_TEST(a_full_file_system_is_a_status_and_all_of_it_comes_back),
                MOUNT_TEST(readers_of_a_full_file_system_see_no_sigbus),
        };

        return cmocka_run_group_tests_name("full", tests, NULL, NULL);
}
