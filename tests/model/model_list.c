/* SPDX-License-Identifier: Apache-2.0 */
/*
 * model_list.c -- lists against a plain array of what should be in them
 *
 * Several processes run long random sequences of all operations, each on a list of its own, and compare every result
 * with a model in private memory. Others work on lists that all of them share: one where whatever
 * is put in must come out exactly once, one whose items are only ever put into another order, so that each slice
 * must have all of them. At the end the checker has nothing to say.
 *
 * usage: test-model-list [SEED [STEPS]]
 */

#include "model/model_list.h"

#include <stdarg.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "object/check.h"

#define N_OWN 2 /* processes with a list of their own */
#define STEPS 12000
#define SHARED_STEPS 15000

uint64_t seed;
_Thread_local uint64_t step;

void die(const char *file, int line, const char *format, ...)
{
        va_list args;

        fflush(stdout);
        fprintf(stderr, "%s:%d: seed %" PRIu64 ", step %" PRIu64 ": ", file, line, seed, step);
        va_start(args, format);
        vfprintf(stderr, format, args);
        va_end(args);
        fputc('\n', stderr);
        _exit(1);
}

/* ---- The model ---------------------------------------------------------------------------------------- */

struct model {
        objd_object *list;
        struct random random;
        uint64_t *code;
        size_t len, room;
        size_t target; /* where the length tends to */
        objd_buf buf;
};

static void model_open(struct model *m, size_t at, size_t n)
{
        if (m->len + n > m->room) {
                m->room = (m->len + n) * 2;
                m->code = realloc(m->code, m->room * sizeof(*m->code));
                expect(m->code);
        }
        memmove(m->code + at + n, m->code + at, (m->len - at) * sizeof(*m->code));
        m->len += n;
}

static void model_close(struct model *m, size_t at, size_t n)
{
        memmove(m->code + at, m->code + at + n, (m->len - at - n) * sizeof(*m->code));
        m->len -= n;
}

/* An end of a slice as the manual says. */
static size_t clip(int64_t index, size_t len)
{
        if (index < 0)
                index += (int64_t)len;
        return index < 0 ? 0 : (uint64_t)index > len ? len : (size_t)index;
}

static uint64_t random_code(struct random *random)
{
        return random_next(random) >> 8;
}

/* Inside, from either end, or somewhat outside. */
static int64_t random_index(struct model *m)
{
        int64_t len = (int64_t)m->len, index = (int64_t)random_below(&m->random, m->len + 1);

        switch (random_below(&m->random, 8)) {
        case 0:
                return 0;
        case 1:
                return -1;
        case 2:
                return (int64_t)random_below(&m->random, (uint64_t)len * 3 + 3) - len * 2;
        case 3:
                return -index;
        default:
                return index;
        }
}

/* Resolves an index as get, set, del and pop do; false if there is no such item. */
static bool resolve(const struct model *m, int64_t index, size_t *ret_at)
{
        if (index < 0)
                index += (int64_t)m->len;
        *ret_at = (size_t)index;
        return index >= 0 && (uint64_t)index < m->len;
}

static void expect_value(const objd_value *got, uint64_t code)
{
        objd_value want = value_from(code);

        expect(objd_value_equal(got, &want));
}

static void expect_slice(struct model *m, int64_t start, int64_t stop)
{
        size_t from = clip(start, m->len), to = clip(stop, m->len);
        objd_items *items;

        expect_ok(objd_list_slice(m->list, start, stop, &items));
        expect(items->len == (from < to ? to - from : 0));
        for (size_t i = 0; i < items->len; i++)
                expect_value(&items->item[i].value, m->code[from + i]);
        objd_items_free(items);
}

static void expect_all(struct model *m)
{
        uint64_t len;

        expect_ok(objd_list_len(m->list, &len));
        expect(len == m->len);
        expect_slice(m, 0, OBJD_LIST_END);
}

/* ---- Steps -------------------------------------------------------------------------------------------- */

static void step_insert(struct model *m, int64_t index, size_t at)
{
        uint64_t code = random_code(&m->random);
        objd_value value = value_from(code);

        if (index == INT64_MAX)
                expect_ok(objd_list_append(m->list, &value));
        else if (index == INT64_MIN)
                expect_ok(objd_list_prepend(m->list, &value));
        else
                expect_ok(objd_list_insert(m->list, index, &value));
        model_open(m, at, 1);
        m->code[at] = code;
}

static void step_extend(struct model *m)
{
        size_t n = random_below(&m->random, random_below(&m->random, 10) ? 40 : 3000), at = m->len;
        objd_value *values = malloc((n + 1) * sizeof(*values));

        expect(values);
        model_open(m, at, n);
        for (size_t i = 0; i < n; i++) {
                m->code[at + i] = random_code(&m->random);
                values[i] = value_from(m->code[at + i]);
        }
        expect_ok(objd_list_extend(m->list, values, n));
        free(values);
}

