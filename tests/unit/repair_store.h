/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * repair_store.h -- a store with something of everything, and damages of it, one for each structure
 */

#include <stddef.h>

#include <objd.h>

#define LONG_NAME "a dict whose name is too long for its slot"
#define N_NAMES 12

extern const char *const names[N_NAMES];

extern objd_conn *store; /* of this child; the damages are done to it */

extern char text[200000];

objd_conn *make_store(void);
objd_object *make(objd_conn *conn, const char *name, objd_kind kind, objd_order order);

enum loss { NOTHING, A_PART, ALL };

struct damage {
        const char *name;
        void (*fn)(void);
        const char
                *found; /* begins what the checker calls it; NULL: it does not matter, "(" may be anything */
        const char *concern; /* the object that may have lost something */
        enum loss loss;
};

extern const struct damage damages[];
extern const size_t n_damages;

const struct damage *damage_of(const char *name);

/* Of a list: its first item is none. */
void break_item_of(const char *name);
