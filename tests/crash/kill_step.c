/* SPDX-License-Identifier: Apache-2.0 */

/*
 * kill_step.c -- every operation, its process killed between any two of its instructions
 *
 * A victim runs one operation, instruction by instruction. Each time that the arena has changed, it is looked at as
 * it would be found if the victim died there (step.h):
 *
 *   check first   whoever comes next runs the checker, which recovers, and finds nothing wrong; the operation has
 *                 happened or it has not; and once it has, at no later instruction it has not
 *   write first   whoever comes next writes to the same place before anybody has recovered, and has done so within a second
 *   killed twice  whoever comes next is a victim itself
 *
 * Some of the deaths are real ones (SIGKILL), which find the same.
 *
 * --all looks at each instruction of every operation, --stride N at every N-th, --only TEXT at operations with this text
 * in their names, --seed N makes the hashes and the places others, --from N begins at that instruction.
 */

#include <errno.h>
#include <execinfo.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/step.h"
#include "mem/pool.h"
#include "object/dict.h"
#include "object/directory.h"
#include "support/child.h"
#include "support/test.h"

#define TARGET 1000000 /* the key that operations work on; others are smaller */
#define THIRD "written by whoever came next"

/* Without options, each operation is looked at in so many places, and in so many of those the next one is killed as well. */
#define LOOKS 100
#define NEXT_KILLED 2
#define NEXT_LOOKS 25
#define REAL_KILLS 4
#define RANDOM_KILLS 60
#define RANDOM_TRIES 600

static struct {
        bool all;
        uint64_t stride; /* 0: so that it makes LOOKS */
        uint64_t from;   /* the first instruction to look at, to see a failure again */
        uint64_t seed;
        const char *only;
} options = { .seed = 1 };

enum look { OLD, NEW, WRONG };

/* An operation, and how to tell what it did. */
struct op_test {
        const char *name;
        uint64_t size;     /* of the arena */
        int64_t fill;      /* keys 0.. of the dict; -1: as many as bring it to `brink` */
        size_t fill_value; /* bytes of their values */
        bool (*brink)(uint64_t before,
                      uint64_t after); /* whether the dict's root says that the last set was the one */
        size_t old_value;              /* bytes of the target's value; 0: it is not there. 8: the number 10 */
        size_t new_value;              /* likewise, afterwards */
        bool large; /* so many instructions that only --all and --stride count them; else it is killed at random */
        void (*build)(struct objd_conn *conn,
                      const struct op_test *test); /* what is not a dict of that kind */
        step_fn run;
        enum look (*look)(struct objd_conn *conn, const struct op_test *test);
        objd_status (*write)(struct objd_conn *conn, const struct op_test *test);
};

/* What the victim has opened. */
struct victim_context {
        const struct op_test *test;
        objd_object *dict, *other;
        objd_batch *batch;
        objd_value key, value;
        objd_buf buf;
};

/* ---- Values -------------------------------------------------------------------------------------------- */

static char filler[2 << 20];

/* The value of this size: text that begins with its own size; 8 is a number. */
static objd_value value_of(size_t size)
{
        static char text[2][2 << 20];
        static int turn;

        if (size == 8)
                return objd_int(10);
        turn = !turn;
        memset(text[turn], 'v', size);
        snprintf(text[turn], sizeof(text[turn]), "%zu", size);
        return objd_bytes(text[turn], size);
}

static bool has_value(objd_object *dict, int64_t number, size_t size)
{
        objd_value key = objd_int(number), value, expected = value_of(size);
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_get(dict, &key, &value, &buf);
        bool same = r == OBJD_OK && objd_value_equal(&value, &expected);

        objd_buf_free(&buf);
        return size ? same : r == OBJD_E_NOTFOUND;
}

static void set(objd_object *dict, int64_t number, size_t size)
{
        objd_value key = objd_int(number), value = value_of(size);

        if (objd_dict_set(dict, &key, &value)) {
                fprintf(stderr, "building: %s\n", objd_last_error());
                exit(1);
        }
}

static objd_object *open_dict(struct objd_conn *conn, const char *name)
{
        objd_object *dict = NULL;

        if (objd_open_or_create(conn, name, OBJD_DICT, NULL, &dict)) {
                fprintf(stderr, "opening \"%s\": %s\n", name, objd_last_error());
                exit(1);
        }
        return dict;
}

