/* SPDX-License-Identifier: Apache-2.0 */

/*
 * run_read.c -- calls that change nothing, and need no record: who asks again is told what is so now
 */

#include <string.h>

#include "base/status.h"
#include "object/dict.h"
#include "proxy/run.h"

/* Entries that a cursor gives at once, however many are asked for: a reply must not grow with the dict. */
#define CURSOR_AT_ONCE_MAX 4096u

static struct dict_position position_from(const void *bytes)
{
        uint64_t words[3];

        memcpy(words, bytes, sizeof(words));
        return (struct dict_position){ .hash = words[0], .before = words[1], .keyed = words[2] & 1 };
}

/* A whole segment at a time, and as many of them as it takes. */
static objd_status run_cursor(const struct call *call, struct objd_object *dict, struct outcome *outcome)
{
        struct dict_position position = { 0 };
        uint64_t max = call->max < CURSOR_AT_ONCE_MAX ? call->max : CURSOR_AT_ONCE_MAX;
        struct items_builder builder = { 0 };
        objd_items *items;
        objd_status r = OBJD_OK;

        if (call->position_size == sizeof(outcome->more->position))
                position = position_from(call->position);
        else if (call->position_size)
                return fail(OBJD_E_INVAL, "dict cursor: %zu bytes are no position", call->position_size);
        do
                r = dict_step(dict, &position, &builder);
        while (r == OBJD_OK && !position.end && builder.len < max);
        if (r == OBJD_OK)
                r = items_finish(&builder, &items);
        items_discard(&builder);
        if (r)
                return r;
        outcome_items(outcome, items);
        outcome->more->position[0] = position.hash;
        outcome->more->position[1] = position.before;
        outcome->more->position[2] = position.keyed;
        outcome->answer->truth = position.end;
        outcome->answer->position = outcome->more->position;
        outcome->answer->position_size = sizeof(outcome->more->position);
        return OBJD_OK;
}

/* Of such a value it costs more to be copied than to be pinned. */
#define PIN_FROM (64u << 10)

/* Whose values are large is given them where they lie, if there is a place for a pin left. */
static objd_status pin_value(const struct call *call, struct objd_object *object, struct outcome *outcome)
{
        objd_value *value = &outcome->answer->value;

        return call->code == CALL_DICT_GET ? objd_dict_pin(object, call->keys, value, &outcome->pin)
                                           : objd_list_pin(object, call->index, value, &outcome->pin);
}

static objd_status get_value(const struct caller *caller, const struct call *call, struct objd_object *object,
                             struct outcome *outcome)
{
        objd_value *value = &outcome->answer->value;
        objd_status r = OBJD_E_LIMIT;

        if (*caller->reads_large && caller->may_pin)
                r = pin_value(call, object, outcome);
        if (r == OBJD_E_LIMIT)
                r = call->code == CALL_DICT_GET ? objd_dict_get(object, call->keys, value, &outcome->buf)
                                                : objd_list_get(object, call->index, value, &outcome->buf);
        *caller->reads_large = r == OBJD_OK && value->size >= PIN_FROM;
        return r;
}

static objd_status run_read_dict(const struct caller *caller, const struct call *call,
                                 struct objd_object *dict, struct outcome *outcome)
{
        struct answer *answer = outcome->answer;
        objd_items *items;
        objd_status r;

        switch (call->code) {
        case CALL_DICT_GET:
                return get_value(caller, call, dict, outcome);
        case CALL_DICT_CONTAINS:
                return objd_dict_contains(dict, call->keys, &answer->truth);
        case CALL_DICT_LEN:
                return objd_dict_len(dict, &answer->number);
        case CALL_DICT_CURSOR:
                if (object_kind(dict->config) != OBJD_DICT)
                        return fail(OBJD_E_KIND, "dict cursor: %s is no dict", object_label(dict));
                return run_cursor(call, dict, outcome);
        case CALL_DICT_GET_MANY:
                r = objd_dict_get_many(dict, call->keys, call->n_keys, &items);
                break;
        default: /* CALL_DICT_COPY */
                r = objd_dict_copy(dict, &items);
                break;
        }
        if (r == OBJD_OK)
                outcome_items(outcome, items);
        return r;
}

static objd_status run_read_list(const struct caller *caller, const struct call *call,
                                 struct objd_object *list, struct outcome *outcome)
{
        struct answer *answer = outcome->answer;
        objd_items *items;
        objd_status r;

        switch (call->code) {
        case CALL_LIST_GET:
                return get_value(caller, call, list, outcome);
        case CALL_LIST_LEN:
                return objd_list_len(list, &answer->number);
        case CALL_LIST_INDEX:
                return objd_list_index(list, call->values, call->index, call->stop, &answer->number);
        case CALL_LIST_COUNT:
                return objd_list_count(list, call->values, &answer->number);
        default: /* CALL_LIST_SLICE */
                r = objd_list_slice(list, call->index, call->stop, &items);
                break;
        }
        if (r == OBJD_OK)
                outcome_items(outcome, items);
        return r;
}

objd_status run_read(const struct caller *caller, const struct call *call, struct objd_object *object,
                     struct outcome *outcome)
{
        switch (call->code) {
        case CALL_QUEUE_PEEK:
                return objd_queue_peek(object, &outcome->answer->value, &outcome->buf);
        case CALL_QUEUE_LEN:
                return objd_queue_len(object, &outcome->answer->number);
        case CALL_QUEUE_JOIN:
                return objd_queue_join(object, OBJD_NOWAIT);
        default:
                return call_properties(call->code)->group == GROUP_DICT
                               ? run_read_dict(caller, call, object, outcome)
                               : run_read_list(caller, call, object, outcome);
        }
}
