/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops_dict.c -- dicts: what a killed process may have been doing to one
 */

#include "crash/sweep.h"

static objd_value number(int64_t n)
{
        return objd_int(n);
}

static void set(objd_object *dict, int64_t n, size_t size)
{
        objd_value key = number(n), value = value_of(size);

        must(objd_dict_set(dict, &key, &value), "building a dict");
}

static void del(objd_object *dict, int64_t n)
{
        objd_value key = number(n);

        must(objd_dict_del(dict, &key), "building a dict");
}

static void build(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *dict = open_it(conn, "it", OBJD_DICT, NULL);

        for (int64_t i = 0; i < test->fill; i++)
                set(dict, i, test->fill_value);
        if (test->old_value)
                set(dict, TARGET, test->old_value);
        objd_release(dict);
}

/* Entries with gaps among them. */
static void build_gaps(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *dict;

        build(conn, test);
        dict = open_it(conn, "it", OBJD_DICT, NULL);
        for (int64_t i = 0; i < test->fill; i += 2)
                del(dict, i);
        objd_release(dict);
}

/*
 * Values of blocks of their own: one of the target between two that are free again, so that its memory joins both when it goes; or
 * free runs of several blocks, of which a new value takes a part.
 */
static void build_runs(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *dict = open_it(conn, "it", OBJD_DICT, NULL);

        set(dict, 1, 150000);
        if (test->old_value)
                set(dict, TARGET, test->old_value);
        set(dict, 2, 150000);
        set(dict, 3, 40000);
        del(dict, 1);
        del(dict, 2);
        objd_release(dict);
}

static objd_value target_16(void)
{
        return objd_bytes("the target's key", 16);
}

/* A dict that says that its keys are bytes, with keys of 16: they have a way of their own. */
static void build_16(struct objd_conn *conn, const struct op_test *test)
{
        objd_config config = OBJD_CONFIG_INIT;
        objd_value value = value_of(test->fill_value), old = value_of(test->old_value), key = target_16();
        objd_object *dict;

        config.key_type = OBJD_BYTES;
        dict = open_it(conn, "it", OBJD_DICT, &config);
        if (test->old_value)
                must(objd_dict_set(dict, &key, &old), "building a dict");
        for (uint64_t i = 0; i < (uint64_t)test->fill; i++) {
                uint64_t words[2] = { i, ~i };

                key = objd_bytes(words, 16);
                must(objd_dict_set(dict, &key, &value), "building a dict");
        }
        objd_release(dict);
}

/* What the next process writes there. */
static objd_status write_16(struct objd_conn *conn, const struct op_test *test)
{
        objd_value key = objd_bytes("somebody else's.", 16), value = objd_int(1);
        objd_object *dict = open_it(conn, "it", OBJD_DICT, NULL);
        objd_status r = objd_dict_set(dict, &key, &value);

        (void)test;
        objd_release(dict);
        return r;
}

/* ---- What is done --------------------------------------------------------------------------------------- */

static objd_status run_set(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_set(v->it, &v->key, &v->value);
}

static objd_status run_set_new(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_set_new(v->it, &v->key, &v->value);
}

static objd_status run_cas(struct objd_conn *conn, struct victim *v)
{
        objd_value expected = value_of(v->test->old_value);

        (void)conn;
        return objd_dict_cas(v->it, &v->key, &expected, &v->value);
}

static objd_status run_cas_delete(struct objd_conn *conn, struct victim *v)
{
        objd_value expected = value_of(v->test->old_value);

        (void)conn;
        return objd_dict_cas(v->it, &v->key, &expected, NULL);
}

static objd_status run_add(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_add_int(v->it, &v->key, 3, NULL);
}

static objd_status run_add_float(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_add_float(v->it, &v->key, 0.5, NULL);
}

static objd_status run_del(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_del(v->it, &v->key);
}

static objd_status run_pop(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_pop(v->it, &v->key, &v->value, &v->buf);
}

static objd_status run_pop_any(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_pop_any(v->it, &v->key, &v->value, &v->buf);
}

static objd_status run_clear(struct objd_conn *conn, struct victim *v)
{
        (void)conn;
        return objd_dict_clear(v->it);
}

/* Some keys are there, some are not. */
static objd_status run_set_many(struct objd_conn *conn, struct victim *v)
{
        objd_value keys[8], values[8];

        (void)conn;
        for (int i = 0; i < 8; i++) {
                keys[i] = number(i % 2 ? TARGET + i : i);
                values[i] = v->value;
        }
        return objd_dict_set_many(v->it, keys, values, 8);
}

