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