/* ---- Dicts ---------------------------------------------------------------------------------------------- */

static bool replaced(uint64_t before, uint64_t after)
{
        return before && before != after;
}

static bool became_shards(uint64_t before, uint64_t after)
{
        (void)before;
        return after & DICT_SHARDED;
}

/* How many entries there are when one more is on the brink. */
static int64_t count_to_brink(const struct op_test *test)
{
        struct objd_conn conn;
        objd_object *dict;
        int64_t n = 0;

        bare_create(&conn, 16 << 20);
        conn.arena->header->hash_key[0] = options.seed;
        dict = open_dict(&conn, "dict");
        for (;; n++) {
                uint64_t before = dict->shm->line.root[0];

                set(dict, n, test->fill_value);
                if (n && test->brink(before, dict->shm->line.root[0]))
                        break;
        }
        objd_release(dict);
        bare_leave(&conn);
        return n;
}

static void build_dict(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *dict = open_dict(conn, "dict");

        for (int64_t i = 0; i < test->fill; i++)
                set(dict, i, test->fill_value);
        if (test->old_value)
                set(dict, TARGET, test->old_value);
        objd_release(dict);
}

static enum look look_at_target(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *dict = open_dict(conn, "dict");
        bool old = has_value(dict, TARGET, test->old_value), new = has_value(dict, TARGET, test->new_value);
        uint64_t len = 0, others = (uint64_t)test->fill;
        enum look look = old ? OLD : new ? NEW : WRONG;
        objd_status r = objd_dict_len(dict, &len);

        if (r || len != others + (look == OLD ? test->old_value != 0 : test->new_value != 0))
                look = WRONG;
        for (int64_t i = 0; i < test->fill; i += 1 + test->fill / 50)
                if (!has_value(dict, i, test->fill_value))
                        look = WRONG;
        objd_release(dict);
        return look;
}

static objd_status write_target(struct objd_conn *conn, const struct op_test *test)
{
        objd_value key = objd_int(TARGET), value = objd_cstr(THIRD), found;
        objd_object *dict = open_dict(conn, "dict");
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_set(dict, &key, &value);

        (void)test;
        if (r == OBJD_OK)
                r = objd_dict_get(dict, &key, &found, &buf);
        if (r == OBJD_OK && !objd_value_equal(&value, &found))
                r = OBJD_E_MISMATCH;
        objd_buf_free(&buf);
        objd_release(dict);
        return r;
}

static objd_status prepare(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;
        objd_status r = objd_open(conn, "dict", OBJD_DICT, &c->dict);

        c->key = objd_int(TARGET);
        c->value = value_of(c->test->new_value);
        (void)objd_open(conn, "other", OBJD_DICT, &c->other);
        if (r == OBJD_OK)
                r = objd_batch_new(conn, &c->batch);
        return r;
}

static objd_status run_set(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;

        (void)conn;
        return objd_dict_set(c->dict, &c->key, &c->value);
}

static objd_status run_first_set(struct objd_conn *conn, void *context)
{
        objd_status r = prepare(conn, context);

        return r ? r : run_set(conn, context);
}

static objd_status run_del(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;

        (void)conn;
        return objd_dict_del(c->dict, &c->key);
}

static objd_status run_pop(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;

        (void)conn;
        return objd_dict_pop(c->dict, &c->key, &c->value, &c->buf);
}

/* ---- Clearing ------------------------------------------------------------------------------------------- */

static objd_status run_clear(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;

        (void)conn;
        return objd_dict_clear(c->dict);
}

static enum look look_at_cleared(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *dict = open_dict(conn, "dict");
        uint64_t len = 1;
        enum look look = WRONG;

        if (objd_dict_len(dict, &len) == OBJD_OK)
                look = len == (uint64_t)test->fill ? OLD : len == 0 ? NEW : WRONG;
        for (int64_t i = 0; i < test->fill; i += 1 + test->fill / 50)
                if (!has_value(dict, i, look == OLD ? test->fill_value : 0))
                        look = WRONG;
        objd_release(dict);
        return look;
}

/* ---- Batches -------------------------------------------------------------------------------------------- */

static void build_accounts(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *other = open_dict(conn, "other");

        build_dict(conn, test);
        set(other, TARGET, 8);
        objd_release(other);
}

