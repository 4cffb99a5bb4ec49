/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_short_in.c -- plain calls and answers straight from bytes
 *
 * Fields must come in the order of their numbers, each at most once: so every encoder writes them. Nothing is believed: each
 * length is held against what is left, and what is not just as expected ends the short way, without a word.
 */

#include "rpc/wire_short.h"

#include <endian.h>
#include <string.h>

#include "base/utf8.h"
#include "rpc/wire_check.h"
#include "rpc/wire_value.h"

/* ---- Bytes --------------------------------------------------------------------------------------------- */

struct reader {
        const uint8_t *at, *end;
        uint8_t last; /* tag of the field before this one */
        bool one_of;  /* a member of the message's oneof has been there */
};

static bool read_long_varint(struct reader *reader, uint64_t *ret_number)
{
        uint64_t number = 0;

        for (unsigned i = 0; i < 10 && reader->at < reader->end; i++) {
                uint8_t byte = *reader->at++;

                if (i == 9 && byte > 1)
                        return false;
                number |= (uint64_t)(byte & 127) << 7 * i;
                if (byte < 128) {
                        *ret_number = number;
                        return true;
                }
        }
        return false;
}

static inline bool read_varint(struct reader *reader, uint64_t *ret_number)
{
        if (reader->at < reader->end && *reader->at < 128) {
                *ret_number = *reader->at++;
                return true;
        }
        return read_long_varint(reader, ret_number);
}

static inline bool read_signed(struct reader *reader, int64_t *ret_number)
{
        uint64_t number;

        if (!read_varint(reader, &number))
                return false;
        *ret_number = unzigzag(number);
        return true;
}

static inline bool read_u32(struct reader *reader, uint32_t *ret_number)
{
        uint64_t number;

        if (!read_varint(reader, &number) || number > UINT32_MAX)
                return false;
        *ret_number = (uint32_t)number;
        return true;
}

static inline bool read_bool(struct reader *reader, bool *ret_truth)
{
        uint64_t number;

        if (!read_varint(reader, &number) || number > 1)
                return false;
        *ret_truth = number;
        return true;
}

static inline bool read_real(struct reader *reader, double *ret_real)
{
        uint64_t bits;

        if (reader->end - reader->at < (ptrdiff_t)sizeof(bits))
                return false;
        memcpy(&bits, reader->at, sizeof(bits));
        bits = le64toh(bits);
        memcpy(ret_real, &bits, sizeof(bits));
        reader->at += sizeof(bits);
        return true;
}

/* A field that is a message or bytes: what is in it, to be read. */
static inline bool read_inner(struct reader *reader, struct reader *ret_inner)
{
        uint64_t size;

        if (!read_varint(reader, &size) || size > (uint64_t)(reader->end - reader->at))
                return false;
        *ret_inner = (struct reader){ .at = reader->at, .end = reader->at + size };
        reader->at += size;
        return true;
}

/* The next field's tag; false also if it does not come after the one before it. There must be a byte left. */
static inline bool read_tag(struct reader *reader, uint8_t *ret_tag)
{
        uint8_t tag = *reader->at++;

        if (tag <= reader->last || tag >= 128)
                return false;
        reader->last = tag;
        *ret_tag = tag;
        return true;
}

/* The two numbers that exclude one another. */
static inline bool read_delta(struct reader *reader, int64_t *ret_integer, double *ret_real)
{
        if (reader->one_of)
                return false;
        reader->one_of = true;
        return ret_integer ? read_signed(reader, ret_integer) : read_real(reader, ret_real);
}

/* ---- Values -------------------------------------------------------------------------------------------- */

static bool read_data(struct reader *reader, objd_type type, objd_value *value)
{
        struct reader inner;

        if (!read_inner(reader, &inner) || (uint64_t)(inner.end - inner.at) > OBJD_VALUE_MAX)
                return false;
        value->type = type;
        value->data = inner.at;
        value->size = (size_t)(inner.end - inner.at);
        return true;
}

static bool read_value(struct reader *outer, objd_value *value)
{
        struct reader reader;
        uint64_t number;
        bool good = false;

        if (!read_inner(outer, &reader) || reader.at == reader.end)
                return false;
        value->data = NULL;
        value->size = 0;
        switch (*reader.at++) {
        case TAG_NIL:
                value->type = OBJD_NIL;
                good = read_varint(&reader, &number) && number == 1;
                break;
        case TAG_BOOLEAN:
                value->type = OBJD_BOOL;
                good = read_bool(&reader, &value->u.boolean);
                break;
        case TAG_INTEGER:
                value->type = OBJD_INT;
                good = read_signed(&reader, &value->u.integer);
                break;
        case TAG_REAL:
                value->type = OBJD_FLOAT;
                good = read_real(&reader, &value->u.real);
                break;
        case TAG_STR:
                good = read_data(&reader, OBJD_STR, value);
                break;
        case TAG_DATA:
                good = read_data(&reader, OBJD_BYTES, value);
                break;
        default:
                break;
        }
        return good && reader.at == reader.end;
}

