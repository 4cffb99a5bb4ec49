/* SPDX-License-Identifier: Apache-2.0 */

/*
 * session.c -- the daemon's side of a session
 */

#include "proxy/session.h"

#include <stdlib.h>
#include <string.h>

#include <sodium.h>

#include "arena/life.h"
#include "base/status.h"
#include "base/sys.h"
#include "object/directory.h"
#include "txn/recover.h"

/* A session's end is put off when an eighth of its time has passed: the entry is a shared line. */
#define RENEW_PART 8

#define GATE_PATIENCE_NS 100000000LL

/* ---- Records -------------------------------------------------------------------------------------------- */

/* An anonymous dict that belongs to the session, and goes with it. */
static objd_status make_records(struct proxy_sessions *sessions, struct proxy_session *session)
{
        objd_config config = OBJD_CONFIG_INIT;
        struct arena *arena = sessions->conn->arena;
        struct lane *lane;
        objd_status r = lane_act_as(arena, session->client, 0, &lane);

        if (r)
                return r;
        config.key_type = OBJD_INT;
        config.value_type = OBJD_BYTES;
        r = directory_create(sessions->conn, NULL, OBJD_DICT, &config, &session->records);
        lane_act_as_self(lane);
        if (r == OBJD_OK)
                r = ledger_make_spare(&session->records);
        if (r == OBJD_OK)
                session_set_records(arena, session->client, objd_ref_of(&session->records));
        return r;
}

/* A daemon that died while it began the session may have left it without. */
static objd_status find_records(struct proxy_sessions *sessions, struct proxy_session *session)
{
        objd_ref ref = session_records(sessions->conn->arena, session->client);
        objd_status r;

        if (!ref.place)
                return make_records(sessions, session);
        r = directory_handle(sessions->conn, ref, &session->records);
        if (r == OBJD_OK)
                r = ledger_read(&session->ledger, &session->records);
        /* Where the records are damaged, each call that needs them says so. */
        return r == OBJD_E_CORRUPT || r == OBJD_E_POISONED ? OBJD_OK : r;
}

/* ---- Whose it is ------------------------------------------------------------------------------------------ */

bool session_is_of(const struct proxy_session *session, const struct proxy_who *who)
{
        static const struct proxy_who own_user;

        if (!who)
                who = &own_user;
        return session->who.has_key == who->has_key &&
               memcmp(session->who.key, who->key, sizeof(who->key)) == 0;
}

/*
 * The id by which the arena knows it. Whoever sees frames on their way sees the session's id, so of a session that was begun with a
 * key, the arena has what follows from that id and the key's: with another key, or none, nobody finds it there.
 */
static void make_arena_id(const uint8_t id[SESSION_ID_SIZE], const struct proxy_who *who,
                          uint8_t ret[SESSION_ID_SIZE])
{
        uint8_t both[SESSION_ID_SIZE + KEY_ID_SIZE];

        memcpy(ret, id, SESSION_ID_SIZE);
        if (!who || !who->has_key)
                return;
        memcpy(both, id, SESSION_ID_SIZE);
        memcpy(both + SESSION_ID_SIZE, who->key, KEY_ID_SIZE);
        (void)crypto_generichash(ret, SESSION_ID_SIZE, both, sizeof(both), NULL, 0);
}

/*
 * The id that a new session has. With a nonce it follows from that and from who says it: then nothing has to be
 * remembered for the same hello to be known again, by this daemon or the next.
 */
static void make_id(const struct proxy_hello *hello, uint8_t ret[SESSION_ID_SIZE])
{
        bool has_key = hello->who && hello->who->has_key;
        struct {
                uint8_t nonce[WIRE_NONCE_SIZE];
                uint32_t uid, has_key;
                uint8_t key[KEY_ID_SIZE];
        } all = { .uid = hello->name.uid, .has_key = has_key };

        if (!hello->nonce) {
                randombytes_buf(ret, SESSION_ID_SIZE);
                return;
        }
        memcpy(all.nonce, hello->nonce, sizeof(all.nonce));
        if (has_key)
                memcpy(all.key, hello->who->key, sizeof(all.key));
        (void)crypto_generichash(ret, SESSION_ID_SIZE, (const uint8_t *)&all, sizeof(all), NULL, 0);
}

/* ---- Beginning -------------------------------------------------------------------------------------------- */

