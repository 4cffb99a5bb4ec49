/* SPDX-License-Identifier: Apache-2.0 */

/*
 * ops.c -- what the operations of the stepping killer share: values, builders, what a store holds, who comes next
 */

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/status.h"
#include "crash/sweep.h"
#include "object/dict.h"
#include "object/dict_hash.h"
#include "object/kind.h"
#include "txn/lane.h"

#define THIRD "written by whoever came next"

void must(objd_status r, const char *what)
{
        if (!r)
                return;
        fprintf(stderr, "%s: %s (%s)\n", what, objd_strerror(r), objd_last_error());
        exit(1);
}

const char *target_of(const struct op_test *test)
{
        return test->target ? test->target : "it";
}

objd_value value_of(size_t size)
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

objd_object *open_it(struct objd_conn *conn, const char *name, objd_kind kind, const objd_config *config)
{
        objd_object *object = NULL;

        must(objd_open_or_create(conn, name, kind, config, &object), name);
        return object;
}

/* ---- Edges ---------------------------------------------------------------------------------------------- */

#define EDGE_MAX 60000

/* What changes at the edge. */
static uint64_t look_at_edge(struct objd_conn *conn, const struct op_test *test, const objd_object *it)
{
        const struct line_shm *shards;
        uint64_t depth = 0;

        switch (test->edge) {
        case EDGE_SHARDS:
                return it->shm->line.root[0] & DICT_SHARDED;
        case EDGE_DEEPER:
                shards = dict_shards(conn->arena, it->shm);
                for (uint32_t i = 0; shards && i < GROUP_LINES; i++)
                        depth += shards[i].root[0] & 63;
                return depth;
        default:
                return it->shm->memory;
        }
}

static bool is_edge(const struct op_test *test, uint64_t before, uint64_t after)
{
        return test->edge == EDGE_GIVES ? after < before : after > before;
}

static uint32_t shard_of(struct objd_conn *conn, int64_t key)
{
        return hash_shard(key_hash(conn->arena, OBJD_INT, &key, sizeof(key)));
}

int64_t key_beside(struct objd_conn *conn, int64_t key, bool same_shard)
{
        int64_t beside = key + 1;

        while ((shard_of(conn, beside) == shard_of(conn, key)) != same_shard)
                beside++;
        return beside;
}

/* The i-th key. From the thousandth on they may all have to be in the same shard: the first one's. */
static int64_t key_of(struct objd_conn *conn, const struct op_test *test, int64_t i)
{
        int64_t key = 1000;

        if (!test->one_shard || i < 1000)
                return i;
        for (int64_t n = 999; n < i; key++)
                n += shard_of(conn, key) == 0;
        return key - 1;
}

/* Does it n times, or, with n negative, until the edge has been crossed. Gives how often that was not so. */
static int64_t do_again(struct objd_conn *conn, const struct op_test *test, int64_t n)
{
        struct victim v = { .test = test };
        int64_t i;

        must(prepare_victim(conn, &v), "preparing for an edge");
        for (i = 0; n < 0 ? i < EDGE_MAX : i < n; i++) {
                uint64_t before = look_at_edge(conn, test, v.it);

                v.key = objd_int(key_of(conn, test, test->fill + i));
                must(test->run(conn, &v), test->name);
                if (n < 0 && is_edge(test, before, look_at_edge(conn, test, v.it)))
                        break;
        }
        objd_batch_free(v.batch);
        objd_release(v.it);
        objd_release(v.other);
        objd_buf_free(&v.buf);
        if (i == EDGE_MAX) {
                fprintf(stderr, "%s: there is no such edge\n", test->name);
                exit(1);
        }
        return i;
}

static void set_hash_key(struct objd_conn *conn)
{
        conn->arena->header->hash_key[0] = sweep_options.seed;
        conn->arena->header->hash_key[1] = sweep_options.seed * 0x9e3779b97f4a7c15ULL;
}

static int64_t count_to_edge(struct op_test *test)
{
        struct objd_conn conn;
        int64_t n;

        bare_create(&conn, 64 * MIB);
        set_hash_key(&conn);
        test->build(&conn, test);
        n = do_again(&conn, test, -1);
        bare_leave(&conn);
        return n;
}