/* A key of text, which is longer than others. */
static objd_status run_set_text(struct objd_conn *conn, struct victim *v)
{
        objd_value key =
                objd_cstr("a key that is some words of text, as keys may be, and then a few words more");

        (void)conn;
        return objd_dict_set(v->it, &key, &v->value);
}

static objd_status run_set_16(struct objd_conn *conn, struct victim *v)
{
        objd_value key = target_16();

        (void)conn;
        return objd_dict_set(v->it, &key, &v->value);
}

static objd_status run_del_16(struct objd_conn *conn, struct victim *v)
{
        objd_value key = target_16();

        (void)conn;
        return objd_dict_del(v->it, &key);
}

/* ---- The operations ------------------------------------------------------------------------------------- */

#define DICT .kind = OBJD_DICT, .build = build

static struct op_test tests[] = {
        { "dict: set of a new key", DICT, .fill = 20, .fill_value = 100, .new_value = 100, .run = run_set },
        { "dict: set of the first key", DICT, .new_value = 20, .run = run_set },
        { "dict: set of a text key", DICT, .fill = 20, .fill_value = 8, .new_value = 8, .run = run_set_text },
        { "dict: set of a new key of 16 bytes", .kind = OBJD_DICT, .build = build_16, .write = write_16,
          .fill = 20, .fill_value = 100, .new_value = 100, .run = run_set_16 },
        { "dict: replace at a key of 16 bytes", .kind = OBJD_DICT, .build = build_16, .write = write_16,
          .fill = 20, .fill_value = 100, .old_value = 100, .new_value = 101, .run = run_set_16 },
        { "dict: delete of a key of 16 bytes, in a shard", .kind = OBJD_DICT, .build = build_16,
          .write = write_16, .fill = 900, .fill_value = 8, .old_value = 100, .run = run_del_16,
          .size = 4 * MIB },
        { "dict: set_new", DICT, .fill = 20, .fill_value = 100, .new_value = 100, .run = run_set_new },
        { "dict: replace by the same size", DICT, .fill = 20, .fill_value = 8, .old_value = 100,
          .new_value = 104, .run = run_set },
        { "dict: replace of a number", DICT, .fill = 20, .fill_value = 20, .old_value = 10, .new_value = 8,
          .run = run_set },
        { "dict: replace by a smaller value", DICT, .fill = 20, .fill_value = 8, .old_value = 100,
          .new_value = 20, .run = run_set },
        { "dict: replace by a larger value", DICT, .fill = 20, .fill_value = 8, .old_value = 20,
          .new_value = 900, .run = run_set },
        { "dict: set of a big value", DICT, .fill = 5, .fill_value = 8, .new_value = 9000, .run = run_set },
        { "dict: set of a value of some blocks", DICT, .fill = 5, .fill_value = 8, .new_value = 100000,
          .run = run_set, .size = 4 * MIB, .large = true },
        { "dict: replace of a big value by a small one", DICT, .fill = 5, .fill_value = 8, .old_value = 20000,
          .new_value = 20, .run = run_set },
        { "dict: replace of a small value by a big one", DICT, .fill = 5, .fill_value = 8, .old_value = 20,
          .new_value = 20000, .run = run_set },
        { "dict: replace of a big value by a big one", DICT, .fill = 5, .fill_value = 8, .old_value = 9000,
          .new_value = 9100, .run = run_set },
        { "dict: cas", DICT, .fill = 20, .fill_value = 8, .old_value = 100, .new_value = 200,
          .run = run_cas },
        { "dict: cas that deletes", DICT, .fill = 20, .fill_value = 8, .old_value = 100,
          .run = run_cas_delete },
        { "dict: add", DICT, .fill = 20, .fill_value = 100, .old_value = 8, .run = run_add },
        { "dict: add to a new key", DICT, .fill = 20, .fill_value = 100, .run = run_add },
        { "dict: add of a fraction to a new key", DICT, .fill = 20, .fill_value = 100, .run = run_add_float },
        { "dict: delete", DICT, .fill = 20, .fill_value = 100, .old_value = 100, .run = run_del },
        { "dict: delete of the last key", DICT, .old_value = 100, .run = run_del },
        { "dict: delete of a value of many blocks", DICT, .fill = 5, .fill_value = 8, .old_value = 400000,
          .run = run_del, .size = 4 * MIB },
        { "dict: pop", DICT, .fill = 20, .fill_value = 100, .old_value = 100, .run = run_pop },
        { "dict: pop of a big value", DICT, .fill = 20, .fill_value = 100, .old_value = 5000,
          .run = run_pop },
        { "dict: pop of any", DICT, .fill = 20, .fill_value = 100, .run = run_pop_any },
        { "dict: pop of any, the last", DICT, .old_value = 100, .run = run_pop_any },
        { "dict: pop of any in shards", DICT, .fill = 900, .fill_value = 8, .run = run_pop_any,
          .size = 4 * MIB },
        { "dict: set_many", DICT, .fill = 20, .fill_value = 100, .new_value = 50, .run = run_set_many },
        { "dict: set_many in shards", DICT, .fill = 900, .fill_value = 8, .new_value = 50,
          .run = run_set_many, .size = 4 * MIB },
        { "dict: clear", DICT, .fill = 20, .fill_value = 100, .run = run_clear },
        { "dict: clear of big values", DICT, .fill = 4, .fill_value = 9000, .run = run_clear },
        { "dict: clear of a dict in shards", DICT, .fill = 800, .fill_value = 8, .run = run_clear,
          .size = 4 * MIB, .large = true },