static objd_status claim(struct proxy_sessions *sessions, const struct proxy_hello *hello,
                         const uint8_t id[SESSION_ID_SIZE], struct proxy_session *session)
{
        uint8_t arena_id[SESSION_ID_SIZE];
        int64_t now = now_ns();
        objd_status r;

        memcpy(session->id, id, sizeof(session->id));
        make_arena_id(session->id, hello->who, arena_id);
        r = session_claim(sessions->conn->arena, arena_id, &hello->name, now + sessions->expiry_ns,
                          now + GATE_PATIENCE_NS, &session->client);
        if (r)
                return r;
        r = make_records(sessions, session);
        if (r)
                session_end(sessions->conn->arena, session->client);
        return r;
}

static objd_status resume(struct proxy_sessions *sessions, const struct proxy_hello *hello,
                          const uint8_t id[SESSION_ID_SIZE], struct proxy_session *session)
{
        uint8_t arena_id[SESSION_ID_SIZE];

        make_arena_id(id, hello->who, arena_id);
        if (!session_find(sessions->conn->arena, arena_id, &session->client))
                return OBJD_E_NOTFOUND;
        if (session_uid(sessions->conn->arena, session->client) != hello->name.uid)
                return OBJD_E_NOTFOUND;
        /* Daemons that die young must not each leave it the end that an earlier one has set. */
        if (!session_renew(sessions->conn->arena, session->client, now_ns() + sessions->expiry_ns))
                return OBJD_E_NOTFOUND;
        memcpy(session->id, id, sizeof(session->id));
        session->resumed = true;
        return find_records(sessions, session);
}

/* Ids are random, so some bits of them say which bucket; who guesses at ids learns no more than these from how long it takes. */
static struct proxy_session **bucket_of(struct proxy_sessions *sessions, const uint8_t id[SESSION_ID_SIZE])
{
        return &sessions->buckets[((uint32_t)id[0] | (uint32_t)id[1] << 8) % SESSION_BUCKETS];
}

static void enlist(struct proxy_sessions *sessions, struct proxy_session *session)
{
        struct proxy_session **bucket = bucket_of(sessions, session->id);

        session->bucket_next = *bucket;
        *bucket = session;
        session->next = sessions->list;
        session->next_link = &sessions->list;
        if (session->next)
                session->next->next_link = &session->next;
        sessions->list = session;
        sessions->n++;
}

static void delist(struct proxy_sessions *sessions, struct proxy_session *session)
{
        struct proxy_session **p = bucket_of(sessions, session->id);

        while (*p != session)
                p = &(*p)->bucket_next;
        *p = session->bucket_next;
        *session->next_link = session->next;
        if (session->next)
                session->next->next_link = session->next_link;
        sessions->n--;
}

static objd_status check_limits(const struct proxy_sessions *sessions, const struct proxy_hello *hello)
{
        uint32_t n = 0;

        for (const struct proxy_session *session = sessions->list; session && hello->max_sessions;
             session = session->next)
                n += session->uid == hello->name.uid;
        if (hello->max_sessions && n >= hello->max_sessions)
                return fail(OBJD_E_LIMIT, "uid %u has %u sessions, which is all that --max-per-uid allows",
                            (unsigned)hello->name.uid, n);
        return OBJD_OK;
}

static void set_rights(struct proxy_session *session, const struct proxy_hello *hello)
{
        if (hello->who)
                session->who = *hello->who;
        session->read_only = session->who.rights.read_only;
}

/* What this daemon knows already; NULL: nothing, or it is somebody else's. */
static struct proxy_session *find_own(struct proxy_sessions *sessions, const struct proxy_hello *hello,
                                      const uint8_t id[SESSION_ID_SIZE])
{
        struct proxy_session *session = session_by_id(sessions, id);

        if (!session || session->uid != hello->name.uid || !session_is_of(session, hello->who))
                return NULL;
        set_rights(session, hello);
        return session;
}

/* In the arena: the one that is to go on, or that the same hello has begun before, or a new one. */
static objd_status find_or_claim(struct proxy_sessions *sessions, const struct proxy_hello *hello,
                                 const uint8_t new_id[SESSION_ID_SIZE], struct proxy_session *session,
                                 bool *ret_resumed)
{
        objd_status r = OBJD_E_NOTFOUND;

        if (hello->resume)
                r = resume(sessions, hello, hello->resume, session);
        *ret_resumed = r != OBJD_E_NOTFOUND;
        if (r == OBJD_E_NOTFOUND && hello->nonce)
                r = resume(sessions, hello, new_id, session);
        if (r != OBJD_E_NOTFOUND)
                return r;
        r = check_limits(sessions, hello);
        return r ? r : claim(sessions, hello, new_id, session);
}

