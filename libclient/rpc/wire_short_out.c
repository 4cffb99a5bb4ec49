/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_short_out.c -- plain calls and answers straight to bytes
 *
 * Two steps: how much room there must be at most, which is also when it turns out whether everything is plain; and the
 * writing, in which the length of each message is computed right before it.
 */

#include "rpc/wire_short.h"

#include <endian.h>
#include <string.h>

#include "base/utf8.h"
#include "rpc/wire_value.h"

#define BODY_VALUE_MAX 65536u /* without a bulk, what is larger is not worth a short way */
#define CALL_ROOM 160u        /* a request or an answer without its values and its sentence */
#define VALUE_ROOM 24u        /* a value without its data */

/* A number as a field; it is left out if it is 0, as in proto3, unless it is a member of a oneof. */
struct number {
        uint8_t tag;
        bool forced;
        uint64_t number;
};

/* A group's message: numbers, values, numbers, in the order of its fields. */
struct plain {
        uint8_t tag; /* of the field that it is */
        uint8_t keys_tag, values_tag, real_tag;
        struct number head[3], tail[5];
        const objd_value *keys, *values;
        size_t n_keys, n_values;
        double real;
};

/* ---- Sizes --------------------------------------------------------------------------------------------- */

static inline size_t varint_size(uint64_t number)
{
        return (size_t)(70 - __builtin_clzll(number | 1)) / 7;
}

static inline size_t number_size(const struct number *number)
{
        return number->number || number->forced ? 1 + varint_size(number->number) : 0;
}

/* A field that is a message or bytes. */
static inline size_t field_size(size_t size)
{
        return 1 + varint_size(size) + size;
}

/* A Value, without its tag and length. */
static size_t value_size(const objd_value *value)
{
        switch (value->type) {
        case OBJD_INT:
                return 1 + varint_size(zigzag(value->u.integer));
        case OBJD_FLOAT:
                return 9;
        case OBJD_STR:
        case OBJD_BYTES:
                return field_size(value->size);
        default:
                return 2; /* nil, bool */
        }
}

static size_t plain_size(const struct plain *plain)
{
        size_t size = plain->real_tag ? 9 : 0;

        for (size_t i = 0; i < 3; i++)
                size += number_size(&plain->head[i]);
        for (size_t i = 0; i < plain->n_keys; i++)
                size += field_size(value_size(&plain->keys[i]));
        for (size_t i = 0; i < plain->n_values; i++)
                size += field_size(value_size(&plain->values[i]));
        for (size_t i = 0; i < 5; i++)
                size += number_size(&plain->tail[i]);
        return size;
}

/* ---- Writing ------------------------------------------------------------------------------------------- */

static inline uint8_t *put_varint(uint8_t *at, uint64_t number)
{
        for (; number >= 128; number >>= 7)
                *at++ = (uint8_t)(number | 128);
        *at++ = (uint8_t)number;
        return at;
}

static inline uint8_t *put_number(uint8_t *at, const struct number *number)
{
        if (!number->number && !number->forced)
                return at;
        *at++ = number->tag;
        return put_varint(at, number->number);
}

static inline uint8_t *put_head(uint8_t *at, uint8_t tag, size_t size)
{
        *at++ = tag;
        return put_varint(at, size);
}

static uint8_t *put_real(uint8_t *at, uint8_t tag, double real)
{
        uint64_t bits;

        memcpy(&bits, &real, sizeof(bits));
        bits = htole64(bits);
        *at++ = tag;
        memcpy(at, &bits, sizeof(bits));
        return at + sizeof(bits);
}

static uint8_t *put_bytes(uint8_t *at, uint8_t tag, const void *data, size_t size)
{
        at = put_head(at, tag, size);
        if (size)
                memcpy(at, data, size);
        return at + size;
}

static uint8_t *put_value(uint8_t *at, uint8_t tag, const objd_value *value)
{
        at = put_head(at, tag, value_size(value));
        switch (value->type) {
        case OBJD_BOOL:
                return put_number(at, &(struct number){ TAG_BOOLEAN, true, value->u.boolean });
        case OBJD_INT:
                return put_number(at, &(struct number){ TAG_INTEGER, true, zigzag(value->u.integer) });
        case OBJD_FLOAT:
                return put_real(at, TAG_REAL, value->u.real);
        case OBJD_STR:
                return put_bytes(at, TAG_STR, value->data, value->size);
        case OBJD_BYTES:
                return put_bytes(at, TAG_DATA, value->data, value->size);
        default:
                return put_number(at, &(struct number){ TAG_NIL, true, 1 });
        }
}

static uint8_t *put_plain(uint8_t *at, const struct plain *plain, size_t size)
{
        at = put_head(at, plain->tag, size);
        for (size_t i = 0; i < 3; i++)
                at = put_number(at, &plain->head[i]);
        for (size_t i = 0; i < plain->n_keys; i++)
                at = put_value(at, plain->keys_tag, &plain->keys[i]);
        for (size_t i = 0; i < plain->n_values; i++)
                at = put_value(at, plain->values_tag, &plain->values[i]);
        for (size_t i = 0; i < 5; i++)
                at = put_number(at, &plain->tail[i]);
        return plain->real_tag ? put_real(at, plain->real_tag, plain->real) : at;
}

