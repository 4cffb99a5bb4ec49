/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c -- everything that can be done with a store, in turn; any answer will do, but there must be one
 */

#include "damage.h"

#include <stdlib.h>
#include <string.h>

#include "mem/pool.h"
#include "object/check.h"
#include "object/directory.h"
#include "object/kind.h"
#include "txn/recover.h"
#include "txn/txn.h"

static step_fn announce;
static char text[8192];

struct work {
        struct subject *subject;
        struct random *random;
        objd_buf buf, buf2;
};

/* Looks at every byte of a value, so that one which is not all there is noticed. */
static void use(const objd_value *value)
{
        static volatile uint8_t sum;
        uint8_t x = 0;

        if (value->type < OBJD_STR)
                return;
        if (value->type != OBJD_REF)
                for (uint64_t i = 0; i < value->size; i += i + 64 < value->size ? 64 : 1)
                        x = (uint8_t)(x + ((const uint8_t *)value->data)[i]);
        sum = (uint8_t)(sum + x);
}

static void use_items(objd_status r, objd_items **items)
{
        for (size_t i = 0; r == OBJD_OK && i < (*items)->len; i++) {
                use(&(*items)->item[i].key);
                use(&(*items)->item[i].value);
        }
        if (r == OBJD_OK)
                objd_items_free(*items);
        *items = NULL;
}

static objd_status use_entry(void *context, const objd_value *key, const objd_value *value)
{
        (void)context;
        if (key)
                use(key);
        use(value);
        return OBJD_OK;
}

static objd_value some_key(struct work *w)
{
        uint64_t i = random_below(w->random, 14);

        return i % 4 ? objd_int((int64_t)i)
                     : objd_str("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", i % 40 + 1);
}

static objd_value some_value(struct work *w)
{
        static const size_t sizes[] = { 0, 5, 60, 300, 1200, 4500 };
        uint64_t i = random_below(w->random, 9);

        return i < 3 ? objd_int((int64_t)i) : objd_str(text, sizes[i - 3]);
}

/* ---- Dicts --------------------------------------------------------------------------------------------- */

static void read_dict(struct work *w, objd_object *dict)
{
        objd_value key = some_key(w), value, keys[3] = { key, some_key(w), objd_int(77) };
        objd_items *items = NULL;
        objd_pin *pin;
        uint64_t len;
        bool found;

        for (int i = 0; i < 3; i++)
                if (objd_dict_get(dict, &keys[i], &value, &w->buf) == OBJD_OK)
                        use(&value);
        (void)objd_dict_contains(dict, &key, &found);
        (void)objd_dict_len(dict, &len);
        use_items(objd_dict_get_many(dict, keys, 3, &items), &items);
        use_items(objd_dict_copy(dict, &items), &items);
        if (objd_dict_pin(dict, &key, &value, &pin) == OBJD_OK) {
                use(&value);
                objd_unpin(pin);
        }
}

static void write_dict(struct work *w, objd_object *dict)
{
        objd_value key = some_key(w), value = some_value(w), keys[3] = { key, some_key(w), objd_int(78) },
                   values[3] = { some_value(w), some_value(w), value }, found;
        int64_t sum;
        double real;

        switch (random_below(w->random, 4)) {
        case 0:
                (void)objd_dict_add_int(dict, &key, 3, &sum);
                (void)objd_dict_set(dict, &key, &value);
                break;
        case 1:
                (void)objd_dict_add_float(dict, &key, 3, &real);
                (void)objd_dict_set_new(dict, &key, &value);
                break;
        case 2:
                (void)objd_dict_cas(dict, &key, &value, &values[0]);
                break;
        default:
                (void)objd_dict_set_many(dict, keys, values, 3);
        }
        (void)objd_dict_del(dict, &keys[1]);
        if (objd_dict_pop(dict, &key, &found, &w->buf) == OBJD_OK)
                use(&found);
        for (int i = 0; i < 2; i++)
                if (objd_dict_pop_any(dict, &key, &found, &w->buf) == OBJD_OK) {
                        use(&key);
                        use(&found);
                }
        for (int64_t i = 100; i < 100 + (int64_t)random_below(w->random, 12); i++) {
                objd_value more = objd_int(i);

                (void)objd_dict_set(dict, &more, &value);
        }
}

