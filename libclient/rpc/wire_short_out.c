/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_short_out.c -- plain calls and answers straight to bytes
 *
 * Two steps: how much room there must be at most, which is also when it turns out whether everything is plain; and the
 * writing. That goes from the end to the beginning: the length of a message stands before it, and so is known when it is written.
 */

#include "rpc/wire_short.h"

#include <endian.h>
#include <string.h>

#include "base/utf8.h"
#include "rpc/wire_value.h"

#define BODY_VALUE_MAX 65536u /* without a bulk, what is larger is not worth a short way */
#define CALL_ROOM 160u        /* a request or an answer without its values and its sentence */
#define VALUE_ROOM 24u        /* a value without its data */

/* ---- Writing: each puts something before `at`, and gives where it begins --------------------------------- */

static inline size_t varint_size(uint64_t number)
{
        return (size_t)(70 - __builtin_clzll(number | 1)) / 7;
}

static inline uint8_t *put_varint(uint8_t *at, uint64_t number)
{
        uint8_t *to;

        if (number < 128) {
                *--at = (uint8_t)number;
                return at;
        }
        at -= varint_size(number);
        for (to = at; number >= 128; number >>= 7)
                *to++ = (uint8_t)(number | 128);
        *to = (uint8_t)number;
        return at;
}

/* A number as a field, whatever it is: a member of a oneof. */
static inline uint8_t *put_member(uint8_t *at, uint8_t tag, uint64_t number)
{
        at = put_varint(at, number);
        *--at = tag;
        return at;
}

/* A number as a field; it is left out if it is 0, as in proto3. */
static inline uint8_t *put_number(uint8_t *at, uint8_t tag, uint64_t number)
{
        return number ? put_member(at, tag, number) : at;
}

/* The head of a message that ends at `end` and has been written down to `at`. */
static inline uint8_t *put_head(uint8_t *at, uint8_t tag, const uint8_t *end)
{
        return put_member(at, tag, (uint64_t)(end - at));
}

static uint8_t *put_real(uint8_t *at, uint8_t tag, double real)
{
        uint64_t bits;

        memcpy(&bits, &real, sizeof(bits));
        bits = htole64(bits);
        at -= sizeof(bits);
        memcpy(at, &bits, sizeof(bits));
        *--at = tag;
        return at;
}

static inline uint8_t *put_bytes(uint8_t *at, uint8_t tag, const void *data, size_t size)
{
        at -= size;
        if (size)
                memcpy(at, data, size);
        return put_member(at, tag, size);
}

static uint8_t *put_value(uint8_t *at, uint8_t tag, const objd_value *value)
{
        const uint8_t *end = at;

        switch (value->type) {
        case OBJD_BOOL:
                at = put_member(at, TAG_BOOLEAN, value->u.boolean);
                break;
        case OBJD_INT:
                at = put_member(at, TAG_INTEGER, zigzag(value->u.integer));
                break;
        case OBJD_FLOAT:
                at = put_real(at, TAG_REAL, value->u.real);
                break;
        case OBJD_STR:
                at = put_bytes(at, TAG_STR, value->data, value->size);
                break;
        case OBJD_BYTES:
                at = put_bytes(at, TAG_DATA, value->data, value->size);
                break;
        default:
                at = put_member(at, TAG_NIL, 1);
        }
        return put_head(at, tag, end);
}

static uint8_t *put_values(uint8_t *at, uint8_t tag, const objd_value *values, size_t n)
{
        while (n--)
                at = put_value(at, tag, &values[n]);
        return at;
}

