/* SPDX-License-Identifier: Apache-2.0 */

/*
 * answer.c -- what clients without a mapping say, and what they are told: frames become hellos and batches, and these become answers
 */

#include "proxy/answer.h"

#include <string.h>
#include <unistd.h>

#include "base/status.h"
#include "base/sys.h"
#include "log.h"
#include "proxy/refused.h"
#include "proxy/server.h"
#include "rpc/refusals.h"
#include "rpc/wire_check.h"

/* Bytes of one that fits into what a session has on hand. */
#define SMALL_BATCH 1024u

/* ---- What is told ------------------------------------------------------------------------------------------- */

static void send_out(struct proxy_link *link, const struct proxy_route *route, enum frame_type type,
                     const uint8_t session[SESSION_ID_SIZE], struct wire_out *out, objd_status packed)
{
        static const uint8_t nobody[SESSION_ID_SIZE];

        if (packed == OBJD_OK)
                link->send(link, route, type, session ? session : nobody, out);
        else
                log_limited("an answer to %s is lost: %s", link->url, objd_last_error());
        wire_out_deinit(out);
}

static const struct proxy_who *who_speaks(struct proxy_link *link, const struct proxy_route *route)
{
        return link->who ? link->who(link, route) : NULL;
}

/* Whose key it was, if it was anybody's, and the session that was named. */
static void note_refused(struct proxy_server *server, struct proxy_link *link,
                         const struct proxy_route *route, const uint8_t session[SESSION_ID_SIZE],
                         enum refusal reason)
{
        const struct proxy_who *who = who_speaks(link, route);

        refused_note(server->conn.arena->header->n_refused, link->url, reason,
                     who && who->has_key ? who->key : NULL, session);
        server->stats.n_refused += reason == REFUSAL_MESSAGE;
}

static void tell_refused(struct proxy_link *link, const struct proxy_route *route,
                         const uint8_t session[SESSION_ID_SIZE], objd_status status, uint64_t seq)
{
        const struct wire_refused refused = {
                .status = status,
                .sentence = objd_last_error(),
                .version_from = WIRE_VERSION_MIN,
                .version_to = WIRE_VERSION_MAX,
                .seq = seq,
        };
        struct wire_out out;

        wire_out_init(&out, 0);
        send_out(link, route, FRAME_REFUSED, session, &out, wire_pack_refused(&out, &refused));
}

static void send_refused(struct proxy_server *server, struct proxy_link *link,
                         const struct proxy_route *route, const uint8_t session[SESSION_ID_SIZE],
                         objd_status status, uint64_t seq)
{
        note_refused(server, link, route, session, REFUSAL_MESSAGE);
        tell_refused(link, route, session, status, seq);
}

/* What has no sound head belongs to no session, whichever it names. */
static void send_no_head(struct proxy_server *server, struct proxy_link *link,
                         const struct proxy_route *route, const void *bytes, size_t size, objd_status status)
{
        note_refused(server, link, route, frame_session(bytes, size), REFUSAL_MESSAGE);
        tell_refused(link, route, NULL, status, 0);
}

static void send_bare(struct proxy_link *link, const struct proxy_route *route, enum frame_type type,
                      const uint8_t session[SESSION_ID_SIZE])
{
        link->send(link, route, type, session, NULL);
}

static void end_soon(struct proxy_server *server, struct proxy_session *session)
{
        server->n_ending += !session->ends;
        session->ends = true;
}

/* Where the session was last heard; the answer to one request may thus go another way than it came. */
static objd_status send_reply(struct job *job)
{
        struct proxy_session *session = job->session;
        struct wire_out out;
        objd_status r;

        wire_out_init(&out, WIRE_BULK_FROM);
        job_begin_reply(job);
        r = job_reply(job, &out, WIRE_MESSAGE_MAX);
        if (r) {
                wire_out_deinit(&out);
                return r;
        }
        session->account->refused = false;
        session->link->account = session->account;
        send_out(session->link, &session->route, FRAME_REPLY, session->id, &out, r);
        session->link->account = NULL;
        return account_fail(session->account, OBJD_OK);
}

/*
 * A reply that cannot be made, or for which there is no room. A refusal says that nothing of the batch was run: where something has been
 * changed, nothing is said for now. The client asks again, and the records have the answer. A reply that is too big stays so,
 * so its refusal says what was done.
 */
static void refuse_reply(struct proxy_server *server, struct job *job, objd_status r)
{
        struct proxy_session *session = job->session;
        bool changed = job_has_changed(job);

        if (changed && r != OBJD_E_TOOBIG) {
                log_limited("%s: a reply has to wait: %s", session->link->url, objd_last_error());
                return;
        }
        if (changed)
                (void)fail(r, "%s; what the batch has changed stays changed", objd_last_error());
        send_refused(server, session->link, &session->route, session->id, r, job->batch.seq);
}