static objd_status run_batch(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;
        objd_value key = objd_int(TARGET);
        objd_status r = objd_batch_dict_add_int(c->batch, c->dict, &key, -3);

        (void)conn;
        if (r == OBJD_OK)
                r = objd_batch_dict_add_int(c->batch, c->other, &key, 3);
        return r ? r : objd_batch_commit(c->batch, NULL);
}

static int64_t number_in(struct objd_conn *conn, const char *name)
{
        objd_object *dict = open_dict(conn, name);
        objd_value key = objd_int(TARGET), value = objd_nil();
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_get(dict, &key, &value, &buf);

        objd_buf_free(&buf);
        objd_release(dict);
        return r ? INT64_MIN : value.u.integer;
}

static enum look look_at_accounts(struct objd_conn *conn, const struct op_test *test)
{
        int64_t from = number_in(conn, "dict"), to = number_in(conn, "other");

        (void)test;
        return from == 10 && to == 10 ? OLD : from == 7 && to == 13 ? NEW : WRONG;
}

/* Reads without a lock first; both adds must then succeed. */
static objd_status write_accounts(struct objd_conn *conn, const struct op_test *test)
{
        objd_value key = objd_int(TARGET);
        objd_object *dict = open_dict(conn, "dict"), *other = open_dict(conn, "other");
        objd_status r = objd_dict_add_int(other, &key, 1, NULL);

        (void)test;
        if (r == OBJD_OK)
                r = objd_dict_add_int(dict, &key, -1, NULL);
        objd_release(dict);
        objd_release(other);
        if (r == OBJD_OK && number_in(conn, "dict") + number_in(conn, "other") != 20)
                r = OBJD_E_MISMATCH;
        return r;
}

/* Far more than the lane's own log holds, so that it grows into a chunk, twice. */
static objd_status run_large_batch(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;
        objd_value value = objd_bytes(filler, 4000);
        objd_status r = run_batch(conn, context);

        if (r == OBJD_OK)
                objd_batch_clear(c->batch);
        for (int64_t i = 0; i < 8 && r == OBJD_OK; i++) {
                objd_value key = objd_int(i);

                r = objd_batch_dict_set(c->batch, c->dict, &key, &value);
        }
        return r ? r : objd_batch_commit(c->batch, NULL);
}

/* Either none of the eight are zeros or all are; the transfer of before is done. */
static enum look look_at_large_batch(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *dict = open_dict(conn, "dict");
        objd_value zeros = objd_bytes(filler, 4000), value;
        objd_buf buf = OBJD_BUF_INIT;
        int n_old = 0, n_new = 0;

        for (int64_t i = 0; i < 8; i++) {
                objd_value key = objd_int(i);

                n_old += has_value(dict, i, test->fill_value);
                n_new += objd_dict_get(dict, &key, &value, &buf) == OBJD_OK &&
                         objd_value_equal(&value, &zeros);
        }
        objd_buf_free(&buf);
        objd_release(dict);
        return n_old == 8 ? OLD : n_new == 8 ? NEW : WRONG;
}

/* ---- Names ---------------------------------------------------------------------------------------------- */

#define LONG_NAME "a name that is too long for the slot, so that it has a chunk of its own"

static bool there_is(struct objd_conn *conn, const char *name)
{
        objd_object *object;

        if (objd_open(conn, name, OBJD_KIND_ANY, &object))
                return false;
        objd_release(object);
        return true;
}

static void build_nothing(struct objd_conn *conn, const struct op_test *test)
{
        objd_release(open_dict(conn, "dict"));
        (void)test;
}

/* All slots of the first block of objects are given out. */
static void build_full_block(struct objd_conn *conn, const struct op_test *test)
{
        char name[32];

        (void)test;
        objd_release(open_dict(conn, "dict"));
        for (uint32_t i = 2; i < SLOTS_PER_BLOCK - 1; i++) {
                snprintf(name, sizeof(name), "n%u", i);
                objd_release(open_dict(conn, name));
        }
}

static objd_status run_create(struct objd_conn *conn, void *context)
{
        objd_object *object;

        (void)context;
        return objd_create(conn, "new", OBJD_DICT, NULL, &object);
}

static objd_status run_create_long(struct objd_conn *conn, void *context)
{
        objd_object *object;

        (void)context;
        return objd_create(conn, LONG_NAME, OBJD_DICT, NULL, &object);
}

