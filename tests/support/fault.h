/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * fault.h -- allocations that fail in turn
 *
 * A test runs the same steps again and again; in the nth run the nth allocation fails (and, if so asked, all after
 * it), until a run has come to its end untouched:
 *
 *     for (unsigned n = 1; fault_begin(n, FAULT_ONCE); n++) {
 *             ... the steps; each status is OBJD_OK or OBJD_E_NOMEM ...
 *             fault_end();
 *     }
 */

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#include "base/sys.h"

enum fault_mode { FAULT_ONCE, FAULT_FROM_THEN_ON };

static struct {
        struct sys real;
        unsigned nth;    /* which allocation fails */
        unsigned n_seen; /* in this run */
        unsigned n_failed;
        enum fault_mode mode;
        bool done; /* the last run met no failure */
} fault;

static inline bool fault_now(void)
{
        fault.n_seen++;
        if (fault.n_seen != fault.nth && !(fault.n_seen > fault.nth && fault.mode == FAULT_FROM_THEN_ON))
                return false;
        fault.n_failed++;
        errno = ENOMEM;
        return true;
}

static inline void *fault_alloc(size_t size)
{
        return fault_now() ? NULL : fault.real.alloc(size);
}

static inline void *fault_resize(void *p, size_t size)
{
        return fault_now() ? NULL : fault.real.resize(p, size);
}

/* False if the last run needed no failure any more. */
static inline bool fault_begin(unsigned nth, enum fault_mode mode)
{
        if (nth == 1)
                fault.done = false;
        if (fault.done)
                return false;
        fault.real = sys;
        fault.nth = nth;
        fault.n_seen = fault.n_failed = 0;
        fault.mode = mode;
        sys.alloc = fault_alloc;
        sys.resize = fault_resize;
        return true;
}

static inline void fault_end(void)
{
        sys = fault.real;
        fault.done = fault.n_failed == 0;
}
