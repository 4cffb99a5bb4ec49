/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_load.c -- objctl load by every way: killed, or with its daemon killed, at moments that are waited for
 *
 * The loader reads a pipe, so it is where the test wants it: it has read so much and no more. In the middle of giving names it is held up
 * by somebody who has frozen what it needs.
 */

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena/life.h"
#include "arena/session.h"
#include "dumpload/dump.h"
#include "dumpload/objects.h"
#include "object/freeze.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/inside.h"
#include "support/test.h"
#include "support/way.h"

extern char **environ;

#define N_ITEMS 600

/* ---- The file ------------------------------------------------------------------------------------------- */

/* A list that refers to a dict without a name, and a queue; in that order. */
static struct {
        char *text;
        size_t size;
        size_t middle; /* of the list: more than one batch of its items is before it */
        size_t second; /* in the middle of the queue */
        size_t end;    /* all but the last line is before it */
} file;

static void fill(objd_conn *conn)
{
        objd_object *list, *dict, *queue;
        objd_value value, key = objd_cstr("inner");

        assert_ok(objd_create(conn, "a list", OBJD_LIST, NULL, &list));
        assert_ok(objd_create(conn, NULL, OBJD_DICT, NULL, &dict));
        assert_ok(objd_create(conn, "b queue", OBJD_QUEUE, NULL, &queue));
        value = objd_refer(objd_ref_of(dict));
        assert_ok(objd_list_append(list, &value));
        assert_ok(objd_dict_set(dict, &key, &key));
        for (int64_t i = 0; i < N_ITEMS; i++) {
                value = objd_int(i);
                assert_ok(objd_list_append(list, &value));
                assert_ok(objd_queue_put(queue, &value, OBJD_NOWAIT));
        }
        objd_release(list);
        objd_release(dict);
        objd_release(queue);
}

static char *dump_of(objd_conn *conn, size_t *ret_size)
{
        const struct dump_options options = { .atomic = false };
        struct dump_report report;
        char *text;
        FILE *f = open_memstream(&text, ret_size);

        assert_non_null(f);
        assert_ok(dump_write(conn, f, &options, &report));
        assert_int_equal(fclose(f), 0);
        return text;
}

static size_t behind(const char *text, size_t from)
{
        const char *at = strstr(file.text + from, text);

        assert_non_null(at);
        return (size_t)(at - file.text) + strlen(text);
}

static void make_file(objd_conn *conn)
{
        if (file.text)
                return;
        fill(conn);
        file.text = dump_of(conn, &file.size);
        file.middle = behind("\n[598]\n", 0);
        file.second = behind("\n[598]\n", file.middle);
        file.end = behind("{\"end\":3}\n", 0);
}

/* ---- The store ------------------------------------------------------------------------------------------ */

static objd_conn *near;

/* All but the dict of names. */
static size_t n_objects(void)
{
        objd_ref *refs;
        size_t n;

        assert_ok(objects_list(near, OBJD_KIND_ANY, &refs, &n));
        free(refs);
        return n;
}

static size_t n_empty;

static bool is_empty(void *context)
{
        (void)context;
        return inside_sessions(near, 0, true) == 0 && n_objects() == n_empty;
}

/* As if nothing had been heard of the dead for long enough, all that is theirs goes. */
static void expect_nothing_left(void)
{
        wait_until(is_empty, NULL, "nothing is left of the loader");
        inside_check(near);
}

static void empty_the_store(void)
{
        objd_object *object;
        objd_ref *refs;
        size_t n;

        assert_ok(objects_list(near, OBJD_KIND_ANY, &refs, &n));
        for (size_t i = 0; i < n; i++)
                if (objd_open_ref(near, refs[i], OBJD_KIND_ANY, &object) == OBJD_OK) {
                        (void)objd_destroy(object); /* the dict of names stays */
                        objd_release(object);
                }
        free(refs);
        expect_nothing_left();
}

static bool has_names(void *context)
{
        objd_info *infos;
        size_t n;

        (void)context;
        assert_ok(objd_list(near, NULL, &infos, &n));
        objd_infos_free(infos);
        return n == 2;
}