/* ---- Lists --------------------------------------------------------------------------------------------- */

static int64_t some_index(struct work *w)
{
        return (int64_t)random_below(w->random, random_below(w->random, 3) ? 12 : 2600) - 3;
}

static void read_list(struct work *w, objd_object *list)
{
        objd_value value, looked_for = some_value(w);
        objd_items *items = NULL;
        objd_pin *pin;
        uint64_t n;

        for (int i = 0; i < 3; i++)
                if (objd_list_get(list, some_index(w), &value, &w->buf) == OBJD_OK)
                        use(&value);
        if (objd_list_get(list, -1, &value, &w->buf) == OBJD_OK)
                use(&value);
        (void)objd_list_len(list, &n);
        use_items(objd_list_slice(list, some_index(w), OBJD_LIST_END, &items), &items);
        (void)objd_list_index(list, &looked_for, 0, OBJD_LIST_END, &n);
        (void)objd_list_count(list, &looked_for, &n);
        if (objd_list_pin(list, some_index(w), &value, &pin) == OBJD_OK) {
                use(&value);
                objd_unpin(pin);
        }
}

static void write_list(struct work *w, objd_object *list)
{
        objd_value value = some_value(w), values[3] = { some_value(w), objd_int(4), value }, found;

        (void)objd_list_append(list, &value);
        (void)objd_list_prepend(list, &value);
        (void)objd_list_insert(list, some_index(w), &value);
        (void)objd_list_set(list, some_index(w), &values[0]);
        (void)objd_list_del(list, some_index(w));
        (void)objd_list_extend(list, values, 3);
        (void)objd_list_remove(list, &values[1]);
        for (int i = 0; i < 3; i++)
                if (objd_list_pop(list, i - 2, &found, &w->buf) == OBJD_OK)
                        use(&found);
        switch (random_below(w->random, 4)) {
        case 0:
                (void)objd_list_sort(list, random_below(w->random, 2));
                break;
        case 1:
                (void)objd_list_reverse(list);
                (void)objd_list_append(list, &value);
                break;
        default:
                (void)objd_list_slice_del(list, some_index(w), some_index(w));
        }
}

/* ---- Queues -------------------------------------------------------------------------------------------- */

static void read_queue(struct work *w, objd_object *queue)
{
        objd_value value;
        uint64_t n;

        if (objd_queue_peek(queue, &value, &w->buf) == OBJD_OK)
                use(&value);
        (void)objd_queue_len(queue, &n);
        (void)objd_queue_join(queue, OBJD_NOWAIT);
}

static void write_queue(struct work *w, objd_object *queue)
{
        objd_value value = some_value(w), values[3] = { some_value(w), objd_int(4), value }, found;
        objd_items *items = NULL;
        uint64_t lease = 0;

        (void)objd_queue_put(queue, &value, OBJD_NOWAIT);
        (void)objd_queue_put_priority(queue, &value, (int64_t)random_below(w->random, 9), OBJD_NOWAIT);
        (void)objd_queue_put_many(queue, values, 3, OBJD_NOWAIT);
        if (objd_queue_get_lease(queue, 100000, &found, &w->buf, &lease, OBJD_NOWAIT) == OBJD_OK)
                use(&found);
        for (int i = 0; i < 2; i++)
                if (objd_queue_get(queue, &found, &w->buf, i ? 100000 : OBJD_NOWAIT) == OBJD_OK)
                        use(&found);
        (void)objd_queue_give_back(queue, w->subject->lease);
        (void)objd_queue_ack(queue, lease);
        (void)objd_queue_task_done(queue);
        use_items(objd_queue_get_many(queue, 4, &items, OBJD_NOWAIT), &items);
}

/* ---- Locks --------------------------------------------------------------------------------------------- */

static void read_lock(struct work *w, objd_object *lock)
{
        uint64_t token;
        int64_t pid;
        bool taken;

        (void)w;
        (void)objd_lock_owner(lock, &taken, &pid, &token);
}

