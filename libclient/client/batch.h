/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * batch.h -- a batch, for those who run it: at once (batch.c), in turn (near_run.c), through the daemon (proxy_batch.c)
 */

#include "object/op.h"

struct block;

enum batch_state {
        BATCH_OPEN,      /* takes operations */
        BATCH_SUBMITTED, /* the library's, until it is collected */
        BATCH_DONE       /* its results can be fetched */
};

/* What an operation has besides, in a batch that is run in turn. */
struct turn {
        int64_t timeout_ns;
        int64_t lease_ns;
        uint64_t lease; /* that it has taken */
        objd_status status;
        char *sentence; /* if that is not OBJD_OK; may be NULL for want of memory */
};

/* What the next operation of a batch waits for. */
enum near_waits {
        NEAR_RUNS = 0,
        NEAR_WAITS_ITEM,
        NEAR_WAITS_ROOM,
        NEAR_WAITS_LOCK,
        NEAR_WAITS_HOLDER /* a living process in the middle of a change */
};

struct objd_batch {
        objd_conn *conn;
        struct op *ops;
        struct turn *turns; /* likewise len of them */
        objd_buf *results;  /* a buffer for each operation */
        size_t len, room;
        size_t n_waiting; /* operations that can only be run in turn */
        struct block *blocks;
        struct block *spare; /* of earlier operations */
        size_t n_spare;
        enum batch_state state;
        objd_how how; /* of the last run */
        objd_status outcome;
        size_t failed;
        char *sentence; /* of the outcome */

        /* While it is submitted. */
        void *tag;
        uint64_t fork_generation; /* of the process whose batch it is */
        struct objd_batch *next;  /* in the one list that it stands in */
        int64_t holder_ns;        /* how long its operations wait for living holders */

        /* By handle. */
        struct near_group *group;
        enum near_waits waits;
        size_t at;        /* the operation whose turn it is */
        int64_t began_ns; /* when that was first tried, */
        int64_t held_ns;  /* and since when it has met a living holder, if that is what it waits for */
        uint64_t owner;   /* the thread that its locks are for */
        bool cancelled;

        /* Through the daemon. */
        struct rpc_ticket *ticket;
};

/* Whether it takes operations, and can be run. @return OBJD_OK, OBJD_E_INVAL */
objd_status batch_check_open(const objd_batch *batch);

/* Before each run: results are empty. */
void batch_begin(objd_batch *batch, objd_how how);

/* After it; keeps the sentence of this thread's last failure if it has not ended well. */
void batch_end(objd_batch *batch, objd_status outcome, size_t failed);

/* The same for the operation at this place of one that is run in turn. */
void batch_end_turn(objd_batch *batch, size_t place, objd_status status);

void batch_forget_outcome(objd_batch *batch);

/* All its memory, whatever its state is. */
void batch_destroy(objd_batch *batch);
