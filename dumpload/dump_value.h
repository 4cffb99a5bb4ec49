/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dump_value.h -- values as they lie in a frozen object, in a dump
 */

#include <stdio.h>

#include "object/kind.h"

/* What small values are copied into before they are looked at. */
struct dump_value {
        uint64_t words[(48u << 10) / 8 + 16];
};

/*
 * Makes a value of encoded bytes that lie in the arena. A small one is copied first; a large one points there, and is to be
 * written by dump_value_parts(). @return OBJD_OK, OBJD_E_CORRUPT
 */
objd_status dump_value_decode(struct dump_value *copy, objd_type type, const void *bytes, uint64_t size,
                              objd_value *ret_value, bool *ret_large);

/* Writes {"parts":...} in the value's place, without a newline; and, later, its parts, a line each. */
objd_status dump_value_head(FILE *f, const objd_value *value);
objd_status dump_value_parts(FILE *f, const objd_value *value);
