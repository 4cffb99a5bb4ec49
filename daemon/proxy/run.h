/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * run.h -- running a call in the store, in a session's name, without ever waiting
 *
 * Reads are made by the library's own functions. A change is made so that its answer is written down with it (record.h).
 */

#include "object/bundle.h"
#include "proxy/outcome.h"
#include "rpc/rights.h"

struct recording;
struct account;
struct report_makers;
struct report_read;

/*
 * Handles of the objects that were called last, for all sessions: what a handle remembers of its object saves most of a call's way to it, and
 * nothing of it is believed.
 */
#define RUN_HANDLES 64u

struct run_handles {
        struct objd_object at[RUN_HANDLES]; /* by place; conn NULL: none */
};

/* Objects that it has been decided about that they get their names: the last that there were. */
struct publication {
        uint64_t session; /* whose they were; 0: there have been none */
        bool is_done;     /* false: a living holder of something keeps it from being done */
        struct bundle bundle;
        struct bundle_report report;
};

/* In whose name. */
struct caller {
        struct objd_conn *
                conn; /* of the daemon, for this thread; its time-out is what a call may wait for living holders */
        uint64_t client; /* the session; 0 is the daemon itself */
        bool read_only;
        const struct rights *rights; /* NULL: all names */
        struct run_handles *handles;
        struct report_makers *reports;
        struct report_read **report; /* the session's, */
        struct account *account;     /* and who pays for it */
        struct publication *publication;
        bool *reads_large; /* whether the last value that it has read was large */
        bool may_pin;      /* the answer is sent at once: a large value may stay where it lies until then */
};

/*
 * Runs it; how it has ended stands in the outcome. record is NULL if nobody would ask for the answer again. OBJD_E_EMPTY,
 * OBJD_E_FULL, OBJD_E_BUSY and, from a join, OBJD_E_TIMEOUT say that it may go better later, whatever time-out the call has.
 */
objd_status run_call(const struct caller *caller, const struct call *call, struct recording *record,
                     struct outcome *outcome);

/* Room for what an atomic batch is made into: one of each for each call, not cleared. */
struct run_memory {
        struct objd_object *objects;
        struct op *ops;
};

/*
 * Several as one step; record is NULL if nothing is changed. *ret_failed is as from objd_batch_commit(). After a failure all outcomes are
 * empty.
 */
objd_status run_atomic(const struct caller *caller, const struct call_batch *batch,
                       const struct run_memory *memory, struct recording *record, struct outcome *outcomes,
                       size_t *ret_failed);

/* The parts, for run.c. */
objd_status run_read(const struct caller *caller, const struct call *call, struct objd_object *object,
                     struct outcome *outcome);
objd_status run_change(const struct caller *caller, const struct call *call, struct objd_object *object,
                       struct recording *record, struct outcome *outcome);
objd_status run_on_names(const struct caller *caller, const struct call *call, struct recording *record,
                         struct outcome *outcome);
objd_status run_set_state(const struct caller *caller, const struct call *call);
objd_status run_publish(const struct caller *caller, const struct call *call);
objd_status run_lock(const struct caller *caller, const struct call *call, struct objd_object *object,
                     struct recording *record, struct outcome *outcome);

/* The handle for a call's ref. @return OBJD_OK, OBJD_E_GONE, OBJD_E_BUSY, OBJD_E_CORRUPT */
objd_status run_find(const struct caller *caller, objd_ref ref, struct objd_object *ret_object);

/*
 * The same for operations, which see for themselves whether the object is still there, as they do by handle; the handle stays as it is
 * until another one is asked for.
 */
objd_status run_find_kept(const struct caller *caller, objd_ref ref, struct objd_object **ret_object);

/* What of a call the engine does not look at itself. @return OBJD_OK, OBJD_E_INVAL, OBJD_E_TOOBIG, OBJD_E_TYPE */
objd_status run_check(const struct call *call);

/* @return OBJD_OK, OBJD_E_INVAL: it is no anonymous object of the session's */
objd_status run_check_own(const struct caller *caller, const struct objd_object *object);

/* Whether the call asks again for what has been decided: its list is no longer the session's. */
bool run_is_publishing(const struct caller *caller, const struct call *call);

/* Goes on with it if it is not done. @return OBJD_OK, OBJD_E_BUSY: another time */
objd_status run_end_publication(struct publication *publication);
