/* SPDX-License-Identifier: Apache-2.0 */
/*
 * calls.c -- calls and answers of any kind, made by chance
 */

#include "support/calls.h"

#include <stdlib.h>
#include <string.h>

#include "object/value.h"

void maker_init(struct maker *maker, struct random random, size_t size_max, size_t n_max)
{
        *maker = (struct maker){ .random = random, .size_max = size_max, .n_max = n_max };
        space_init(&maker->space, NULL, 0);
}

void maker_deinit(struct maker *maker)
{
        space_deinit(&maker->space);
}

static void *take(struct maker *maker, size_t n, size_t size)
{
        void *piece = space_take_array(&maker->space, n, size);

        if (!piece)
                abort();
        memset(piece, 0, n * size);
        return piece;
}

/* Small numbers, and those at the ends of what there is, are as likely as all others. */
static int64_t any_integer(struct maker *maker)
{
        static const int64_t special[] = { 0, -1, 1, INT64_MAX, INT64_MIN, 127, 128, -64, 1LL << 32 };
        uint64_t choice = random_below(&maker->random, 3);

        if (!choice)
                return special[random_below(&maker->random, sizeof(special) / sizeof(special[0]))];
        return (int64_t)(random_next(&maker->random) >> (choice == 1 ? 56 : 0));
}

static double any_real(struct maker *maker)
{
        static const double special[] = { 0.0, -0.0, 1.5, -1e300, __builtin_inf(), __builtin_nan("0x7") };

        return special[random_below(&maker->random, sizeof(special) / sizeof(special[0]))];
}

static bool any_bool(struct maker *maker)
{
        return random_below(&maker->random, 2);
}

static size_t any_size(struct maker *maker, size_t most)
{
        switch (random_below(&maker->random, 4)) {
        case 0:
                return 0;
        case 1:
                return most;
        default:
                return random_below(&maker->random, (most < 40 ? most : 40) + 1);
        }
}

/* Text with characters of every length, size bytes of it. */
static char *any_text(struct maker *maker, size_t size, bool with_nul)
{
        static const char *const characters[] = { "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x98\x80" };
        char *text = take(maker, size + 1, 1);
        size_t at = 0;

        while (at < size) {
                const char *character = characters[random_below(&maker->random, 4)];
                size_t n = strlen(character);

                if (n > size - at)
                        character = "z", n = 1;
                memcpy(text + at, character, n);
                at += n;
        }
        if (with_nul && size && any_bool(maker))
                text[0] = (text[0] & 0x80) ? text[0] : 0;
        return text;
}

static void *any_bytes(struct maker *maker, size_t size)
{
        uint8_t *bytes = take(maker, size + 1, 1);

        for (size_t i = 0; i < size && i < 4096; i++)
                bytes[i] = (uint8_t)random_next(&maker->random);
        return bytes;
}

static objd_value any_array(struct maker *maker)
{
        objd_dtype dtype = (objd_dtype)(random_below(&maker->random, 10) + 1);
        uint32_t ndim = (uint32_t)random_below(&maker->random, OBJD_NDIM_MAX + 1);
        uint64_t shape[OBJD_NDIM_MAX], left = any_size(maker, maker->size_max) / 8;
        objd_value value;

        for (uint32_t i = 0; i < ndim; i++) {
                shape[i] = i + 1 == ndim ? left : random_below(&maker->random, 4);
                left /= shape[i] ? shape[i] : 1;
        }
        value = objd_array(dtype, ndim, shape, NULL);
        value.data = any_bytes(maker, value.size);
        return value;
}

objd_value make_value(struct maker *maker, objd_type type)
{
        size_t size = any_size(maker, maker->size_max);

        if (type == OBJD_ANY)
                type = (objd_type)(random_below(&maker->random, 9) + 1);
        switch (type) {
        case OBJD_BOOL:
                return objd_bool(any_bool(maker));
        case OBJD_INT:
                return objd_int(any_integer(maker));
        case OBJD_FLOAT:
                return objd_float(any_real(maker));
        case OBJD_STR:
                return objd_str(any_text(maker, size, true), size);
        case OBJD_BYTES:
                return objd_bytes(any_bytes(maker, size), size);
        case OBJD_ARRAY:
                return any_array(maker);
        case OBJD_MESSAGE:
                return objd_message(any_text(maker, 1 + random_below(&maker->random, 30), false),
                                    any_bytes(maker, size), size);
        case OBJD_REF:
                return objd_refer((objd_ref){ (uint64_t)any_integer(maker), (uint64_t)any_integer(maker) });
        default:
                return objd_nil();
        }
}

