/* SPDX-License-Identifier: Apache-2.0 */

/*
 * value.c -- values: made, checked, compared, and turned into bytes and back
 *
 * A value on its way in comes from a caller, who may have filled it by hand, and is checked once, by
 * value_check(). A value on its way out comes from bytes that anybody with a mapping may have damaged:
 * value_decode() believes nothing that would lead outside of them.
 */

#include "object/value.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "arena/word.h"
#include "base/arith.h"
#include "base/status.h"
#include "base/sys.h"
#include "base/utf8.h"

/* ---- Constructors ------------------------------------------------------------------------------------- */

objd_value objd_nil(void)
{
        return (objd_value){ .type = OBJD_NIL };
}

objd_value objd_bool(bool boolean)
{
        return (objd_value){ .type = OBJD_BOOL, .u.boolean = boolean };
}

objd_value objd_int(int64_t integer)
{
        return (objd_value){ .type = OBJD_INT, .u.integer = integer };
}

objd_value objd_float(double real)
{
        return (objd_value){ .type = OBJD_FLOAT, .u.real = real };
}

objd_value objd_str(const char *text, size_t size)
{
        return (objd_value){ .type = OBJD_STR, .data = text, .size = size };
}

objd_value objd_cstr(const char *text)
{
        /* NULL becomes a value that value_check() refuses; an empty string would hide the mistake. */
        return objd_str(text, text ? strlen(text) : 1);
}

objd_value objd_bytes(const void *data, size_t size)
{
        return (objd_value){ .type = OBJD_BYTES, .data = data, .size = size };
}

/* Bytes of an array's data. False if they do not fit 64 bits; the dtype must be one. */
static bool array_size(size_t width, uint32_t ndim, const uint64_t *shape, uint64_t *ret_size)
{
        uint64_t size = width;

        for (uint32_t i = 0; i < ndim; i++)
                if (!shape[i]) {
                        *ret_size = 0;
                        return true;
                }
        for (uint32_t i = 0; i < ndim; i++)
                if (!mul_u64(size, shape[i], &size))
                        return false;
        *ret_size = size;
        return true;
}

objd_value objd_array(objd_dtype dtype, uint32_t ndim, const uint64_t *shape, const void *data)
{
        objd_value value = { .type = OBJD_ARRAY, .dtype = dtype, .ndim = ndim, .data = data };
        uint32_t n = ndim <= OBJD_NDIM_MAX ? ndim : OBJD_NDIM_MAX;
        uint64_t size;

        if (n && shape)
                memcpy(value.shape, shape, n * sizeof(*shape));

        /* A dtype, ndim or shape that is no good stays as it is: value_check() says what is wrong with it. */
        value.size = array_size(value_dtype_width(dtype), n, value.shape, &size) ? size : SIZE_MAX;
        return value;
}

objd_value objd_message(const char *name, const void *data, size_t size)
{
        size_t name_size = name ? strlen(name) : 0;

        return (objd_value){
                .type = OBJD_MESSAGE,
                .name = name,
                .name_size = name_size <= UINT32_MAX ? (uint32_t)name_size : UINT32_MAX,
                .data = data,
                .size = size,
        };
}

objd_value objd_refer(objd_ref ref)
{
        return (objd_value){ .type = OBJD_REF, .u.ref = ref };
}

/* ---- Types -------------------------------------------------------------------------------------------- */

const char *value_type_name(objd_type type)
{
        static const char *const names[] = { "any", "nil",   "bool",  "int",     "float",
                                             "str", "bytes", "array", "message", "ref" };
        size_t i = (size_t)type;

        return i < sizeof(names) / sizeof(names[0]) ? names[i] : "of no known type";
}

size_t value_dtype_width(objd_dtype dtype)
{
        static const uint8_t widths[] = {
                [OBJD_I8] = 1,  [OBJD_U8] = 1,  [OBJD_I16] = 2, [OBJD_U16] = 2, [OBJD_I32] = 4,
                [OBJD_U32] = 4, [OBJD_I64] = 8, [OBJD_U64] = 8, [OBJD_F32] = 4, [OBJD_F64] = 8,
        };
        size_t i = (size_t)dtype;

        return i < sizeof(widths) ? widths[i] : 0;
}