static void write_lock(struct work *w, objd_object *lock)
{
        uint64_t token;

        (void)w;
        (void)objd_lock_give(lock);
        (void)objd_lock_take(lock, 100000, &token);
        (void)objd_lock_take(lock, OBJD_NOWAIT, &token);
        (void)objd_lock_give(lock);
}

/* ---- Every object -------------------------------------------------------------------------------------- */

typedef void (*object_fn)(struct work *w, objd_object *object);

/* By kind: dict, list, queue, lock. */
static const struct {
        object_fn read, write;
} by_kind[] = {
        [OBJD_DICT] = { read_dict, write_dict },
        [OBJD_LIST] = { read_list, write_list },
        [OBJD_QUEUE] = { read_queue, write_queue },
        [OBJD_LOCK] = { read_lock, write_lock },
};

static void look_at(struct work *w, objd_object *object)
{
        objd_info info;
        objd_cursor *cursor;
        objd_value key, value;

        (void)objd_info_get(object, &info);
        (void)kind_of(object_kind(object->config))->walk(object, 3000, use_entry, NULL);
        by_kind[object_kind(object->config)].read(w, object);
        if (objd_cursor_new(object, &cursor) == OBJD_OK) {
                for (int i = 0; i < 70 && objd_cursor_next(cursor, &key, &value) == OBJD_OK; i++)
                        use(&value);
                objd_cursor_free(cursor);
        }
}

static void read_all(struct work *w)
{
        for (size_t i = 0; i < w->subject->n_handles; i++)
                look_at(w, w->subject->handles[i].object);
}

static void write_all(struct work *w)
{
        for (size_t i = 0; i < w->subject->n_handles; i++) {
                objd_object *object = w->subject->handles[i].object;

                by_kind[object_kind(object->config)].write(w, object);
        }
}

static void end_all(struct work *w)
{
        static const char *const names[] = { "dict",   "list",    "fifo",   "values",
                                             "shards", "numbers", "leased", "heap" };

        for (size_t i = 0; i < w->subject->n_handles; i++) {
                objd_object *object = w->subject->handles[i].object;
                objd_kind kind = object_kind(object->config);

                if (kind == OBJD_DICT)
                        (void)objd_dict_clear(object);
                if (kind == OBJD_LIST)
                        (void)objd_list_clear(object);
                if (kind == OBJD_QUEUE)
                        (void)(random_below(w->random, 2) ? objd_queue_close(object)
                                                          : objd_queue_poison(object));
                if (random_below(w->random, 2))
                        (void)objd_set_name(object, "another name, also too long for its slot");
                if (random_below(w->random, 2))
                        (void)objd_delete(&w->subject->conn, names[i % (sizeof(names) / sizeof(names[0]))]);
                (void)objd_destroy(object);
        }
}

/* What a tool does: find what there is, and open it. */
static void open_all(struct work *w)
{
        objd_info *infos;
        objd_object *object;
        size_t len;

        if (objd_list(&w->subject->conn, NULL, &infos, &len))
                return;
        for (size_t i = 0; i < len && i < 40; i++) {
                if (objd_open(&w->subject->conn, infos[i].name, OBJD_KIND_ANY, &object))
                        continue;
                (void)kind_of(object_kind(object->config))->walk(object, 5, use_entry, NULL);
                objd_release(object);
        }
        objd_infos_free(infos);
}

static objd_status open_one(void *context, objd_ref ref, uint64_t owner)
{
        struct work *w = context;
        objd_object *object;
        objd_info info;

        (void)owner;
        if (objd_open_ref(&w->subject->conn, ref, OBJD_KIND_ANY, &object) == OBJD_OK) {
                (void)objd_info_get(object, &info);
                (void)object_label(object);
                objd_release(object);
        }
        return OBJD_OK;
}

static void open_each(struct work *w)
{
        (void)directory_each(&w->subject->conn, open_one, w);
}