static objd_status run_create_anonymous(struct objd_conn *conn, void *context)
{
        objd_object *object;

        (void)context;
        return objd_create(conn, NULL, OBJD_DICT, NULL, &object);
}

static enum look look_for_new(struct objd_conn *conn, const struct op_test *test)
{
        (void)test;
        return there_is(conn, "new") || there_is(conn, LONG_NAME) ? NEW : OLD;
}

static objd_status write_new(struct objd_conn *conn, const struct op_test *test)
{
        objd_value key = objd_int(TARGET), value = objd_cstr(THIRD);
        objd_object *object;
        objd_status r = objd_open_or_create(conn, test->run == run_create_long ? LONG_NAME : "new", OBJD_DICT,
                                            NULL, &object);

        if (r)
                return r;
        r = objd_dict_set(object, &key, &value);
        objd_release(object);
        return r;
}

static void build_objects(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *object;

        build_dict(conn, test);
        objd_release(open_dict(conn, LONG_NAME));
        if (objd_create(conn, "other", OBJD_DICT, NULL, &object) == OBJD_OK)
                objd_release(object);
}

static objd_status run_delete(struct objd_conn *conn, void *context)
{
        (void)context;
        return objd_delete(conn, "dict");
}

static objd_status run_delete_long(struct objd_conn *conn, void *context)
{
        (void)context;
        return objd_delete(conn, LONG_NAME);
}

static enum look look_for_dict(struct objd_conn *conn, const struct op_test *test)
{
        return there_is(conn, test->run == run_delete_long ? LONG_NAME : "dict") ? OLD : NEW;
}

static objd_status write_deleted(struct objd_conn *conn, const struct op_test *test)
{
        objd_value key = objd_int(TARGET), value = objd_cstr(THIRD);
        objd_object *object;
        objd_status r = objd_open_or_create(conn, test->run == run_delete_long ? LONG_NAME : "dict",
                                            OBJD_DICT, NULL, &object);

        if (r)
                return r;
        r = objd_dict_set(object, &key, &value);
        objd_release(object);
        return r;
}

/* The last object but the names themselves' in a second block of slots. */
static void build_lone_slot(struct objd_conn *conn, const struct op_test *test)
{
        char name[32];
        objd_object *object;

        (void)test;
        for (uint32_t i = 1; i < SLOTS_PER_BLOCK - 1; i++) {
                snprintf(name, sizeof(name), "n%u", i);
                objd_release(open_dict(conn, name));
        }
        object = open_dict(conn, "dict");
        objd_release(object);
}

static objd_status run_rename(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;

        (void)conn;
        return objd_set_name(c->dict, "renamed");
}

static objd_status run_rename_long(struct objd_conn *conn, void *context)
{
        struct victim_context *c = context;

        (void)conn;
        return objd_set_name(c->dict, "renamed to a name that is too long for the slot");
}

static enum look look_for_renamed(struct objd_conn *conn, const struct op_test *test)
{
        bool old = there_is(conn, "dict");
        bool new =
                there_is(conn, test->run == run_rename ? "renamed"
                                                       : "renamed to a name that is too long for the slot");

        return old && !new ? OLD : new && !old ? NEW : WRONG;
}

static objd_status write_renamed(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *object;
        objd_status r = objd_create(conn, "dict", OBJD_DICT, NULL, &object);

        (void)test;
        if (r == OBJD_OK)
                objd_release(object);
        return r == OBJD_E_EXISTS ? OBJD_OK : r;
}

static enum look look_at_nothing(struct objd_conn *conn, const struct op_test *test)
{
        (void)test;
        return there_is(conn, "dict") ? OLD : WRONG;
}

/* ---- The operations ------------------------------------------------------------------------------------- */

#define DICT_TEST .build = build_dict, .look = look_at_target, .write = write_target
#define MIB (1ULL << 20)