static void answer(struct proxy_server *server, struct job *job)
{
        struct proxy_session *session = job->session;
        objd_status r = send_reply(job);

        if (r)
                refuse_reply(server, job, r);
        for (size_t i = 0; i < job->batch.n_calls; i++)
                if (job->batch.calls[i].code == CALL_SESSION_END)
                        end_soon(server, session);
        job_free(job);
}

void answer_take_job(void *context, struct job *job)
{
        struct proxy_server *server = context;

        if (job->waits == JOB_DONE)
                answer(server, job);
        else if (job->waits == JOB_RUNS)
                turns_add(&server->turns, job);
        else
                parked_add(&server->parked, job);
}

/* ---- Batches ---------------------------------------------------------------------------------------------- */

/*
 * Most numbers are new, which is seen at once. One that was seen and then replaced in its place is answered
 * (ledger_is_answered()).
 */
static struct job *find_job(const struct proxy_session *session, uint64_t seq)
{
        if (session->ledger.seen[seq % RECORD_WINDOW] != seq)
                return NULL;
        for (struct job *job = session->jobs; job; job = job->next)
                if (job->batch.seq == seq)
                        return job;
        return NULL;
}

/*
 * Whether there is something to be done about a batch with this number, and whether it may have been run before: it was sent to this
 * daemon, or perhaps to an earlier one.
 */
static bool is_wanted(struct proxy_server *server, struct proxy_session *session, uint64_t seq,
                      bool *ret_again)
{
        uint64_t *seen = &session->ledger.seen[seq % RECORD_WINDOW];

        *ret_again = *seen == seq || (session->resumed && !*seen);
        if (*seen == seq)
                server->stats.n_again++;
        if (ledger_is_answered(&session->ledger, seq) || find_job(session, seq))
                return false; /* a copy that was long on its way: what it has done is no longer written anywhere */
        *seen = seq;
        return true;
}

static void cancel(struct proxy_server *server, struct proxy_session *session, uint64_t seq)
{
        struct job *job = find_job(session, seq);

        if (!job)
                return;
        job->cancelled = true;
        parked_try(&server->parked, job);
}

/*
 * What waits is asked for again from time to time. It is read in memory of the server's own, if only to see whether it is to be
 * cancelled, so that who only waits needs no more memory for that.
 */
static bool is_under_way(struct proxy_server *server, struct proxy_session *session, const struct wire_in *in,
                         uint64_t seq)
{
        struct call_batch batch;
        struct wire_in kept = *in;
        void *bytes;

        if (in->size > SMALL_BATCH || !find_job(session, seq))
                return false;
        space_reset(&server->space);
        bytes = space_take(&server->space, in->size);
        if (!bytes)
                return false;
        memcpy(bytes, in->data, in->size);
        kept.data = bytes;
        if (wire_unpack_batch(&kept, &(struct wire_limits){ 0 }, &server->space, &batch))
                return false;
        if (batch.cancel)
                cancel(server, session, seq);
        else
                server->stats.n_again++;
        return true;
}

/* Once there has been a job, what came in pieces has been its own, and may have gone with it. */
static void on_batch(struct proxy_server *server, struct proxy_session *session, const struct wire_in *in)
{
        uint64_t seq = wire_check_seq(in->data, in->body_size);
        struct job *job;
        bool again = false;
        objd_status r;

        if (is_under_way(server, session, in, seq))
                return;
        r = job_new(session, in, &(struct wire_limits){ 0 }, &job);
        if (r == OBJD_OK && (!job->batch.seq || session->n_jobs >= PROXY_JOBS_MAX)) {
                r = fail(OBJD_E_PROTO, "batch %llu: there is no such number, or too many are waiting",
                         (unsigned long long)job->batch.seq);
                job_free(job);
        }
        if (r) {
                send_refused(server, session->link, &session->route, session->id, r, seq);
                return;
        }
        if (job->batch.cancel) {
                cancel(server, session, job->batch.seq);
                job_free(job);
                return;
        }
        ledger_ack(&session->ledger, job->batch.seq, job->batch.acked);
        ledger_tell(&session->ledger, job->batch.seq, job->batch.unanswered, job->batch.n_unanswered);
        if (ledger_is_full(&session->ledger))
                (void)ledger_drop(&session->ledger, &session->records);
        if (!is_wanted(server, session, job->batch.seq, &again)) {
                job_free(job);
                return;
        }
        server->stats.n_batches++;
        job->asks_records = again;
        job_add(job);
        turns_ask(&server->turns, job);
}

/* ---- Sessions --------------------------------------------------------------------------------------------- */

