/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rights_fixture.h -- a store that others may read, and processes that become others
 */

#include <sys/types.h>

#include <objd.h>

#include "support/child.h"
#include "support/fixture.h"

#define NOBODY 65534
#define NOBODY_TEXT "65534"
#define BIG 200000

#ifndef F_ADD_SEALS
#define F_ADD_SEALS 1033
#define F_SEAL_WRITE 8
#endif

/* What a test and its reader share. */
struct both {
        struct fixture *f;
        struct gate ready, go;
        objd_conn *conn; /* the test's, for children that inherit it */
        int step;
};

void both_init(struct both *both, struct fixture *f);
void both_deinit(struct both *both);

/* In a child: it is this user from now on, and it connects as NOBODY, whom start_for_readers() lets read. */
void become(uid_t uid, gid_t gid, const gid_t *groups, size_t n_groups);
objd_conn *connect_as_reader(const struct fixture *f);
void start_for_readers(struct fixture *f);

objd_object *make(objd_conn *conn, const char *name, objd_kind kind);
objd_object *find(objd_conn *conn, const char *name); /* in a child */

/* Something of each kind to be read; and all that can be read of its dict. */
void fill(objd_conn *conn);
void read_dict(objd_conn *conn);
