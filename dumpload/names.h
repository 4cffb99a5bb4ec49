/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * names.h -- what the library's numbers are called, on the command line and in what objctl prints
 */

#include <stdbool.h>

#include <objd.h>

/* Never NULL: numbers that nobody knows, from a damaged arena, are "?". */
const char *type_name(objd_type type);
const char *dtype_name(objd_dtype dtype);
const char *order_name(objd_order order);
const char *kind_name(objd_kind kind);

bool type_by_name(const char *name, objd_type *ret_type);
bool dtype_by_name(const char *name, objd_dtype *ret_dtype);
bool order_by_name(const char *name, objd_order *ret_order);

/* Bytes of one item; 0 for a number that nobody knows. */
unsigned dtype_width(objd_dtype dtype);