/* ---- Checks ------------------------------------------------------------------------------------------- */

static objd_status check_data(const objd_value *value)
{
        if (value->size > OBJD_VALUE_MAX)
                return fail(OBJD_E_TOOBIG, "a value of type %s has %zu bytes, the most is %llu",
                            value_type_name(value->type), value->size, OBJD_VALUE_MAX);
        if (value->size && !value->data)
                return fail(OBJD_E_INVAL, "a value of type %s has %zu bytes at NULL",
                            value_type_name(value->type), value->size);
        return OBJD_OK;
}

static objd_status check_str(const objd_value *value)
{
        objd_status r = check_data(value);

        if (r)
                return r;
        if (!utf8_is_valid(value->data, value->size))
                return fail(OBJD_E_INVAL, "a value of type str is not UTF-8");
        return OBJD_OK;
}

static objd_status check_array(const objd_value *value)
{
        size_t width = value_dtype_width(value->dtype);
        uint64_t size;

        if (!width)
                return fail(OBJD_E_INVAL, "an array has dtype %d, which does not exist", (int)value->dtype);
        if (value->ndim > OBJD_NDIM_MAX)
                return fail(OBJD_E_INVAL, "an array has %u dimensions, the most is %d", value->ndim,
                            OBJD_NDIM_MAX);
        if (!array_size(width, value->ndim, value->shape, &size) || size > OBJD_VALUE_MAX)
                return fail(OBJD_E_TOOBIG, "an array's shape makes more than %llu bytes", OBJD_VALUE_MAX);
        if (size != value->size)
                return fail(OBJD_E_INVAL, "an array has %zu bytes, but its shape makes %" PRIu64, value->size,
                            size);
        return check_data(value);
}

static objd_status check_message(const objd_value *value)
{
        objd_status r = check_data(value);

        if (r)
                return r;
        if (value->size + value->name_size > OBJD_VALUE_MAX)
                return fail(OBJD_E_TOOBIG, "a message with its name has over %llu bytes", OBJD_VALUE_MAX);
        if (!value->name || !value->name_size)
                return fail(OBJD_E_INVAL, "a message has no name");
        if (!utf8_is_valid(value->name, value->name_size))
                return fail(OBJD_E_INVAL, "a message's name is not UTF-8");
        return OBJD_OK;
}

objd_status value_check(const objd_value *value)
{
        if (!value)
                return fail(OBJD_E_INVAL, "a value is NULL");
        switch (value->type) {
        case OBJD_NIL:
        case OBJD_BOOL:
        case OBJD_INT:
        case OBJD_FLOAT:
        case OBJD_REF:
                return OBJD_OK;
        case OBJD_STR:
                return check_str(value);
        case OBJD_BYTES:
                return check_data(value);
        case OBJD_ARRAY:
                return check_array(value);
        case OBJD_MESSAGE:
                return check_message(value);
        case OBJD_ANY:
                break;
        }
        return fail(OBJD_E_INVAL, "a value has type %d, which no value has", (int)value->type);
}

objd_status value_check_type(const objd_value *value, objd_type declared, const char *what)
{
        if (declared == OBJD_ANY || declared == value->type)
                return OBJD_OK;
        return fail(OBJD_E_TYPE, "%s is %s, declared is %s", what, value_type_name(value->type),
                    value_type_name(declared));
}

/* ---- Bytes -------------------------------------------------------------------------------------------- */

uint64_t value_encoded_size(const objd_value *value)
{
        switch (value->type) {
        case OBJD_BOOL:
        case OBJD_INT:
        case OBJD_FLOAT:
                return 8;
        case OBJD_REF:
                return 16;
        case OBJD_STR:
        case OBJD_BYTES:
                return value->size;
        case OBJD_ARRAY:
                return 8 + 8 * (uint64_t)value->ndim + value->size;
        case OBJD_MESSAGE:
                return 8 + round8(value->name_size) + value->size;
        case OBJD_ANY:
        case OBJD_NIL:
                break;
        }
        return 0;
}

