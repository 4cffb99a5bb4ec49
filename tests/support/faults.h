/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * faults.h -- system calls and allocations that fail in turn
 *
 * The library beside this header (tests/support/faults.c) stands between a program and libc. A test that links it makes its own calls
 * fail; loaded into the daemon by LD_PRELOAD it is steered through a shared file. Only calls made by the code under
 * test count: those that libc and other libraries make for themselves do not.
 *
 *     for (unsigned nth = 1; ; nth++) {
 *             faults_begin(nth, FAULT_ONCE);
 *             ... the steps; each status tells the truth ...
 *             if (!faults_end())
 *                     break; // no call was left to fail
 *     }
 */

#include <stdbool.h>
#include <stdint.h>

enum fault_mode {
        FAULT_ONCE,
        FAULT_FROM_THEN_ON,
        FAULT_INTERRUPT, /* once, with EINTR, and only calls that a signal can break off */
        FAULT_KILL,      /* the process is killed in place of its nth call */
};

/* What both sides see. All words are atomic. */
struct faults {
        uint32_t armed;
        uint32_t nth;
        uint32_t mode;
        uint32_t n_seen; /* calls that could have failed since faults_begin() */
        uint32_t n_failed;
        uint32_t n_live; /* allocations of the code under test that have not been freed */
        char only[32];   /* count only calls of this name; "" is all */
        char first[32];  /* the name of the first call that failed */
};

/* Of this process, or of the one that faults_share() steers. */
extern struct faults *faults;

void faults_begin(unsigned nth, enum fault_mode mode);

/* How many calls failed. */
unsigned faults_end(void);

/* In this process nothing fails any more. */
void faults_leave(void);

/* Only calls of this name from now on; NULL is all of them. */
void faults_only(const char *name);

/*
 * From now on faults is about the process that is started with the variable OBJD_FAULTS set to this path, and
 * LD_PRELOAD to faults_library(); both are set for children that are made from now on, until faults_unshare().
 */
void faults_share(const char *path);
void faults_unshare(void);