static struct op_test tests[] = {
        { "set of a new key", 2 * MIB, .fill = 20, .fill_value = 100, .new_value = 100, .run = run_set,
          DICT_TEST },
        { "set of the first key", 2 * MIB, .fill = 0, .new_value = 20, .run = run_set, DICT_TEST },
        { "replace by a value of the same size", 2 * MIB, .fill = 20, .fill_value = 8, .old_value = 100,
          .new_value = 104, .run = run_set, DICT_TEST },
        { "replace by a smaller value", 2 * MIB, .fill = 20, .fill_value = 8, .old_value = 100,
          .new_value = 20, .run = run_set, DICT_TEST },
        { "replace by a larger value", 2 * MIB, .fill = 20, .fill_value = 8, .old_value = 20,
          .new_value = 900, .run = run_set, DICT_TEST },
        { "set of a big value", 2 * MIB, .fill = 5, .fill_value = 8, .new_value = 9000, .run = run_set,
          DICT_TEST },
        { "set of a value of some blocks", 4 * MIB, .fill = 5, .fill_value = 8, .new_value = 100000,
          .run = run_set, DICT_TEST, .large = true },
        { "replace of a big value by a small one", 4 * MIB, .fill = 5, .fill_value = 8, .old_value = 20000,
          .new_value = 20, .run = run_set, DICT_TEST },
        { "delete", 2 * MIB, .fill = 20, .fill_value = 100, .old_value = 100, .run = run_del, DICT_TEST },
        { "delete of the last key", 2 * MIB, .fill = 0, .old_value = 100, .run = run_del, DICT_TEST },
        { "delete of a value of many blocks", 6 * MIB, .fill = 5, .fill_value = 8, .old_value = 1800000,
          .run = run_del, DICT_TEST },
        { "delete that closes gaps", 4 * MIB, .fill = 5, .fill_value = 8, .old_value = 4000, .run = run_del,
          DICT_TEST },
        { "pop", 2 * MIB, .fill = 20, .fill_value = 100, .old_value = 5000, .run = run_pop, DICT_TEST },
        { "set that builds the segment again", 2 * MIB, .fill = -1, .fill_value = 8, .brink = replaced,
          .new_value = 8, .run = run_set, DICT_TEST },
        { "set that makes shards", 4 * MIB, .fill = -1, .fill_value = 8, .brink = became_shards,
          .new_value = 8, .run = run_set, DICT_TEST, .large = true },
        { "set in a shard", 4 * MIB, .fill = 2000, .fill_value = 8, .new_value = 100, .run = run_set,
          DICT_TEST },
        { "clear", 2 * MIB, .fill = 20, .fill_value = 100, .build = build_dict, .run = run_clear,
          .look = look_at_cleared, .write = write_target },
        { "clear of a dict in shards", 4 * MIB, .fill = 800, .fill_value = 8, .build = build_dict,
          .run = run_clear, .look = look_at_cleared, .write = write_target },
        { "batch of two dicts", 2 * MIB, .fill = 20, .fill_value = 8, .old_value = 8, .build = build_accounts,
          .run = run_batch, .look = look_at_accounts, .write = write_accounts },
        { "batch with a log that grows", 4 * MIB, .fill = 20, .fill_value = 3999, .old_value = 8,
          .build = build_accounts, .run = run_large_batch, .look = look_at_large_batch,
          .write = write_accounts, .large = true },
        { "create", 2 * MIB, .build = build_nothing, .run = run_create, .look = look_for_new,
          .write = write_new },
        { "create with a long name", 2 * MIB, .build = build_nothing, .run = run_create_long,
          .look = look_for_new, .write = write_new },
        { "create in a new block of slots", 4 * MIB, .build = build_full_block, .run = run_create,
          .look = look_for_new, .write = write_new, .large = true },
        { "create of an anonymous object", 2 * MIB, .build = build_nothing, .run = run_create_anonymous,
          .look = look_at_nothing, .write = write_new },
        { "delete of an object", 4 * MIB, .fill = 300, .fill_value = 100, .build = build_objects,
          .run = run_delete, .look = look_for_dict, .write = write_deleted },
        { "delete of a dict in shards", 4 * MIB, .fill = 800, .fill_value = 8, .build = build_objects,
          .run = run_delete, .look = look_for_dict, .write = write_deleted },
        { "delete of an object with a long name", 2 * MIB, .fill = 3, .fill_value = 100,
          .build = build_objects, .run = run_delete_long, .look = look_for_dict, .write = write_deleted },
        { "delete of the last object of a block", 4 * MIB, .build = build_lone_slot, .run = run_delete,
          .look = look_for_dict, .write = write_deleted },
        { "rename", 2 * MIB, .build = build_nothing, .run = run_rename, .look = look_for_renamed,
          .write = write_renamed },
        { "rename to a long name", 2 * MIB, .build = build_nothing, .run = run_rename_long,
          .look = look_for_renamed, .write = write_renamed },
};