static objd_value any_key(struct maker *maker)
{
        static const objd_type types[] = { OBJD_INT, OBJD_STR, OBJD_BYTES };

        return make_value(maker, types[random_below(&maker->random, 3)]);
}

static objd_value *any_values(struct maker *maker, size_t n, bool keys)
{
        objd_value *values = take(maker, n, sizeof(*values));

        for (size_t i = 0; i < n; i++)
                values[i] = keys ? any_key(maker) : make_value(maker, OBJD_ANY);
        return n ? values : NULL;
}

static objd_config *any_config(struct maker *maker)
{
        objd_config *config = take(maker, 1, sizeof(*config));

        *config = (objd_config)OBJD_CONFIG_INIT;
        config->key_type = (objd_type)random_below(&maker->random, 10);
        config->value_type = (objd_type)random_below(&maker->random, 10);
        config->order = (objd_order)random_below(&maker->random, 3);
        config->bound = (uint64_t)any_integer(maker);
        config->lock_flags = (uint32_t)any_integer(maker);
        return config;
}

/* ---- Calls --------------------------------------------------------------------------------------------- */

enum call_code make_code(struct maker *maker)
{
        for (;;) {
                uint32_t code = (uint32_t)random_below(&maker->random, CALL_CODES);

                if (call_properties(code)->name)
                        return (enum call_code)code;
        }
}

static void make_keys_and_values(struct maker *maker, const struct call_properties *is, struct call *call)
{
        size_t n = any_size(maker, maker->n_max);

        if (is->flags & (CALL_KEY | CALL_KEYS))
                call->n_keys = is->flags & CALL_KEYS ? n : 1;
        if (is->flags & (CALL_VALUE | CALL_VALUES))
                call->n_values = is->flags & CALL_VALUES ? n : 1;
        if (is->flags & CALL_MAYBE && any_bool(maker))
                call->n_values = 0;
        call->keys = any_values(maker, call->n_keys, true);
        call->values = any_values(maker, call->n_values, false);
}

static void make_name(struct maker *maker, const struct call_properties *is, struct call *call)
{
        if (!(is->flags & CALL_NAMED) || (is->flags & CALL_MAYBE_NAMED && any_bool(maker)))
                return;
        call->name = any_text(maker, 1 + any_size(maker, OBJD_NAME_MAX - 1), false);
}

static void make_numbers(struct maker *maker, const struct call_properties *is, struct call *call)
{
        if (call->code == CALL_DICT_ADD_INT || is->group == GROUP_QUEUE)
                call->integer = any_integer(maker);
        if (call->code == CALL_DICT_ADD_FLOAT)
                call->real = any_real(maker);
        if (is->group == GROUP_LIST) {
                call->index = any_integer(maker);
                call->stop = any_integer(maker);
                call->descending = any_bool(maker);
        }
        if (is->group == GROUP_DICT || is->group == GROUP_QUEUE)
                call->max = (uint64_t)any_integer(maker);
        if (is->group == GROUP_QUEUE)
                call->lease = (uint64_t)any_integer(maker);
        if (is->group == GROUP_QUEUE || is->group == GROUP_LOCK || call->code == CALL_STORE_REPORT)
                call->timeout_ns = any_integer(maker);
}

static struct call_state *make_state(struct maker *maker)
{
        struct call_state *state = take(maker, 1, sizeof(*state));

        state->unfinished = (uint64_t)any_integer(maker);
        state->taken = any_bool(maker);
        state->token = (uint64_t)any_integer(maker);
        return state;
}

static struct call_report *make_report(struct maker *maker)
{
        struct call_report *report = take(maker, 1, sizeof(*report));

        report->number = (uint64_t)any_integer(maker);
        report->what = (uint32_t)random_below(&maker->random, 7);
        report->limit = (uint64_t)any_integer(maker);
        report->atomic = any_bool(maker);
        report->position = (uint64_t)any_integer(maker);
        return report;
}

struct call make_call(struct maker *maker, enum call_code code)
{
        const struct call_properties *is = call_properties(code);
        struct call call = { .code = code, .thread = (uint32_t)any_integer(maker) };