/* And nothing besides. */
static void expect_all_of_it(void)
{
        size_t size;
        char *text;

        wait_until(has_names, NULL, "what has been loaded has its names");
        text = dump_of(near, &size);
        assert_string_equal(text, file.text);
        free(text);
        empty_the_store();
}

/* The loader's, which has no name. */
static bool find(objd_kind kind, uint64_t len, objd_ref *ret_ref)
{
        objd_object *object;
        objd_info info;
        objd_ref *refs;
        bool found = false;
        size_t n;

        assert_ok(objects_list(near, kind, &refs, &n));
        for (size_t i = 0; i < n && !found; i++)
                if (objd_open_ref(near, refs[i], kind, &object) == OBJD_OK) {
                        found = objd_info_get(object, &info) == OBJD_OK && info.len == len;
                        if (found)
                                *ret_ref = refs[i];
                        objd_release(object);
                }
        free(refs);
        return found;
}

struct sought {
        objd_kind kind;
        uint64_t len;
        objd_ref ref;
};

static bool is_there(void *context)
{
        struct sought *sought = context;

        return find(sought->kind, sought->len, &sought->ref);
}

static objd_ref wait_for(objd_kind kind, uint64_t len)
{
        struct sought sought = { .kind = kind, .len = len };

        wait_until(is_there, &sought, "the loader has come so far");
        return sought.ref;
}

static bool is_any_client(bool (*fn)(const struct client_shm *client))
{
        uint64_t high = word_get(&near->arena->header->clients_high);

        for (uint32_t i = 1; i < high; i++) {
                const struct client_shm *client = arena_client(near->arena, i);

                if (half_get_acquire(&client->claimed) && fn(client))
                        return true;
        }
        return false;
}

/* Its list is there; what else the words say is of an entry's last owner. */
static bool has_bundle(const struct client_shm *client)
{
        objd_ref ref = { word_get(&client->bundle) & ~1ULL, word_get_acquire(&client->bundle_serial) };
        objd_object *list;

        if ((word_get(&client->flags) & CLIENT_IS_SESSION) || !ref.serial ||
            objd_open_ref(near, ref, OBJD_DICT, &list))
                return false;
        objd_release(list);
        return true;
}

static bool waits(const struct client_shm *client)
{
        return (word_get(&client->flags) & CLIENT_IS_SESSION) && word_get(&client->n_waiting);
}

static bool is_decided(void *context)
{
        (void)context;
        return is_any_client(has_bundle);
}

static bool is_held_up(void *context)
{
        (void)context;
        return is_any_client(waits);
}

/* ---- The loader ----------------------------------------------------------------------------------------- */

struct loader {
        pid_t pid;
        int in, out;
        size_t fed;
};

static const char *objctl_program(void)
{
        const char *path = getenv("OBJD_TEST_BIN_OBJCTL");

        return path ? path : "tools/objctl";
}

static void start_loader(struct loader *loader, const char *url)
{
        char *const args[] = { "objctl", "--url", (char *)(uintptr_t)url, "load", NULL };
        posix_spawn_file_actions_t actions;
        int in[2], out[2];

        assert_int_equal(pipe2(in, O_CLOEXEC), 0);
        assert_int_equal(pipe2(out, O_CLOEXEC), 0);
        assert_int_equal(posix_spawn_file_actions_init(&actions), 0);
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, in[0], 0), 0);
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out[1], 1), 0);
        assert_int_equal(posix_spawn_file_actions_adddup2(&actions, out[1], 2), 0);
        assert_int_equal(posix_spawn(&loader->pid, objctl_program(), &actions, NULL, args, environ), 0);
        (void)posix_spawn_file_actions_destroy(&actions);
        (void)close(in[0]);
        (void)close(out[1]);
        loader->in = in[1];
        loader->out = out[0];
        loader->fed = 0;
}

/* The file up to there. */
static void feed(struct loader *loader, size_t to)
{
        while (loader->fed < to) {
                ssize_t n = write(loader->in, file.text + loader->fed, to - loader->fed);

                assert_true(n > 0);
                loader->fed += (size_t)n;
        }
}

static void feed_all(struct loader *loader)
{
        feed(loader, file.size);
        (void)close(loader->in);
        loader->in = -1;
}