/* ---- The sweep ------------------------------------------------------------------------------------------ */

#define FAULTS_MAX 5

struct sweep {
        const struct op_test *test;
        const char *mode;
        uint64_t step;
        uint64_t points, faults, recoveries;
        bool new_seen;
        struct victim_context *context;
        uint64_t twice_every; /* which of the states are recovered by a victim */
        size_t n_kills;       /* real ones so far */
};

static const char *where(const struct sweep *sweep)
{
        static char text[200];

        snprintf(text, sizeof(text), "%s, %s, instruction %llu", sweep->test->name, sweep->mode,
                 (unsigned long long)sweep->step);
        return text;
}

static void complain(struct sweep *sweep, const char *what)
{
        sweep->faults++;
        fprintf(stderr, "%s: %s (%s)\n", where(sweep), what, objd_last_error());
}

/* If something hangs, the operation and the instruction are worth knowing. */
static struct sweep *running;

static void say_where(int signal_number)
{
        const char *text = where(running), *what = signal_number == SIGALRM ? ": hangs\n" : ": crashes\n";
        void *frames[32];

        if (write(2, text, strlen(text)) > 0 && write(2, what, strlen(what)) > 0)
                backtrace_symbols_fd(frames, backtrace(frames, 32), 2);
        _exit(1);
}

/* From now on this many seconds; stepping through an operation may take a while on a machine with other things to do. */
static void give(unsigned seconds, struct sweep *sweep, const char *mode)
{
        sweep->mode = mode;
        alarm(seconds);
}

#define TO_STEP 200
#define TO_RECOVER 20

/* Nobody is dead any more, and nothing is wrong. */
static void expect_clean(struct sweep *sweep, struct objd_conn *conn)
{
        sweep->faults += bare_check(conn, where(sweep));
}

static void check_first(struct sweep *sweep, int fd)
{
        struct objd_conn conn;
        enum look look;

        give(TO_RECOVER, sweep, sweep->n_kills ? "killed, check first" : "check first");
        bare_attach(&conn, fd);
        expect_clean(sweep, &conn);
        look = sweep->test->look(&conn, sweep->test);
        if (look == WRONG)
                complain(sweep, "what it left is neither old nor new");
        if (look == OLD && sweep->new_seen)
                complain(sweep, "it had been committed, and is undone");
        sweep->new_seen |= look == NEW;
        bare_leave(&conn);
}

static void write_first(struct sweep *sweep, int fd)
{
        struct objd_conn conn;
        int64_t start = test_now_ns();
        objd_status r;

        give(TO_RECOVER, sweep, sweep->n_kills ? "killed, write first" : "write first");
        bare_attach(&conn, fd);
        r = sweep->test->write(&conn, sweep->test);
        if (r)
                complain(sweep, objd_strerror(r));
        if (test_now_ns() - start > 1000000000)
                complain(sweep, "the next writer waited for more than a second");
        expect_clean(sweep, &conn);
        bare_leave(&conn);
}

static objd_status run_write(struct objd_conn *conn, void *context)
{
        return ((struct sweep *)context)->test->write(conn, ((struct sweep *)context)->test);
}

/* The recoverer's lane is not what this is about. */
static objd_status claim_a_lane(struct objd_conn *conn, void *context)
{
        struct lane *lane;
        objd_status r = lane_enter(conn->arena, OBJD_FOREVER, &lane);

        (void)context;
        if (r == OBJD_OK)
                lane_leave(lane);
        return r;
}

static bool after_second_death(void *context, uint64_t step, const struct image *state)
{
        struct sweep *sweep = context;
        struct objd_conn conn;
        uint64_t was = sweep->step;

        give(TO_RECOVER, sweep, "killed twice");
        sweep->step = was * 1000000 + step;
        sweep->recoveries++;
        bare_attach(&conn, image_make_file(state));
        expect_clean(sweep, &conn);
        bare_leave(&conn);
        sweep->step = was;
        give(TO_STEP, sweep, "stepping");
        return sweep->faults < FAULTS_MAX;
}

static bool never(void *context, uint64_t step, const struct image *state)
{
        (void)context;
        (void)step;
        (void)state;
        return true;
}

