/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_repair.c -- object/repair*.c, object/salvage.c: one damage for each structure of a store
 *
 * For each: the checker finds it, and names the object; a repair says what it did, after which the checker finds nothing;
 * objects that it does not concern are what they were, by their dumps, and so is the one that it does, unless the table
 * says that something of it is lost. Each damage is done in a child, to an arena of its own.
 *
 *   test-repair             all of them
 *   test-repair NAME        one, and what it said
 *   test-repair --kill N    all of them; repairs are killed at N moments and after each of N deeds (3)
 */

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "arena/life.h"
#include "dumpload/dump.h"
#include "object/dict.h"
#include "object/repair.h"
#include "repair_store.h"
#include "support/child.h"
#include "support/image.h"
#include "support/test.h"

#define HANG_SECONDS 240

/* ---- What is said, and what is there -------------------------------------------------------------------- */

static bool print;

struct said {
        uint64_t n;
        char all[65536];
        size_t len;
};

static void note(struct said *said, const char *what, const char *object, const char *sentence)
{
        said->n++;
        if (print)
                printf("%s%s: %s\n", what, object, sentence);
        if (said->len < sizeof(said->all) - 1024)
                said->len += (size_t)snprintf(said->all + said->len, 1024, "\n%s: %s", object, sentence);
}

static void note_fault(void *context, const char *object, const char *sentence)
{
        note(context, "fault: ", object, sentence);
}

static void note_deed(void *context, enum repair_deed deed, const char *object, const char *sentence)
{
        char what[32];

        snprintf(what, sizeof(what), "%s: ", repair_deed_name(deed));
        note(context, what, object, sentence);
}

/* Its dump, without what it refers to, as text; NULL if there is no such object, or it cannot be dumped. */
static char *dump_of(const char *name)
{
        struct dump_options options = { 0 };
        struct dump_report report;
        objd_object *object;
        objd_ref ref;
        FILE *f = tmpfile();
        char *all = NULL;
        long size;

        if (objd_open(store, name, OBJD_KIND_ANY, &object))
                return NULL;
        ref = objd_ref_of(object);
        options.root = &ref;
        child_ok(dump_write(store, f, &options, &report));
        if (!report.n_damaged) {
                size = ftell(f);
                all = calloc(1, (size_t)size + 1);
                rewind(f);
                child_check(fread(all, 1, (size_t)size, f) == (size_t)size);
        }
        fclose(f);
        objd_release(object);
        return all;
}

static int fail_case(const struct damage *damage, const char *what, const char *more)
{
        fprintf(stderr, "\"%s\": %s%s%s\n", damage->name, what, more ? ": " : "", more ? more : "");
        return 1;
}

static bool is_concerned(const struct damage *damage, const char *name)
{
        return damage->concern && strcmp(damage->concern, name) == 0;
}

static int compare_dumps(const struct damage *damage, char *const before[N_NAMES])
{
        for (size_t i = 0; i < N_NAMES; i++) {
                char *after = dump_of(names[i]);
                bool same = after && strcmp(before[i], after) == 0;

                if (is_concerned(damage, names[i]) ? damage->loss == ALL ? after != NULL : !after : !same)
                        return fail_case(damage, "is not as it should be", names[i]);
                free(after);
        }
        return 0;
}

static int run_damage(void *context)
{
        const struct damage *damage = context;
        static struct said faults, deeds, left;
        struct repair_result result = { 0 };
        char *before[N_NAMES], sought[64];
        uint64_t n = 0;

        store = make_store();
        for (size_t i = 0; i < N_NAMES; i++)
                before[i] = dump_of(names[i]);
        alarm(HANG_SECONDS);
        damage->fn();
        (void)check_arena(store, note_fault, &faults, &n);
        snprintf(sought, sizeof(sought), "\n%s", damage->found ? damage->found : "");
        if (damage->found && !strstr(faults.all, sought))
                return fail_case(damage, "the checker does not find it", faults.all);
        if (repair_arena(store, note_deed, &deeds, &result))
                return fail_case(damage, "cannot be repaired", objd_last_error());
        if (!deeds.n)
                return fail_case(damage, "the repair does not say what it did", NULL);
        child_ok(check_arena(store, note_fault, &left, &n));
        if (n || result.n_left)
                return fail_case(damage, "the checker finds after the repair", left.all);
        if ((damage->loss != NOTHING && !is_concerned(damage, "lock")) != (result.n_lost != 0) &&
            damage->loss == NOTHING)
                printf("\"%s\": counts a loss that is none: %s\n", damage->name, deeds.all);
        return compare_dumps(damage, before);
}

static void each_damage_is_found_and_repaired(void **state)
{
        (void)state;
        for (size_t i = 0; i < n_damages; i++) {
                struct damage damage = damages[i];

                child_expect_success(child_start(run_damage, &damage));
        }
}

/* ---- Repairs that are killed ---------------------------------------------------------------------------- */

