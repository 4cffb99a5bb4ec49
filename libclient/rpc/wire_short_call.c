/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_short_call.c -- plain calls straight from bytes
 */

#include "rpc/wire_reader.h"
#include "rpc/wire_value.h"

/* Values for the calls that are left: taken from the space for all of them at once. */
struct values {
        struct space *space;
        objd_value *next;
        size_t n_left, n_more;
};

static __attribute__((noinline)) bool take_values(struct values *values)
{
        values->next = space_take_array(values->space, values->n_more, sizeof(*values->next));
        values->n_left = values->next ? values->n_more : 0;
        return values->next;
}

/* One value of its own; there is no second one, since tags rise. */
static inline bool read_one(struct reader *reader, struct values *values, const objd_value **ret_value,
                            size_t *ret_n)
{
        if ((!values->n_left && !take_values(values)) || !read_value(reader, values->next))
                return false;
        *ret_value = values->next++;
        *ret_n = 1;
        values->n_left--;
        return true;
}

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

static bool read_dict(struct reader *reader, struct values *values, struct call *call)
{
        uint8_t tag;

        while (reader->at < reader->end) {
                bool good = read_tag(reader, &tag);

                if (!good)
                        return false;
                switch (tag) {
                case TAG_BYTES(4):
                        good = read_one(reader, values, &call->keys, &call->n_keys);
                        break;
                case TAG_BYTES(5):
                        good = read_one(reader, values, &call->values, &call->n_values);
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

static bool read_list(struct reader *reader, struct values *values, struct call *call)
{
        uint8_t tag;

        while (reader->at < reader->end) {
                bool good = read_tag(reader, &tag);

                if (!good)
                        return false;
                switch (tag) {
                case TAG_BYTES(4):
                        good = read_one(reader, values, &call->values, &call->n_values);
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

static bool read_queue(struct reader *reader, struct values *values, struct call *call)
{
        int64_t priority = 0, lease_ns = 0;
        uint8_t tag;

        while (reader->at < reader->end) {
                bool good = read_tag(reader, &tag);

                if (!good)
                        return false;
                switch (tag) {
                case TAG_BYTES(4):
                        good = read_one(reader, values, &call->values, &call->n_values);
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

static bool read_group(struct reader *reader, uint8_t tag, struct values *values, struct call *call,
                       enum call_group *ret_group)
{
        struct reader inner;

        if (!read_inner(reader, &inner) || reader->at != reader->end)
                return false;
        switch (tag) {
        case TAG_ASK_DICT:
                *ret_group = GROUP_DICT;
                return read_dict(&inner, values, call);
        case TAG_ASK_LIST:
                *ret_group = GROUP_LIST;
                return read_list(&inner, values, call);
        case TAG_ASK_QUEUE:
                *ret_group = GROUP_QUEUE;
                return read_queue(&inner, values, call);
        case TAG_ASK_LOCK:
                *ret_group = GROUP_LOCK;
                return read_lock(&inner, call);
        default:
                return false;
        }
}

static bool read_call(struct reader *outer, struct values *values, bool atomic, struct call *call)
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
        return read_group(&reader, tag, values, call, &group) && !wire_check_call(call, group, atomic);
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
        struct values values = { .space = space };
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
                values.n_more = batch.n_calls - i;
                if (!read_call(&reader, &values, batch.atomic, &calls[i]))
                        return false;
        }
        batch.calls = calls;
        *ret_batch = batch;
        return true;
}
