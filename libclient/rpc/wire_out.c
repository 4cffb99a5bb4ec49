/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_out.c -- a message on its way out: values, the body, and the bulk behind it
 */

#include "rpc/wire_value.h"

#include <stdlib.h>
#include <string.h>

#include "arena/word.h"
#include "base/status.h"
#include "base/sys.h"
#include "base/utf8.h"
#include "object/value.h"

#define FIRST_PARTS 16u

void wire_out_init(struct wire_out *out, uint32_t bulk_from)
{
        memset(out, 0, offsetof(struct wire_out, small));
        out->bulk_from = bulk_from;
        out->body = out->room = out->small;
        out->room_size = sizeof(out->small);
        space_init(&out->space, NULL, 0);
}

/* Most messages have taken no memory. */
static bool has_memory(const struct wire_out *out)
{
        return out->room != out->small || out->space.taken || out->parts || out->kept;
}

void wire_out_deinit(struct wire_out *out)
{
        if (!has_memory(out))
                return;
        space_deinit(&out->space);
        if (out->room != out->small)
                free(out->room);
        free(out->parts);
        if (out->kept)
                out->free_kept(out->kept);
        wire_out_init(out, 0);
}

void wire_out_move(struct wire_out *from, struct wire_out *to)
{
        *to = *from;
        if (from->room == from->small) {
                to->room = to->small;
                to->body = to->small + (from->body - from->small);
        }
        to->space.allocator.allocator_data = &to->space;
        wire_out_init(from, from->bulk_from);
}

static objd_status no_memory(void)
{
        return fail(OBJD_E_NOMEM, "no memory for a message");
}

void wire_out_begin(struct wire_out *out)
{
        if (out->space.taken)
                space_reset(&out->space);
        out->size = out->body_size = 0;
        out->n_parts = 0;
        out->seek = (struct wire_seek){ 0 };
}

void *wire_take(struct space *space, size_t n, size_t size)
{
        void *piece = space_take_array(space, n, size);

        if (!piece)
                (void)no_memory();
        return piece;
}

void *wire_out_take(struct wire_out *out, size_t size)
{
        return wire_take(&out->space, 1, size);
}

/* ---- Values -------------------------------------------------------------------------------------------- */

static objd_status add_part(struct wire_out *out, const void *data, size_t size)
{
        if (out->n_parts == out->parts_room) {
                size_t room = out->parts_room ? 2 * out->parts_room : FIRST_PARTS;
                struct wire_part *parts = sys.resize(out->parts, room * sizeof(*parts));

                if (!parts)
                        return no_memory();
                out->parts = parts;
                out->parts_room = room;
        }
        out->parts[out->n_parts++] = (struct wire_part){ data, size };
        out->size += round8(size);
        return OBJD_OK;
}

/* A value's data: in the body, or as a part. */
static objd_status put_data(struct wire_out *out, const objd_value *value, Objd__Rpc__Value *message,
                            ProtobufCBinaryData *ret_data)
{
        if (out->bulk_from && value->size >= out->bulk_from) {
                message->bulk = (uint32_t)value->size;
                *ret_data = (ProtobufCBinaryData){ 0 };
                return add_part(out, value->data, value->size);
        }
        *ret_data = (ProtobufCBinaryData){ value->size, (uint8_t *)(uintptr_t)value->data };
        return OBJD_OK;
}

static objd_status put_array(struct wire_out *out, const objd_value *value, Objd__Rpc__Value *message)
{
        Objd__Rpc__Array *array = wire_out_take(out, sizeof(*array));

        if (!array)
                return OBJD_E_NOMEM;
        objd__rpc__array__init(array);
        array->dtype = (Objd__Rpc__DType)value->dtype;
        array->n_shape = value->ndim;
        array->shape = (uint64_t *)(uintptr_t)value->shape;
        message->of_case = OBJD__RPC__VALUE__OF_ARRAY;
        message->array = array;
        return put_data(out, value, message, &array->data);
}