void build_store(struct objd_conn *conn, struct op_test *test)
{
        test->key = TARGET;
        if (test->edge) {
                test->again = count_to_edge(test);
                test->key = test->kind == OBJD_DICT ? key_of(conn, test, test->fill + test->again) : TARGET;
        }
        set_hash_key(conn);
        test->build(conn, test);
        if (test->edge)
                (void)do_again(conn, test, test->again);
}

/* ---- What a store holds --------------------------------------------------------------------------------- */

static void mix(uint64_t *digest, const void *bytes, size_t size)
{
        *digest = XXH3_64bits_withSeed(bytes, size, *digest + size);
}

static void mix_value(uint64_t *digest, const objd_value *value)
{
        mix(digest, &value->type, sizeof(value->type));
        if (value->data)
                mix(digest, value->data, value->size);
        else
                mix(digest, &value->u.integer, sizeof(value->u.integer));
}

/* Entries and items, each by itself. */
struct entries {
        bool any_order;
        uint64_t digest;
};

static objd_status mix_entry(void *context, const objd_value *key, const objd_value *value)
{
        struct entries *entries = context;
        uint64_t digest = entries->any_order ? 0 : entries->digest;

        if (key && key->type != OBJD_ANY)
                mix_value(&digest, key);
        mix_value(&digest, value);
        entries->digest = entries->any_order ? entries->digest + digest : digest;
        return OBJD_OK;
}

static void mix_object(uint64_t *digest, struct objd_conn *conn, const objd_info *info, bool any_order)
{
        struct entries entries = { .any_order = any_order };
        objd_object *object = NULL;
        uint64_t token = 0;
        bool taken = false;
        objd_status r;

        must(objd_open(conn, info->name, info->kind, &object), info->name);
        mix(digest, info->name, strlen(info->name) + 1);
        mix(digest, &object->shm->line.config, 8);
        mix(digest, &info->len, sizeof(info->len));
        if (info->kind == OBJD_LOCK)
                must(objd_lock_owner(object, &taken, NULL, &token), "who owns the lock");
        if (info->kind == OBJD_QUEUE) {
                /* Whether it is closed, which only putters are told; and how many tasks are unfinished. */
                r = objd_queue_join(object, 0);
                mix(digest, &r, sizeof(r));
                mix(digest, &object->shm->line.config, 8);
        }
        mix(digest, &taken, sizeof(taken));
        mix(digest, &token, sizeof(token));
        r = kind_of(info->kind)->walk ? kind_of(info->kind)->walk(object, UINT64_MAX, mix_entry, &entries)
                                      : OBJD_OK;
        if (r == OBJD_OK)
                r = objd_info_get(object, &(objd_info){ 0 });
        mix(digest, &r, sizeof(r));
        mix(digest, &entries.digest, sizeof(entries.digest));
        objd_release(object);
}

uint64_t digest_store(struct objd_conn *conn, bool any_order)
{
        objd_info *infos = NULL;
        uint64_t digest = 0;
        size_t n = 0;

        must(objd_list(conn, NULL, &infos, &n), "the list of objects");
        for (size_t i = 0; i < n; i++)
                mix_object(&digest, conn, &infos[i], any_order);
        objd_infos_free(infos);
        return digest;
}

static objd_status print_entry(void *context, const objd_value *key, const objd_value *value)
{
        (void)context;
        if (key && key->type == OBJD_INT)
                fprintf(stderr, " %" PRId64 ":", key->u.integer);
        if (value->data)
                fprintf(stderr, " %.*s(%zu)", value->size < 8 ? (int)value->size : 8,
                        (const char *)value->data, value->size);
        else
                fprintf(stderr, " %" PRId64, value->u.integer);
        return OBJD_OK;
}

void print_store(struct objd_conn *conn)
{
        objd_info *infos = NULL;
        objd_object *object;
        size_t n = 0;

        must(objd_list(conn, NULL, &infos, &n), "the list of objects");
        for (size_t i = 0; i < n && i < 20; i++) {
                must(objd_open(conn, infos[i].name, infos[i].kind, &object), infos[i].name);
                fprintf(stderr, "  %s: %" PRIu64 ", %" PRIu64 " bytes:", infos[i].name, infos[i].len,
                        infos[i].memory);
                if (kind_of(infos[i].kind)->walk)
                        (void)kind_of(infos[i].kind)->walk(object, 20, print_entry, NULL);
                fprintf(stderr, "\n");
                objd_release(object);
        }
        fprintf(stderr, "  %" PRIu64 " bytes given out in all\n", digest_used(conn));
        objd_infos_free(infos);
}

