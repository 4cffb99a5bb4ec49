/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * job.h -- a batch under way: call after call, until one has to wait
 *
 * A batch that has to wait is parked: it holds no thread and no lock, and it is tried again when what it waits for may have
 * changed, until it is through or too late. Its session's other batches go on meanwhile.
 */

#include "proxy/run.h"
#include "proxy/session.h"

/* What a parked batch waits for. */
enum job_waits {
        JOB_RUNS = 0,
        JOB_WAITS_ITEM,   /* of a queue */
        JOB_WAITS_ROOM,   /* in a queue */
        JOB_WAITS_TASKS,  /* of a queue, to be done */
        JOB_WAITS_LOCK,   /* a lock object */
        JOB_WAITS_REPORT, /* the next piece of one */
        JOB_WAITS_HOLDER, /* a living process in the middle of a change */
        JOB_DONE
};

struct job {
        struct proxy_session *session;
        struct job *next, **link;             /* in session->jobs */
        struct job *group_next, **group_link; /* among those that wait for the same (parked.h) */
        struct group *group;
        int64_t deadline_ns; /* while it is parked: job_deadline() */
        uint32_t heap_place; /* 1 + its place among all that have one, 0: none */
        struct space space;  /* the batch, and what it takes to answer */
        bool has_hand;       /* beginning with what the account has on hand */
        size_t in_arena;     /* what of it is in the account's arena */
        uint8_t *message;    /* that the batch came in, if it came in pieces, */
        size_t message_room; /* and how much memory that has */
        size_t charged;      /* for what the calls have read, and for the reply that is made of it */
        struct call_batch batch;
        struct answer *answers;   /* side by side, */
        struct outcome *outcomes; /* and what belongs to each */
        struct run_memory memory; /* of an atomic batch */
        size_t n_done;
        objd_status status; /* of an atomic batch, */
        uint32_t failed;    /* and 1 + the place of the call that failed */
        bool asks_records;  /* it may have been run before */
        bool has_row;       /* its changes' records are in this row: */
        uint32_t row;
        bool cancelled; /* nothing of it waits any more */
        enum job_waits waits;
        struct job *ready_next; /* among those of its session that could go on */
        int64_t call_ns;        /* when the call that waits was first tried */
};

/* Takes the batch, whose bytes are copied. @return OBJD_OK, and what wire_unpack_batch() says */
objd_status job_new(struct proxy_session *session, const struct wire_in *in, const struct wire_limits *limits,
                    struct job **ret_job);
void job_free(struct job *job);

/*
 * Goes on with it, until it waits (job->waits says for what, and job_object() where), is done, or has used up *left, from which
 * is taken what the calls cost: JOB_RUNS then. An atomic batch is one piece, and so is a call.
 */
void job_step(struct proxy_sessions *sessions, struct job *job, uint32_t *left);

/* The object that the call which waits is about; what stands for the session, if it waits for its report. */
objd_ref job_object(const struct job *job);

/* When it will be too late for the call that waits. */
int64_t job_deadline(const struct job *job);

/* Of a batch that is done: whether it has changed anything. */
bool job_has_changed(const struct job *job);

/* Before the reply is made and sent: what was charged for it is given back to its account, to be charged by who keeps it. */
void job_begin_reply(struct job *job);

/* The reply, when it is done; it lives as long as the job, but if all of its bulk is kept. @return OBJD_OK, OBJD_E_NOMEM, OBJD_E_TOOBIG */
objd_status job_reply(struct job *job, struct wire_out *out, uint64_t max_size);

/* Enters it among its session's jobs; job_free() takes it out. */
void job_add(struct job *job);