/* Copies size bytes and zeros up to the next multiple of 8; returns where the next piece goes. */
static uint8_t *put_private(uint8_t *dst, const void *src, size_t size)
{
        size_t padded = round8(size);

        if (!size)
                return dst;
        memset(dst + padded - 8, 0, 8);
        memcpy(dst, src, size);
        return dst + padded;
}

/* The same by words: a reader that came too late may still look at this memory. src has any alignment. */
static uint8_t *put_shared(uint8_t *dst, const void *src, size_t size)
{
        const uint8_t *from = src;
        uint64_t *to = (uint64_t *)(void *)dst;
        uint64_t word;

        for (; size >= 32; size -= 32, from += 32, to += 4) {
                uint64_t words[4];

                memcpy(words, from, 32);
                word_set(to, words[0]);
                word_set(to + 1, words[1]);
                word_set(to + 2, words[2]);
                word_set(to + 3, words[3]);
        }
        for (; size >= 8; size -= 8, from += 8) {
                memcpy(&word, from, 8);
                word_set(to++, word);
        }
        if (size) {
                word = 0;
                memcpy(&word, from, size);
                word_set(to++, word);
        }
        return (uint8_t *)to;
}

typedef uint8_t *(*put_fn)(uint8_t *dst, const void *src, size_t size);

/* Inlined into both callers, so that `put` is a direct call. */
static inline __attribute__((always_inline)) void encode(const objd_value *value, uint8_t *dst, put_fn put)
{
        uint64_t head;

        switch (value->type) {
        case OBJD_BOOL:
                head = value->u.boolean;
                put(dst, &head, 8);
                break;
        case OBJD_INT:
                put(dst, &value->u.integer, 8);
                break;
        case OBJD_FLOAT:
                put(dst, &value->u.real, 8);
                break;
        case OBJD_REF:
                put(dst, &value->u.ref, 16);
                break;
        case OBJD_STR:
        case OBJD_BYTES:
                put(dst, value->data, value->size);
                break;
        case OBJD_ARRAY:
                head = (uint64_t)value->dtype | (uint64_t)value->ndim << 8;
                dst = put(dst, &head, 8);
                dst = put(dst, value->shape, 8 * (size_t)value->ndim);
                put(dst, value->data, value->size);
                break;
        case OBJD_MESSAGE:
                head = value->name_size;
                dst = put(dst, &head, 8);
                dst = put(dst, value->name, value->name_size);
                put(dst, value->data, value->size);
                break;
        case OBJD_ANY:
        case OBJD_NIL:
                break;
        }
}

void value_encode(const objd_value *value, void *dst)
{
        encode(value, dst, put_private);
}

void value_encode_shared(const objd_value *value, void *dst)
{
        encode(value, dst, put_shared);
}

static bool decode_array(const uint8_t *src, uint64_t size, objd_value *value)
{
        uint64_t head, data_size, skip;

        if (size < 8)
                return false;
        memcpy(&head, src, 8);
        if (head >> 16 || head >> 8 > OBJD_NDIM_MAX)
                return false;
        value->dtype = (objd_dtype)(head & 0xff);
        value->ndim = (uint32_t)(head >> 8);
        skip = 8 + 8 * (uint64_t)value->ndim;
        if (!value_dtype_width(value->dtype) || size < skip)
                return false;
        memcpy(value->shape, src + 8, skip - 8);
        if (!array_size(value_dtype_width(value->dtype), value->ndim, value->shape, &data_size) ||
            data_size != size - skip)
                return false;
        value->data = src + skip;
        value->size = data_size;
        return true;
}

static bool decode_message(const uint8_t *src, uint64_t size, objd_value *value)
{
        uint64_t name_size;

        if (size < 8)
                return false;
        memcpy(&name_size, src, 8);
        if (!name_size || name_size > UINT32_MAX || round8(name_size) > size - 8)
                return false;
        value->name = (const char *)src + 8;
        value->name_size = (uint32_t)name_size;
        value->data = src + 8 + round8(name_size);
        value->size = size - 8 - round8(name_size);
        return true;
}

