/* SPDX-License-Identifier: Apache-2.0 */

#include "support/values.h"

#include <float.h>
#include <math.h>
#include <string.h>

static const objd_dtype dtypes[] = { OBJD_I8,  OBJD_U8,  OBJD_I16, OBJD_U16, OBJD_I32,
                                     OBJD_U32, OBJD_I64, OBJD_U64, OBJD_F32, OBJD_F64 };

static void make_array(struct random *random, struct made *made)
{
        objd_dtype dtype = dtypes[random_below(random, 10)];
        uint32_t ndim = (uint32_t)random_below(random, OBJD_NDIM_MAX + 1);
        uint64_t room = sizeof(made->data) / 8;

        for (uint32_t i = 0; i < ndim; i++) {
                made->shape[i] = random_below(random, room < 5 ? room + 1 : 5);
                room /= made->shape[i] ? made->shape[i] : 1;
        }
        random_fill(random, made->data, sizeof(made->data));
        made->value = objd_array(dtype, ndim, made->shape, made->data);
}

static void make_text(struct random *random, char *text, size_t size)
{
        for (size_t i = 0; i < size; i++)
                text[i] = (char)(random_below(random, 127) + 1);
        text[size] = 0;
}

double make_double(struct random *random)
{
        static const double special[] = { 0.0,     -0.0,     INFINITY, -INFINITY, NAN,
                                          DBL_MIN, -DBL_MAX, 0x1p63,   -0x1p63 };
        uint64_t bits = random_next(random);
        double real;

        if (random_below(random, 2))
                return special[random_below(random, sizeof(special) / sizeof(special[0]))];
        memcpy(&real, &bits, sizeof(real));
        return real;
}

void make_value(struct random *random, struct made *made)
{
        switch (random_below(random, 9) + OBJD_NIL) {
        case OBJD_NIL:
                made->value = objd_nil();
                break;
        case OBJD_BOOL:
                made->value = objd_bool(random_below(random, 2));
                break;
        case OBJD_INT:
                made->value = objd_int((int64_t)random_next(random) >> random_below(random, 64));
                break;
        case OBJD_FLOAT:
                made->value = objd_float(make_double(random));
                break;
        case OBJD_STR:
                make_text(random, (char *)made->data, random_below(random, sizeof(made->data)));
                made->value = objd_cstr((const char *)made->data);
                break;
        case OBJD_BYTES:
                random_fill(random, made->data, sizeof(made->data));
                made->value = objd_bytes(made->data, random_below(random, sizeof(made->data) + 1));
                break;
        case OBJD_ARRAY:
                make_array(random, made);
                break;
        case OBJD_MESSAGE:
                make_text(random, made->name, 1 + random_below(random, sizeof(made->name) - 1));
                random_fill(random, made->data, sizeof(made->data));
                made->value =
                        objd_message(made->name, made->data, random_below(random, sizeof(made->data) + 1));
                break;
        default:
                made->value = objd_refer((objd_ref){ random_next(random), random_next(random) });
        }
}

void make_near(struct random *random, const struct made *other, struct made *made)
{
        *made = *other;
        if (made->value.data) {
                made->value.data = made->data;
                if (made->value.size && random_below(random, 2))
                        made->data[random_below(random, made->value.size)] ^= 1;
        }
        if (made->value.name)
                made->value.name = made->name;
        if (made->value.type == OBJD_INT && random_below(random, 2))
                made->value = objd_float((double)made->value.u.integer);
}
