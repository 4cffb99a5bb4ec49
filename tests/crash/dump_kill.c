/* SPDX-License-Identifier: Apache-2.0 */

/*
 * dump_kill.c -- dumps while others write, and the deaths of those who dump and load
 *
 * Writers move amounts about, so that what a dump must find is a sum: within one dict for any dump, over two dicts for an atomic
 * one. A dumper that is killed with everything frozen must leave nothing frozen; a loader that is killed, whole
 * objects only.
 *
 * usage: dump-kill [ROUNDS]     default 12; the seed is printed, and taken from $OBJD_TEST_SEED
 */

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dumpload/dump.h"
#include "dumpload/load.h"
#include "object/freeze.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/random.h"
#include "support/test.h"

static int rounds = 12;

/* ---- Amounts that move -------------------------------------------------------------------------------- */

#define KEYS 1500 /* enough for a dict in shards */
#define AMOUNT 1000

struct bank {
        objd_conn *conn;
        objd_object *alone, *left, *right, *things;
        struct random random;
};

static objd_object *open_object(objd_conn *conn, const char *name, objd_kind kind)
{
        objd_object *object = NULL;

        child_ok(objd_open_or_create(conn, name, kind, NULL, &object));
        return object;
}

static struct bank open_bank(objd_conn *conn, uint64_t seed)
{
        return (struct bank){ .conn = conn,
                              .alone = open_object(conn, "alone", OBJD_DICT),
                              .left = open_object(conn, "left", OBJD_DICT),
                              .right = open_object(conn, "right", OBJD_DICT),
                              .things = open_object(conn, "things", OBJD_LIST),
                              .random = { seed } };
}

static void close_bank(struct bank *bank)
{
        objd_release(bank->alone);
        objd_release(bank->left);
        objd_release(bank->right);
        objd_release(bank->things);
}

