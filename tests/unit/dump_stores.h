/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * dump_stores.h -- stores that are dumped and loaded, and compared by the calls that everybody uses
 */

#include <stddef.h>

#include <objd.h>

#include "dumpload/dump.h"
#include "dumpload/load.h"
#include "support/random.h"

struct text {
        char *bytes;
        size_t size;
};

/* All of a store, which has no damage; and into another one. */
struct text dump(objd_conn *conn, bool atomic);
objd_status load_as(objd_conn *conn, const char *bytes, size_t size, enum load_existing existing,
                    struct load_report *report);
objd_status load(objd_conn *conn, const char *bytes, size_t size); /* LOAD_REFUSE */

/* Another store; end_store() looks through it with the checker. */
objd_conn *other_store(void);
void end_store(objd_conn *conn);

/* A store into which this one's dump was loaded, whose own dump is the same, byte for byte. */
objd_conn *loaded_copy(objd_conn *conn);

/* By the calls that everybody uses. */
void compare_stores(objd_conn *a, objd_conn *b);

/* Things to be dumped. */
objd_object *make(objd_conn *conn, const char *name, objd_kind kind, const objd_config *config);
double bits(uint64_t word); /* a float of these bits */
void append(objd_object *list, objd_value value);
void set(objd_object *dict, objd_value key, objd_value value);
void put(objd_object *queue, int64_t value);
char *random_text(struct random *random, size_t n); /* n bytes of UTF-8; the caller frees it */