uint64_t digest_used(struct objd_conn *conn)
{
        return word_get(&conn->arena->header->pool.used);
}

/* ---- The victim ----------------------------------------------------------------------------------------- */

objd_status prepare_victim(struct objd_conn *conn, void *victim)
{
        struct victim *v = victim;

        v->key = objd_int(v->test->key);
        v->value = value_of(v->test->new_value);
        (void)objd_open(conn, "it", OBJD_KIND_ANY, &v->it);
        (void)objd_open(conn, "other", OBJD_KIND_ANY, &v->other);
        must(objd_batch_new(conn, &v->batch), "a batch");
        return v->test->prepare ? v->test->prepare(conn, v) : OBJD_OK;
}

objd_status run_victim(struct objd_conn *conn, void *victim)
{
        struct victim *v = victim;

        return v->test->run(conn, v);
}

/* ---- Who comes next ------------------------------------------------------------------------------------- */

static objd_status write_dict(objd_object *dict)
{
        objd_value key = objd_int(TARGET), value = objd_cstr(THIRD), found;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status r = objd_dict_set(dict, &key, &value);

        if (r == OBJD_OK)
                r = objd_dict_get(dict, &key, &found, &buf);
        if (r == OBJD_OK && !objd_value_equal(&value, &found))
                r = OBJD_E_CORRUPT;
        objd_buf_free(&buf);
        return r;
}

static objd_status expect_item(objd_object *list, int64_t index, const objd_value *expected)
{
        objd_buf buf = OBJD_BUF_INIT;
        objd_value found;
        objd_status r = objd_list_get(list, index, &found, &buf);

        if (r == OBJD_OK && !objd_value_equal(expected, &found))
                r = OBJD_E_CORRUPT;
        objd_buf_free(&buf);
        return r;
}

static objd_status write_list(objd_object *list)
{
        objd_value value = objd_cstr(THIRD);
        objd_status r = objd_list_append(list, &value);

        if (r == OBJD_OK)
                r = objd_list_prepend(list, &value);
        if (r == OBJD_OK)
                r = objd_list_insert(list, 3, &value);
        if (r == OBJD_OK)
                r = expect_item(list, -1, &value);
        return r ? r : expect_item(list, 0, &value);
}

/* Full, empty, closed: what it says of these is part of what it finds. */
static objd_status write_queue(objd_object *queue)
{
        objd_value value = objd_cstr(THIRD), found;
        objd_buf buf = OBJD_BUF_INIT;
        objd_status put = objd_queue_put(queue, &value, OBJD_NOWAIT), get, r = OBJD_OK;

        get = objd_queue_get(queue, &found, &buf, OBJD_NOWAIT);
        if (put && put != OBJD_E_FULL && put != OBJD_E_CLOSED && put != OBJD_E_POISONED)
                r = put;
        else if (get && get != OBJD_E_EMPTY && get != OBJD_E_CLOSED && get != OBJD_E_POISONED)
                r = get;
        objd_buf_free(&buf);
        return r;
}

static objd_status write_lock(objd_object *lock)
{
        objd_status r = objd_lock_take(lock, OBJD_NOWAIT, NULL);

        if (r == OBJD_OK || r == OBJD_E_OWNER_DIED)
                r = objd_lock_give(lock);
        return r;
}

static objd_status write_object(objd_object *object, objd_kind kind)
{
        switch (kind) {
        case OBJD_DICT:
                return write_dict(object);
        case OBJD_LIST:
                return write_list(object);
        case OBJD_QUEUE:
                return write_queue(object);
        default:
                return write_lock(object);
        }
}

objd_status write_next(struct objd_conn *conn, const struct op_test *test)
{
        objd_object *it, *other;
        objd_info info;
        objd_status r;

        if (test->write)
                return test->write(conn, test);
        r = objd_open_or_create(conn, target_of(test), test->kind, NULL, &it);
        if (r)
                return r;
        r = write_object(it, test->kind);
        objd_release(it);
        if (r || objd_open(conn, "other", OBJD_KIND_ANY, &other))
                return r;
        r = objd_info_get(other, &info);
        if (r == OBJD_OK)
                r = write_object(other, info.kind);
        objd_release(other);
        return r;
}