/* ---- Calls --------------------------------------------------------------------------------------------- */

/* Adds what values take at most; false if one of them is not plain. */
static bool add_room(const struct wire_out *out, const objd_value *values, size_t n, size_t *room)
{
        size_t most = out->bulk_from ? out->bulk_from : BODY_VALUE_MAX;

        for (size_t i = 0; i < n; i++) {
                const objd_value *value = &values[i];

                *room += VALUE_ROOM;
                if (value->type == OBJD_STR || value->type == OBJD_BYTES) {
                        if (value->size >= most || (value->size && !value->data))
                                return false;
                        *room += value->size;
                } else if (value->type < OBJD_NIL || value->type > OBJD_FLOAT) {
                        return false;
                }
        }
        return true;
}

static bool call_is_plain(const struct wire_out *out, const struct call *call, size_t *room)
{
        enum call_group group = call_properties(call->code)->group;

        *room += CALL_ROOM;
        return group >= GROUP_DICT && group <= GROUP_LOCK && !call->expected && !call->position_size &&
               !(call->code == CALL_DICT_ADD_FLOAT && call->max) &&
               add_room(out, call->keys, call->n_keys, room) &&
               add_room(out, call->values, call->n_values, room);
}

static void fill_dict(const struct call *call, struct plain *plain)
{
        plain->tag = TAG_ASK_DICT;
        plain->keys_tag = TAG_BYTES(4);
        plain->keys = call->keys;
        plain->n_keys = call->n_keys;
        plain->values_tag = TAG_BYTES(5);
        if (call->code == CALL_DICT_ADD_INT)
                plain->tail[0] = (struct number){ TAG_NUMBER(7), true, zigzag(call->integer) };
        plain->tail[1] = (struct number){ TAG_NUMBER(9), false, call->max };
        if (call->code == CALL_DICT_ADD_FLOAT) {
                plain->real_tag = TAG_FIXED64(8);
                plain->real = call->real;
        }
}

static void fill_list(const struct call *call, struct plain *plain)
{
        plain->tag = TAG_ASK_LIST;
        plain->values_tag = TAG_BYTES(4);
        plain->tail[0] = (struct number){ TAG_NUMBER(5), false, zigzag(call->index) };
        plain->tail[1] = (struct number){ TAG_NUMBER(6), false, zigzag(call->stop) };
        plain->tail[2] = (struct number){ TAG_NUMBER(7), false, call->descending };
}

static void fill_queue(const struct call *call, struct plain *plain)
{
        bool lease = call->code == CALL_QUEUE_GET_LEASE;

        plain->tag = TAG_ASK_QUEUE;
        plain->values_tag = TAG_BYTES(4);
        plain->tail[0] = (struct number){ TAG_NUMBER(5), false, zigzag(call->timeout_ns) };
        plain->tail[1] = (struct number){ TAG_NUMBER(6), false, lease ? 0 : zigzag(call->integer) };
        plain->tail[2] = (struct number){ TAG_NUMBER(7), false, call->max };
        plain->tail[3] = (struct number){ TAG_NUMBER(8), false, lease ? zigzag(call->integer) : 0 };
        plain->tail[4] = (struct number){ TAG_NUMBER(9), false, call->lease };
}

static void fill_call(const struct call *call, struct plain *plain)
{
        *plain = (struct plain){
                .head = { { TAG_CODE, false, (uint64_t)call->code },
                          { TAG_PLACE, false, call->object.place },
                          { TAG_SERIAL, false, call->object.serial } },
                .values = call->values,
                .n_values = call->n_values,
        };
        switch (call_properties(call->code)->group) {
        case GROUP_DICT:
                fill_dict(call, plain);
                break;
        case GROUP_LIST:
                fill_list(call, plain);
                break;
        case GROUP_QUEUE:
                fill_queue(call, plain);
                break;
        default:
                plain->tag = TAG_ASK_LOCK;
                plain->tail[0] = (struct number){ TAG_NUMBER(4), false, zigzag(call->timeout_ns) };
                plain->n_values = 0;
        }
}

static uint8_t *put_call(uint8_t *at, const struct call *call)
{
        const struct number thread = { TAG_THREAD, false, call->thread };
        struct plain plain;
        size_t size;

        fill_call(call, &plain);
        size = plain_size(&plain);
        at = put_head(at, TAG_REQUEST, number_size(&thread) + field_size(size));
        at = put_number(at, &thread);
        return put_plain(at, &plain, size);
}

static void finish(struct wire_out *out, const uint8_t *at)
{
        out->body_size = (size_t)(at - out->body);
        out->size = out->body_size;
}

