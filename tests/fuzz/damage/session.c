/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session.c -- everything that can be done with a store, in turn, or a part of it; any answer will do, but there must be one
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
        uint32_t objects; /* whose turn it is, a bit a handle */
        bool all;         /* nothing is left out */
        objd_buf buf, buf2;
};

/* Whether one call of many is made this time. */
static bool turn(const struct work *w)
{
        return w->all || random_below(w->random, 2);
}

/* The same of one that goes through all of an object. */
static bool long_turn(const struct work *w)
{
        return w->all || random_below(w->random, 6) == 0;
}

/* The next handle whose turn it is, from `i` on; NULL if there is none. */
static objd_object *next_object(const struct work *w, size_t *i)
{
        for (; *i < w->subject->n_handles; ++*i)
                if (w->objects >> *i & 1)
                        return w->subject->handles[*i].object;
        return NULL;
}

#define FOR_EACH_OBJECT(w, i, object) for (size_t i = 0; ((object) = next_object((w), &(i))); (i)++)

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
        if (turn(w))
                (void)objd_dict_contains(dict, &key, &found);
        if (turn(w))
                (void)objd_dict_len(dict, &len);
        if (turn(w))
                use_items(objd_dict_get_many(dict, keys, 3, &items), &items);
        if (long_turn(w))
                use_items(objd_dict_copy(dict, &items), &items);
        if (turn(w) && objd_dict_pin(dict, &key, &value, &pin) == OBJD_OK) {
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
        if (turn(w))
                (void)objd_dict_del(dict, &keys[1]);
        if (turn(w) && objd_dict_pop(dict, &key, &found, &w->buf) == OBJD_OK)
                use(&found);
        for (int i = 0; i < 2; i++)
                if (objd_dict_pop_any(dict, &key, &found, &w->buf) == OBJD_OK) {
                        use(&key);
                        use(&found);
                }
        for (int64_t i = 100; turn(w) && i < 112; i++) {
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
        if (turn(w) && objd_list_get(list, -1, &value, &w->buf) == OBJD_OK)
                use(&value);
        if (turn(w))
                (void)objd_list_len(list, &n);
        if (long_turn(w))
                use_items(objd_list_slice(list, some_index(w), OBJD_LIST_END, &items), &items);
        if (long_turn(w))
                (void)objd_list_index(list, &looked_for, 0, OBJD_LIST_END, &n);
        if (long_turn(w))
                (void)objd_list_count(list, &looked_for, &n);
        if (turn(w) && objd_list_pin(list, some_index(w), &value, &pin) == OBJD_OK) {
                use(&value);
                objd_unpin(pin);
        }
}

static void write_list(struct work *w, objd_object *list)
{
        objd_value value = some_value(w), values[3] = { some_value(w), objd_int(4), value }, found;

        if (turn(w))
                (void)objd_list_append(list, &value);
        if (turn(w))
                (void)objd_list_prepend(list, &value);
        if (turn(w))
                (void)objd_list_insert(list, some_index(w), &value);
        if (turn(w))
                (void)objd_list_set(list, some_index(w), &values[0]);
        if (turn(w))
                (void)objd_list_del(list, some_index(w));
        if (turn(w))
                (void)objd_list_extend(list, values, 3);
        if (turn(w))
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

        if (turn(w) && objd_queue_peek(queue, &value, &w->buf) == OBJD_OK)
                use(&value);
        if (turn(w))
                (void)objd_queue_len(queue, &n);
        if (turn(w))
                (void)objd_queue_join(queue, OBJD_NOWAIT);
}

static void write_queue(struct work *w, objd_object *queue)
{
        objd_value value = some_value(w), values[3] = { some_value(w), objd_int(4), value }, found;
        objd_items *items = NULL;
        uint64_t lease = 0;

        if (turn(w))
                (void)objd_queue_put(queue, &value, OBJD_NOWAIT);
        if (turn(w))
                (void)objd_queue_put_priority(queue, &value, (int64_t)random_below(w->random, 9),
                                              OBJD_NOWAIT);
        if (turn(w))
                (void)objd_queue_put_many(queue, values, 3, OBJD_NOWAIT);
        if (turn(w) && objd_queue_get_lease(queue, 100000, &found, &w->buf, &lease, OBJD_NOWAIT) == OBJD_OK)
                use(&found);
        for (int i = 0; i < 2; i++)
                if (objd_queue_get(queue, &found, &w->buf, i ? 100000 : OBJD_NOWAIT) == OBJD_OK)
                        use(&found);
        if (turn(w))
                (void)objd_queue_give_back(queue, w->subject->lease);
        if (turn(w))
                (void)objd_queue_ack(queue, lease);
        if (turn(w))
                (void)objd_queue_task_done(queue);
        if (turn(w))
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

static void look_with_cursor(objd_object *object, int n)
{
        objd_cursor *cursor;
        objd_value key, value;

        if (objd_cursor_new(object, &cursor))
                return;
        for (int i = 0; i < n && objd_cursor_next(cursor, &key, &value) == OBJD_OK; i++)
                use(&value);
        objd_cursor_free(cursor);
}

static void look_at(struct work *w, objd_object *object)
{
        objd_info info;

        (void)objd_info_get(object, &info);
        by_kind[object_kind(object->config)].read(w, object);
        if (turn(w))
                (void)kind_of(object_kind(object->config))->walk(object, w->all ? 3000 : 60, use_entry, NULL);
        if (turn(w))
                look_with_cursor(object, w->all ? 70 : 20);
}

static void read_all(struct work *w)
{
        objd_object *object;

        FOR_EACH_OBJECT(w, i, object)
        look_at(w, object);
}

static void write_all(struct work *w)
{
        objd_object *object;

        FOR_EACH_OBJECT(w, i, object)
        by_kind[object_kind(object->config)].write(w, object);
}

static void end_all(struct work *w)
{
        static const char *const names[] = { "dict",   "list",    "fifo",   "values",
                                             "shards", "numbers", "leased", "heap" };
        objd_object *object;

        FOR_EACH_OBJECT(w, i, object)
        {
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

                if (!w->all && random_below(w->random, 4))
                        continue;
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

                if (!w->all && random_below(w->random, 4))
                        continue;
                if (objd_open_or_create(&w->subject->conn, names[i], OBJD_DICT, NULL, &object) == OBJD_OK)
                        objd_release(object);
        }
}

static void run_batch(struct work *w)
{
        objd_value key = some_key(w), value = some_value(w);
        objd_object *object;
        objd_batch *batch;

        if (objd_batch_new(&w->subject->conn, &batch))
                return;
        FOR_EACH_OBJECT(w, i, object)
        {
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

/*
 * The steps. Those with the objects themselves are what a case is for. Of the others, which look at all of the arena, one in
 * so many is done if only something of an object has been changed, and one in so many if something has been that all have in
 * common; in a case with everything, nearly all are done, and what takes long for what it finds in every second one.
 */
static const struct {
        const char *name;
        void (*fn)(struct work *w);
        uint64_t every_own, every_common, every_full;
} steps[] = {
        { "reads", read_all, 1, 1, 1 },       { "opens", open_all, 16, 16, 2 },
        { "writes", write_all, 1, 1, 1 },     { "check", check, 12, 8, 1 },
        { "batch", run_batch, 4, 4, 1 },      { "reap", reap, 8, 2, 1 },
        { "refs", open_each, 16, 16, 2 },     { "make", make_and_delete, 32, 12, 3 },
        { "stats", look_at_stats, 16, 8, 1 }, { "open or make", open_or_make, 32, 16, 4 },
        { "end", end_all, 4, 4, 1 },
};

#define N_STEPS (sizeof(steps) / sizeof(steps[0]))

/* Whoever has been struck, and every other time somebody else, who may come upon it; somebody in any case. */
static uint32_t choose_objects(const struct subject *subject, struct random *random)
{
        uint32_t objects = subject->struck;

        if (!objects || random_below(random, 2))
                objects |= 1U << random_below(random, subject->n_handles);
        if (subject->struck_common && random_below(random, 2))
                objects |= 1U << random_below(random, subject->n_handles);
        return objects;
}

void session(struct subject *subject, struct random *random, bool all, step_fn step)
{
        struct work w = { .subject = subject, .random = random, .objects = UINT32_MAX, .all = all };
        size_t first = random_below(random, N_STEPS);

        announce = step;
        memset(text, 'y', sizeof(text));
        if (!all)
                w.objects = choose_objects(subject, random);
        for (size_t i = 0; i < N_STEPS; i++) {
                size_t number = (first + i) % N_STEPS;

                if (random_below(random, all                      ? steps[number].every_full
                                         : subject->struck_common ? steps[number].every_common
                                                                  : steps[number].every_own))
                        continue;
                announce(steps[number].name);
                steps[number].fn(&w);
        }
        objd_buf_free(&w.buf);
        objd_buf_free(&w.buf2);
}
