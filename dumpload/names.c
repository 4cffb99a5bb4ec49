/* SPDX-License-Identifier: Apache-2.0 */

/*
 * names.c -- what the library's numbers are called
 */

#include "dumpload/names.h"

#include <stddef.h>
#include <string.h>

#include "object/kind.h"

static const char *const type_names[] = {
        [OBJD_ANY] = "any",         [OBJD_NIL] = "nil", [OBJD_BOOL] = "bool",   [OBJD_INT] = "int",
        [OBJD_FLOAT] = "float",     [OBJD_STR] = "str", [OBJD_BYTES] = "bytes", [OBJD_ARRAY] = "array",
        [OBJD_MESSAGE] = "message", [OBJD_REF] = "ref",
};

static const char *const dtype_names[] = {
        [OBJD_I8] = "i8",   [OBJD_U8] = "u8",   [OBJD_I16] = "i16", [OBJD_U16] = "u16", [OBJD_I32] = "i32",
        [OBJD_U32] = "u32", [OBJD_I64] = "i64", [OBJD_U64] = "u64", [OBJD_F32] = "f32", [OBJD_F64] = "f64",
};

static const unsigned char dtype_widths[] = {
        [OBJD_I8] = 1,  [OBJD_U8] = 1,  [OBJD_I16] = 2, [OBJD_U16] = 2, [OBJD_I32] = 4,
        [OBJD_U32] = 4, [OBJD_I64] = 8, [OBJD_U64] = 8, [OBJD_F32] = 4, [OBJD_F64] = 8,
};

static const char *const order_names[] = {
        [OBJD_FIFO] = "fifo",
        [OBJD_LIFO] = "lifo",
        [OBJD_PRIORITY] = "priority",
};

#define LEN(array) (sizeof(array) / sizeof((array)[0]))

static const char *name_in(const char *const *names, size_t n, unsigned number)
{
        return number < n && names[number] ? names[number] : "?";
}

static bool number_in(const char *const *names, size_t n, const char *name, unsigned *ret_number)
{
        for (unsigned i = 0; i < n; i++)
                if (names[i] && strcmp(names[i], name) == 0) {
                        *ret_number = i;
                        return true;
                }
        return false;
}

const char *type_name(objd_type type)
{
        return name_in(type_names, LEN(type_names), type);
}

const char *dtype_name(objd_dtype dtype)
{
        return name_in(dtype_names, LEN(dtype_names), dtype);
}

const char *order_name(objd_order order)
{
        return name_in(order_names, LEN(order_names), order);
}

const char *kind_name(objd_kind kind)
{
        const struct kind *k = kind_of(kind);

        return k ? k->name : "?";
}

bool type_by_name(const char *name, objd_type *ret_type)
{
        unsigned number;

        if (!number_in(type_names, LEN(type_names), name, &number))
                return false;
        *ret_type = (objd_type)number;
        return true;
}

bool dtype_by_name(const char *name, objd_dtype *ret_dtype)
{
        unsigned number;

        if (!number_in(dtype_names, LEN(dtype_names), name, &number))
                return false;
        *ret_dtype = (objd_dtype)number;
        return true;
}

bool order_by_name(const char *name, objd_order *ret_order)
{
        unsigned number;

        if (!number_in(order_names, LEN(order_names), name, &number))
                return false;
        *ret_order = (objd_order)number;
        return true;
}

unsigned dtype_width(objd_dtype dtype)
{
        return dtype < LEN(dtype_widths) ? dtype_widths[dtype] : 0;
}
