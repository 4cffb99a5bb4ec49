/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * session.h -- the daemon's side of a session
 *
 * What must outlive the daemon is in the arena: the client's entry (arena/session.h) and the records (record.h). Here is what
 * makes it quick, and what can be made again from there when the session goes on with another daemon.
 */

#include "arena/session.h"
#include "proxy/account.h"
#include "proxy/link.h"
#include "proxy/pace.h"
#include "proxy/past.h"
#include "proxy/record.h"
#include "proxy/report.h"
#include "proxy/run.h"

struct job;

struct proxy_session {
        struct proxy_session *next, **next_link; /* in the list of all */
        struct proxy_session *bucket_next;
        uint8_t id[SESSION_ID_SIZE];
        uint64_t client;
        struct objd_object records;
        uint32_t uid; /* whose it is: nobody else goes on with it */
        bool read_only;
        struct proxy_who who; /* whose it is: nobody else goes on with it */
        bool ends;            /* nothing more is taken from it; it is closed soon */
        bool reads_large;     /* the last value that it has read was large */
        bool resumed;         /* an earlier daemon may have run batches that we know nothing of */
        struct ledger ledger; /* which batches it was sent, and where their records are */
        struct past past;     /* how their changes have failed */
        bool is_heard;        /* since its time was last looked at, */
        int64_t heard_ns;     /* and when it was before that */
        int64_t renewed_ns;
        struct proxy_link *link; /* where it was last heard, */
        struct proxy_route route;
        struct account *account;    /* what it costs */
        struct frame_joiner joiner; /* what is coming from there: */
        uint64_t coming_seq;        /* its number, if it can be read */
        bool skips;                 /* it was refused, and what still comes of it is nobody's concern */
        struct job *jobs;           /* batches that are not answered */
        struct job *spare_job;      /* memory of one that is, for the next one; NULL: none */
        struct report_read *report;
        struct outcome_spares *spares; /* of all sessions */
        uint32_t n_jobs;
        uint32_t n_parked;

        /* Batches that could go on at once, in order, and the session's place among those that have such (turns.h). */
        struct job *ready, **ready_last;
        struct proxy_session *turn_next, **turn_link;
        uint64_t turn;       /* the last one that it had, */
        uint32_t left;       /* and what is left of it */
        struct pace_of pace; /* whether others wait for it, or it for them */
};

#define SESSIONS_MAX 2048u
#define SESSION_BUCKETS 1024u

struct proxy_sessions {
        struct objd_conn *conn;
        struct run_handles handles;
        struct publication publication;
        struct report_makers reports;
        struct accounts accounts;
        struct outcome_spares spares;
        struct proxy_session *list;
        struct proxy_session *buckets[SESSION_BUCKETS]; /* by id */
        uint32_t n;
        int64_t now_ns; /* a moment ago: the server's thread reads the clock once for all that it does next */
        int64_t expiry_ns;
        uint64_t n_expired;
};

/* What the session that is to begin says of itself. */
struct proxy_hello {
        struct session_name name;
        const struct proxy_who *who; /* NULL: the daemon's own user */
        const uint8_t *resume;       /* SESSION_ID_SIZE bytes, NULL: a new one is wanted */
        const uint8_t *nonce;  /* WIRE_NONCE_SIZE bytes: with the same, it is the same new one; NULL: none */
        uint32_t max_sessions; /* so many its user may have; 0: any number */
};

/*
 * A session, new or found again, here or in the arena. One that is found goes on however many there are.
 * @return OBJD_OK, OBJD_E_LIMIT, OBJD_E_NOMEM, OBJD_E_BUSY
 */
objd_status session_open(struct proxy_sessions *sessions, const struct proxy_hello *hello, bool *ret_resumed,
                         struct proxy_session **ret_session);

/* Whether the session is of who speaks there; NULL as above. */
bool session_is_of(const struct proxy_session *session, const struct proxy_who *who);

struct proxy_session *session_by_id(struct proxy_sessions *sessions, const uint8_t id[SESSION_ID_SIZE]);

/* It has been heard of: its end is put off. False: it is too late, forget it. */
bool session_heard(struct proxy_sessions *sessions, struct proxy_session *session);

/* Whether its time is over, or somebody else has found so in the arena. Its jobs must have been dropped before it is forgotten. */
bool session_is_over(const struct proxy_sessions *sessions, struct proxy_session *session);

/* Drops what this daemon knows of it; what is in the arena stays. */
void session_forget(struct proxy_sessions *sessions, struct proxy_session *session);

/* The session ends. What it held is released by sessions_recover(), for all that have ended before. */
void session_close(struct proxy_sessions *sessions, struct proxy_session *session);
void sessions_recover(struct proxy_sessions *sessions);