/* What a killed repair had to deal with: something of everything. */
static const char *const to_kill[] = { "slab state",  "slots as slab",      "groups state",
                                       "bitmap none", "object serial",      "names root",
                                       "names ref",   "dict root",          "dict shard root",
                                       "list tree",   "queue books",        "queue position",
                                       "chunk head",  "client of an object" };

#define N_TO_KILL (sizeof(to_kill) / sizeof(to_kill[0]))

static int n_moments = 3; /* for each damage, at which a repair is killed; "test-repair --kill N" for more */

struct killed {
        const struct image *image;
        int fd;
        uint64_t die_at; /* the deed after which it kills itself; 0: it does not */
        uint64_t n_deeds;
};

static void count_deed(void *context, enum repair_deed deed, const char *object, const char *sentence)
{
        struct killed *killed = context;

        (void)deed;
        (void)object;
        (void)sentence;
        if (++killed->n_deeds == killed->die_at)
                (void)raise(SIGKILL);
}

static void attach(int fd)
{
        static struct objd_conn conn;

        bare_attach(&conn, dup(fd));
        conn.arena->by_process = true;
        store = &conn;
}

static int repair_until(void *context)
{
        struct repair_result result;

        attach(((struct killed *)context)->fd);
        return repair_arena(store, count_deed, context, &result) != OBJD_OK;
}

struct survivor {
        const struct damage *damage;
        char *const *before;
        int fd;
};

static int repair_after(void *context)
{
        const struct survivor *survivor = context;
        static struct said left;
        struct repair_result result;
        uint64_t n = 1;

        attach(survivor->fd);
        child_ok(repair_arena(store, note_deed, &left, &result));
        child_ok(check_arena(store, note_fault, &left, &n));
        if (n || result.n_left)
                return fail_case(survivor->damage, "the checker finds after a killed repair", left.all);
        return compare_dumps(survivor->damage, (char *const *)survivor->before);
}

/* Killed by itself after a deed, or by us at any moment; then the next one finishes it. */
static int kill_one(const struct damage *damage, char *const before[N_NAMES], const struct image *image,
                    uint64_t die_at, int64_t die_ns)
{
        struct killed killed = { .fd = image_make_file(image), .die_at = die_at };
        struct survivor survivor = { damage, before, killed.fd };
        pid_t pid = child_start(repair_until, &killed);
        int status;

        if (!die_at) {
                nanosleep(&(struct timespec){ .tv_nsec = die_ns }, NULL);
                kill(pid, SIGKILL);
        }
        (void)waitpid(pid, &status, 0); /* it may have been faster: then there is nothing left to do */
        status = child_wait(child_start(repair_after, &survivor));
        close(killed.fd);
        return status;
}

static int kill_repairs_of(void *context)
{
        const struct damage *damage = context;
        struct image image;
        char *before[N_NAMES];
        int status = 0;

        store = make_store();
        for (size_t i = 0; i < N_NAMES; i++)
                before[i] = dump_of(names[i]);
        damage->fn();
        image_take(store->arena, &image);
        for (uint64_t i = 1; i <= (uint64_t)n_moments && !status; i++)
                status = kill_one(damage, before, &image, i, 0);
        for (int i = 0; i < n_moments && !status; i++)
                status = kill_one(damage, before, &image, 0, (i * 7919 % 97) * 100000LL);
        image_free(&image);
        return status != 0;
}

static void a_repair_that_is_killed_is_finished_by_the_next(void **state)
{
        (void)state;
        for (size_t i = 0; i < N_TO_KILL; i++) {
                struct damage damage = *damage_of(to_kill[i]);

                child_expect_success(child_start(kill_repairs_of, &damage));
        }
}

/* ---- Who may repair ------------------------------------------------------------------------------------- */

struct other {
        int fd;
        struct gate ready;
};

static int use_store(void *context)
{
        struct other *other = context;
        objd_object *dict;
        objd_value key = objd_int(1), value = objd_int(1);

        attach(other->fd);
        child_ok(objd_open(store, "small", OBJD_KIND_ANY, &dict));
        child_ok(objd_dict_set(dict, &key, &value));
        gate_open(&other->ready, 1);
        pause();
        return 0;
}

static int repair_in_use(void *context)
{
        static struct said deeds;
        struct repair_result result;
        struct other other;
        struct image image;
        char expect[64];
        pid_t pid;

        (void)context;
        store = make_store();
        image_take(store->arena, &image);
        other.fd = image_make_file(&image);
        gate_init(&other.ready);
        pid = child_start(use_store, &other);
        gate_wait(&other.ready);
        attach(other.fd);
        child_check(repair_arena(store, note_deed, &deeds, &result) == OBJD_E_BUSY);
        snprintf(expect, sizeof(expect), "process %d uses the arena; ", (int)pid);
        child_check(strstr(objd_last_error(), expect) && strstr(objd_last_error(), "stop its daemon"));
        kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        child_ok(repair_arena(store, note_deed, &deeds, &result));
        child_check(!result.n_left && !result.n_lost);
        return 0;
}

