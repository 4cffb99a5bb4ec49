/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire_check.c -- what is looked at before protobuf-c gets the bytes
 *
 * The table of the schema is the one that protoc-c has made for protobuf-c itself, so the two cannot differ; what the
 * schema cannot say (how many, how large) is in `extras` below. The walk goes over each byte of the structure once, and over
 * those of strings; it steps over data. It is recursive, and no deeper than the schema is, since what is unknown is not entered.
 */

#include "rpc/wire_check.h"

#include <objd.pb-c.h>

#include <inttypes.h>
#include <stdbool.h>
#include <string.h>

#include "base/status.h"
#include "base/utf8.h"
#include "rpc/wire.h"

/* protobuf-c notes each field that it finds in one of these; the first 16 of a message on the stack. */
#define SCANNED_SIZE 32u
#define SCANNED_ON_STACK 16u

/* protobuf itself has no longer ones. */
#define LENGTH_MAX INT32_MAX

enum wire_type { VARINT = 0, FIXED64 = 1, DELIMITED = 2, GROUP = 3, GROUP_END = 4, FIXED32 = 5 };

struct walk {
        const struct wire_bounds *bounds;
        size_t memory;
        uint32_t n_elements;
};

/* One message, at some depth. */
struct place {
        const ProtobufCMessageDescriptor *type;
        const uint8_t *at, *end;
        unsigned depth;
        unsigned next; /* index of the field that is likely to come */
        unsigned n_unknown;
        uint64_t seen; /* fields that are there, by index */
        bool one_of;   /* a member of the message's oneof is there */
        uint32_t n_fields;
        uint32_t n_elements;
};

/* ---- What the schema does not say ---------------------------------------------------------------------- */

/* Memory that each message of a type takes in the calls or answers that are made of it. */
struct extra {
        const ProtobufCMessageDescriptor *type;
        size_t memory;
        bool empty; /* may have no fields at all, which would otherwise be a cheap way to ask for much memory */
};

static const struct extra extras[] = {
        { &objd__rpc__value__descriptor, sizeof(objd_value), false },
        { &objd__rpc__request__descriptor, sizeof(struct call) + sizeof(objd_config), false },
        { &objd__rpc__answer__descriptor, sizeof(struct answer), true },
        { &objd__rpc__item__descriptor, sizeof(objd_item), true },
        { &objd__rpc__info__descriptor, sizeof(objd_info), false },
        { &objd__rpc__stats__descriptor, sizeof(objd_stats), true },
};

static const struct extra *find_extra(const ProtobufCMessageDescriptor *type)
{
        for (size_t i = 0; i < sizeof(extras) / sizeof(extras[0]); i++)
                if (extras[i].type == type)
                        return &extras[i];
        return NULL;
}

/* ---- Sentences ----------------------------------------------------------------------------------------- */

static objd_status bad(const struct place *place, const char *what)
{
        return fail(OBJD_E_PROTO, "a message is not sound: in a %s, %s", place->type->short_name, what);
}

static objd_status bad_field(const struct place *place, const ProtobufCFieldDescriptor *field,
                             const char *what)
{
        return fail(OBJD_E_PROTO, "a message is not sound: %s of a %s %s", field->name,
                    place->type->short_name, what);
}

/* ---- Numbers ------------------------------------------------------------------------------------------- */

/* Up to `most` bytes; false if it does not end, or needs more than 64 bits. */
static bool read_varint_slowly(struct place *place, unsigned most, uint64_t *ret_number)
{
        uint64_t number = 0;

        for (unsigned i = 0; i < most && place->at < place->end; i++) {
                uint8_t byte = *place->at++;

                if (i == 9 && byte > 1)
                        return false;
                number |= (uint64_t)(byte & 0x7f) << 7 * i;
                if (!(byte & 0x80)) {
                        *ret_number = number;
                        return true;
                }
        }
        return false;
}

static inline bool read_varint(struct place *place, unsigned most, uint64_t *ret_number)
{
        if (place->at < place->end && *place->at < 0x80) {
                *ret_number = *place->at++;
                return true;
        }
        return read_varint_slowly(place, most, ret_number);
}

/* A length, and that it lies inside the message. */
static objd_status read_length(struct place *place, size_t *ret_size)
{
        uint64_t size;

        if (!read_varint(place, 5, &size) || size > LENGTH_MAX)
                return bad(place, "a length is none");
        if (size > (size_t)(place->end - place->at))
                return bad(place, "a length leads outside");
        *ret_size = size;
        return OBJD_OK;
}

static bool is_in_enum(const ProtobufCEnumDescriptor *type, uint64_t number)
{
        for (unsigned i = 0; i < type->n_value_ranges; i++) {
                const ProtobufCIntRange *range = &type->value_ranges[i];
                /* The next range's orig_index minus this one's is how many values this one has. */
                uint64_t n = (uint64_t)(range[1].orig_index - range->orig_index);

                if (number >= (uint64_t)range->start_value && number - (uint64_t)range->start_value < n)
                        return true;
        }
        return false;
}