static void step_get(struct model *m)
{
        int64_t index = random_index(m);
        objd_value value;
        size_t at;

        if (!resolve(m, index, &at)) {
                expect_status(objd_list_get(m->list, index, &value, &m->buf), OBJD_E_RANGE);
                return;
        }
        expect_ok(objd_list_get(m->list, index, &value, &m->buf));
        expect_value(&value, m->code[at]);
}

static void step_set(struct model *m)
{
        uint64_t code = random_code(&m->random);
        objd_value value = value_from(code);
        int64_t index = random_index(m);
        size_t at;

        if (!resolve(m, index, &at)) {
                expect_status(objd_list_set(m->list, index, &value), OBJD_E_RANGE);
                return;
        }
        expect_ok(objd_list_set(m->list, index, &value));
        m->code[at] = code;
}

static void step_del(struct model *m, bool pop, int64_t index)
{
        objd_value value;
        size_t at;

        if (!resolve(m, index, &at)) {
                expect_status(pop ? objd_list_pop(m->list, index, &value, &m->buf)
                                  : objd_list_del(m->list, index),
                              OBJD_E_RANGE);
                return;
        }
        if (pop) {
                expect_ok(objd_list_pop(m->list, index, &value, &m->buf));
                expect_value(&value, m->code[at]);
        } else {
                expect_ok(objd_list_del(m->list, index));
        }
        model_close(m, at, 1);
}

/* The first item in [from, to) that equals the value; to, if there is none. */
static size_t find(const struct model *m, const objd_value *value, size_t from, size_t to)
{
        for (; from < to; from++) {
                objd_value item = value_from(m->code[from]);

                if (objd_value_equal(&item, value))
                        break;
        }
        return from;
}

static objd_value random_needle(struct model *m)
{
        return value_from(m->len && random_below(&m->random, 3) ? m->code[random_below(&m->random, m->len)]
                                                                : random_code(&m->random));
}

static void step_remove(struct model *m)
{
        objd_value value = random_needle(m);
        size_t at = find(m, &value, 0, m->len);

        expect_status(objd_list_remove(m->list, &value), at < m->len ? OBJD_OK : OBJD_E_NOTFOUND);
        if (at < m->len)
                model_close(m, at, 1);
}

static void step_index(struct model *m)
{
        int64_t start = random_index(m), stop = random_below(&m->random, 2) ? OBJD_LIST_END : random_index(m);
        size_t from = clip(start, m->len), to = clip(stop, m->len), at;
        objd_value value = random_needle(m);
        uint64_t index = 0;

        if (from > to)
                from = to;
        at = find(m, &value, from, to);
        expect_status(objd_list_index(m->list, &value, start, stop, &index),
                      at < to ? OBJD_OK : OBJD_E_NOTFOUND);
        expect(at == to || index == at);
}

static void step_count(struct model *m)
{
        objd_value value = random_needle(m);
        uint64_t n = 0, got;

        for (size_t at = find(m, &value, 0, m->len); at < m->len; at = find(m, &value, at + 1, m->len))
                n++;
        expect_ok(objd_list_count(m->list, &value, &got));
        expect(n == got);
}

static void step_slice_del(struct model *m)
{
        int64_t start = random_index(m), stop = start + (int64_t)random_below(&m->random, 60);
        size_t from, to;

        if (!random_below(&m->random, 4))
                stop = random_index(m);
        from = clip(start, m->len);
        to = clip(stop, m->len);
        expect_ok(objd_list_slice_del(m->list, start, stop));
        if (from < to)
                model_close(m, from, to - from);
}

static void model_reverse(struct model *m)
{
        for (size_t i = 0; i < m->len / 2; i++) {
                uint64_t swap = m->code[i];

                m->code[i] = m->code[m->len - 1 - i];
                m->code[m->len - 1 - i] = swap;
        }
}

static void step_reverse(struct model *m)
{
        expect_ok(objd_list_reverse(m->list));
        model_reverse(m);
}

/* Stable: a merge sort from above, with its own memory. */
static void sort_codes(uint64_t *code, uint64_t *other, size_t n, bool descending)
{
        size_t left = 0, half = n / 2, right = half;

        if (n < 2)
                return;
        sort_codes(code, other, half, descending);
        sort_codes(code + half, other, n - half, descending);
        for (size_t i = 0; i < n; i++) {
                bool take_left = right == n;

                if (left < half && right < n) {
                        int c = order(code[left], code[right]);

                        take_left = descending ? c >= 0 : c <= 0;
                }
                other[i] = take_left ? code[left++] : code[right++];
        }
        memcpy(code, other, n * sizeof(*code));
}