static void a_store_that_somebody_uses_is_not_repaired(void **state)
{
        (void)state;
        child_expect_success(child_start(repair_in_use, NULL));
}

/* ---- Without memory ------------------------------------------------------------------------------------- */

/* More than a third of the store in one list, and nothing beside it is free. */
static void fill_store(void)
{
        objd_object *bulk = make(store, "bulk", OBJD_LIST, OBJD_FIFO),
                    *filler = make(store, "filler", OBJD_LIST, OBJD_FIFO);
        objd_value value = objd_str(text, sizeof(text));
        objd_status r = OBJD_OK;

        for (int i = 0; i < 100; i++)
                child_ok(objd_list_append(bulk, &value));
        while (r == OBJD_OK)
                r = objd_list_append(filler, &value);
        child_check(r == OBJD_E_NOMEM);
        objd_release(bulk);
        objd_release(filler);
}

/* A copy of what can be read of an object needs memory. Without it nothing of it is touched; with it, it is done. */
static int repair_full_store(void *context)
{
        const struct damage damage = { .name = "full store", .loss = NOTHING };
        static struct said deeds, later, left;
        struct repair_result result = { 0 };
        char *before[N_NAMES];
        uint64_t n = 0;

        (void)context;
        store = make_store();
        for (size_t i = 0; i < N_NAMES; i++)
                before[i] = dump_of(names[i]);
        fill_store();
        alarm(HANG_SECONDS);
        break_item_of("bulk");
        child_ok(repair_arena(store, note_deed, &deeds, &result));
        child_check(result.n_left && !result.n_lost && strstr(deeds.all, "\nbulk: "));
        child_check(result.n_no_room == 1 && strstr(deeds.all, "for want of memory"));
        child_ok(objd_delete(store, "filler"));
        child_ok(repair_arena(store, note_deed, &later, &result));
        child_check(!result.n_left && result.n_lost == 1 && strstr(later.all, "\nbulk: "));
        child_check(!result.n_no_room && !strstr(later.all, "for want of memory"));
        child_ok(check_arena(store, note_fault, &left, &n));
        child_check(!n);
        return compare_dumps(&damage, before);
}

static void without_memory_an_object_is_left_as_it_is_and_said(void **state)
{
        (void)state;
        child_expect_success(child_start(repair_full_store, NULL));
}

/* ---- Alone ---------------------------------------------------------------------------------------------- */

/* While we have it alone, whoever comes is told so, and does not wait for ever. */
static int come_while_alone(void *context)
{
        objd_object *dict;

        attach(((struct other *)context)->fd);
        child_ok(objd_set_timeout(store, 1000000));
        child_check(objd_open(store, "small", OBJD_KIND_ANY, &dict) == OBJD_E_BUSY);
        child_check(strstr(objd_last_error(), "repairs the arena"));
        return 0;
}

static int be_alone(void *context)
{
        struct other other;
        struct image image;
        objd_object *dict;

        (void)context;
        store = make_store();
        image_take(store->arena, &image);
        other.fd = image_make_file(&image);
        attach(other.fd);
        child_ok(life_begin_alone(store->arena));
        child_expect_success(child_start(come_while_alone, &other));
        child_ok(objd_open(store, "small", OBJD_KIND_ANY, &dict));
        child_expect_success(child_start(come_while_alone, &other));
        life_end_alone(store->arena);
        child_check(client_is_alive(store->arena, store->arena->client));
        return 0;
}

static void nobody_comes_while_a_store_is_repaired(void **state)
{
        (void)state;
        child_expect_success(child_start(be_alone, NULL));
}

/* ---- A store without damage ----------------------------------------------------------------------------- */

static int repair_sound(void *context)
{
        static struct said deeds;
        struct repair_result result;

        (void)context;
        store = make_store();
        child_ok(repair_arena(store, note_deed, &deeds, &result));
        child_check(!deeds.n && !result.n_mended && !result.n_lost && !result.n_left);
        return 0;
}

static void a_sound_store_is_left_alone(void **state)
{
        (void)state;
        child_expect_success(child_start(repair_sound, NULL));
}

static int show(const char *name)
{
        struct damage damage;

        if (!damage_of(name)) {
                fprintf(stderr, "there is no damage \"%s\"\n", name);
                return 2;
        }
        damage = *damage_of(name);
        print = true;
        return run_damage(&damage);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_sound_store_is_left_alone),
                cmocka_unit_test(each_damage_is_found_and_repaired),
                cmocka_unit_test(a_repair_that_is_killed_is_finished_by_the_next),
                cmocka_unit_test(a_store_that_somebody_uses_is_not_repaired),
                cmocka_unit_test(without_memory_an_object_is_left_as_it_is_and_said),
                cmocka_unit_test(nobody_comes_while_a_store_is_repaired),
        };

        if (argc > 2 && strcmp(argv[1], "--kill") == 0) {
                n_moments = atoi(argv[2]);
                argc = 1;
        }
        return argc > 1 ? show(argv[1]) : cmocka_run_group_tests(tests, NULL, NULL);
}