static void make_and_delete(struct work *w)
{
        static const objd_kind kinds[] = { OBJD_DICT, OBJD_LIST, OBJD_QUEUE, OBJD_LOCK };
        char name[80];

        for (unsigned i = 0; i < 4; i++) {
                objd_object *object;

                snprintf(name, sizeof(name), i % 2 ? "new %u" : "new %u, with a name that needs a chunk", i);
                if (objd_create(&w->subject->conn, i == 3 ? NULL : name, kinds[i], NULL, &object))
                        continue;
                by_kind[kinds[i]].write(w, object);
                by_kind[kinds[i]].read(w, object);
                (void)objd_set_name(object, "renamed");
                if (random_below(w->random, 2))
                        (void)objd_destroy(object);
                objd_release(object);
        }
}

static void open_or_make(struct work *w)
{
        static const char *const names[] = { "dict", "values", "leased", "one more" };

        for (unsigned i = 0; i < 4; i++) {
                objd_object *object;

                if (objd_open_or_create(&w->subject->conn, names[i], OBJD_DICT, NULL, &object) == OBJD_OK)
                        objd_release(object);
        }
}

static void run_batch(struct work *w)
{
        objd_value key = some_key(w), value = some_value(w);
        objd_batch *batch;

        if (objd_batch_new(&w->subject->conn, &batch))
                return;
        for (size_t i = 0; i < w->subject->n_handles; i++) {
                objd_object *object = w->subject->handles[i].object;

                switch ((int)object_kind(object->config)) {
                case OBJD_DICT:
                        (void)objd_batch_dict_set(batch, object, &key, &value);
                        (void)objd_batch_dict_get(batch, object, &key);
                        break;
                case OBJD_LIST:
                        (void)objd_batch_list_append(batch, object, &value);
                        break;
                case OBJD_QUEUE:
                        (void)objd_batch_queue_put(batch, object, &value, 0);
                        break;
                default:
                        break;
                }
                if (i % 3 == 2) {
                        (void)objd_batch_commit(batch, NULL);
                        objd_batch_clear(batch);
                }
        }
        (void)objd_batch_commit(batch, NULL);
        objd_batch_free(batch);
}

static void reap(struct work *w)
{
        struct lane *lane;

        if (lane_enter(w->subject->conn.arena, OBJD_NOWAIT, &lane) == OBJD_OK) {
                (void)recover_all(w->subject->conn.arena, lane);
                pool_trim(lane);
                lane_leave(lane);
        }
        (void)recover_clients(w->subject->conn.arena);
}

static void look_at_stats(struct work *w)
{
        objd_stats stats;

        (void)objd_stats_get(&w->subject->conn, &stats);
}

static void ignore(void *context, const char *object, const char *sentence)
{
        use(&(objd_value){ .type = OBJD_STR, .data = object, .size = strlen(object) });
        use(&(objd_value){ .type = OBJD_STR, .data = sentence, .size = strlen(sentence) });
        (void)context;
}

static void check(struct work *w)
{
        uint64_t n;

        (void)check_arena(&w->subject->conn, ignore, NULL, &n);
}

/* Nearly everything is done in nearly every case; what takes long for what it finds, in every second one. */
static const struct {
        const char *name;
        void (*fn)(struct work *w);
        uint64_t every;
} steps[] = {
        { "reads", read_all, 1 },      { "opens", open_all, 2 },
        { "writes", write_all, 1 },    { "check", check, 1 },
        { "batch", run_batch, 1 },     { "reap", reap, 1 },
        { "refs", open_each, 2 },      { "make", make_and_delete, 3 },
        { "stats", look_at_stats, 1 }, { "open or make", open_or_make, 4 },
        { "end", end_all, 1 },
};

#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

void session(struct subject *subject, struct random *random, step_fn step)
{
        struct work w = { .subject = subject, .random = random };
        size_t first = random_below(random, N_STEPS);

        announce = step;
        memset(text, 'y', sizeof(text));
        for (size_t i = 0; i < N_STEPS; i++) {
                size_t number = (first + i) % N_STEPS;

                if (random_below(random, steps[number].every))
                        continue;
                announce(steps[number].name);
                steps[number].fn(&w);
        }
        objd_buf_free(&w.buf);
        objd_buf_free(&w.buf2);
}