static void end_loader(struct loader *loader, int status, const char *says)
{
        char text[1024];
        size_t size = 0;
        ssize_t n;

        if (loader->in >= 0)
                (void)close(loader->in);
        while ((n = read(loader->out, text + size, sizeof(text) - 1 - size)) > 0)
                size += (size_t)n;
        text[size] = '\0';
        (void)close(loader->out);
        assert_contains(text, says);
        assert_int_equal(child_wait(loader->pid), status);
}

static void kill_loader(struct loader *loader)
{
        (void)kill(loader->pid, SIGKILL);
        end_loader(loader, SIGKILL, "");
}

/* ---- Who holds it up ------------------------------------------------------------------------------------ */

struct holder {
        const struct loader *loader;
        objd_ref ref;
        struct gate ready, end;
        pid_t pid;
};

static objd_status stand_still(struct lane *lane, struct objd_object *object, void *context)
{
        const struct holder *holder = context;

        (void)lane;
        (void)object;
        gate_open(&holder->ready, 1);
        gate_wait(&holder->end);
        return OBJD_OK;
}

static int hold(void *context)
{
        struct holder *holder = context;
        objd_conn *conn;

        (void)close(holder->loader->in); /* or the file would have no end */
        child_ok(objd_connect(way_daemon()->url, &conn));
        child_ok(freeze_one(conn, holder->ref, stand_still, holder));
        return 0;
}

static void start_holder(struct holder *holder, const struct loader *loader, objd_ref ref)
{
        holder->loader = loader;
        holder->ref = ref;
        gate_init(&holder->ready);
        gate_init(&holder->end);
        holder->pid = child_start(hold, holder);
        gate_wait(&holder->ready);
}

static void end_holder(struct holder *holder)
{
        gate_open(&holder->end, 1);
        child_expect_success(holder->pid);
        gate_deinit(&holder->ready);
        gate_deinit(&holder->end);
}

static objd_ref names(void)
{
        struct arena *arena = near->arena;
        const struct object_shm *object = arena_at(arena, arena->header->names, SLOT_SIZE);

        return (objd_ref){ arena->header->names, word_get(&object->line.serial) };
}

/* ---- Tests ---------------------------------------------------------------------------------------------- */

static void by_each_way(void (*fn)(const char *url), bool by_handle)
{
        const struct ways *ways = way_all();

        for (size_t i = by_handle ? 0 : 1; i < ways->n; i++) {
                print_message("by %s\n", ways->names[i]);
                fn(ways->urls[i]);
        }
}

static void load_it(const char *url)
{
        struct loader loader;

        start_loader(&loader, url);
        feed_all(&loader);
        end_loader(&loader, 0, "3 objects loaded\n");
        expect_all_of_it();
}

static void what_is_loaded_is_what_was_dumped(void **state)
{
        (void)state;
        by_each_way(load_it, true);
}

static void kill_in_the_first(const char *url)
{
        struct loader loader;

        start_loader(&loader, url);
        feed(&loader, file.middle);
        (void)wait_for(OBJD_LIST, 512);
        kill_loader(&loader);
        expect_nothing_left();
}

static void kill_in_the_second(const char *url)
{
        struct loader loader;

        start_loader(&loader, url);
        feed(&loader, file.second);
        (void)wait_for(OBJD_QUEUE, 512);
        (void)wait_for(OBJD_LIST, N_ITEMS + 1);
        kill_loader(&loader);
        expect_nothing_left();
}

/* All objects are there, and nothing has been said of their names. */
static void load_to_the_end(struct loader *loader, const char *url)
{
        start_loader(loader, url);
        feed(loader, file.end);
        (void)wait_for(OBJD_QUEUE, N_ITEMS);
}

static void kill_before_the_end(const char *url)
{
        struct loader loader;

        load_to_the_end(&loader, url);
        kill_loader(&loader);
        expect_nothing_left();
}

static void a_loader_that_is_killed_while_it_reads_leaves_nothing(void **state)
{
        (void)state;
        by_each_way(kill_in_the_first, true);
        by_each_way(kill_in_the_second, true);
        by_each_way(kill_before_the_end, true);
}

