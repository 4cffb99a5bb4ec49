/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * report.h -- reports on the store for sessions, each made by a thread of its own
 *
 * A report may take long and be large (a check or a dump of everything), so it is not for the thread that serves all. Its own
 * thread writes into a pipe, and waits when that is full; the server takes from it what its session asks for. So a session
 * costs a piece, for which its account pays, and until the report has been read to its end a pipe and one of few places.
 */

#include <pthread.h>

#include "proxy/outcome.h"

#define REPORTS_MAX 16u      /* that are made, or not yet read, of all sessions */
#define REPORT_PIECE 131072u /* the most bytes of an answer */

struct account;
struct arena;
struct report_read;

/* All reports of a server. */
struct report_makers {
        struct arena *arena;
        const char *store; /* its url, for people */
        pthread_mutex_t lock;
        pthread_cond_t ended;
        uint32_t n; /* that are made, or not yet read */
};

void report_makers_init(struct report_makers *makers, struct arena *arena, const char *store);

/* Waits for all threads, whose sessions have been closed. */
void report_makers_deinit(struct report_makers *makers);

/*
 * The piece that the call asks for. *session is the session's report, NULL for none so far; the account is the session's.
 * @return OBJD_OK, OBJD_E_EMPTY (it has not been made yet), OBJD_E_GONE, OBJD_E_INVAL, OBJD_E_LIMIT, OBJD_E_NOMEM, OBJD_E_SYS
 */
objd_status report_piece(struct report_makers *makers, struct report_read **session, struct account *account,
                         const struct call *call, struct outcome *outcome);

/* The session is over, or wants another one. The thread ends as soon as it can, and is not waited for. */
void report_drop(struct report_read **session);
