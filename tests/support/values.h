/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * values.h -- values of all types, made at random
 */

#include <objd.h>

#include "support/random.h"

/* A value with everything that it points to. */
struct made {
        objd_value value;
        uint64_t shape[OBJD_NDIM_MAX];
        char name[40];
        uint8_t data[512];
};

double make_double(struct random *random);
void make_value(struct random *random, struct made *made);

/* A value between two others that exist, so that equal and near ones are common. */
void make_near(struct random *random, const struct made *other, struct made *made);
