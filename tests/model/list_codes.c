/* SPDX-License-Identifier: Apache-2.0 */
/*
 * list_codes.c -- values for the test of lists, and their order
 */

#include "model/model_list.h"

#include <math.h>
#include <string.h>

#define BYTES_MAX 9000

/* Bytes of values, the same for the same number: a window of random bytes, or of letters. */
static char letters[4 * BYTES_MAX], noise[4 * BYTES_MAX];

void make_bytes(void)
{
        struct random random = { 1 };

        random_fill(&random, noise, sizeof(noise));
        for (size_t i = 0; i < sizeof(letters); i++)
                letters[i] = (char)('a' + random_below(&random, 4));
}

static double float_from(uint64_t number)
{
        static const double some[] = { 0.0, -0.0, 1.0, -1.0, 2.5, 1e300, -1e300, INFINITY, -INFINITY, NAN };

        return some[number % (sizeof(some) / sizeof(*some))];
}

/* Mostly short; sometimes around the size from which a value has a chunk of its own, sometimes well over it. */
static size_t size_from(uint64_t number)
{
        uint64_t rest = number >> 8;

        switch (number % 40) {
        case 0:
                return 2040 + rest % 17;
        case 1:
                return rest % BYTES_MAX;
        case 2:
                return 0;
        default:
                return rest % (number % 3 ? 20 : 120);
        }
}

objd_value value_from(uint64_t code)
{
        uint64_t kind = code % 16, number = code >> 4;
        size_t size = size_from(number), at = number % (3 * BYTES_MAX);
        uint64_t shape[2] = { size / 64, 8 };

        switch (kind) {
        case 0:
                return objd_nil();
        case 1:
                return objd_bool(number & 1);
        case 2:
        case 3:
        case 4:
        case 5:
                return objd_int((int64_t)(number % 50) - 25);
        case 6:
                return objd_float(float_from(number));
        case 7:
        case 8:
        case 9:
        case 10:
                return objd_str(letters + at, size);
        case 11:
        case 12:
                return objd_bytes(noise + at, size);
        case 13:
                return objd_array(OBJD_I64, 2, shape, noise + (at & ~7ULL));
        case 14:
                return objd_message(number & 1 ? "a.Message" : "another.Message", noise + at, size);
        default:
                return objd_refer((objd_ref){ number % 100, number % 7 });
        }
}

/* The order of objd_list_sort(), written down a second time. */
static int rank(objd_type type)
{
        static const int ranks[] = {
                [OBJD_NIL] = 1,   [OBJD_BOOL] = 2,  [OBJD_INT] = 3,     [OBJD_FLOAT] = 3, [OBJD_STR] = 4,
                [OBJD_BYTES] = 5, [OBJD_ARRAY] = 6, [OBJD_MESSAGE] = 7, [OBJD_REF] = 8
        };

        return ranks[type];
}

static int order_numbers(double a, double b)
{
        if (isnan(a) || isnan(b))
                return (isnan(a) != 0) - (isnan(b) != 0);
        return (a > b) - (a < b);
}

static int order_bytes(const void *a, size_t a_size, const void *b, size_t b_size)
{
        size_t size = a_size < b_size ? a_size : b_size;
        int c = size ? memcmp(a, b, size) : 0;

        return c ? c : (a_size > b_size) - (a_size < b_size);
}

int order(uint64_t a_code, uint64_t b_code)
{
        objd_value a = value_from(a_code), b = value_from(b_code);
        int c = rank(a.type) - rank(b.type);

        if (c)
                return c;
        switch (a.type) {
        case OBJD_BOOL:
                return a.u.boolean - b.u.boolean;
        case OBJD_INT:
        case OBJD_FLOAT:
                return order_numbers(a.type == OBJD_INT ? (double)a.u.integer : a.u.real,
                                     b.type == OBJD_INT ? (double)b.u.integer : b.u.real);
        case OBJD_ARRAY:
                c = (a.shape[0] > b.shape[0]) - (a.shape[0] < b.shape[0]);
                return c ? c : order_bytes(a.data, a.size, b.data, b.size);
        case OBJD_MESSAGE:
                c = order_bytes(a.name, a.name_size, b.name, b.name_size);
                return c ? c : order_bytes(a.data, a.size, b.data, b.size);
        case OBJD_REF:
                c = (a.u.ref.serial > b.u.ref.serial) - (a.u.ref.serial < b.u.ref.serial);
                return c ? c : (a.u.ref.place > b.u.ref.place) - (a.u.ref.place < b.u.ref.place);
        default:
                return order_bytes(a.data, a.size, b.data, b.size);
        }
}
