/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * wire_reader.h -- what the short way reads messages with
 *
 * Fields must come in the order of their numbers, each at most once: so every encoder writes them. Nothing is believed: each
 * length is held against what is left, and what is not just as expected ends the short way, without a word.
 */

#include <objd.h>

#include <endian.h>
#include <string.h>

#include "rpc/wire_short.h"

/* ---- Bytes --------------------------------------------------------------------------------------------- */

struct reader {
        const uint8_t *at, *end;
};

/* Byte by byte: one of more than 8 bytes, or at the end of everything. */
static __attribute__((noinline, unused)) bool read_longest_varint(struct reader *reader, uint64_t *ret_number)
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

/* Two bytes, as lengths have; or all at once: the place of an object, and other numbers that every call has, take four or five. */
static __attribute__((noinline, unused)) bool read_long_varint(struct reader *reader, uint64_t *ret_number)
{
        uint64_t word, ends;

        if (reader->end - reader->at < (ptrdiff_t)sizeof(word))
                return read_longest_varint(reader, ret_number);
        if (reader->at[1] < 128) {
                *ret_number = (uint64_t)(reader->at[0] & 127) | (uint64_t)reader->at[1] << 7;
                reader->at += 2;
                return true;
        }
        memcpy(&word, reader->at, sizeof(word));
        word = le64toh(word);
        ends = ~word & 0x8080808080808080;
        if (!ends)
                return read_longest_varint(reader, ret_number);
        word &= ends ^ (ends - 1);  /* up to the first byte that is the last one, */
        word &= 0x7f7f7f7f7f7f7f7f; /* and of each byte seven bits, side by side */
        word = (word & 0x007f007f007f007f) | (word & 0x7f007f007f007f00) >> 1;
        word = (word & 0x00003fff00003fff) | (word & 0x3fff00003fff0000) >> 2;
        *ret_number = (word & 0x000000000fffffff) | (word & 0x0fffffff00000000) >> 4;
        reader->at += (__builtin_ctzll(ends) >> 3) + 1;
        return true;
}

static inline __attribute__((always_inline)) bool read_varint(struct reader *reader, uint64_t *ret_number)
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

/* Whether the next field is this one; then it is to be read. Who asks for fields in their order takes each of them once at most. */
static inline bool next_is(struct reader *reader, uint8_t tag)
{
        if (reader->at == reader->end || *reader->at != tag)
                return false;
        reader->at++;
        return true;
}

/* A number that may be left out. */
static inline bool read_number(struct reader *reader, uint8_t tag, uint64_t *number)
{
        return !next_is(reader, tag) || read_varint(reader, number);
}

static inline bool read_signed_number(struct reader *reader, uint8_t tag, int64_t *number)
{
        return !next_is(reader, tag) || read_signed(reader, number);
}

/* ---- Values -------------------------------------------------------------------------------------------- */

static inline bool read_data(struct reader *reader, objd_type type, objd_value *value)
{
        struct reader inner;

        if (!read_inner(reader, &inner) || (uint64_t)(inner.end - inner.at) > OBJD_VALUE_MAX)
                return false;
        value->type = type;
        value->data = inner.at;
        value->size = (size_t)(inner.end - inner.at);
        return true;
}

static inline bool read_value(struct reader *outer, objd_value *value)
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

/* ---- Rows of messages ---------------------------------------------------------------------------------- */

/* How many fields with this tag there are up to the end, from the first of them on; 0 if there is anything else. */
static inline size_t count_rest(struct reader reader, uint8_t tag)
{
        struct reader inner;
        size_t n = 0;

        for (; reader.at < reader.end; n++)
                if (*reader.at++ != tag || !read_inner(&reader, &inner))
                        return 0;
        return n;
}

/* The limits that a short message could break; what does is left to the general way, which says so. */
static inline bool within(const struct wire_limits *limits, size_t n, size_t size_each)
{
        uint32_t most = limits && limits->n_calls ? limits->n_calls : WIRE_CALLS_MAX;

        return n && n <= most && (!limits || !limits->memory || n * size_each <= limits->memory);
}