static void fill(objd_object *dict)
{
        for (int64_t i = 0; i < KEYS; i++) {
                objd_value key = objd_int(i), value = objd_int(AMOUNT);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
}

static void move(struct bank *bank, objd_object *from, objd_object *to, int64_t n_keys)
{
        objd_value a = objd_int((int64_t)random_below(&bank->random, (uint64_t)n_keys));
        objd_value b = objd_int((int64_t)random_below(&bank->random, (uint64_t)n_keys));
        int64_t amount = (int64_t)random_below(&bank->random, 100);
        objd_batch *batch;

        child_ok(objd_batch_new(bank->conn, &batch));
        child_ok(objd_batch_dict_add_int(batch, from, &a, -amount));
        child_ok(objd_batch_dict_add_int(batch, to, &b, amount));
        child_ok(objd_batch_commit(batch, NULL));
        objd_batch_free(batch);
}

static int mover(void *context)
{
        struct bank bank = open_bank(context, (uint64_t)getpid());

        for (;;) {
                move(&bank, bank.alone, bank.alone, KEYS);
                move(&bank, bank.left, bank.right, KEYS);
                move(&bank, bank.right, bank.left, KEYS);
        }
        return 0;
}

/*
 * Makes objects without names, which have their sum before anybody can find them, refers to them, moves amounts in them, and
 * lets them go again.
 */
static int maker(void *context)
{
        struct bank bank = open_bank(context, (uint64_t)getpid());

        for (;;) {
                objd_object *thing;
                objd_value ref;

                child_ok(objd_create(bank.conn, NULL, OBJD_DICT, NULL, &thing));
                for (int64_t i = 0; i < 4; i++) {
                        objd_value key = objd_int(i), value = objd_int(AMOUNT);

                        child_ok(objd_dict_set(thing, &key, &value));
                }
                ref = objd_refer(objd_ref_of(thing));
                child_ok(objd_list_append(bank.things, &ref));
                for (int i = 0; i < 50; i++)
                        move(&bank, thing, thing, 4);
                child_ok(objd_list_remove(bank.things, &ref));
                child_ok(objd_destroy(thing));
                objd_release(thing);
        }
        return 0;
}

/* ---- Sums in a dump ----------------------------------------------------------------------------------- */

struct sums {
        int64_t alone, left, right;
        uint64_t things, wrong_things;
};

static FILE *dump(objd_conn *conn, bool atomic)
{
        struct dump_options options = { .atomic = atomic };
        struct dump_report report;
        FILE *f = tmpfile();

        assert_non_null(f);
        assert_ok(dump_write(conn, f, &options, &report));
        assert_int_equal(report.n_damaged, 0);
        rewind(f);
        return f;
}

static void add_sum(struct sums *sums, const char *head, int64_t sum)
{
        if (strstr(head, "\"name\":\"alone\"")) {
                sums->alone = sum;
        } else if (strstr(head, "\"name\":\"left\"")) {
                sums->left = sum;
        } else if (strstr(head, "\"name\":\"right\"")) {
                sums->right = sum;
        } else if (!strstr(head, "\"name\":") && strstr(head, "\"kind\":\"dict\"")) {
                sums->things++;
                sums->wrong_things += sum != 4 * AMOUNT;
        }
}

static struct sums sums_of(objd_conn *conn, bool atomic)
{
        FILE *f = dump(conn, atomic);
        struct sums sums = { 0 };
        char line[4096], head[4096] = "";
        int64_t sum = 0, amount;

        while (fgets(line, sizeof(line), f)) {
                if (strncmp(line, "{\"object\"", 9) == 0) {
                        strcpy(head, line);
                        sum = 0;
                } else if (sscanf(line, "[%*d,%" SCNd64 "]", &amount) == 1) {
                        sum += amount;
                } else if (strncmp(line, "{\"end\"", 6) == 0) {
                        add_sum(&sums, head, sum);
                }
        }
        (void)fclose(f);
        return sums;
}

static void each_object_is_as_of_one_moment_and_with_atomic_all_are(void **state)
{
        struct bank bank = open_bank(*state, 1);
        uint64_t n_things = 0;
        pid_t pids[3];

        fill(bank.alone);
        fill(bank.left);
        fill(bank.right);
        pids[0] = child_start(mover, bank.conn);
        pids[1] = child_start(mover, bank.conn);
        pids[2] = child_start(maker, bank.conn);
        for (int i = 0; i < rounds; i++) {
                struct sums one_by_one = sums_of(bank.conn, false), atomic = sums_of(bank.conn, true);

                assert_int_equal(one_by_one.alone, KEYS * AMOUNT);
                assert_int_equal(atomic.alone, KEYS * AMOUNT);
                assert_int_equal(atomic.left + atomic.right, 2 * KEYS * AMOUNT);
                /* One that is on its way is found with all of its amounts, whoever has just made it. */
                assert_int_equal(atomic.wrong_things, 0);
                assert_int_equal(one_by_one.wrong_things, 0);
                n_things += atomic.things;
        }
        print_message("%" PRIu64 " objects without names were met in %d dumps\n", n_things, rounds);
        for (int i = 0; i < 3; i++)
                child_kill(pids[i]);
        close_bank(&bank);
}

/* ---- The dumper's death ------------------------------------------------------------------------------- */

static objd_status die(struct lane *lane, struct objd_object *object, void *context)
{
        (void)lane;
        (void)object;
        (void)context;
        (void)raise(SIGKILL);
        return OBJD_OK;
}

static int die_with_everything_frozen(void *context)
{
        return freeze_all(context, die, NULL) != OBJD_OK;
}

static int die_with_one_frozen(void *context)
{
        objd_object *dict = open_object(context, "alone", OBJD_DICT);

        return freeze_one(context, objd_ref_of(dict), die, NULL) != OBJD_OK;
}

/* All that a freeze stops: entries, names, new objects. */
static void everything_can_be_changed(struct bank *bank)
{
        objd_object *object;

        move(bank, bank->alone, bank->left, KEYS);
        move(bank, bank->right, bank->left, KEYS);
        assert_ok(objd_create(bank->conn, "new", OBJD_QUEUE, NULL, &object));
        assert_ok(objd_destroy(object));
        objd_release(object);
}

static void who_dies_with_objects_frozen_leaves_none_frozen(void **state)
{
        struct bank bank = open_bank(*state, 2);
        int (*const ways[])(void *context) = { die_with_everything_frozen, die_with_one_frozen };

        fill(bank.alone);
        fill(bank.left);
        fill(bank.right);
        for (int i = 0; i < 4; i++) {
                int status = child_wait(child_start(ways[i % 2], bank.conn));

                assert_true(WIFSIGNALED(status));
                if (i < 2)
                        everything_can_be_changed(&bank);
                inside_check(bank.conn);
                everything_can_be_changed(&bank);
        }
        close_bank(&bank);
}

static int dump_again_and_again(void *context)
{
        struct dump_options options = { .atomic = true };
        struct dump_report report;

        for (;;) {
                FILE *f = tmpfile();

                child_check(f != NULL);
                child_ok(dump_write(context, f, &options, &report));
                (void)fclose(f);
        }
        return 0;
}

static void sleep_a_while(struct random *random)
{
        const struct timespec ts = { .tv_nsec = (long)random_below(random, 8000000) };

        (void)nanosleep(&ts, NULL);
}

static void a_dumper_may_die_at_any_moment(void **state)
{
        struct random random = random_begin("dump-kill");
        struct bank bank = open_bank(*state, 3);

        fill(bank.alone);
        fill(bank.left);
        fill(bank.right);
        for (int i = 0; i < rounds; i++) {
                pid_t pid = child_start(dump_again_and_again, bank.conn);

                sleep_a_while(&random);
                child_kill(pid);
                everything_can_be_changed(&bank);
        }
        close_bank(&bank);
}

/* ---- The loader's death ------------------------------------------------------------------------------- */

#define LOADED 60
#define ENTRIES 40

/* Objects o0, o1, ..., each a list of ENTRIES times the same number. */
static char *lists(int64_t number)
{
        size_t size;
        char *text;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        fputs("{\"objd_dump\":1}\n", f);
        for (int i = 1; i <= LOADED; i++) {
                fprintf(f, "{\"object\":%d,\"name\":\"o%d\",\"kind\":\"list\",\"len\":%d}\n", i, i, ENTRIES);
                for (int k = 0; k < ENTRIES; k++)
                        fprintf(f, "[%" PRId64 "]\n", number);
                fprintf(f, "{\"end\":%d}\n", i);
        }
        fprintf(f, "{\"objects\":%d}\n", LOADED);
        (void)fclose(f);
        return text;
}

static int load_again_and_again(void *context)
{
        struct load_report report;

        for (int64_t i = 1;; i++) {
                char *text = lists(i);
                FILE *f = fmemopen(text, strlen(text), "r");

                child_check(f != NULL);
                child_ok(load_read(context, f, "it", LOAD_REPLACE, &report));
                child_check(report.n_loaded == LOADED);
                (void)fclose(f);
                free(text);
        }
        return 0;
}

/* Every object that is there has all of its entries, and those of one load. */
static size_t count_whole(objd_conn *conn)
{
        objd_info *infos;
        size_t len;

        assert_ok(objd_list(conn, "o", &infos, &len));
        for (size_t i = 0; i < len; i++) {
                objd_object *list;
                objd_items *items;

                assert_ok(objd_open(conn, infos[i].name, OBJD_LIST, &list));
                assert_ok(objd_list_slice(list, 0, OBJD_LIST_END, &items));
                assert_int_equal(items->len, ENTRIES);
                for (size_t k = 0; k < ENTRIES; k++)
                        assert_int_equal(items->item[k].value.u.integer, items->item[0].value.u.integer);
                objd_items_free(items);
                objd_release(list);
        }
        objd_infos_free(infos);
        return len;
}

static bool only_named_are_left(void *context)
{
        objd_object *object;
        objd_stats stats;

        /* Making an object takes back what dead clients had. */
        assert_ok(objd_create(context, NULL, OBJD_LIST, NULL, &object));
        assert_ok(objd_destroy(object));
        objd_release(object);
        assert_ok(objd_stats_get(context, &stats));
        return stats.n_objects <= LOADED + 1; /* and the dict of names */
}

static void a_loader_that_dies_leaves_whole_objects_only(void **state)
{
        struct random random = random_begin("dump-kill");
        objd_conn *conn = *state;

        for (int i = 0; i < rounds; i++) {
                pid_t pid = child_start(load_again_and_again, conn);
                size_t before = count_whole(conn);

                sleep_a_while(&random);
                child_kill(pid);
                assert_true(count_whole(conn) >= before); /* replaced, never missing */
                wait_until(only_named_are_left, conn, "what the loader had made goes");
        }
        assert_true(count_whole(conn) <= LOADED);
}

/* Objects o0, o1, ..., each a list with a ref to another list, which has no name. */
static char *lists_of_lists(void)
{
        size_t size;
        char *text;
        FILE *f = open_memstream(&text, &size);

        assert_non_null(f);
        fputs("{\"objd_dump\":1}\n", f);
        for (int i = 1; i < 2 * LOADED; i += 2) {
                fprintf(f, "{\"object\":%d,\"name\":\"o%d\",\"kind\":\"list\",\"len\":1}\n", i, i);
                fprintf(f, "{\"declare\":%d,\"kind\":\"list\"}\n[{\"ref\":%d}]\n{\"end\":%d}\n", i + 1, i + 1,
                        i);
                fprintf(f, "{\"object\":%d,\"kind\":\"list\",\"len\":1}\n[%d]\n{\"end\":%d}\n", i + 1, i,
                        i + 1);
        }
        fprintf(f, "{\"objects\":%d}\n", 2 * LOADED);
        (void)fclose(f);
        return text;
}

static int load_once_and_wait(void *context)
{
        char *text = lists_of_lists();
        FILE *f = fmemopen(text, strlen(text), "r");
        struct load_report report;

        child_check(f != NULL);
        child_ok(load_read(context, f, "it", LOAD_REFUSE, &report));
        child_check(report.n_loaded == 2 * LOADED);
        for (;;)
                (void)pause();
        return 0;
}

/* Deletes what has been loaded: the lists, and those that they refer to, which must be there. */
static size_t delete_whole(objd_conn *conn)
{
        objd_info *infos;
        size_t len;

        assert_ok(objd_list(conn, "o", &infos, &len));
        for (size_t i = 0; i < len; i++) {
                objd_object *list, *inside;
                objd_buf buf = OBJD_BUF_INIT;
                objd_value ref;

                assert_ok(objd_open(conn, infos[i].name, OBJD_LIST, &list));
                assert_ok(objd_list_get(list, 0, &ref, &buf));
                assert_ok(objd_open_ref(conn, ref.u.ref, OBJD_LIST, &inside));
                assert_ok(objd_destroy(inside));
                assert_ok(objd_destroy(list));
                objd_release(inside);
                objd_release(list);
                objd_buf_free(&buf);
        }
        objd_infos_free(infos);
        return len;
}

/* Nothing, or all of it; waits until what the dead loader had is either gone or named. */
static bool nothing_or_all(void *context)
{
        objd_object *object;
        objd_stats stats;

        assert_ok(objd_create(context, NULL, OBJD_LIST, NULL, &object));
        assert_ok(objd_destroy(object));
        objd_release(object);
        assert_ok(objd_stats_get(context, &stats));
        return stats.n_clients == 1 && (stats.n_objects == 1 || stats.n_objects == 2 * LOADED + 1);
}

static void a_loader_that_dies_leaves_everything_or_nothing(void **state)
{
        struct random random = random_begin("dump-kill");
        objd_conn *conn = *state;
        int n_all = 0;

        for (int i = 0; i < rounds; i++) {
                pid_t pid = child_start(load_once_and_wait, conn);
                objd_stats stats;
                size_t n;

                sleep_a_while(&random);
                child_kill(pid);
                wait_until(nothing_or_all, conn, "what the loader had made is named, or goes");
                n = delete_whole(conn);
                assert_true(n == 0 || n == LOADED);
                n_all += n != 0;
                assert_ok(objd_stats_get(conn, &stats));
                assert_int_equal(stats.n_objects, 1); /* the dict of names */
        }
        print_message("%d of %d loads came to their end\n", n_all, rounds);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                INSIDE_TEST(each_object_is_as_of_one_moment_and_with_atomic_all_are),
                INSIDE_TEST(who_dies_with_objects_frozen_leaves_none_frozen),
                INSIDE_TEST(a_dumper_may_die_at_any_moment),
                INSIDE_TEST(a_loader_that_dies_leaves_whole_objects_only),
                INSIDE_TEST(a_loader_that_dies_leaves_everything_or_nothing),
        };

        if (argc > 1)
                rounds = atoi(argv[1]);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
