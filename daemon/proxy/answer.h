/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * answer.h -- for the thread that serves: what becomes of the batches that links have received (proxy_receive())
 */

struct job;
struct proxy_server;
struct proxy_session;

/* What becomes of a batch that has been at work: it is answered, waits, or has another turn. context is the server. */
void answer_take_job(void *context, struct job *job);

/* A session's batches are given up. */
void answer_drop_jobs(struct proxy_server *server, struct proxy_session *session);
