/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_in.c -- a message that has come in: checked, unpacked, and its values
 *
 * A value points to where its bytes already are: in the unpacked body, or in the message's bulk. The objd_values themselves are
 * all that is made here.
 */

#include "rpc/wire_value.h"

#include <string.h>

#include "arena/word.h"
#include "base/status.h"
#include "object/value.h"
#include "rpc/wire_check.h"

objd_status wire_open(const struct wire_in *in, const ProtobufCMessageDescriptor *type,
                      const struct wire_limits *limits, struct space *space, struct wire_source *ret_source)
{
        struct wire_bounds bounds = {
                .n_calls = limits && limits->n_calls ? limits->n_calls : WIRE_CALLS_MAX,
                .memory = limits && limits->memory ? limits->memory : SIZE_MAX,
        };
        size_t bulk = round8(in->body_size), memory;
        ProtobufCMessage *message;
        objd_status r;

        if (in->body_size > in->size || (in->body_size < in->size && (bulk > in->size || in->size % 8)))
                return fail(OBJD_E_PROTO, "a message of %zu bytes cannot have a body of %zu", in->size,
                            in->body_size);
        r = wire_check(type, in->data, in->body_size, &bounds, &memory);
        if (r)
                return r;
        message = protobuf_c_message_unpack(type, &space->allocator, in->body_size, in->data);
        if (!message)
                return fail(OBJD_E_NOMEM, "no memory for a %s of %zu bytes", type->short_name, in->body_size);
        *ret_source = (struct wire_source){
                .space = space,
                .message = message,
                .bulk = in->data + (bulk < in->size ? bulk : in->size),
                .end = in->data + in->size,
        };
        return OBJD_OK;
}

objd_status wire_close(const struct wire_source *source)
{
        if (source->bulk != source->end)
                return fail(OBJD_E_PROTO, "%zu bytes of a message's bulk belong to no value",
                            (size_t)(source->end - source->bulk));
        return OBJD_OK;
}

/* The data of a value, wherever they are. */
static objd_status get_data(struct wire_source *source, const Objd__Rpc__Value *message,
                            const ProtobufCBinaryData *data, objd_value *value)
{
        size_t size = message->bulk;

        value->data = data->data ? data->data : (const void *)"";
        value->size = data->len;
        if (!size)
                return OBJD_OK;
        if (data->len)
                return fail(OBJD_E_PROTO, "a value has data both in the body and in the bulk");
        if (round8(size) > (size_t)(source->end - source->bulk))
                return fail(OBJD_E_PROTO, "a value has %zu bytes in the bulk, where only %zu are left", size,
                            (size_t)(source->end - source->bulk));
        value->data = source->bulk;
        value->size = size;
        source->bulk += round8(size);
        return OBJD_OK;
}

static objd_status get_array(struct wire_source *source, const Objd__Rpc__Value *message, objd_value *value)
{
        const Objd__Rpc__Array *array = message->array;

        value->type = OBJD_ARRAY;
        value->dtype = (objd_dtype)array->dtype;
        value->ndim = (uint32_t)array->n_shape;
        if (array->n_shape)
                memcpy(value->shape, array->shape, array->n_shape * sizeof(*array->shape));
        return get_data(source, message, &array->data, value);
}

static objd_status get_message(struct wire_source *source, const Objd__Rpc__Value *message, objd_value *value)
{
        const Objd__Rpc__Message *inner = message->message;

        value->type = OBJD_MESSAGE;
        value->name = (const char *)inner->name.data;
        value->name_size = (uint32_t)inner->name.len;
        return get_data(source, message, &inner->data, value);
}

static objd_status get_text(struct wire_source *source, const Objd__Rpc__Value *message, objd_value *value)
{
        bool is_str = message->of_case == OBJD__RPC__VALUE__OF_STR;
        objd_status r;

        value->type = is_str ? OBJD_STR : OBJD_BYTES;
        r = get_data(source, message, is_str ? &message->str : &message->bytes, value);
        /* UTF-8 is for who runs the call to see, the size is not. */
        return !r && value->size > OBJD_VALUE_MAX ? value_check(value) : r;
}

static objd_status get_plain(const Objd__Rpc__Value *message, objd_value *value)
{
        if (message->bulk)
                return fail(OBJD_E_PROTO, "a value without data has some in the bulk");
        value->data = NULL;
        value->size = 0;
        switch (message->of_case) {
        case OBJD__RPC__VALUE__OF_NIL:
                value->type = OBJD_NIL;
                return OBJD_OK;
        case OBJD__RPC__VALUE__OF_BOOLEAN:
                value->type = OBJD_BOOL;
                value->u.boolean = message->boolean;
                return OBJD_OK;
        case OBJD__RPC__VALUE__OF_INTEGER:
                value->type = OBJD_INT;
                value->u.integer = message->integer;
                return OBJD_OK;
        case OBJD__RPC__VALUE__OF_REAL:
                value->type = OBJD_FLOAT;
                value->u.real = message->real;
                return OBJD_OK;
        case OBJD__RPC__VALUE__OF_REF:
                value->type = OBJD_REF;
                value->u.ref = (objd_ref){ message->ref->place, message->ref->serial };
                return OBJD_OK;
        default:
                return fail(OBJD_E_PROTO, "a value has no type");
        }
}

objd_status wire_value_in(struct wire_source *source, const Objd__Rpc__Value *message, objd_value *value)
{
        objd_status r;

        switch (message->of_case) {
        case OBJD__RPC__VALUE__OF_STR:
        case OBJD__RPC__VALUE__OF_BYTES:
                return get_text(source, message, value);
        case OBJD__RPC__VALUE__OF_ARRAY:
                r = get_array(source, message, value);
                return r ? r : value_check(value);
        case OBJD__RPC__VALUE__OF_MESSAGE:
                r = get_message(source, message, value);
                return r ? r : value_check(value);
        default:
                return get_plain(message, value);
        }
}

objd_status wire_values_in(struct wire_source *source, Objd__Rpc__Value *const *messages, size_t n,
                           const objd_value **ret_values)
{
        objd_value *values;
        objd_status r = OBJD_OK;

        *ret_values = NULL;
        if (!n)
                return OBJD_OK;
        values = wire_take(source->space, n, sizeof(*values));
        if (!values)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < n; i++)
                r = wire_value_in(source, messages[i], &values[i]);
        if (!r)
                *ret_values = values;
        return r;
}