/* One value of its own; there is no second one, since tags rise. */
static bool read_one(struct reader *reader, struct space *space, const objd_value **ret_value, size_t *ret_n)
{
        objd_value *value = space_take(space, sizeof(*value));

        if (!value || !read_value(reader, value))
                return false;
        *ret_value = value;
        *ret_n = 1;
        return true;
}

/* ---- Calls --------------------------------------------------------------------------------------------- */

/* What all groups begin with. */
static bool read_begin(struct reader *reader, uint8_t tag, struct call *call)
{
        uint64_t number;

        switch (tag) {
        case TAG_CODE:
                if (!read_varint(reader, &number) || number >= CALL_CODES)
                        return false;
                call->code = (enum call_code)number;
                return true;
        case TAG_PLACE:
                return read_varint(reader, &call->object.place);
        case TAG_SERIAL:
                return read_varint(reader, &call->object.serial);
        default:
                return false;
        }
}

static bool read_dict(struct reader *reader, struct space *space, struct call *call)
{
        uint8_t tag;

        while (reader->at < reader->end) {
                bool good = read_tag(reader, &tag);

                if (!good)
                        return false;
                switch (tag) {
                case TAG_BYTES(4):
                        good = read_one(reader, space, &call->keys, &call->n_keys);
                        break;
                case TAG_BYTES(5):
                        good = read_one(reader, space, &call->values, &call->n_values);
                        break;
                case TAG_NUMBER(7):
                        good = read_delta(reader, &call->integer, NULL);
                        break;
                case TAG_FIXED64(8):
                        good = read_delta(reader, NULL, &call->real);
                        break;
                case TAG_NUMBER(9):
                        good = read_varint(reader, &call->max);
                        break;
                default:
                        good = read_begin(reader, tag, call);
                }
                if (!good)
                        return false;
        }
        return true;
}

static bool read_list(struct reader *reader, struct space *space, struct call *call)
{
        uint8_t tag;

        while (reader->at < reader->end) {
                bool good = read_tag(reader, &tag);

                if (!good)
                        return false;
                switch (tag) {
                case TAG_BYTES(4):
                        good = read_one(reader, space, &call->values, &call->n_values);
                        break;
                case TAG_NUMBER(5):
                        good = read_signed(reader, &call->index);
                        break;
                case TAG_NUMBER(6):
                        good = read_signed(reader, &call->stop);
                        break;
                case TAG_NUMBER(7):
                        good = read_bool(reader, &call->descending);
                        break;
                default:
                        good = read_begin(reader, tag, call);
                }
                if (!good)
                        return false;
        }
        return true;
}

static bool read_queue(struct reader *reader, struct space *space, struct call *call)
{
        int64_t priority = 0, lease_ns = 0;
        uint8_t tag;

        while (reader->at < reader->end) {
                bool good = read_tag(reader, &tag);

                if (!good)
                        return false;
                switch (tag) {
                case TAG_BYTES(4):
                        good = read_one(reader, space, &call->values, &call->n_values);
                        break;
                case TAG_NUMBER(5):
                        good = read_signed(reader, &call->timeout_ns);
                        break;
                case TAG_NUMBER(6):
                        good = read_signed(reader, &priority);
                        break;
                case TAG_NUMBER(7):
                        good = read_varint(reader, &call->max);
                        break;
                case TAG_NUMBER(8):
                        good = read_signed(reader, &lease_ns);
                        break;
                case TAG_NUMBER(9):
                        good = read_varint(reader, &call->lease);
                        break;
                default:
                        good = read_begin(reader, tag, call);
                }
                if (!good)
                        return false;
        }
        call->integer = call->code == CALL_QUEUE_GET_LEASE ? lease_ns : priority;
        return true;
}

static bool read_lock(struct reader *reader, struct call *call)
{
        uint8_t tag;

        while (reader->at < reader->end) {
                if (!read_tag(reader, &tag))
                        return false;
                if (!(tag == TAG_NUMBER(4) ? read_signed(reader, &call->timeout_ns)
                                           : read_begin(reader, tag, call)))
                        return false;
        }
        return true;
}

