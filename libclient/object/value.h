/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * value.h -- values as bytes
 *
 * A value in the arena is a type, a size and that many bytes, padded to 8: BOOL, INT and FLOAT are 8 bytes,
 * REF is 16, STR and BYTES are themselves; an ARRAY is a word (dtype | ndim << 8), its shape and its data; a
 * MESSAGE is a word (size of the name), the name padded to 8, and its bytes. Values over VALUE_INLINE_MAX
 * live in a chunk of their own, VALUE_CHUNK_DATA bytes behind its start, so that they are aligned for whoever
 * pins them.
 */

#include <objd.h>

#define VALUE_INLINE_MAX 4096u
#define VALUE_CHUNK_DATA 64u
#define BUF_STEP 64u

/* No encoded value is longer: the value's own limit and the head with the longest shape. */
#define VALUE_ENCODED_MAX (OBJD_VALUE_MAX + 8 + 8 * OBJD_NDIM_MAX)

/* "int", "str" and so on, for sentences and dumps; never NULL, also for a number that is no type. */
const char *value_type_name(objd_type type);

/* Bytes of one item of an array; 0 if there is no such dtype. */
size_t value_dtype_width(objd_dtype dtype);

/* Whether it is a value at all: type, limits, UTF-8, shape. @return OBJD_OK, OBJD_E_INVAL, OBJD_E_TOOBIG */
objd_status value_check(const objd_value *value);

/*
 * Whether a container that declares `declared` takes it; `what` begins the sentence. @return OBJD_OK,
 * OBJD_E_TYPE
 */
objd_status value_check_type(const objd_value *value, objd_type declared, const char *what);

/* Bytes of the encoded form, unpadded. The value must have passed value_check(). */
uint64_t value_encoded_size(const objd_value *value);

/* Writes the encoded form, padded with zeros to 8, into private memory. */
void value_encode(const objd_value *value, void *dst);

/* The same straight into shared memory, 8-byte aligned, that nobody can reach yet. */
void value_encode_shared(const objd_value *value, void *dst);

/*
 * Makes a value of encoded private bytes, which it then points into. The bytes may be damaged: whatever the
 * value says about itself lies inside them. shape is only set for arrays. That STR is UTF-8 was checked on
 * the way in. @return OBJD_OK, OBJD_E_CORRUPT
 */
objd_status value_decode(objd_type type, const void *src, uint64_t size, objd_value *ret_value);

/*
 * Grows a caller's buffer to more than `size` bytes, a multiple of BUF_STEP, so that copies may go in such steps and
 * also an empty value is somewhere. What is in it stays. @return OBJD_OK, OBJD_E_NOMEM
 */
objd_status buf_grow(objd_buf *buf, size_t size);

/*
 * The order of objd_list_sort(), total: INT and FLOAT are compared exactly, all NaNs are equal, and so are 1
 * and 1.0. An ARRAY goes by dtype, shape and bytes, a MESSAGE by name and bytes, a REF by the age of its
 * object.
 */
int value_compare(const objd_value *a, const objd_value *b);