void answer_drop_jobs(struct proxy_server *server, struct proxy_session *session)
{
        turns_remove(&server->turns, session);
        while (session->jobs) {
                struct job *job = session->jobs;

                parked_remove(&server->parked, job);
                job_free(job);
        }
}

/* By a token: who says hello, and what that user may do. */
static objd_status check_token(const struct proxy_server *server, const struct proxy_link *link,
                               const struct wire_hello *hello, struct proxy_hello *proxy,
                               struct proxy_who *ret_who)
{
        uid_t uid;
        objd_status r;

        if (!hello->token_size)
                return fail(
                        OBJD_E_ACCESS,
                        "who connects to %s needs a token from the daemon's control socket, and brings none",
                        link->url);
        r = token_check(server->tokens, now_ns(), hello->token, hello->token_size, &uid, &ret_who->rights);
        if (r)
                return r;
        proxy->name.uid = uid;
        proxy->who = ret_who;
        return OBJD_OK;
}

/* Who has come with a key, or cannot be anybody else, counts as the daemon's own user. */
static objd_status identify(const struct proxy_server *server, const struct proxy_link *link,
                            const struct wire_hello *hello, struct proxy_hello *proxy,
                            struct proxy_who *ret_who)
{
        objd_status r = OBJD_OK;

        proxy->name.uid = proxy->who && proxy->who->has_uid ? proxy->who->uid : geteuid();
        if (link->needs_token)
                r = check_token(server, link, hello, proxy, ret_who);
        if (proxy->name.uid != geteuid())
                proxy->max_sessions = server->max_per_uid;
        return r;
}

static objd_status welcome(struct proxy_server *server, struct proxy_link *link,
                           const struct proxy_route *route, const struct wire_hello *hello)
{
        struct proxy_hello proxy = { .name.pid = (int64_t)hello->pid,
                                     .who = who_speaks(link, route),
                                     .resume = hello->has_session ? hello->session : NULL,
                                     .nonce = hello->has_nonce ? hello->nonce : NULL };
        struct wire_welcome welcome = {
                .heartbeat_ns = (uint64_t)server->sessions.expiry_ns / 4,
                .expiry_ns = (uint64_t)server->sessions.expiry_ns,
                .max_frame = link->max_frame,
                .max_message = (uint32_t)WIRE_MESSAGE_MAX,
                .max_requests = WIRE_CALLS_MAX,
                .window = RECORD_WINDOW,
                .epoch = word_get(&server->conn.arena->header->daemon_epoch),
                .pid = (uint64_t)getpid(),
                .store = server->store,
        };
        struct proxy_who by_token = { 0 };
        struct proxy_session *session;
        struct wire_out out;
        objd_status r = wire_agree(hello->version_from, hello->version_to, &welcome.version);

        if (r == OBJD_OK)
                r = identify(server, link, hello, &proxy, &by_token);
        if (r)
                return r;
        strncpy(proxy.name.comm, hello->name, sizeof(proxy.name.comm) - 1);
        r = session_open(&server->sessions, &proxy, &welcome.resumed, &session);
        if (r)
                return r;
        server->stats.n_sessions += !welcome.resumed;
        server->stats.n_resumed += welcome.resumed;
        session->link = link;
        session->route = *route;
        memcpy(welcome.session, session->id, sizeof(welcome.session));
        welcome.read_only = session->read_only;
        wire_out_init(&out, 0);
        send_out(link, route, FRAME_WELCOME, session->id, &out, wire_pack_welcome(&out, &welcome));
        return OBJD_OK;
}

static objd_status on_hello(struct proxy_server *server, struct proxy_link *link,
                            const struct proxy_route *route, const struct frame_head *head, const void *piece)
{
        struct wire_in in = { piece, head->piece, head->body };
        struct wire_hello hello;
        objd_status r;

        if (head->flags != (FRAME_FIRST | FRAME_LAST))
                return fail(OBJD_E_PROTO, "a hello comes in one frame");
        if (head->piece > FRAME_HELLO_MAX - FRAME_HEAD)
                return fail(OBJD_E_TOOBIG, "a hello has a frame of %zu bytes, the most is %u",
                            head->piece + (size_t)FRAME_HEAD, FRAME_HELLO_MAX);
        space_reset(&server->space);
        r = wire_unpack_hello(&in, &server->space, &hello);
        return r ? r : welcome(server, link, route, &hello);
}