objd_status session_open(struct proxy_sessions *sessions, const struct proxy_hello *hello, bool *ret_resumed,
                         struct proxy_session **ret_session)
{
        struct proxy_session *session = hello->resume ? find_own(sessions, hello, hello->resume) : NULL;
        uint8_t new_id[SESSION_ID_SIZE];
        objd_status r;

        make_id(hello, new_id);
        *ret_resumed = session;
        if (!session && hello->nonce)
                session = find_own(sessions, hello, new_id);
        if (session && session->ends && !*ret_resumed) {
                randombytes_buf(new_id, sizeof(new_id)); /* that one is over; nobody has been told of it */
                session = NULL;
        }
        if (session) {
                *ret_session = session;
                return OBJD_OK;
        }
        if (sessions->n >= SESSIONS_MAX)
                return fail(OBJD_E_LIMIT, "there are %u sessions, which is all there can be", SESSIONS_MAX);
        session = sys.alloc(sizeof(*session));
        if (session)
                session->account = account_new(&sessions->accounts);
        if (!session || !session->account) {
                free(session);
                return fail(OBJD_E_NOMEM, "no memory for a session");
        }
        r = find_or_claim(sessions, hello, new_id, session, ret_resumed);
        if (r) {
                account_unref(session->account);
                ledger_free(&session->ledger);
                free(session);
                return r;
        }
        set_rights(session, hello);
        session->uid = hello->name.uid;
        session->ready_last = &session->ready;
        session->spares = &sessions->spares;
        session->ledger.limit = sessions->accounts.limit;
        session->heard_ns = session->renewed_ns = now_ns();
        frame_joiner_init(&session->joiner,
                          &(struct memory){ .resize = account_resize, .context = session->account }, 0);
        enlist(sessions, session);
        *ret_session = session;
        return OBJD_OK;
}

/* It takes as long whatever they are. */
static bool is_same_id(const uint8_t a[SESSION_ID_SIZE], const uint8_t b[SESSION_ID_SIZE])
{
        uint64_t of_a[SESSION_ID_SIZE / 8], of_b[SESSION_ID_SIZE / 8];

        memcpy(of_a, a, sizeof(of_a));
        memcpy(of_b, b, sizeof(of_b));
        return !((of_a[0] ^ of_b[0]) | (of_a[1] ^ of_b[1]));
}

struct proxy_session *session_by_id(struct proxy_sessions *sessions, const uint8_t id[SESSION_ID_SIZE])
{
        for (struct proxy_session *s = *bucket_of(sessions, id); s; s = s->bucket_next)
                if (is_same_id(s->id, id))
                        return s;
        return NULL;
}

/* ---- Going on, and ending ------------------------------------------------------------------------------- */

/* As long as the end that we have set stands there, nobody has begun to reap it, and no clock has to be asked. */
bool session_heard(struct proxy_sessions *sessions, struct proxy_session *session)
{
        struct arena *arena = sessions->conn->arena;
        uint64_t end_ns = word_get(&arena_client(arena, id_number(session->client))->expires_ns);

        session->is_heard = true;
        if (sessions->now_ns - session->renewed_ns < sessions->expiry_ns / RENEW_PART &&
            end_ns == (uint64_t)(session->renewed_ns + sessions->expiry_ns))
                return true;
        session->renewed_ns = now_ns();
        return session_renew(arena, session->client, session->renewed_ns + sessions->expiry_ns);
}

bool session_is_over(const struct proxy_sessions *sessions, struct proxy_session *session)
{
        if (session->is_heard)
                session->heard_ns = sessions->now_ns;
        session->is_heard = false;
        return sessions->now_ns - session->heard_ns >= sessions->expiry_ns ||
               !session_lives(sessions->conn->arena, session->client);
}

void session_forget(struct proxy_sessions *sessions, struct proxy_session *session)
{
        delist(sessions, session);
        frame_joiner_deinit(&session->joiner);
        report_drop(&session->report);
        account_unref(session->account);
        past_free(&session->past);
        ledger_free(&session->ledger);
        free(session->spare_job);
        free(session);
}

void session_close(struct proxy_sessions *sessions, struct proxy_session *session)
{
        session_end(sessions->conn->arena, session->client);
        session_forget(sessions, session);
}

/* Their lanes are dead, and recovered at once; what cannot be deleted now is deleted by whoever looks for the dead. */
void sessions_recover(struct proxy_sessions *sessions)
{
        struct arena *arena = sessions->conn->arena;
        struct lane *lane;

        if (lane_enter(arena, OBJD_NOWAIT, &lane) == OBJD_OK) {
                (void)recover_all(arena, lane);
                lane_leave(lane);
        }
        (void)recover_clients(arena);
}