        if (is->flags & CALL_ON_OBJECT)
                call.object = (objd_ref){ (uint64_t)any_integer(maker), (uint64_t)any_integer(maker) };
        make_name(maker, is, &call);
        make_keys_and_values(maker, is, &call);
        make_numbers(maker, is, &call);
        if (code == CALL_OBJECT_CREATE || code == CALL_OBJECT_OPEN_OR_CREATE) {
                call.kind = (objd_kind)random_below(&maker->random, 5);
                call.config = any_bool(maker) ? any_config(maker) : NULL;
        }
        if (code == CALL_OBJECT_SET_STATE)
                call.state = make_state(maker);
        if (code == CALL_STORE_REPORT)
                call.report = make_report(maker);
        if (code == CALL_DICT_CAS && any_bool(maker))
                call.expected = any_values(maker, 1, false);
        if (code == CALL_DICT_CURSOR) {
                call.position_size = any_size(maker, 64);
                call.position = any_bytes(maker, call.position_size);
        }
        return call;
}

static bool texts_equal(const char *a, const char *b)
{
        return !strcmp(a ? a : "", b ? b : "");
}

static bool bits_equal(double a, double b)
{
        return !memcmp(&a, &b, sizeof(a));
}

static bool values_equal(const objd_value *a, const objd_value *b, size_t n)
{
        for (size_t i = 0; i < n; i++)
                if (!objd_value_equal(&a[i], &b[i]))
                        return false;
        return true;
}

static bool refs_equal(objd_ref a, objd_ref b)
{
        return a.place == b.place && a.serial == b.serial;
}

static bool bytes_equal(const void *a, size_t a_size, const void *b, size_t b_size)
{
        return a_size == b_size && (!a_size || !memcmp(a, b, a_size));
}

static bool reports_equal(const struct call_report *a, const struct call_report *b)
{
        if (!a || !b)
                return a == b;
        return a->number == b->number && a->what == b->what && a->limit == b->limit &&
               a->atomic == b->atomic && a->position == b->position;
}

static bool states_equal(const struct call_state *a, const struct call_state *b)
{
        if (!a || !b)
                return a == b;
        return a->unfinished == b->unfinished && a->taken == b->taken && a->token == b->token;
}

static bool configs_equal(const objd_config *a, const objd_config *b)
{
        return a->struct_size == b->struct_size && a->key_type == b->key_type &&
               a->value_type == b->value_type && a->order == b->order && a->bound == b->bound &&
               a->lock_flags == b->lock_flags;
}

bool calls_equal(const struct call *a, const struct call *b)
{
        if (a->code != b->code || a->thread != b->thread || !refs_equal(a->object, b->object) ||
            !texts_equal(a->name, b->name) || a->kind != b->kind)
                return false;
        if (!a->config != !b->config || (a->config && !configs_equal(a->config, b->config)))
                return false;
        if (!a->expected != !b->expected || (a->expected && !objd_value_equal(a->expected, b->expected)))
                return false;
        if (!reports_equal(a->report, b->report) || !states_equal(a->state, b->state))
                return false;
        if (a->n_keys != b->n_keys || !values_equal(a->keys, b->keys, a->n_keys))
                return false;
        if (a->n_values != b->n_values || !values_equal(a->values, b->values, a->n_values))
                return false;
        return a->index == b->index && a->stop == b->stop && a->integer == b->integer &&
               bits_equal(a->real, b->real) && a->lease == b->lease && a->max == b->max &&
               a->timeout_ns == b->timeout_ns && a->descending == b->descending &&
               bytes_equal(a->position, a->position_size, b->position, b->position_size);
}

/* ---- Answers ------------------------------------------------------------------------------------------- */

static void make_infos(struct maker *maker, size_t n, struct answer *answer)
{
        objd_info *infos = take(maker, n, sizeof(*infos));

        for (size_t i = 0; i < n; i++) {
                size_t size = 1 + any_size(maker, OBJD_NAME_MAX - 1);

                infos[i].ref = (objd_ref){ (uint64_t)any_integer(maker), (uint64_t)any_integer(maker) };
                infos[i].kind = (objd_kind)random_below(&maker->random, 5);
                infos[i].config = *any_config(maker);
                infos[i].len = (uint64_t)any_integer(maker);
                infos[i].memory = (uint64_t)any_integer(maker);
                infos[i].poisoned = any_bool(maker);
                memcpy(infos[i].name, any_text(maker, size, false), size);
        }
        answer->infos = infos;
        answer->n_infos = n;
}