static objd_status put_message(struct wire_out *out, const objd_value *value, Objd__Rpc__Value *message)
{
        Objd__Rpc__Message *inner = wire_out_take(out, sizeof(*inner));

        if (!inner)
                return OBJD_E_NOMEM;
        objd__rpc__message__init(inner);
        inner->name = (ProtobufCBinaryData){ value->name_size, (uint8_t *)(uintptr_t)value->name };
        message->of_case = OBJD__RPC__VALUE__OF_MESSAGE;
        message->message = inner;
        return put_data(out, value, message, &inner->data);
}

static objd_status put_ref(struct wire_out *out, const objd_value *value, Objd__Rpc__Value *message)
{
        Objd__Rpc__Ref *ref = wire_out_take(out, sizeof(*ref));

        if (!ref)
                return OBJD_E_NOMEM;
        objd__rpc__ref__init(ref);
        ref->place = value->u.ref.place;
        ref->serial = value->u.ref.serial;
        message->of_case = OBJD__RPC__VALUE__OF_REF;
        message->ref = ref;
        return OBJD_OK;
}

/*
 * What a value says about itself must be true before protobuf-c believes it. Whether a STR is UTF-8 is for the other side to see:
 * it looks anyway, and going over a long one twice costs as much as sending it.
 */
static objd_status check_value(const objd_value *value)
{
        if (value->type == OBJD_STR)
                return value_check(
                        &(objd_value){ .type = OBJD_BYTES, .data = value->data, .size = value->size });
        return value_check(value);
}

static objd_status put_value(struct wire_out *out, const objd_value *value, Objd__Rpc__Value *message)
{
        objd_status r = check_value(value);

        if (r)
                return r;
        objd__rpc__value__init(message);
        switch (value->type) {
        case OBJD_NIL:
                message->of_case = OBJD__RPC__VALUE__OF_NIL;
                message->nil = 1;
                return OBJD_OK;
        case OBJD_BOOL:
                message->of_case = OBJD__RPC__VALUE__OF_BOOLEAN;
                message->boolean = value->u.boolean;
                return OBJD_OK;
        case OBJD_INT:
                message->of_case = OBJD__RPC__VALUE__OF_INTEGER;
                message->integer = value->u.integer;
                return OBJD_OK;
        case OBJD_FLOAT:
                message->of_case = OBJD__RPC__VALUE__OF_REAL;
                message->real = value->u.real;
                return OBJD_OK;
        case OBJD_STR:
                message->of_case = OBJD__RPC__VALUE__OF_STR;
                return put_data(out, value, message, &message->str);
        case OBJD_BYTES:
                message->of_case = OBJD__RPC__VALUE__OF_BYTES;
                return put_data(out, value, message, &message->bytes);
        case OBJD_ARRAY:
                return put_array(out, value, message);
        case OBJD_MESSAGE:
                return put_message(out, value, message);
        case OBJD_REF:
                return put_ref(out, value, message);
        case OBJD_ANY:
                break;
        }
        return value_check(value); /* not reached: it has been refused above */
}

objd_status wire_values_out(struct wire_out *out, const objd_value *values, size_t n,
                            Objd__Rpc__Value ***ret_array)
{
        Objd__Rpc__Value **array, *messages;
        objd_status r = OBJD_OK;

        if (!n) {
                *ret_array = NULL;
                return OBJD_OK;
        }
        array = wire_take(&out->space, n, sizeof(*array));
        messages = wire_take(&out->space, n, sizeof(*messages));
        if (!array || !messages)
                return OBJD_E_NOMEM;
        for (size_t i = 0; !r && i < n; i++) {
                array[i] = &messages[i];
                r = put_value(out, &values[i], &messages[i]);
        }
        if (!r)
                *ret_array = array;
        return r;
}

objd_status wire_value_out(struct wire_out *out, const objd_value *value, Objd__Rpc__Value **ret_message)
{
        Objd__Rpc__Value *message;
        objd_status r;

        if (!value || value->type == OBJD_ANY)
                return OBJD_OK;
        message = wire_out_take(out, sizeof(*message));
        if (!message)
                return OBJD_E_NOMEM;
        r = put_value(out, value, message);
        if (!r)
                *ret_message = message;
        return r;
}

/* ---- Text ---------------------------------------------------------------------------------------------- */

