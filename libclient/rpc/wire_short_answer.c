/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_short_answer.c -- plain answers straight from bytes
 */

#include "base/utf8.h"
#include "rpc/wire_reader.h"

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

static inline bool read_result_value(struct reader *reader, struct answer *answer)
{
        return !next_is(reader, TAG_BYTES(1)) || read_value(reader, &answer->value);
}

static inline bool read_truth(struct reader *reader, uint8_t tag, struct answer *answer)
{
        return !next_is(reader, tag) || read_bool(reader, &answer->truth);
}

/* One of two numbers, or neither. */
static inline bool read_sum(struct reader *reader, struct answer *answer)
{
        if (next_is(reader, TAG_NUMBER(5)))
                return read_signed(reader, &answer->integer);
        return !next_is(reader, TAG_FIXED64(6)) || read_real(reader, &answer->real);
}

static bool read_dict(struct reader *reader, struct answer *answer)
{
        return read_result_value(reader, answer) && read_truth(reader, TAG_NUMBER(3), answer) &&
               read_number(reader, TAG_NUMBER(4), &answer->number) && read_sum(reader, answer);
}

static bool read_list(struct reader *reader, struct answer *answer)
{
        return read_result_value(reader, answer) && read_number(reader, TAG_NUMBER(2), &answer->number);
}

/* Either a length or a lease: not both. */
static bool read_queue(struct reader *reader, struct answer *answer)
{
        if (!read_result_value(reader, answer))
                return false;
        return next_is(reader, TAG_NUMBER(2)) ? read_varint(reader, &answer->number)
                                              : read_number(reader, TAG_NUMBER(3), &answer->number);
}

static bool read_lock(struct reader *reader, struct answer *answer)
{
        return read_number(reader, TAG_NUMBER(1), &answer->number) &&
               read_truth(reader, TAG_NUMBER(2), answer) &&
               read_signed_number(reader, TAG_NUMBER(3), &answer->integer);
}

static bool read_inside(struct reader *inner, uint8_t tag, struct answer *answer)
{
        switch (tag) {
        case TAG_SAY_DICT:
                return read_dict(inner, answer);
        case TAG_SAY_LIST:
                return read_list(inner, answer);
        case TAG_SAY_QUEUE:
                return read_queue(inner, answer);
        case TAG_SAY_LOCK:
                return read_lock(inner, answer);
        default:
                return false;
        }
}

/* The last field, if there is one. */
static bool read_result(struct reader *reader, struct answer *answer)
{
        struct reader inner;
        uint8_t tag;

        if (reader->at == reader->end)
                return true;
        tag = *reader->at++;
        return read_inner(reader, &inner) && reader->at == reader->end && read_inside(&inner, tag, answer) &&
               inner.at == inner.end;
}

static bool read_answer(struct reader *outer, struct space *space, struct answer *answer)
{
        struct reader reader;
        uint32_t status = 0;

        answer_init(answer);
        answer->sentence = "";
        if (!read_inner(outer, &reader) || (next_is(&reader, TAG_STATUS) && !read_u32(&reader, &status)))
                return false;
        answer->status = (objd_status)status;
        return (!next_is(&reader, TAG_SENTENCE) || read_sentence(&reader, space, &answer->sentence)) &&
               read_result(&reader, answer);
}

/* What follows is answers, and nothing else. */
static bool read_reply_head(struct reader *reader, struct call_reply *reply)
{
        uint32_t status = 0;

        if (!read_number(reader, TAG_SEQ, &reply->seq) ||
            (next_is(reader, TAG_REPLY_STATUS) && !read_u32(reader, &status)) ||
            (next_is(reader, TAG_FAILED) && !read_u32(reader, &reply->failed)))
                return false;
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