static void step_sort(struct model *m)
{
        bool descending = random_below(&m->random, 2);
        uint64_t *other = malloc((m->len + 1) * sizeof(*other));

        expect(other);
        expect_ok(objd_list_sort(m->list, descending));
        sort_codes(m->code, other, m->len, descending);
        free(other);
}

/* ---- Several operations as one ------------------------------------------------------------------------- */

#define BATCH_MAX 8

struct batch {
        struct op op[BATCH_MAX];
        objd_value value[BATCH_MAX];
        objd_buf buf[BATCH_MAX];
        uint64_t expected[BATCH_MAX]; /* what a pop gives */
};

/* Chooses the i-th operation, and does it to the model. */
static void batch_add(struct batch *b, size_t i, struct model *m)
{
        static const enum op_code codes[] = { OP_LIST_APPEND, OP_LIST_APPEND,    OP_LIST_PREPEND,
                                              OP_LIST_INSERT, OP_LIST_SET,       OP_LIST_DEL,
                                              OP_LIST_POP,    OP_LIST_POP,       OP_LIST_POP,
                                              OP_LIST_SET,    OP_LIST_SLICE_DEL, OP_LIST_REVERSE };
        enum op_code code = codes[random_below(&m->random, sizeof(codes) / sizeof(*codes))];
        uint64_t value = random_code(&m->random);
        int64_t index = random_below(&m->random, 3) ? -1 : (int64_t)random_below(&m->random, m->len + 1);
        size_t at = clip(index, m->len);

        if (!m->len)
                code = OP_LIST_APPEND;
        if (at == m->len && (code == OP_LIST_SET || code == OP_LIST_DEL || code == OP_LIST_POP))
                index = (int64_t)(at = 0);
        b->value[i] = value_from(value);
        b->op[i] = (struct op){
                .code = code, .object = m->list, .value = &b->value[i], .index = index, .buf = &b->buf[i]
        };
        switch (code) {
        case OP_LIST_APPEND:
        case OP_LIST_PREPEND:
        case OP_LIST_INSERT:
                at = code == OP_LIST_APPEND ? m->len : code == OP_LIST_PREPEND ? 0 : at;
                model_open(m, at, 1);
                m->code[at] = value;
                break;
        case OP_LIST_SET:
                m->code[at] = value;
                break;
        case OP_LIST_DEL:
        case OP_LIST_POP:
                b->expected[i] = m->code[at];
                model_close(m, at, 1);
                break;
        case OP_LIST_SLICE_DEL:
                b->op[i].stop = index < 0 ? OBJD_LIST_END : index + 20;
                model_close(m, at, clip(b->op[i].stop, m->len) - at);
                break;
        default:
                model_reverse(m);
        }
}

/* One batch in three ends with an operation that cannot be done: then nothing has happened. */
static void step_batch(struct model *m)
{
        size_t n = 1 + random_below(&m->random, BATCH_MAX - 1), len = m->len, failed = SIZE_MAX;
        bool fails = !random_below(&m->random, 3);
        uint64_t *before = malloc((len + 1) * sizeof(*before));
        struct batch b = { 0 };

        expect(before);
        memcpy(before, m->code, len * sizeof(*before));
        for (size_t i = 0; i < n; i++)
                batch_add(&b, i, m);
        if (fails)
                b.op[n] = (struct op){ .code = OP_LIST_DEL, .object = m->list, .index = (int64_t)m->len };
        expect_status(op_run(m->list->conn, b.op, n + fails, &failed), fails ? OBJD_E_RANGE : OBJD_OK);
        if (fails) {
                expect(failed == n);
                m->len = len;
                memcpy(m->code, before, len * sizeof(*before));
        }
        for (size_t i = 0; i < n; i++) {
                if (!fails && b.op[i].code == OP_LIST_POP)
                        expect_value(&b.op[i].result, b.expected[i]);
                objd_buf_free(&b.buf[i]);
        }
        free(before);
}

static void step_clear(struct model *m)
{
        expect_ok(objd_list_clear(m->list));
        m->len = 0;
}

/* Growing and shrinking in turns, so that all sizes of trees and leaves come up, also from above. */
static void choose_target(struct model *m)
{
        static const size_t targets[] = { 0, 3, 40, 400, 3000, 40000 };

        m->target = targets[random_below(&m->random, sizeof(targets) / sizeof(*targets))];
}

