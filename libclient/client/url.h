/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * url.h -- which arena a url means; the names, places and sizes that the daemon and its clients agree on
 */

#include <limits.h>
#include <sys/types.h>

#include <objd.h>

#define STORE_NAME_MAX 64
#define STORE_NAME_DEFAULT "default"
#define STORE_SIZE_DEFAULT (1ULL << 30)

/* What stands behind a store's name in its directory. */
#define STORE_ARENA ".arena"
#define STORE_SOCKET ".sock"
#define STORE_LOCK ".lock"

struct url {
        bool embedded;
        bool start;         /* if no daemon answers, one is to be started */
        bool own_directory; /* none was given: only the caller's own uid may run this daemon */
        bool read_only;     /* no more than that is asked for */
        uint64_t size;      /* embedded */
        char name[STORE_NAME_MAX + 1];
        char directory[PATH_MAX];
};

/* @return OBJD_OK, OBJD_E_INVAL; *ret_url is undefined after a failure */
objd_status url_parse(const char *text, struct url *ret_url);

/* The same for "local:NAME" and "local:/DIR/NAME", whose place is a store's, but which is no way to its memory. */
objd_status url_parse_local(const char *text, struct url *ret_url);

/* Where the stores of this user lie unless somebody says otherwise: "/dev/shm/objd-UID". */
void url_default_directory(uid_t uid, char ret_directory[PATH_MAX]);

/* [A-Za-z0-9._-], 1 to STORE_NAME_MAX bytes. what begins the sentence: "--name". @return OBJD_OK, OBJD_E_INVAL */
objd_status url_check_name(const char *what, const char *name);

/* Bytes, or with a suffix K, M, G or T; within what an arena can have. @return OBJD_OK, OBJD_E_INVAL */
objd_status url_parse_size(const char *what, const char *text, uint64_t *ret_size);