/* The session that a frame names; it is heard of, and from now on it is answered there. */
static struct proxy_session *find_session(struct proxy_server *server, struct proxy_link *link,
                                          const struct proxy_route *route, const struct frame_head *head)
{
        struct proxy_session *session = session_by_id(&server->sessions, head->session);

        if (session && !session_is_of(session, who_speaks(link, route))) {
                session = NULL;
                server->stats.n_others++;
                (void)fail(OBJD_E_NOTFOUND, "somebody else's session was asked for");
                note_refused(server, link, route, head->session, REFUSAL_OTHERS_SESSION);
        }
        if (!session || session->ends || !session_heard(&server->sessions, session)) {
                (void)fail(OBJD_E_NOTFOUND, "there is no such session, or it is over");
                if (session)
                        end_soon(server, session);
                return NULL;
        }
        session->link = link;
        session->route = *route;
        return session;
}

/* A message that could never be taken is refused with its first piece. */
static objd_status join_piece(struct proxy_session *session, const struct frame_head *head, const void *piece,
                              bool *ret_whole, struct wire_in *ret_in)
{
        struct account *account = session->account;
        objd_status r = OBJD_E_NOMEM;

        account->refused = false;
        if (head->flags & FRAME_FIRST) {
                frame_joiner_drop(&session->joiner); /* the client has given the last one up */
                account->refused = head->message > account_room(account);
                if (account->refused || head->piece < head->message)
                        session->coming_seq = wire_check_seq(piece, head->piece);
        }
        if (!account->refused && head->piece == head->message) {
                /* Wherever it lies: it is copied before anything is made of it. */
                *ret_in = (struct wire_in){ piece, head->message, head->body };
                *ret_whole = true;
                return OBJD_OK;
        }
        if (!account->refused)
                r = frame_join(&session->joiner, head, piece, ret_whole, ret_in);
        return r ? account_fail(account, r) : OBJD_OK;
}

static objd_status on_piece(struct proxy_server *server, struct proxy_session *session,
                            const struct frame_head *head, const void *piece)
{
        struct wire_in in;
        bool whole;
        objd_status r;

        session->skips &= !(head->flags & FRAME_FIRST);
        if (session->skips)
                return OBJD_OK;
        r = join_piece(session, head, piece, &whole, &in);
        if (r == OBJD_E_LIMIT && session->coming_seq) {
                session->skips = !(head->flags & FRAME_LAST);
                send_refused(server, session->link, &session->route, session->id, r, session->coming_seq);
                return OBJD_OK;
        }
        if (r == OBJD_OK && whole) {
                on_batch(server, session, &in);
                frame_joiner_drop(&session->joiner);
        }
        return r;
}

static objd_status on_frame(struct proxy_server *server, struct proxy_link *link,
                            const struct proxy_route *route, const struct frame_head *head, const void *piece)
{
        struct proxy_session *session;

        if (head->type == FRAME_HELLO)
                return on_hello(server, link, route, head, piece);
        session = find_session(server, link, route, head);
        if (!session)
                return OBJD_E_NOTFOUND;
        switch (head->type) {
        case FRAME_BATCH:
                return on_piece(server, session, head, piece);
        case FRAME_PING:
                send_bare(link, route, FRAME_PONG, session->id);
                return OBJD_OK;
        case FRAME_PONG:
        case FRAME_BYE: /* the link's end, not the session's */
                return OBJD_OK;
        default:
                return fail(OBJD_E_PROTO, "no client sends frames of type %u", head->type);
        }
}

void proxy_receive(struct proxy_server *server, struct proxy_link *link, const struct proxy_route *route,
                   const void *bytes, size_t size)
{
        const uint8_t *at = bytes, *end = at + size;
        struct frame_head head;
        objd_status r = OBJD_OK;

        while (r == OBJD_OK && at < end) {
                r = frame_decode(at, (size_t)(end - at), link->max_frame, (uint32_t)WIRE_MESSAGE_MAX, &head);
                if (r) {
                        send_no_head(server, link, route, at, (size_t)(end - at), r);
                        return;
                }
                if (head.piece > (size_t)(end - at) - FRAME_HEAD)
                        r = fail(OBJD_E_PROTO, "a frame of %u bytes has been cut short", head.piece);
                else
                        r = on_frame(server, link, route, &head, at + FRAME_HEAD);
                if (r)
                        send_refused(server, link, route, head.session, r, 0);
                at += FRAME_HEAD + head.piece;
        }
}

void proxy_receive_frame(struct proxy_server *server, struct proxy_link *link,
                         const struct proxy_route *route, const struct frame_head *head, const void *piece)
{
        objd_status r = on_frame(server, link, route, head, piece);

        if (r)
                send_refused(server, link, route, head->session, r, 0);
}

void proxy_end_sessions_of(struct proxy_server *server, const struct proxy_link *link,
                           const struct proxy_route *route)
{
        for (struct proxy_session *session = server->sessions.list; session; session = session->next)
                if (session->link == link && session->route.size == route->size &&
                    memcmp(session->route.bytes, route->bytes, route->size) == 0)
                        end_soon(server, session);
}