/* The file has been read, and the objects are about to be the daemon's, but for one that cannot be now. */
static void hold_up_before(struct loader *loader, struct holder *holder, const char *url)
{
        load_to_the_end(loader, url);
        start_holder(holder, loader, wait_for(OBJD_LIST, N_ITEMS + 1));
        feed_all(loader);
        wait_until(is_held_up, NULL, "the daemon waits for the holder");
}

static void kill_before_it_is_decided(const char *url)
{
        struct loader loader;
        struct holder holder;

        hold_up_before(&loader, &holder, url);
        kill_loader(&loader);
        (void)inside_sessions(near, 0, true);
        end_holder(&holder);
        expect_nothing_left();
}

static void a_loader_that_is_killed_before_it_is_decided_leaves_nothing(void **state)
{
        (void)state;
        by_each_way(kill_before_it_is_decided, false);
}

static void take_a_name_before_it_is_decided(const char *url)
{
        struct loader loader;
        struct holder holder;
        objd_object *other;

        hold_up_before(&loader, &holder, url);
        assert_ok(objd_create(near, "b queue", OBJD_LOCK, NULL, &other));
        end_loader(&loader, 1 << 8, "there is an object named \"b queue\" by now\n");
        end_holder(&holder);
        assert_ok(objd_destroy(other));
        objd_release(other);
        expect_nothing_left();
}

static void a_name_that_is_taken_meanwhile_is_said_and_nothing_loaded(void **state)
{
        (void)state;
        by_each_way(take_a_name_before_it_is_decided, false);
}

/* They have been decided to get their names, and cannot get them now. */
static void hold_up_after(struct loader *loader, struct holder *holder, const char *url)
{
        load_to_the_end(loader, url);
        start_holder(holder, loader, names());
        feed_all(loader);
        wait_until(is_decided, NULL, "it is decided");
}

static void kill_when_it_is_decided(const char *url)
{
        struct loader loader;
        struct holder holder;

        hold_up_after(&loader, &holder, url);
        kill_loader(&loader);
        (void)inside_sessions(near, 0, true);
        end_holder(&holder);
        expect_all_of_it();
}

static void a_loader_that_is_killed_when_it_is_decided_leaves_everything(void **state)
{
        (void)state;
        by_each_way(kill_when_it_is_decided, true);
}

static void next_daemon(void)
{
        (void)fixture_stop(way_daemon(), SIGKILL);
        way_start_again();
}

static void end_the_daemon_before(const char *url)
{
        struct loader loader;
        struct holder holder;

        hold_up_before(&loader, &holder, url);
        next_daemon();
        end_holder(&holder);
        end_loader(&loader, 0, "3 objects loaded\n");
        expect_all_of_it();
}

static void end_the_daemon_after(const char *url)
{
        struct loader loader;
        struct holder holder;

        hold_up_after(&loader, &holder, url);
        (void)fixture_stop(way_daemon(), SIGKILL);
        end_holder(&holder);
        way_start_again();
        end_loader(&loader, 0, "3 objects loaded\n");
        expect_all_of_it();
}

static void a_load_goes_on_with_the_next_daemon(void **state)
{
        (void)state;
        by_each_way(end_the_daemon_before, false);
        by_each_way(end_the_daemon_after, false);
}

/* ---- The program ---------------------------------------------------------------------------------------- */

static int set_up(void **state)
{
        int r = way_setup(state);

        near = fixture_connect(way_daemon());
        if (!file.text) {
                n_empty = n_objects();
                make_file(near);
                empty_the_store();
        }
        return r;
}

static int tear_down(void **state)
{
        objd_close(near);
        return way_teardown(state);
}

#define LOAD_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                /* First, for it kills the daemon, and with it what was counted of the lines that it has executed. */
                LOAD_TEST(a_load_goes_on_with_the_next_daemon),
                LOAD_TEST(what_is_loaded_is_what_was_dumped),
                LOAD_TEST(a_loader_that_is_killed_while_it_reads_leaves_nothing),
                LOAD_TEST(a_loader_that_is_killed_before_it_is_decided_leaves_nothing),
                LOAD_TEST(a_name_that_is_taken_meanwhile_is_said_and_nothing_loaded),
                LOAD_TEST(a_loader_that_is_killed_when_it_is_decided_leaves_everything),
        };
        int r = way_run(argc, argv, tests);

        free(file.text);
        return r;
}
