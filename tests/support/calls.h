/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * calls.h -- calls and answers of any kind, made by chance, and whether two of them are the same
 */

#include <stdbool.h>

#include "rpc/call.h"
#include "rpc/space.h"
#include "support/random.h"

/* Everything that is made lies in the space, until it is reset. */
struct maker {
        struct random random;
        struct space space;
        size_t size_max; /* of the data of one value */
        size_t n_max;    /* keys, values, items */
};

void maker_init(struct maker *maker, struct random random, size_t size_max, size_t n_max);
void maker_deinit(struct maker *maker);

/* A value of this type, or, with OBJD_ANY, of any. */
objd_value make_value(struct maker *maker, objd_type type);

/* A call with this code, which wire_unpack_batch() takes, and an answer to such a call. */
struct call make_call(struct maker *maker, enum call_code code);
struct answer make_answer(struct maker *maker, enum call_code code);

/* Some code. */
enum call_code make_code(struct maker *maker);

/* Without the code of an answer, which does not travel. */
bool calls_equal(const struct call *a, const struct call *b);
bool answers_equal(const struct answer *a, const struct answer *b);