static bool read_group(struct reader *reader, uint8_t tag, struct space *space, struct call *call,
                       enum call_group *ret_group)
{
        struct reader inner;

        if (!read_inner(reader, &inner) || reader->at != reader->end)
                return false;
        switch (tag) {
        case TAG_ASK_DICT:
                *ret_group = GROUP_DICT;
                return read_dict(&inner, space, call);
        case TAG_ASK_LIST:
                *ret_group = GROUP_LIST;
                return read_list(&inner, space, call);
        case TAG_ASK_QUEUE:
                *ret_group = GROUP_QUEUE;
                return read_queue(&inner, space, call);
        case TAG_ASK_LOCK:
                *ret_group = GROUP_LOCK;
                return read_lock(&inner, call);
        default:
                return false;
        }
}

static bool read_call(struct reader *outer, struct space *space, bool atomic, struct call *call)
{
        enum call_group group;
        struct reader reader;
        uint8_t tag;

        *call = (struct call){ 0 };
        if (!read_inner(outer, &reader) || reader.at == reader.end || !read_tag(&reader, &tag))
                return false;
        if (tag == TAG_THREAD &&
            (!read_u32(&reader, &call->thread) || reader.at == reader.end || !read_tag(&reader, &tag)))
                return false;
        return read_group(&reader, tag, space, call, &group) && !wire_check_call(call, group, atomic);
}

/* How many fields with this tag there are up to the end, from the first of them on; 0 if there is anything else. */
static size_t count_rest(struct reader reader, uint8_t tag)
{
        struct reader inner;
        size_t n = 0;

        for (; reader.at < reader.end; n++)
                if (*reader.at++ != tag || !read_inner(&reader, &inner))
                        return 0;
        return n;
}

/* The limits that a short message could break; what does is left to the general way, which says so. */
static bool within(const struct wire_limits *limits, size_t n, size_t size_each)
{
        uint32_t most = limits && limits->n_calls ? limits->n_calls : WIRE_CALLS_MAX;

        return n && n <= most && (!limits || !limits->memory || n * size_each <= limits->memory);
}

static bool read_batch_head(struct reader *reader, struct call_batch *batch)
{
        uint8_t tag;

        while (reader->at < reader->end && *reader->at != TAG_REQUEST) {
                bool good = read_tag(reader, &tag);

                if (good && tag == TAG_SEQ)
                        good = read_varint(reader, &batch->seq);
                else if (good && tag == TAG_ACKED)
                        good = read_varint(reader, &batch->acked);
                else if (good && tag == TAG_ATOMIC)
                        good = read_bool(reader, &batch->atomic);
                else
                        good = good && tag == TAG_TIMEOUT && read_signed(reader, &batch->timeout_ns);
                if (!good)
                        return false;
        }
        return true;
}

bool wire_short_unpack_batch(const struct wire_in *in, const struct wire_limits *limits, struct space *space,
                             struct call_batch *ret_batch)
{
        struct reader reader = { .at = in->data, .end = in->data + in->size };
        struct call_batch batch = { 0 };
        struct call *calls;

        if (in->size != in->body_size || !read_batch_head(&reader, &batch))
                return false;
        batch.n_calls = count_rest(reader, TAG_REQUEST);
        if (!within(limits, batch.n_calls, sizeof(*calls) + 2 * sizeof(objd_value)))
                return false;
        calls = space_take_array(space, batch.n_calls, sizeof(*calls));
        if (!calls)
                return false;
        for (size_t i = 0; i < batch.n_calls; i++) {
                reader.at++; /* the tag, as has been counted */
                if (!read_call(&reader, space, batch.atomic, &calls[i]))
                        return false;
        }
        batch.calls = calls;
        *ret_batch = batch;
        return true;
}

/* ---- Answers ------------------------------------------------------------------------------------------- */

static bool read_sentence(struct reader *reader, struct space *space, const char **ret_sentence)
{
        struct reader inner;
        size_t size;
        char *text;

        if (!read_inner(reader, &inner))
                return false;
        size = (size_t)(inner.end - inner.at);
        if (memchr(inner.at, 0, size) || !utf8_is_valid(inner.at, size))
                return false;
        text = space_take(space, size + 1);
        if (!text)
                return false;
        memcpy(text, inner.at, size);
        text[size] = 0;
        *ret_sentence = text;
        return true;
}

static bool read_dict_field(struct reader *reader, uint8_t tag, struct answer *answer)
{
        switch (tag) {
        case TAG_BYTES(1):
                return read_value(reader, &answer->value);
        case TAG_NUMBER(3):
                return read_bool(reader, &answer->truth);
        case TAG_NUMBER(4):
                return read_varint(reader, &answer->number);
        case TAG_NUMBER(5):
                return read_delta(reader, &answer->integer, NULL);
        case TAG_FIXED64(6):
                return read_delta(reader, NULL, &answer->real);
        default:
                return false;
        }
}