/* Counts the operation's instructions first, and spreads so many looks over them. */
static uint64_t choose_places(struct step_plan *plan, uint64_t n_looks)
{
        struct step_plan dry = *plan;
        uint64_t n_steps;

        dry.first = dry.stride = UINT64_MAX;
        n_steps = step_through(&dry, never, NULL);
        if (n_looks) {
                plan->stride = n_steps / n_looks + 1;
                plan->first = options.seed % plan->stride;
        }
        return n_steps;
}

static void kill_the_next(struct sweep *sweep, const struct image *state)
{
        struct step_plan plan = {
                .start = state, .prepare = claim_a_lane, .fn = run_write, .context = sweep, .stride = 1
        };

        give(TO_STEP, sweep, "stepping");
        if (!options.all)
                choose_places(&plan, NEXT_LOOKS);
        (void)step_through(&plan, after_second_death, sweep);
}

static bool on_state(void *context, uint64_t step, const struct image *state)
{
        struct sweep *sweep = context;

        sweep->step = step;
        sweep->points++;
        check_first(sweep, image_make_file(state));
        write_first(sweep, image_make_file(state));
        if (sweep->points % sweep->twice_every == 0)
                kill_the_next(sweep, state);
        give(TO_STEP, sweep, "stepping");
        return sweep->faults < FAULTS_MAX;
}

static void build(struct op_test *test, struct image *ret_image)
{
        struct objd_conn conn;

        if (test->fill < 0)
                test->fill = count_to_brink(test);
        bare_create(&conn, test->size);
        conn.arena->header->hash_key[0] = options.seed;
        test->build(&conn, test);
        /* Its lane goes back before the image is made; the connection ends after it. */
        lane_release_own(conn.arena);
        image_take(conn.arena, ret_image);
        bare_leave(&conn);
}

/* Real deaths, over the whole operation. */
static void kill_really(struct sweep *sweep, struct step_plan *plan, uint64_t n_steps, uint64_t n_kills)
{
        sweep->new_seen = false;
        for (uint64_t i = 0; i < n_kills && sweep->faults < FAULTS_MAX; i++) {
                uint64_t at = n_steps * i / n_kills + i % 3;
                int fd;

                sweep->step = at;
                sweep->n_kills++;
                give(TO_STEP, sweep, "stepping");
                fd = step_and_kill(plan, at);
                if (fd < 0)
                        continue;
                sweep->points++;
                i % 2 ? check_first(sweep, fd) : write_first(sweep, fd);
        }
}

/* An operation that is too large to be stepped through: deaths at moments that nobody has chosen. */
static void kill_at_random(struct sweep *sweep, struct step_plan *plan)
{
        int64_t duration_ns = 0;

        for (uint64_t i = 0; i < RANDOM_TRIES && sweep->points < RANDOM_KILLS && sweep->faults < FAULTS_MAX;
             i++) {
                int fd;

                give(TO_STEP, sweep, "running");
                fd = run_and_kill(plan, (options.seed + i) * 0x9e3779b97f4a7c15ULL >> 20, &duration_ns);
                if (fd < 0)
                        continue;
                sweep->step = i;
                sweep->n_kills++;
                sweep->new_seen = false;
                sweep->points++;
                i % 2 ? check_first(sweep, fd) : write_first(sweep, fd);
        }
        if (!sweep->points)
                complain(sweep, "it was never killed inside the operation");
        printf("%-45s %47s %3llu random deaths: %s\n", sweep->test->name, "",
               (unsigned long long)sweep->points, sweep->faults ? "FAULTS" : "clean");
}

static int sweep_one(void *context)
{
        struct op_test *test = context;
        struct victim_context c = { .test = test };
        struct sweep sweep = { .test = test,
                               .context = &c,
                               .twice_every = options.all ? 25 : LOOKS / NEXT_KILLED };
        struct step_plan plan = { .prepare = prepare, .fn = test->run, .context = &c, .stride = 1 };
        struct image start;
        uint64_t n_states, n_steps;

        running = &sweep;
        signal(SIGALRM, say_where);
        signal(SIGSEGV, say_where);
        signal(SIGBUS, say_where);
        setvbuf(stdout, NULL, _IOLBF, 0); /* what is printed is not lost with _exit() */
        give(TO_STEP, &sweep, "building");
        build(test, &start);
        plan.start = &start;
        if (test->large && !options.all && !options.stride) {
                kill_at_random(&sweep, &plan);
                image_free(&start);
                return sweep.faults ? 1 : 0;
        }
        if (options.stride)
                plan.stride = options.stride;
        else if (!options.all)
                choose_places(&plan, LOOKS);
        if (options.from)
                plan.first = options.from;
        n_steps = step_through(&plan, on_state, &sweep);
        n_states = sweep.points;
        if (!sweep.faults && !n_states)
                complain(&sweep, "it was never killed inside the operation");
        kill_really(&sweep, &plan, n_steps, options.all ? 100 : REAL_KILLS);
        image_free(&start);
        printf("%-45s %7llu instructions, %5llu states, %3llu real deaths, %5llu deaths of who came next: %s\n",
               test->name, (unsigned long long)n_steps, (unsigned long long)n_states,
               (unsigned long long)(sweep.points - n_states), (unsigned long long)sweep.recoveries,
               sweep.faults ? "FAULTS" : "clean");
        return sweep.faults ? 1 : 0;
}