bool wire_short_pack_batch(struct wire_out *out, const struct call_batch *batch)
{
        size_t room = CALL_ROOM;
        uint8_t *at;

        for (size_t i = 0; i < batch->n_calls; i++)
                if (!call_is_plain(out, &batch->calls[i], &room))
                        return false;
        if (wire_out_reserve(out, room))
                return false;
        at = put_number(out->body, &(struct number){ TAG_SEQ, false, batch->seq });
        at = put_number(at, &(struct number){ TAG_ACKED, false, batch->acked });
        at = put_number(at, &(struct number){ TAG_ATOMIC, false, batch->atomic });
        at = put_number(at, &(struct number){ TAG_TIMEOUT, false, zigzag(batch->timeout_ns) });
        for (size_t i = 0; i < batch->n_calls; i++)
                at = put_call(at, &batch->calls[i]);
        finish(out, at);
        return true;
}

/* ---- Answers ------------------------------------------------------------------------------------------- */

static bool answer_is_plain(const struct wire_out *out, const struct answer *answer, size_t *room)
{
        enum call_group group = call_properties(answer->code)->group;
        size_t size = answer->status && answer->sentence ? strlen(answer->sentence) : 0;

        *room += CALL_ROOM + size;
        if (size > WIRE_SENTENCE_MAX || (size && !utf8_is_valid(answer->sentence, size)))
                return false;
        if (!wire_has_result(answer))
                return group != GROUP_NONE;
        return group >= GROUP_DICT && group <= GROUP_LOCK && answer->code != CALL_DICT_CURSOR &&
               answer->key.type == OBJD_ANY && !answer->n_items && !answer->n_infos && !answer->stats &&
               !answer->position_size &&
               (answer->value.type == OBJD_ANY || add_room(out, &answer->value, 1, room));
}

static void fill_dict_answer(const struct answer *answer, struct plain *plain)
{
        plain->tag = TAG_SAY_DICT;
        plain->tail[0] = (struct number){ TAG_NUMBER(3), false, answer->truth };
        plain->tail[1] = (struct number){ TAG_NUMBER(4), false, answer->number };
        if (answer->code == CALL_DICT_ADD_INT)
                plain->tail[2] = (struct number){ TAG_NUMBER(5), true, zigzag(answer->integer) };
        if (answer->code == CALL_DICT_ADD_FLOAT) {
                plain->real_tag = TAG_FIXED64(6);
                plain->real = answer->real;
        }
}

static void fill_lock_answer(const struct answer *answer, struct plain *plain)
{
        plain->tag = TAG_SAY_LOCK;
        plain->tail[0] = (struct number){ TAG_NUMBER(1), false, answer->number };
        plain->tail[1] = (struct number){ TAG_NUMBER(2), false, answer->truth };
        plain->tail[2] = (struct number){ TAG_NUMBER(3), false, zigzag(answer->integer) };
        plain->n_values = 0;
}

static void fill_answer(const struct answer *answer, struct plain *plain)
{
        bool lease = answer->code == CALL_QUEUE_GET_LEASE;

        *plain = (struct plain){
                .values_tag = TAG_BYTES(1),
                .values = &answer->value,
                .n_values = answer->value.type != OBJD_ANY,
        };
        switch (call_properties(answer->code)->group) {
        case GROUP_DICT:
                fill_dict_answer(answer, plain);
                break;
        case GROUP_LIST:
                plain->tag = TAG_SAY_LIST;
                plain->tail[0] = (struct number){ TAG_NUMBER(2), false, answer->number };
                break;
        case GROUP_QUEUE:
                plain->tag = TAG_SAY_QUEUE;
                plain->tail[0] = (struct number){ TAG_NUMBER(2), false, lease ? 0 : answer->number };
                plain->tail[1] = (struct number){ TAG_NUMBER(3), false, lease ? answer->number : 0 };
                break;
        default:
                fill_lock_answer(answer, plain);
        }
}

static uint8_t *put_answer(uint8_t *at, const struct answer *answer)
{
        const struct number status = { TAG_STATUS, false, (uint64_t)answer->status };
        size_t text = answer->status && answer->sentence ? strlen(answer->sentence) : 0, size = 0;
        bool has_result = wire_has_result(answer);
        struct plain plain;

        if (has_result) {
                fill_answer(answer, &plain);
                size = plain_size(&plain);
        }
        at = put_head(at, TAG_ANSWER,
                      number_size(&status) + (text ? field_size(text) : 0) +
                              (has_result ? field_size(size) : 0));
        at = put_number(at, &status);
        if (text)
                at = put_bytes(at, TAG_SENTENCE, answer->sentence, text);
        return has_result ? put_plain(at, &plain, size) : at;
}

bool wire_short_pack_reply(struct wire_out *out, const struct call_reply *reply)
{
        size_t room = CALL_ROOM;
        uint8_t *at;

        if (reply->sentence)
                return false;
        for (size_t i = 0; i < reply->n_answers; i++)
                if (!answer_is_plain(out, &reply->answers[i], &room))
                        return false;
        if (wire_out_reserve(out, room))
                return false;
        at = put_number(out->body, &(struct number){ TAG_SEQ, false, reply->seq });
        at = put_number(at, &(struct number){ TAG_REPLY_STATUS, false, (uint64_t)reply->status });
        at = put_number(at, &(struct number){ TAG_FAILED, false, reply->failed });
        for (size_t i = 0; i < reply->n_answers; i++)
                at = put_answer(at, &reply->answers[i]);
        finish(out, at);
        return true;
}