static bool fits(const ProtobufCFieldDescriptor *field, uint64_t number)
{
        switch (field->type) {
        case PROTOBUF_C_TYPE_BOOL:
                return number <= 1;
        case PROTOBUF_C_TYPE_UINT32:
                return number <= UINT32_MAX;
        case PROTOBUF_C_TYPE_ENUM:
                return is_in_enum(field->descriptor, number);
        default:
                return true;
        }
}

/* ---- Fields -------------------------------------------------------------------------------------------- */

static enum wire_type wire_type_of(ProtobufCType type)
{
        switch (type) {
        case PROTOBUF_C_TYPE_STRING:
        case PROTOBUF_C_TYPE_BYTES:
        case PROTOBUF_C_TYPE_MESSAGE:
                return DELIMITED;
        case PROTOBUF_C_TYPE_DOUBLE:
        case PROTOBUF_C_TYPE_FIXED64:
        case PROTOBUF_C_TYPE_SFIXED64:
                return FIXED64;
        case PROTOBUF_C_TYPE_FLOAT:
        case PROTOBUF_C_TYPE_FIXED32:
        case PROTOBUF_C_TYPE_SFIXED32:
                return FIXED32;
        default:
                return VARINT;
        }
}

/* Adds up what a piece of memory of the space takes. */
static inline void add_piece(struct walk *walk, size_t size)
{
        walk->memory += (size + 31) & ~(size_t)15;
}

static objd_status walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type,
                                const uint8_t *bytes, size_t size, unsigned depth);

static objd_status check_number(struct place *place, const ProtobufCFieldDescriptor *field)
{
        uint64_t number;

        if (!read_varint(place, 10, &number))
                return bad_field(place, field, "does not end, or is over 64 bits");
        if (!fits(field, number))
                return bad_field(place, field, "is out of range");
        return OBJD_OK;
}

static objd_status skip_fixed(struct place *place, size_t size)
{
        if (size > (size_t)(place->end - place->at))
                return bad(place, "a number is cut off");
        place->at += size;
        return OBJD_OK;
}

static objd_status count_element(struct walk *walk, struct place *place,
                                 const ProtobufCFieldDescriptor *field)
{
        if (++place->n_elements > walk->bounds->n_calls &&
            (field->descriptor == &objd__rpc__request__descriptor ||
             field->descriptor == &objd__rpc__answer__descriptor))
                return fail(OBJD_E_TOOBIG, "a %s has more than %u %s", place->type->short_name,
                            walk->bounds->n_calls, field->name);
        if (place->type == &objd__rpc__array__descriptor && place->n_elements > OBJD_NDIM_MAX)
                return bad_field(place, field, "has too many numbers");
        if (++walk->n_elements > WIRE_ELEMENTS_MAX)
                return fail(OBJD_E_TOOBIG, "a message has more than %u elements", WIRE_ELEMENTS_MAX);
        walk->memory += sizeof(uint64_t);
        return OBJD_OK;
}

/* A repeated number that comes packed: one field, many numbers. */
static objd_status check_packed(struct walk *walk, struct place *place, const ProtobufCFieldDescriptor *field)
{
        const uint8_t *end = place->end;
        size_t size;
        objd_status r = read_length(place, &size);

        if (r)
                return r;
        place->end = place->at + size;
        while (!r && place->at < place->end) {
                r = check_number(place, field);
                if (!r)
                        r = count_element(walk, place, field);
        }
        place->end = end;
        return r;
}

static objd_status check_string(const struct place *place, const ProtobufCFieldDescriptor *field,
                                const uint8_t *text, size_t size)
{
        if (memchr(text, 0, size))
                return bad_field(place, field, "has a NUL in it");
        if (!utf8_is_valid(text, size))
                return bad_field(place, field, "is not UTF-8");
        return OBJD_OK;
}

static objd_status check_delimited(struct walk *walk, struct place *place,
                                   const ProtobufCFieldDescriptor *field)
{
        const uint8_t *bytes;
        size_t size;
        objd_status r = read_length(place, &size);

        if (r)
                return r;
        bytes = place->at;
        place->at += size;
        if (field->type == PROTOBUF_C_TYPE_MESSAGE)
                return walk_message(walk, field->descriptor, bytes, size, place->depth + 1);
        add_piece(walk, size + 1);
        return field->type == PROTOBUF_C_TYPE_STRING ? check_string(place, field, bytes, size) : OBJD_OK;
}

static bool is_repeated(const ProtobufCFieldDescriptor *field)
{
        return field->label == PROTOBUF_C_LABEL_REPEATED;
}

/* That a field that cannot be repeated is not; neither can two members of a oneof be there. */
static objd_status check_first(struct place *place, const ProtobufCFieldDescriptor *field)
{
        uint64_t bit = 1ULL << (field - place->type->fields);

        if (place->seen & bit && !is_repeated(field))
                return bad_field(place, field, "is there twice");
        place->seen |= bit;
        if (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) {
                if (place->one_of)
                        return bad_field(place, field, "is one too many of those that exclude one another");
                place->one_of = true;
        }
        return OBJD_OK;
}