objd_status wire_text_out(struct wire_out *out, const char *text, size_t size_max, char **ret_text)
{
        size_t size = text ? strlen(text) : 0;
        char *copy;

        if (size > size_max) {
                size = size_max;
                while (size && ((uint8_t)text[size] & 0xc0) == 0x80)
                        size--;
        }
        if (!size)
                return OBJD_OK;
        copy = wire_out_take(out, size + 1);
        if (!copy)
                return OBJD_E_NOMEM;
        memcpy(copy, text, size);
        copy[size] = 0;
        /* A sentence may quote what is no text. */
        if (!utf8_is_valid(copy, size))
                for (size_t i = 0; i < size; i++)
                        if (copy[i] & 0x80)
                                copy[i] = '?';
        *ret_text = copy;
        return OBJD_OK;
}

/* ---- The whole ----------------------------------------------------------------------------------------- */

objd_status wire_out_reserve(struct wire_out *out, size_t size)
{
        size_t room_size = out->room_size;
        uint8_t *room;

        if (size <= room_size)
                return OBJD_OK;
        while (room_size < size)
                room_size *= 2;
        /* What was in it is not needed any more. */
        room = sys.resize(NULL, room_size);
        if (!room)
                return no_memory();
        if (out->room != out->small)
                free(out->room);
        out->body = out->room = room;
        out->room_size = room_size;
        return OBJD_OK;
}

objd_status wire_out_finish(struct wire_out *out, const ProtobufCMessage *message, uint64_t max_size)
{
        size_t size = protobuf_c_message_get_packed_size(message);
        uint64_t whole = out->n_parts ? round8(size) + out->size : size;
        objd_status r;

        if (!max_size || max_size > WIRE_MESSAGE_MAX)
                max_size = WIRE_MESSAGE_MAX;
        if (whole > max_size)
                return fail(OBJD_E_TOOBIG, "a %s would have %llu bytes, the most is %llu",
                            message->descriptor->short_name, (unsigned long long)whole,
                            (unsigned long long)max_size);
        r = wire_out_reserve(out, size);
        if (r)
                return r;
        out->body = out->room;
        out->body_size = protobuf_c_message_pack(message, out->body);
        out->size = whole;
        return OBJD_OK;
}

/* ---- Copying it out ------------------------------------------------------------------------------------ */

/* Copies from a piece of memory that `at` bytes of the message stand before; past its end there are zeros up to `end`. */
struct copying {
        uint8_t *dst;
        uint64_t from;
        size_t left;
};

static void copy_from(struct copying *copying, uint64_t at, const void *data, size_t size, uint64_t end)
{
        uint64_t skip = copying->from - at;

        if (copying->left && skip < size) {
                size_t n = size - skip < copying->left ? size - (size_t)skip : copying->left;

                memcpy(copying->dst, (const uint8_t *)data + skip, n);
                copying->dst += n;
                copying->from += n;
                copying->left -= n;
        }
        if (copying->left && copying->from < end) {
                size_t n =
                        end - copying->from < copying->left ? (size_t)(end - copying->from) : copying->left;

                memset(copying->dst, 0, n);
                copying->dst += n;
                copying->from += n;
                copying->left -= n;
        }
}

void wire_out_copy(struct wire_out *out, uint64_t from, void *dst, size_t size)
{
        struct copying copying = { dst, from, size };
        uint64_t bulk = out->n_parts ? round8(out->body_size) : out->body_size;
        struct wire_seek *seek = &out->seek;

        if (!out->n_parts) {
                memcpy(dst, out->body + from, size);
                return;
        }
        if (from < bulk)
                copy_from(&copying, 0, out->body, out->body_size, bulk);
        /* Pieces are mostly asked for one after the other. */
        if (!seek->at || copying.from < seek->at)
                *seek = (struct wire_seek){ .at = bulk };
        while (copying.left && seek->part < out->n_parts) {
                const struct wire_part *part = &out->parts[seek->part];
                uint64_t end = seek->at + round8(part->size);

                if (copying.from < end)
                        copy_from(&copying, seek->at, part->data, part->size, end);
                if (copying.from < end)
                        break;
                seek->at = end;
                seek->part++;
        }
}
