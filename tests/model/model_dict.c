/* SPDX-License-Identifier: Apache-2.0 */

/*
 * model_dict.c -- dicts against a plain table of what should be in them
 *
 * usage: test-model-dict [STEPS]; the seed is OBJD_TEST_SEED.
 *
 * Several processes, with several threads each, run long random sequences of all operations, each thread on a dict of
 * its own, and compare every answer with a model in private memory. A key's and a value's bytes are made from numbers, which
 * are all that the model keeps. At the end all entries are deleted, the arena has as much memory as at the start, and
 * the checker has nothing to say.
 */

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "object/object.h"
#include "support/child.h"
#include "support/inside.h"
#include "support/random.h"
#include "support/test.h"

#define N_PROCESSES 2
#define N_THREADS 2
#define N_KEYS 6000
#define VALUE_MAX (20u << 10)
#define MANY 40

static uint64_t steps = 15000;
static char letters[VALUE_MAX + 256]; /* every window of it is text */

/* What a key should have. */
struct cell {
        uint64_t value; /* which value_of(); 0: the key is not there */
        uint64_t order; /* of its first setting */
};

struct model {
        objd_object *dict;
        struct random random;
        uint64_t seed, step, order, len;
        uint32_t n_keys; /* keys in use now: changes, so that the dict grows and shrinks */
        struct cell cells[N_KEYS];
        objd_buf buf;
        pthread_t thread;
};