/* A thread's first call: its lane comes into being, under the gate; these deaths must be real, since the gate is. */
static int sweep_first_call(void *context)
{
        struct op_test *test = context;
        struct victim_context c = { .test = test };
        struct sweep sweep = { .test = test, .context = &c };
        struct step_plan plan = {
                .fn = run_first_set, .context = &c, .stride = UINT64_MAX, .first = UINT64_MAX
        };
        struct image start;
        uint64_t n_steps;

        running = &sweep;
        signal(SIGALRM, say_where);
        setvbuf(stdout, NULL, _IOLBF, 0); /* what is printed is not lost with _exit() */
        give(TO_STEP, &sweep, "building");
        build(test, &start);
        plan.start = &start;
        n_steps = choose_places(&plan, 0);
        kill_really(&sweep, &plan, n_steps, options.all ? n_steps : 60);
        image_free(&start);
        printf("%-45s %7llu instructions, %3llu real deaths: %s\n", "first call of a process",
               (unsigned long long)n_steps, (unsigned long long)sweep.points,
               sweep.faults ? "FAULTS" : "clean");
        return sweep.faults ? 1 : 0;
}

/* ---- The tests ------------------------------------------------------------------------------------------ */

/* Sweeps take as long as they take: what hangs ends itself. */
static int wait_for(pid_t pid)
{
        int status;

        return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void an_operation_is_whole_or_nothing_wherever_its_process_dies(void **state)
{
        int n_failed = 0;

        (void)state;
        for (size_t i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
                if (options.only && !strstr(tests[i].name, options.only))
                        continue;
                n_failed += wait_for(child_start(sweep_one, &tests[i])) != 0;
        }
        assert_int_equal(n_failed, 0);
}

static void a_death_in_the_first_call_leaves_no_lane_and_no_gate_behind(void **state)
{
        struct op_test test = tests[0];

        (void)state;
        if (!options.only || strstr("first call", options.only))
                assert_int_equal(wait_for(child_start(sweep_first_call, &test)), 0);
}

static void read_options(int argc, char **argv)
{
        static const struct option names[] = {
                { "all", no_argument, NULL, 'a' },        { "stride", required_argument, NULL, 's' },
                { "seed", required_argument, NULL, 'r' }, { "only", required_argument, NULL, 'o' },
                { "from", required_argument, NULL, 'f' }, { NULL, 0, NULL, 0 },
        };
        int c;

        while ((c = getopt_long(argc, argv, "", names, NULL)) >= 0)
                switch (c) {
                case 'a':
                        options.all = true;
                        break;
                case 's':
                        options.stride = strtoull(optarg, NULL, 0);
                        break;
                case 'r':
                        options.seed = strtoull(optarg, NULL, 0);
                        break;
                case 'o':
                        options.only = optarg;
                        break;
                case 'f':
                        options.from = strtoull(optarg, NULL, 0);
                        break;
                default:
                        fprintf(stderr,
                                "usage: %s [--all] [--stride N] [--seed N] [--only TEXT] [--from N]\n",
                                argv[0]);
                        exit(2);
                }
}

int main(int argc, char **argv)
{
        const struct CMUnitTest list[] = {
                cmocka_unit_test(an_operation_is_whole_or_nothing_wherever_its_process_dies),
                cmocka_unit_test(a_death_in_the_first_call_leaves_no_lane_and_no_gate_behind),
        };

        read_options(argc, argv);
        printf("seed %llu\n", (unsigned long long)options.seed);
        return cmocka_run_group_tests(list, NULL, NULL);
}