static bool decode_word(const uint8_t *src, uint64_t size, objd_value *value)
{
        uint64_t word;

        if (size != 8)
                return false;
        memcpy(&word, src, 8);
        switch (value->type) {
        case OBJD_BOOL:
                value->u.boolean = word & 1;
                return word <= 1;
        case OBJD_INT:
                value->u.integer = (int64_t)word;
                return true;
        default:
                memcpy(&value->u.real, src, 8);
                return true;
        }
}

static bool decode(const uint8_t *src, uint64_t size, objd_value *value)
{
        switch (value->type) {
        case OBJD_NIL:
                return size == 0;
        case OBJD_BOOL:
        case OBJD_INT:
        case OBJD_FLOAT:
                return decode_word(src, size, value);
        case OBJD_STR:
        case OBJD_BYTES:
                value->data = src;
                value->size = size;
                return true;
        case OBJD_ARRAY:
                return decode_array(src, size, value);
        case OBJD_MESSAGE:
                return decode_message(src, size, value);
        case OBJD_REF:
                if (size == sizeof(value->u.ref))
                        memcpy(&value->u.ref, src, sizeof(value->u.ref));
                return size == sizeof(value->u.ref);
        case OBJD_ANY:
                break;
        }
        return false;
}

objd_status value_decode(objd_type type, const void *src, uint64_t size, objd_value *ret_value)
{
        objd_value value;

        /* All fields but shape, which is half of the struct and only means something in an array. */
        value.type = type;
        value.dtype = 0;
        value.ndim = 0;
        value.name_size = 0;
        value.u.ref = (objd_ref){ 0, 0 };
        value.data = NULL;
        value.size = 0;
        value.name = NULL;

        if (size > VALUE_ENCODED_MAX || !decode(src, size, &value))
                return fail(OBJD_E_CORRUPT, "the %" PRIu64 " bytes of a value of type %s are damaged", size,
                            value_type_name(type));

        memcpy(ret_value, &value, offsetof(objd_value, shape));
        if (type == OBJD_ARRAY)
                memcpy(ret_value->shape, value.shape, value.ndim * sizeof(*value.shape));
        return OBJD_OK;
}

/* ---- Comparing ---------------------------------------------------------------------------------------- */

/* NULL is taken where there are no bytes. */
static bool bytes_equal(const void *a, size_t a_size, const void *b, size_t b_size)
{
        return a_size == b_size && (!a_size || memcmp(a, b, a_size) == 0);
}

static bool array_equal(const objd_value *a, const objd_value *b)
{
        return a->dtype == b->dtype && a->ndim == b->ndim &&
               bytes_equal(a->shape, 8 * (size_t)a->ndim, b->shape, 8 * (size_t)b->ndim) &&
               bytes_equal(a->data, a->size, b->data, b->size);
}

bool objd_value_equal(const objd_value *a, const objd_value *b)
{
        if (a->type != b->type)
                return false;
        switch (a->type) {
        case OBJD_NIL:
                return true;
        case OBJD_BOOL:
                return a->u.boolean == b->u.boolean;
        case OBJD_INT:
                return a->u.integer == b->u.integer;
        case OBJD_FLOAT:
                return memcmp(&a->u.real, &b->u.real, sizeof(a->u.real)) == 0;
        case OBJD_STR:
        case OBJD_BYTES:
                return bytes_equal(a->data, a->size, b->data, b->size);
        case OBJD_ARRAY:
                return array_equal(a, b);
        case OBJD_MESSAGE:
                return bytes_equal(a->name, a->name_size, b->name, b->name_size) &&
                       bytes_equal(a->data, a->size, b->data, b->size);
        case OBJD_REF:
                return a->u.ref.place == b->u.ref.place && a->u.ref.serial == b->u.ref.serial;
        case OBJD_ANY:
                break;
        }
        return false;
}

/* INT and FLOAT have one place in the order, and no other two types do. */
static int type_rank(objd_type type)
{
        return type == OBJD_FLOAT ? (int)OBJD_INT : (int)type;
}

static int compare_u64(uint64_t a, uint64_t b)
{
        return (a > b) - (a < b);
}

static int compare_i64(int64_t a, int64_t b)
{
        return (a > b) - (a < b);
}