/* The message in `out` begins at `at`, and ends where the room for it does. */
static void finish(struct wire_out *out, uint8_t *at)
{
        out->body_size = (size_t)(out->room + out->room_size - at);
        out->body = at;
        out->size = out->body_size;
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

static uint8_t *put_dict(uint8_t *at, const struct call *call)
{
        if (call->code == CALL_DICT_ADD_FLOAT)
                at = put_real(at, TAG_FIXED64(8), call->real);
        at = put_number(at, TAG_NUMBER(9), call->max);
        if (call->code == CALL_DICT_ADD_INT)
                at = put_member(at, TAG_NUMBER(7), zigzag(call->integer));
        at = put_values(at, TAG_BYTES(5), call->values, call->n_values);
        return put_values(at, TAG_BYTES(4), call->keys, call->n_keys);
}

static uint8_t *put_list(uint8_t *at, const struct call *call)
{
        at = put_number(at, TAG_NUMBER(7), call->descending);
        at = put_number(at, TAG_NUMBER(6), zigzag(call->stop));
        at = put_number(at, TAG_NUMBER(5), zigzag(call->index));
        return put_values(at, TAG_BYTES(4), call->values, call->n_values);
}

static uint8_t *put_queue(uint8_t *at, const struct call *call)
{
        bool lease = call->code == CALL_QUEUE_GET_LEASE;

        at = put_number(at, TAG_NUMBER(9), call->lease);
        at = put_number(at, TAG_NUMBER(8), lease ? zigzag(call->integer) : 0);
        at = put_number(at, TAG_NUMBER(7), call->max);
        at = put_number(at, TAG_NUMBER(6), lease ? 0 : zigzag(call->integer));
        at = put_number(at, TAG_NUMBER(5), zigzag(call->timeout_ns));
        return put_values(at, TAG_BYTES(4), call->values, call->n_values);
}

/* What is the group's own, and the tag of its message. */
static uint8_t *put_group(uint8_t *at, const struct call *call, uint8_t *ret_tag)
{
        switch (call_properties(call->code)->group) {
        case GROUP_DICT:
                *ret_tag = TAG_ASK_DICT;
                return put_dict(at, call);
        case GROUP_LIST:
                *ret_tag = TAG_ASK_LIST;
                return put_list(at, call);
        case GROUP_QUEUE:
                *ret_tag = TAG_ASK_QUEUE;
                return put_queue(at, call);
        default:
                *ret_tag = TAG_ASK_LOCK;
                return put_number(at, TAG_NUMBER(4), zigzag(call->timeout_ns));
        }
}

static uint8_t *put_call(uint8_t *at, const struct call *call)
{
        const uint8_t *end = at;
        uint8_t tag;

        at = put_group(at, call, &tag);
        at = put_number(at, TAG_SERIAL, call->object.serial);
        at = put_number(at, TAG_PLACE, call->object.place);
        at = put_number(at, TAG_CODE, (uint64_t)call->code);
        at = put_head(at, tag, end);
        at = put_number(at, TAG_THREAD, call->thread);
        return put_head(at, TAG_REQUEST, end);
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
        at = out->room + out->room_size;
        for (size_t i = batch->n_calls; i--;)
                at = put_call(at, &batch->calls[i]);
        at = put_number(at, TAG_TIMEOUT, zigzag(batch->timeout_ns));
        at = put_number(at, TAG_ATOMIC, batch->atomic);
        at = put_number(at, TAG_ACKED, batch->acked);
        at = put_number(at, TAG_SEQ, batch->seq);
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

static uint8_t *put_dict_answer(uint8_t *at, const struct answer *answer)
{
        if (answer->code == CALL_DICT_ADD_FLOAT)
                at = put_real(at, TAG_FIXED64(6), answer->real);
        if (answer->code == CALL_DICT_ADD_INT)
                at = put_member(at, TAG_NUMBER(5), zigzag(answer->integer));
        at = put_number(at, TAG_NUMBER(4), answer->number);
        return put_number(at, TAG_NUMBER(3), answer->truth);
}

static uint8_t *put_lock_answer(uint8_t *at, const struct answer *answer)
{
        at = put_number(at, TAG_NUMBER(3), zigzag(answer->integer));
        at = put_number(at, TAG_NUMBER(2), answer->truth);
        return put_number(at, TAG_NUMBER(1), answer->number);
}

/* What is the group's own, and the tag of its message. */
static uint8_t *put_group_answer(uint8_t *at, const struct answer *answer, uint8_t *ret_tag)
{
        switch (call_properties(answer->code)->group) {
        case GROUP_DICT:
                *ret_tag = TAG_SAY_DICT;
                return put_dict_answer(at, answer);
        case GROUP_LIST:
                *ret_tag = TAG_SAY_LIST;
                return put_number(at, TAG_NUMBER(2), answer->number);
        case GROUP_QUEUE:
                *ret_tag = TAG_SAY_QUEUE;
                return put_number(at, answer->code == CALL_QUEUE_GET_LEASE ? TAG_NUMBER(3) : TAG_NUMBER(2),
                                  answer->number);
        default:
                *ret_tag = TAG_SAY_LOCK;
                return put_lock_answer(at, answer);
        }
}

static uint8_t *put_result(uint8_t *at, const struct answer *answer)
{
        const uint8_t *end = at;
        uint8_t tag;

        at = put_group_answer(at, answer, &tag);
        if (answer->value.type != OBJD_ANY && tag != TAG_SAY_LOCK)
                at = put_value(at, TAG_BYTES(1), &answer->value);
        return put_head(at, tag, end);
}

static uint8_t *put_answer(uint8_t *at, const struct answer *answer)
{
        size_t text = answer->status && answer->sentence ? strlen(answer->sentence) : 0;
        const uint8_t *end = at;

        if (wire_has_result(answer))
                at = put_result(at, answer);
        if (text)
                at = put_bytes(at, TAG_SENTENCE, answer->sentence, text);
        at = put_number(at, TAG_STATUS, (uint64_t)answer->status);
        return put_head(at, TAG_ANSWER, end);
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
        at = out->room + out->room_size;
        for (size_t i = reply->n_answers; i--;)
                at = put_answer(at, &reply->answers[i]);
        at = put_number(at, TAG_FAILED, reply->failed);
        at = put_number(at, TAG_REPLY_STATUS, (uint64_t)reply->status);
        at = put_number(at, TAG_SEQ, reply->seq);
        finish(out, at);
        return true;
}