#define expect(m, condition)                                                                         \
        do {                                                                                         \
                if (!(condition)) {                                                                  \
                        fprintf(stderr, "step %" PRIu64 " of the sequence %" PRIu64 "\n", (m)->step, \
                                (m)->seed);                                                          \
                        child_fail(#condition, __FILE__, __LINE__);                                  \
                }                                                                                    \
        } while (0)

/* ---- Keys and values from numbers ----------------------------------------------------------------------- */

struct key_room {
        char bytes[OBJD_KEY_MAX];
};

static objd_value key_of(uint32_t number, struct key_room *room)
{
        uint32_t i = number / 3, size;

        if (number % 3 == 0)
                return objd_int((int64_t)i - N_KEYS / 6);
        size = i % 50 == 49 ? OBJD_KEY_MAX - i % 100 : 4 + i % 40;
        memcpy(room->bytes, letters + i % 100, size);
        memcpy(room->bytes,
               (char[]){ (char)('a' + i % 16), (char)('a' + i / 16 % 16), (char)('a' + i / 256 % 16),
                         (char)('a' + i / 4096) },
               4);
        if (i == 0)
                size = 0;
        return number % 3 == 1 ? objd_str(room->bytes, size) : objd_bytes(room->bytes, size);
}

/* A value for each number over 0; numbers with the same low four bits have one type. */
static objd_value value_of(const struct model *m, uint64_t number)
{
        static const uint32_t sizes[] = { 0,    1,    7,    8,    9,    30,   100,      300,
                                          1000, 3000, 4095, 4096, 4097, 9000, VALUE_MAX };
        uint64_t n = number >> 4, shape[2] = { n % 7, n % 11 };
        size_t size = n % 4 ? n % 64 : sizes[n / 4 % 15];
        const char *data = letters + n % 251;

        switch (number & 15) {
        case 0:
        case 1:
                return objd_int((int64_t)n);
        case 2:
                return objd_float((double)n / 3);
        case 3:
                return objd_bool(n & 1);
        case 4:
                return objd_nil();
        case 5:
                return objd_array(OBJD_U16, 2, shape, letters + n % 100);
        case 6:
                return objd_message("name.of.Message", data, size);
        case 7:
                return objd_refer((objd_ref){ n, objd_ref_of(m->dict).serial });
        case 8:
        case 9:
        case 10:
                return objd_str(data, size);
        default:
                return objd_bytes(data, size);
        }
}

static uint64_t some_value(struct model *m)
{
        return random_next(&m->random) % 100000 + 1;
}

/* ---- What the model does -------------------------------------------------------------------------------- */

static void put(struct model *m, uint32_t key, uint64_t value)
{
        struct cell *cell = &m->cells[key];

        if (!cell->value) {
                cell->order = ++m->order;
                m->len++;
        }
        cell->value = value;
}

static void drop(struct model *m, uint32_t key)
{
        m->len -= m->cells[key].value != 0;
        m->cells[key].value = 0;
}

static bool is_value(const struct model *m, uint32_t key, const objd_value *value)
{
        objd_value expected = value_of(m, m->cells[key].value);

        return m->cells[key].value && objd_value_equal(value, &expected);
}

/* The number of a key that came out. */
static uint32_t number_of(const struct model *m, const objd_value *key)
{
        struct key_room room;

        for (uint32_t i = 0; i < N_KEYS; i++) {
                objd_value candidate = key_of(i, &room);

                if (candidate.type == key->type && objd_value_equal(&candidate, key))
                        return i;
        }
        expect(m, N_KEYS == 0); /* a key that nobody has set */
        return 0;
}

/* ---- The operations ------------------------------------------------------------------------------------- */

static void do_get(struct model *m, uint32_t k, const objd_value *key)
{
        objd_value value;
        bool found;

        if (m->cells[k].value) {
                expect(m, objd_dict_get(m->dict, key, &value, &m->buf) == OBJD_OK);
                expect(m, is_value(m, k, &value));
        } else {
                expect(m, objd_dict_get(m->dict, key, &value, &m->buf) == OBJD_E_NOTFOUND);
        }
        expect(m, objd_dict_contains(m->dict, key, &found) == OBJD_OK && found == (m->cells[k].value != 0));
}

static void do_set(struct model *m, uint32_t k, const objd_value *key)
{
        uint64_t n = some_value(m);
        objd_value value = value_of(m, n);

        expect(m, objd_dict_set(m->dict, key, &value) == OBJD_OK);
        put(m, k, n);
}

static void do_set_new(struct model *m, uint32_t k, const objd_value *key)
{
        uint64_t n = some_value(m);
        objd_value value = value_of(m, n);

        expect(m, objd_dict_set_new(m->dict, key, &value) == (m->cells[k].value ? OBJD_E_EXISTS : OBJD_OK));
        if (!m->cells[k].value)
                put(m, k, n);
}

static void do_cas(struct model *m, uint32_t k, const objd_value *key)
{
        uint64_t old = m->cells[k].value, n = some_value(m),
                 guess = random_below(&m->random, 4) ? old : some_value(m);
        objd_value value = value_of(m, n), expected = value_of(m, guess ? guess : 1),
                   current = value_of(m, old ? old : 1);
        bool deletes = random_below(&m->random, 4) == 0;
        bool same = guess ? old && objd_value_equal(&expected, &current) : !old;

        expect(m, objd_dict_cas(m->dict, key, guess ? &expected : NULL, deletes ? NULL : &value) ==
                          (same ? OBJD_OK : OBJD_E_MISMATCH));
        if (same && deletes)
                drop(m, k);
        else if (same)
                put(m, k, n);
}

/* Sums stay below the greatest number of a value, so that they are one themselves. */
static void do_add(struct model *m, uint32_t k, const objd_value *key)
{
        uint64_t old = m->cells[k].value;
        bool is_int = old && (old & 15) <= 1;
        int64_t now = is_int ? (int64_t)(old >> 4) : 0,
                delta = (int64_t)random_below(&m->random, 1000) - (now < 1000 ? now : 1000);
        int64_t sum = 0;
        double real;

        if (old && !is_int) {
                expect(m, objd_dict_add_int(m->dict, key, delta, &sum) == OBJD_E_TYPE);
                if ((old & 15) != 2)
                        expect(m, objd_dict_add_float(m->dict, key, 1, &real) == OBJD_E_TYPE);
                return;
        }
        expect(m, objd_dict_add_int(m->dict, key, delta, &sum) == OBJD_OK);
        expect(m, sum == now + delta);
        put(m, k, (uint64_t)sum << 4 | 1);
}

static void do_del(struct model *m, uint32_t k, const objd_value *key)
{
        expect(m, objd_dict_del(m->dict, key) == (m->cells[k].value ? OBJD_OK : OBJD_E_NOTFOUND));
        drop(m, k);
}

static void do_pop(struct model *m, uint32_t k, const objd_value *key)
{
        objd_value value;

        if (!m->cells[k].value) {
                expect(m, objd_dict_pop(m->dict, key, &value, &m->buf) == OBJD_E_NOTFOUND);
                return;
        }
        expect(m, objd_dict_pop(m->dict, key, &value, &m->buf) == OBJD_OK);
        expect(m, is_value(m, k, &value));
        drop(m, k);
}

static void do_pop_any(struct model *m)
{
        objd_value key, value;
        uint32_t k;

        if (!m->len) {
                expect(m, objd_dict_pop_any(m->dict, &key, &value, &m->buf) == OBJD_E_EMPTY);
                return;
        }
        expect(m, objd_dict_pop_any(m->dict, &key, &value, &m->buf) == OBJD_OK);
        k = number_of(m, &key);
        expect(m, is_value(m, k, &value));
        drop(m, k);
}

/* Many at once; sometimes one of them is no good, and then none is set. */
static void do_set_many(struct model *m)
{
        static _Thread_local struct key_room rooms[MANY];
        uint32_t keys[MANY];
        uint64_t numbers[MANY];
        objd_value key_values[MANY], values[MANY];
        size_t n = random_below(&m->random, MANY);
        bool fails = n && random_below(&m->random, 5) == 0;

        for (size_t i = 0; i < n; i++) {
                keys[i] = (uint32_t)random_below(&m->random, m->n_keys);
                numbers[i] = some_value(m);
                key_values[i] = key_of(keys[i], &rooms[i]);
                values[i] = value_of(m, numbers[i]);
        }
        if (fails)
                key_values[random_below(&m->random, n)] = objd_nil();
        expect(m, objd_dict_set_many(m->dict, key_values, values, n) == (fails ? OBJD_E_TYPE : OBJD_OK));
        for (size_t i = 0; i < n && !fails; i++)
                put(m, keys[i], numbers[i]);
}

static void do_get_many(struct model *m)
{
        static _Thread_local struct key_room rooms[MANY];
        uint32_t keys[MANY];
        objd_value key_values[MANY];
        size_t n = random_below(&m->random, MANY);
        objd_items *items;

        for (size_t i = 0; i < n; i++) {
                keys[i] = (uint32_t)random_below(&m->random, m->n_keys);
                key_values[i] = key_of(keys[i], &rooms[i]);
        }
        expect(m, objd_dict_get_many(m->dict, key_values, n, &items) == OBJD_OK);
        expect(m, items->len == n);
        for (size_t i = 0; i < n; i++) {
                expect(m, items->item[i].found == (m->cells[keys[i]].value != 0));
                expect(m, !items->item[i].found || is_value(m, keys[i], &items->item[i].value));
        }
        objd_items_free(items);
}

/* Some operations as one; a last one that fails undoes them. */
static void do_batch(struct model *m)
{
        size_t n = 1 + random_below(&m->random, MANY), failed = 0;
        bool fails = random_below(&m->random, 3) == 0;
        struct cell *saved = malloc(sizeof(m->cells));
        uint64_t order = m->order, len = m->len;
        objd_value nobody = objd_int(INT64_MIN);
        struct key_room room;
        objd_batch *batch;

        expect(m, saved && objd_batch_new(m->dict->conn, &batch) == OBJD_OK);
        memcpy(saved, m->cells, sizeof(m->cells));
        for (size_t i = 0; i < n; i++) {
                uint32_t k = (uint32_t)random_below(&m->random, m->n_keys);
                objd_value key = key_of(k, &room), value;
                uint64_t number = some_value(m);

                value = value_of(m, number);
                if (m->cells[k].value && random_below(&m->random, 3) == 0) {
                        expect(m, objd_batch_dict_pop(batch, m->dict, &key) == OBJD_OK);
                        drop(m, k);
                } else {
                        expect(m, objd_batch_dict_set(batch, m->dict, &key, &value) == OBJD_OK);
                        put(m, k, number);
                }
        }
        if (fails)
                expect(m, objd_batch_dict_del(batch, m->dict, &nobody) == OBJD_OK);
        expect(m, objd_batch_commit(batch, &failed) == (fails ? OBJD_E_NOTFOUND : OBJD_OK));
        if (fails) {
                expect(m, failed == n);
                memcpy(m->cells, saved, sizeof(m->cells));
                m->order = order;
                m->len = len;
        }
        objd_batch_free(batch);
        free(saved);
}

/* All entries, and the order in which they came. */
static void do_copy(struct model *m)
{
        uint64_t len, order = 0;
        objd_items *items;

        expect(m, objd_dict_len(m->dict, &len) == OBJD_OK && len == m->len);
        expect(m, objd_dict_copy(m->dict, &items) == OBJD_OK);
        expect(m, items->len == m->len);
        for (size_t i = 0; i < items->len; i++) {
                uint32_t k = number_of(m, &items->item[i].key);

                expect(m, is_value(m, k, &items->item[i].value));
                expect(m, m->cells[k].order > order);
                order = m->cells[k].order;
        }
        objd_items_free(items);
}

static void do_clear(struct model *m)
{
        expect(m, objd_dict_clear(m->dict) == OBJD_OK);
        for (uint32_t k = 0; k < N_KEYS; k++)
                drop(m, k);
}

static void do_one(struct model *m)
{
        static void (*const with_key[])(struct model * m, uint32_t k, const objd_value *key) = {
                do_get, do_get, do_set, do_set, do_set, do_set_new, do_cas, do_add, do_del, do_del, do_pop,
        };
        uint64_t dice = random_below(&m->random, 4000);
        struct key_room room;
        objd_value key;
        uint32_t k;

        if (dice == 0)
                do_clear(m);
        else if (dice < 4)
                do_copy(m);
        else if (dice < 20)
                m->n_keys = (uint32_t)(random_below(&m->random, 3) ? random_below(&m->random, 60)
                                                                   : random_below(&m->random, N_KEYS)) +
                            1;
        else if (dice < 120)
                do_pop_any(m);
        else if (dice < 160)
                do_set_many(m);
        else if (dice < 200)
                do_get_many(m);
        else if (dice < 240)
                do_batch(m);
        else {
                k = (uint32_t)random_below(&m->random, m->n_keys);
                key = key_of(k, &room);
                with_key[random_below(&m->random, sizeof(with_key) / sizeof(*with_key))](m, k, &key);
        }
}

/* ---- Threads and processes ------------------------------------------------------------------------------ */

static void *run_thread(void *context)
{
        struct model *m = context;
        struct key_room room;
        objd_info info;

        m->n_keys = 100;
        for (m->step = 0; m->step < steps; m->step++)
                do_one(m);
        do_copy(m);
        for (uint32_t k = 0; k < N_KEYS; k++)
                if (m->cells[k].value) {
                        objd_value key = key_of(k, &room);

                        do_del(m, k, &key);
                }
        expect(m, objd_info_get(m->dict, &info) == OBJD_OK);
        expect(m, info.len == 0 && info.memory == 128);
        expect(m, objd_destroy(m->dict) == OBJD_OK);
        objd_release(m->dict);
        objd_buf_free(&m->buf);
        return NULL;
}

struct process {
        objd_conn *conn;
        uint64_t seed;
};

static int run_process(void *context)
{
        struct process *process = context;
        struct model *models = calloc(N_THREADS, sizeof(*models));

        child_check(models);
        for (uint64_t i = 0; i < N_THREADS; i++) {
                models[i].seed = process->seed + i;
                models[i].random.state = models[i].seed;
                child_ok(objd_create(process->conn, NULL, OBJD_DICT, NULL, &models[i].dict));
                child_check(pthread_create(&models[i].thread, NULL, run_thread, &models[i]) == 0);
        }
        for (int i = 0; i < N_THREADS; i++)
                pthread_join(models[i].thread, NULL);
        free(models);
        objd_close(process->conn);
        return 0;
}

static void dicts_do_what_the_model_does(void **state)
{
        struct random random = random_begin("test-model-dict");
        struct process processes[N_PROCESSES];
        uint64_t used = inside_used(*state);
        pid_t pids[N_PROCESSES];

        for (int i = 0; i < N_PROCESSES; i++) {
                processes[i] = (struct process){ *state, random_next(&random) };
                pids[i] = child_start(run_process, &processes[i]);
        }
        for (int i = 0; i < N_PROCESSES; i++)
                child_expect_success(pids[i]);
        assert_int_equal(inside_used(*state), used);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = { INSIDE_TEST(dicts_do_what_the_model_does) };

        if (argc > 1)
                steps = strtoull(argv[1], NULL, 0);
        for (size_t i = 0; i < sizeof(letters); i++)
                letters[i] = (char)('a' + i * 7 % 26);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
