/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * spool.h -- where a dump goes while objects stand still
 *
 * Nobody knows how long a pipe's reader takes, and writers would wait for it. So unless the dump goes to a regular file,
 * what is written while something is frozen goes to a file without a name in $TMPDIR (/var/tmp), and from there to its
 * reader with nothing frozen.
 */

#include <stdio.h>

#include <objd.h>

struct spool {
        FILE *f;      /* to be written to */
        FILE *target; /* where it goes in the end; the same as f if nothing is in between */
        void *buffer;
};

/* A file without a name in $TMPDIR (/var/tmp), that is gone with its descriptor; -1 and errno. */
int spool_open(void);

/* @return OBJD_OK, OBJD_E_SYS, OBJD_E_NOMEM */
objd_status spool_init(struct spool *spool, FILE *target);
void spool_deinit(struct spool *spool);

/* OBJD_E_SYS if something could not be written. */
objd_status spool_check(const struct spool *spool);

/* Passes on what is there; with nothing frozen. @return OBJD_OK, OBJD_E_SYS */
objd_status spool_flush(struct spool *spool);