static bool read_list_field(struct reader *reader, uint8_t tag, struct answer *answer)
{
        if (tag == TAG_BYTES(1))
                return read_value(reader, &answer->value);
        return tag == TAG_NUMBER(2) && read_varint(reader, &answer->number);
}

/* Either a length or a lease: not both. */
static bool read_queue_field(struct reader *reader, uint8_t tag, struct answer *answer)
{
        if (tag == TAG_BYTES(1))
                return read_value(reader, &answer->value);
        return (tag == TAG_NUMBER(2) || tag == TAG_NUMBER(3)) && !answer->number &&
               read_varint(reader, &answer->number);
}

static bool read_lock_field(struct reader *reader, uint8_t tag, struct answer *answer)
{
        switch (tag) {
        case TAG_NUMBER(1):
                return read_varint(reader, &answer->number);
        case TAG_NUMBER(2):
                return read_bool(reader, &answer->truth);
        case TAG_NUMBER(3):
                return read_signed(reader, &answer->integer);
        default:
                return false;
        }
}

static bool read_field(struct reader *reader, uint8_t group, uint8_t tag, struct answer *answer)
{
        switch (group) {
        case TAG_SAY_DICT:
                return read_dict_field(reader, tag, answer);
        case TAG_SAY_LIST:
                return read_list_field(reader, tag, answer);
        case TAG_SAY_QUEUE:
                return read_queue_field(reader, tag, answer);
        default:
                return read_lock_field(reader, tag, answer);
        }
}

static bool read_result(struct reader *reader, uint8_t group, struct answer *answer)
{
        struct reader inner;
        uint8_t tag;

        if (group != TAG_SAY_DICT && group != TAG_SAY_LIST && group != TAG_SAY_QUEUE && group != TAG_SAY_LOCK)
                return false;
        if (!read_inner(reader, &inner) || reader->at != reader->end)
                return false;
        while (inner.at < inner.end)
                if (!read_tag(&inner, &tag) || !read_field(&inner, group, tag, answer))
                        return false;
        return true;
}

static bool read_answer(struct reader *outer, struct space *space, struct answer *answer)
{
        struct reader reader;
        uint32_t status;
        uint8_t tag;

        answer_init(answer);
        answer->sentence = "";
        if (!read_inner(outer, &reader))
                return false;
        while (reader.at < reader.end) {
                if (!read_tag(&reader, &tag))
                        return false;
                if (tag == TAG_STATUS) {
                        if (!read_u32(&reader, &status))
                                return false;
                        answer->status = (objd_status)status;
                } else if (tag == TAG_SENTENCE) {
                        if (!read_sentence(&reader, space, &answer->sentence))
                                return false;
                } else if (!read_result(&reader, tag, answer)) {
                        return false;
                }
        }
        return true;
}

static bool read_reply_head(struct reader *reader, struct call_reply *reply)
{
        uint32_t status = 0;
        uint8_t tag;

        while (reader->at < reader->end && *reader->at != TAG_ANSWER) {
                bool good = read_tag(reader, &tag);

                if (good && tag == TAG_SEQ)
                        good = read_varint(reader, &reply->seq);
                else if (good && tag == TAG_REPLY_STATUS)
                        good = read_u32(reader, &status);
                else
                        good = good && tag == TAG_FAILED && read_u32(reader, &reply->failed);
                if (!good)
                        return false;
        }
        reply->status = (objd_status)status;
        return true;
}

bool wire_short_unpack_reply(const struct wire_in *in, const struct wire_limits *limits, struct space *space,
                             struct call_reply *ret_reply)
{
        struct reader reader = { .at = in->data, .end = in->data + in->size };
        struct call_reply reply = { 0 };
        struct answer *answers;

        if (in->size != in->body_size || !read_reply_head(&reader, &reply))
                return false;
        reply.n_answers = count_rest(reader, TAG_ANSWER);
        if (!within(limits, reply.n_answers, sizeof(*answers)))
                return false;
        answers = space_take_array(space, reply.n_answers, sizeof(*answers));
        if (!answers)
                return false;
        for (size_t i = 0; i < reply.n_answers; i++) {
                reader.at++; /* the tag, as has been counted */
                if (!read_answer(&reader, space, &answers[i]))
                        return false;
        }
        reply.answers = answers;
        *ret_reply = reply;
        return true;
}