static void make_stats(struct maker *maker, struct answer *answer)
{
        uint64_t *numbers = take(maker, 1, sizeof(objd_stats));

        for (size_t i = 0; i < sizeof(objd_stats) / sizeof(*numbers); i++)
                numbers[i] = (uint64_t)any_integer(maker);
        answer->stats = (const objd_stats *)numbers;
}

static void make_items(struct maker *maker, bool dict, struct answer *answer)
{
        size_t n = any_size(maker, maker->n_max);
        objd_item *items = take(maker, n, sizeof(*items));

        for (size_t i = 0; i < n; i++) {
                items[i].found = !dict || any_bool(maker);
                items[i].value = items[i].found ? make_value(maker, OBJD_ANY) : objd_nil();
                if (dict && any_bool(maker))
                        items[i].key = any_key(maker);
        }
        answer->items = items;
        answer->n_items = n;
}

static void make_dict_answer(struct maker *maker, struct answer *answer)
{
        if (answer->code == CALL_DICT_ADD_INT)
                answer->integer = any_integer(maker);
        if (answer->code == CALL_DICT_ADD_FLOAT)
                answer->real = any_real(maker);
        answer->number = (uint64_t)any_integer(maker);
        answer->truth = any_bool(maker);
        answer->key = any_key(maker);
        answer->position_size = any_size(maker, 64);
        answer->position = any_bytes(maker, answer->position_size);
}

static void make_result(struct maker *maker, enum call_group group, struct answer *answer)
{
        if (group == GROUP_STORE) {
                make_stats(maker, answer);
                answer->value = make_value(maker, OBJD_ANY);
                answer->truth = any_bool(maker);
        }
        if (group == GROUP_STORE || group == GROUP_OBJECT)
                make_infos(maker, group == GROUP_OBJECT ? 1 : any_size(maker, maker->n_max), answer);
        if (group == GROUP_DICT)
                make_dict_answer(maker, answer);
        if (group == GROUP_DICT || group == GROUP_LIST || group == GROUP_QUEUE) {
                make_items(maker, group == GROUP_DICT, answer);
                answer->value = make_value(maker, OBJD_ANY);
        }
        if (group == GROUP_LIST || group == GROUP_QUEUE || group == GROUP_LOCK)
                answer->number = (uint64_t)any_integer(maker);
        if (group == GROUP_LOCK) {
                answer->integer = any_integer(maker);
                answer->truth = any_bool(maker);
        }
}

struct answer make_answer(struct maker *maker, enum call_code code)
{
        struct answer answer;

        answer_init(&answer);
        answer.code = code;
        if (!random_below(&maker->random, 4)) {
                answer.status = (objd_status)(1 + random_below(&maker->random, 27));
                answer.sentence = any_text(maker, any_size(maker, 100), false);
        }
        if (!answer.status || answer.status == OBJD_E_OWNER_DIED)
                make_result(maker, call_properties(code)->group, &answer);
        return answer;
}

static bool infos_equal(const objd_info *a, const objd_info *b)
{
        return refs_equal(a->ref, b->ref) && a->kind == b->kind && configs_equal(&a->config, &b->config) &&
               a->len == b->len && a->memory == b->memory && a->poisoned == b->poisoned &&
               !strcmp(a->name, b->name);
}

static bool results_equal(const objd_value *a, const objd_value *b)
{
        return a->type == b->type && (a->type == OBJD_ANY || objd_value_equal(a, b));
}

static bool lists_equal(const struct answer *a, const struct answer *b)
{
        if (a->n_infos != b->n_infos || a->n_items != b->n_items || !a->stats != !b->stats)
                return false;
        for (size_t i = 0; i < a->n_infos; i++)
                if (!infos_equal(&a->infos[i], &b->infos[i]))
                        return false;
        for (size_t i = 0; i < a->n_items; i++)
                if (a->items[i].found != b->items[i].found ||
                    !results_equal(&a->items[i].key, &b->items[i].key) ||
                    !results_equal(&a->items[i].value, &b->items[i].value))
                        return false;
        return !a->stats || !memcmp(a->stats, b->stats, sizeof(*a->stats));
}

bool answers_equal(const struct answer *a, const struct answer *b)
{
        return a->status == b->status && texts_equal(a->sentence, b->sentence) && a->number == b->number &&
               a->integer == b->integer && bits_equal(a->real, b->real) && a->truth == b->truth &&
               bytes_equal(a->position, a->position_size, b->position, b->position_size) &&
               results_equal(&a->value, &b->value) && results_equal(&a->key, &b->key) && lists_equal(a, b);
}
