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
static inline bool read_begin(struct reader *reader, struct call *call)
{
        uint64_t code = 0;

        if (!read_number(reader, TAG_CODE, &code) || code >= CALL_CODES)
                return false;
        call->code = (enum call_code)code;
        return read_number(reader, TAG_PLACE, &call->object.place) &&
               read_number(reader, TAG_SERIAL, &call->object.serial);
}

static inline bool read_values(struct reader *reader, uint8_t tag, struct values *values,
                               const objd_value **ret_value, size_t *ret_n)
{
        return !next_is(reader, tag) || read_one(reader, values, ret_value, ret_n);
}

/* One of two numbers, or neither. */
static inline bool read_delta(struct reader *reader, struct call *call)
{
        if (next_is(reader, TAG_NUMBER(7)))
                return read_signed(reader, &call->integer);
        return !next_is(reader, TAG_FIXED64(8)) || read_real(reader, &call->real);
}

static bool read_dict(struct reader *reader, struct values *values, struct call *call)
{
        return read_begin(reader, call) &&
               read_values(reader, TAG_BYTES(4), values, &call->keys, &call->n_keys) &&
               read_values(reader, TAG_BYTES(5), values, &call->values, &call->n_values) &&
               read_delta(reader, call) && read_number(reader, TAG_NUMBER(9), &call->max);
}

static bool read_list(struct reader *reader, struct values *values, struct call *call)
{
        return read_begin(reader, call) &&
               read_values(reader, TAG_BYTES(4), values, &call->values, &call->n_values) &&
               read_signed_number(reader, TAG_NUMBER(5), &call->index) &&
               read_signed_number(reader, TAG_NUMBER(6), &call->stop) &&
               (!next_is(reader, TAG_NUMBER(7)) || read_bool(reader, &call->descending));
}

static bool read_queue(struct reader *reader, struct values *values, struct call *call)
{
        int64_t priority = 0, lease_ns = 0;

        if (!read_begin(reader, call) ||
            !read_values(reader, TAG_BYTES(4), values, &call->values, &call->n_values) ||
            !read_signed_number(reader, TAG_NUMBER(5), &call->timeout_ns) ||
            !read_signed_number(reader, TAG_NUMBER(6), &priority) ||
            !read_number(reader, TAG_NUMBER(7), &call->max) ||
            !read_signed_number(reader, TAG_NUMBER(8), &lease_ns) ||
            !read_number(reader, TAG_NUMBER(9), &call->lease))
                return false;
        call->integer = call->code == CALL_QUEUE_GET_LEASE ? lease_ns : priority;
        return true;
}

static bool read_lock(struct reader *reader, struct call *call)
{
        return read_begin(reader, call) && read_signed_number(reader, TAG_NUMBER(4), &call->timeout_ns);
}

/* All of a message must have been read. */
static bool read_inside(struct reader *inner, uint8_t tag, struct values *values, struct call *call,
                        enum call_group *ret_group)
{
        switch (tag) {
        case TAG_ASK_DICT:
                *ret_group = GROUP_DICT;
                return read_dict(inner, values, call);
        case TAG_ASK_LIST:
                *ret_group = GROUP_LIST;
                return read_list(inner, values, call);
        case TAG_ASK_QUEUE:
                *ret_group = GROUP_QUEUE;
                return read_queue(inner, values, call);
        case TAG_ASK_LOCK:
                *ret_group = GROUP_LOCK;
                return read_lock(inner, call);
        default:
                return false;
        }
}

static bool read_call(struct reader *outer, struct values *values, bool atomic, struct call *call)
{
        enum call_group group;
        struct reader reader, inner;
        uint8_t tag;

        *call = (struct call){ 0 };
        if (!read_inner(outer, &reader) ||
            (next_is(&reader, TAG_THREAD) && !read_u32(&reader, &call->thread)) || reader.at == reader.end)
                return false;
        tag = *reader.at++;
        return read_inner(&reader, &inner) && reader.at == reader.end &&
               read_inside(&inner, tag, values, call, &group) && inner.at == inner.end &&
               !wire_check_call(call, group, atomic);
}

/* What follows is requests, and nothing else. */
static bool read_batch_head(struct reader *reader, struct call_batch *batch)
{
        return read_number(reader, TAG_SEQ, &batch->seq) && read_number(reader, TAG_ACKED, &batch->acked) &&
               (!next_is(reader, TAG_ATOMIC) || read_bool(reader, &batch->atomic)) &&
               read_signed_number(reader, TAG_TIMEOUT, &batch->timeout_ns);
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