        /* Growth. */
        { "dict: set that makes the segment larger", DICT, .fill = 4, .fill_value = 8, .new_value = 8,
          .run = run_set, .edge = EDGE_TAKES },
        { "dict: set that makes a larger one larger", DICT, .fill = 60, .fill_value = 8, .new_value = 8,
          .run = run_set, .edge = EDGE_TAKES, .large = true },
        { "dict: set that needs an extent", DICT, .fill = 40, .fill_value = 8, .new_value = 700,
          .run = run_set, .edge = EDGE_TAKES, .large = true },
        { "dict: set that builds a segment without its gaps", .kind = OBJD_DICT, .build = build_gaps,
          .fill = 60, .fill_value = 100, .new_value = 100, .run = run_set, .edge = EDGE_TAKES,
          .large = true },
        { "dict: set that makes shards", DICT, .fill = 600, .fill_value = 8, .new_value = 8, .run = run_set,
          .edge = EDGE_SHARDS, .size = 4 * MIB, .large = true },
        { "dict: set in a shard", DICT, .fill = 1000, .fill_value = 8, .new_value = 100, .run = run_set,
          .size = 4 * MIB },
        { "dict: replace in a shard", DICT, .fill = 1000, .fill_value = 8, .old_value = 100, .new_value = 20,
          .run = run_set, .size = 4 * MIB },
        { "dict: delete in a shard", DICT, .fill = 1000, .fill_value = 8, .old_value = 100, .run = run_del,
          .size = 4 * MIB },
        { "dict: set that makes a shard's segment larger", DICT, .fill = 1000, .fill_value = 8,
          .new_value = 8, .run = run_set, .edge = EDGE_TAKES, .one_shard = true, .size = 4 * MIB,
          .large = true },
        { "dict: set that splits a shard's segment", DICT, .fill = 1000, .fill_value = 8, .new_value = 8,
          .run = run_set, .edge = EDGE_DEEPER, .one_shard = true, .size = 4 * MIB, .large = true },

        /* Memory: chunks of slabs, and runs of blocks. */
        { "dict: set of the first chunk of a slab", DICT, .fill = 1, .fill_value = 8, .new_value = 14000,
          .run = run_set },
        { "dict: set of the last chunk of a slab", DICT, .fill = 3, .fill_value = 14000, .new_value = 14001,
          .run = run_set },
        { "dict: delete from a full slab", DICT, .fill = 3, .fill_value = 14000, .old_value = 14001,
          .run = run_del },
        { "dict: delete that frees a slab", DICT, .fill = 4, .fill_value = 14000, .old_value = 14001,
          .run = run_del },
        { "dict: set that takes a part of a free run", .kind = OBJD_DICT, .build = build_runs,
          .new_value = 80000, .run = run_set, .size = 4 * MIB, .large = true },
        { "dict: delete that joins free runs", .kind = OBJD_DICT, .build = build_runs, .old_value = 80000,
          .run = run_del, .size = 4 * MIB },
};

const struct op_table dict_ops = OP_TABLE(tests);