static int compare_f64(double a, double b)
{
        bool a_is_nan = a != a, b_is_nan = b != b;

        if (a_is_nan || b_is_nan)
                return a_is_nan - b_is_nan;
        return (a > b) - (a < b);
}

/*
 * Exact: turning the integer into a double would round it beyond 2^53, and the order would not be transitive.
 * So the double is cut to an integer, which loses nothing but its fraction.
 */
static int compare_mixed(int64_t integer, double real)
{
        int64_t whole;

        if (real != real || real >= 0x1p63)
                return -1;
        if (real < -0x1p63)
                return 1;
        whole = (int64_t)real;
        return integer != whole ? compare_i64(integer, whole) : compare_f64((double)whole, real);
}

static int compare_numbers(const objd_value *a, const objd_value *b)
{
        if (a->type == OBJD_INT)
                return b->type == OBJD_INT ? compare_i64(a->u.integer, b->u.integer)
                                           : compare_mixed(a->u.integer, b->u.real);
        return b->type == OBJD_INT ? -compare_mixed(b->u.integer, a->u.real)
                                   : compare_f64(a->u.real, b->u.real);
}

static int compare_bytes(const void *a, size_t a_size, const void *b, size_t b_size)
{
        size_t size = a_size < b_size ? a_size : b_size;
        int c = size ? memcmp(a, b, size) : 0;

        return c ? c : compare_u64(a_size, b_size);
}

static int compare_arrays(const objd_value *a, const objd_value *b)
{
        int c = compare_u64(a->dtype, b->dtype);

        if (!c)
                c = compare_u64(a->ndim, b->ndim);
        for (uint32_t i = 0; !c && i < a->ndim; i++)
                c = compare_u64(a->shape[i], b->shape[i]);
        return c ? c : compare_bytes(a->data, a->size, b->data, b->size);
}

static int compare_messages(const objd_value *a, const objd_value *b)
{
        int c = compare_bytes(a->name, a->name_size, b->name, b->name_size);

        return c ? c : compare_bytes(a->data, a->size, b->data, b->size);
}

static int compare_refs(objd_ref a, objd_ref b)
{
        int c = compare_u64(a.serial, b.serial);

        return c ? c : compare_u64(a.place, b.place);
}

int value_compare(const objd_value *a, const objd_value *b)
{
        int c = compare_i64(type_rank(a->type), type_rank(b->type));

        if (c)
                return c;
        switch (a->type) {
        case OBJD_BOOL:
                return a->u.boolean - b->u.boolean;
        case OBJD_INT:
        case OBJD_FLOAT:
                return compare_numbers(a, b);
        case OBJD_STR:
        case OBJD_BYTES:
                return compare_bytes(a->data, a->size, b->data, b->size);
        case OBJD_ARRAY:
                return compare_arrays(a, b);
        case OBJD_MESSAGE:
                return compare_messages(a, b);
        case OBJD_REF:
                return compare_refs(a->u.ref, b->u.ref);
        case OBJD_ANY:
        case OBJD_NIL:
                break;
        }
        return 0;
}

/* ---- Buffers ------------------------------------------------------------------------------------------ */

/* The next multiple of the step above size, so that there is always something behind the last byte. */
static size_t round_step(size_t size)
{
        return (size | (BUF_STEP - 1)) + 1;
}

objd_status buf_grow(objd_buf *buf, size_t size)
{
        size_t have = buf->data ? buf->size : 0, need = round_step(size), more = round_step(have + have / 2);
        void *data;

        if (size < have && need <= have)
                return OBJD_OK;
        if (need < size || need > PTRDIFF_MAX)
                return fail(OBJD_E_NOMEM, "no memory for a buffer of %zu bytes", size);

        /* Half as much again, so that reads of slowly growing values do not allocate each time. */
        if (need < more)
                need = more;
        data = sys.resize(buf->data, need);
        if (!data)
                return fail(OBJD_E_NOMEM, "no memory for a buffer of %zu bytes", need);
        buf->data = data;
        buf->size = need;
        return OBJD_OK;
}

void objd_buf_free(objd_buf *buf)
{
        if (!buf)
                return;
        free(buf->data);
        *buf = (objd_buf)OBJD_BUF_INIT;
}