static void model_step(struct model *m)
{
        bool grow = m->len < m->target;
        uint64_t choice = random_below(&m->random, 100);
        int64_t index = random_index(m);

        if (choice < 12)
                step_insert(m, INT64_MAX, m->len);
        else if (choice < 22)
                step_insert(m, INT64_MIN, 0);
        else if (choice < 36)
                step_insert(m, index, clip(index, m->len));
        else if (choice < 46)
                step_set(m);
        else if (choice < 56)
                step_get(m);
        else if (choice < 58)
                step_index(m);
        else if (choice < 60)
                step_count(m);
        else if (choice < 61)
                expect_slice(m, index, random_index(m));
        else if (choice < 64)
                step_batch(m);
        else if (choice < 66)
                step_remove(m);
        else if (choice < 74)
                step_del(m, choice & 1, index);
        else if (choice < 77)
                step_del(m, true, 0);
        else if (choice < 80)
                step_del(m, true, -1);
        else if (choice < 92 && grow)
                step_extend(m);
        else if (choice < 86)
                step_del(m, false, index);
        else if (choice < 92)
                step_slice_del(m);
        else if (choice < 93 && !random_below(&m->random, 6))
                step_sort(m);
        else if (choice < 94)
                step_reverse(m);
        else if (choice < 95 && !random_below(&m->random, 10))
                step_clear(m);
        else if (choice < 97 && !random_below(&m->random, 20))
                choose_target(m);
}

static void run_own(objd_object *list, uint64_t own_seed, uint64_t n_steps)
{
        struct model m = { .list = list, .random = { own_seed }, .target = 400 };

        model_open(&m, 0, 1);
        model_close(&m, 0, 1);
        for (step = 0; step < n_steps; step++) {
                model_step(&m);
                if (step % 64 == 0)
                        expect_all(&m);
        }
        expect_all(&m);
        free(m.code);
        objd_buf_free(&m.buf);
}

/* ---- The run ------------------------------------------------------------------------------------------ */

static objd_object *create_list(objd_conn *conn, const char *name)
{
        objd_object *list;

        expect_ok(objd_create(conn, name, OBJD_LIST, NULL, &list));
        return list;
}

static void fill_fixed(objd_object *list)
{
        for (int64_t i = 0; i < FIXED_ITEMS; i++) {
                objd_value value = objd_int(i);

                expect_ok(objd_list_append(list, &value));
        }
}

static void report(void *context, const char *object, const char *sentence)
{
        (void)context;
        fprintf(stderr, "check: %s: %s\n", object, sentence);
}

static void wait_for_all(void)
{
        int status;

        while (wait(&status) > 0)
                if (!WIFEXITED(status) || WEXITSTATUS(status))
                        exit(1);
}

int main(int argc, char **argv)
{
        struct tally *tally = mmap(NULL, sizeof(*tally) * N_SHARED, PROT_READ | PROT_WRITE,
                                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        uint64_t n_steps = argc > 2 ? strtoull(argv[2], NULL, 0) : 0, n_faults;
        objd_object *own[N_OWN], *tokens, *fixed;
        struct shared_run run[N_SHARED];
        struct random random;
        objd_conn *conn;

        if (argc > 1)
                setenv("OBJD_TEST_SEED", argv[1], 1);
        random = random_begin(argv[0]);
        fflush(stdout);
        seed = random.state;
        expect(tally != MAP_FAILED);
        make_bytes();
        expect_ok(objd_connect("embedded:512M", &conn));
        for (uint32_t i = 0; i < N_OWN; i++)
                own[i] = create_list(conn, (char[]){ 'o', 'w', 'n', (char)('0' + i), 0 });
        tokens = create_list(conn, "tokens");
        fixed = create_list(conn, "fixed");
        fill_fixed(fixed);

        for (uint32_t i = 0; i < N_SHARED; i++)
                run[i] = (struct shared_run){
                        tokens, fixed, i, random_next(&random), n_steps ? n_steps : SHARED_STEPS, &tally[i]
                };
        for (uint32_t i = 0; i < N_OWN + N_SHARED - 1; i++) {
                uint64_t own_seed = random_next(&random);

                if (fork())
                        continue;
                if (i < N_OWN)
                        run_own(own[i], own_seed, n_steps ? n_steps : STEPS);
                else if (i == N_OWN)
                        run_shared_pair(run);
                else
                        run_shared(&run[i - N_OWN + 1]);
                objd_close(conn);
                _exit(0);
        }
        wait_for_all();
        expect_conserved(tokens, tally);
        look_at_fixed(fixed);
        expect_ok(check_arena(conn, report, NULL, &n_faults));
        expect(n_faults == 0);
        for (uint32_t i = 0; i < N_OWN; i++)
                objd_release(own[i]);
        objd_release(tokens);
        objd_release(fixed);
        objd_close(conn);
        return 0;
}