static objd_status check_known(struct walk *walk, struct place *place, const ProtobufCFieldDescriptor *field,
                               enum wire_type wire_type)
{
        enum wire_type due = wire_type_of(field->type);
        objd_status r = check_first(place, field);

        if (r)
                return r;
        if (is_repeated(field) && due == VARINT && wire_type == DELIMITED)
                return check_packed(walk, place, field);
        if (wire_type != due)
                return bad_field(place, field, "has another wire type");
        if (is_repeated(field)) {
                r = count_element(walk, place, field);
                if (r)
                        return r;
        }
        if (due == VARINT)
                return check_number(place, field);
        if (due == DELIMITED)
                return check_delimited(walk, place, field);
        return skip_fixed(place, due == FIXED64 ? 8 : 4);
}

/* A field of a later version: stepped over, but there may not be any number of them. */
static objd_status skip_unknown(struct walk *walk, struct place *place, enum wire_type wire_type)
{
        const uint8_t *begin = place->at;
        uint64_t number;
        size_t size;
        objd_status r = OBJD_OK;

        if (++place->n_unknown > WIRE_UNKNOWN_MAX)
                return bad(place, "there are too many unknown fields");
        switch (wire_type) {
        case VARINT:
                if (!read_varint(place, 10, &number))
                        r = bad(place, "an unknown number does not end, or is over 64 bits");
                break;
        case FIXED64:
                r = skip_fixed(place, 8);
                break;
        case FIXED32:
                r = skip_fixed(place, 4);
                break;
        case DELIMITED:
                r = read_length(place, &size);
                if (!r)
                        place->at += size;
                break;
        default:
                r = bad(place, "there is a group, or no wire type");
        }
        add_piece(walk, sizeof(ProtobufCMessageUnknownField));
        add_piece(walk, (size_t)(place->at - begin));
        return r;
}

/* Fields mostly come in the order of their numbers. */
static const ProtobufCFieldDescriptor *find_field(struct place *place, uint32_t id)
{
        const ProtobufCMessageDescriptor *type = place->type;
        const ProtobufCFieldDescriptor *field;

        for (unsigned i = place->next; i < type->n_fields && type->fields[i].id <= id; i++)
                if (type->fields[i].id == id) {
                        place->next = i;
                        return &type->fields[i];
                }
        field = protobuf_c_message_descriptor_get_field(type, id);
        if (field)
                place->next = (unsigned)(field - type->fields);
        return field;
}

static objd_status walk_field(struct walk *walk, struct place *place)
{
        const ProtobufCFieldDescriptor *field;
        uint64_t tag;

        if (!read_varint(place, 5, &tag) || tag > UINT32_MAX)
                return bad(place, "a tag is none");
        if (!(tag >> 3))
                return bad(place, "a field has number 0");
        place->n_fields++;
        field = find_field(place, (uint32_t)(tag >> 3));
        return field ? check_known(walk, place, field, (enum wire_type)(tag & 7))
                     : skip_unknown(walk, place, (enum wire_type)(tag & 7));
}

/* What protobuf-c takes for a message of so many fields, and we for what is made of it. */
static objd_status add_message(struct walk *walk, const struct place *place)
{
        const struct extra *extra = find_extra(place->type);

        if (extra && !extra->empty && !place->n_fields)
                return bad(place, "there is nothing");
        add_piece(walk, place->type->sizeof_message);
        if (extra)
                walk->memory += extra->memory;
        if (place->n_fields > SCANNED_ON_STACK)
                walk->memory += (size_t)2 * SCANNED_SIZE * place->n_fields;
        return OBJD_OK;
}

static objd_status walk_message(struct walk *walk, const ProtobufCMessageDescriptor *type,
                                const uint8_t *bytes, size_t size, unsigned depth)
{
        struct place place = { .type = type, .at = bytes, .end = bytes + size, .depth = depth };
        objd_status r = OBJD_OK;

        if (depth > WIRE_DEPTH_MAX)
                return bad(&place, "messages are too deep in one another");
        while (!r && place.at < place.end)
                r = walk_field(walk, &place);
        return r ? r : add_message(walk, &place);
}

objd_status wire_check(const ProtobufCMessageDescriptor *type, const uint8_t *bytes, size_t size,
                       const struct wire_bounds *bounds, size_t *ret_memory)
{
        struct walk walk = { .bounds = bounds };
        objd_status r = walk_message(&walk, type, bytes, size, 1);

        if (r)
                return r;
        if (walk.memory > bounds->memory)
                return fail(OBJD_E_TOOBIG,
                            "a %s of %zu bytes would take %zu bytes of memory, the most is %zu",
                            type->short_name, size, walk.memory, bounds->memory);
        *ret_memory = walk.memory;
        return OBJD_OK;
}

uint64_t wire_check_seq(const uint8_t *bytes, size_t size)
{
        struct place place = { .at = bytes + 1, .end = bytes + size };
        uint64_t seq;

        /* Field 1, a varint. */
        return size > 1 && bytes[0] == 8 && read_varint(&place, 10, &seq) ? seq : 0;
}
