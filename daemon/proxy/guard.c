/* SPDX-License-Identifier: Apache-2.0 */

/*
 * guard.c -- who may speak at a sealed address
 */

#include "proxy/guard.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include <sodium.h>

#include "base/status.h"
#include "base/sys.h"
#include "log.h"
#include "proxy/refused.h"
#include "rpc/refusals.h"

objd_status guard_init(struct guard *guard, const struct keyring *keyring, const char *url, uint64_t *counts)
{
        memset(guard, 0, sizeof(*guard));
        guard->url = url;
        guard->counts = counts;
        guard->last_pending = &guard->pending;
        return seal_server_init(&guard->server, keyring);
}

void guard_deinit(struct guard *guard)
{
        const struct seal_stats *stats = &guard->server.stats;
        char text[512];
        int n = snprintf(text, sizeof(text), "%s: %" PRIu64 " channels", guard->url, stats->n_channels);

        for (int i = 0; i < SEAL_N_REASONS && n < (int)sizeof(text); i++)
                if (stats->n_refused[i])
                        n += snprintf(text + n, sizeof(text) - (size_t)n, ", %" PRIu64 " %s",
                                      stats->n_refused[i], seal_reason_name((enum seal_reason)i));
        log_info("%s; refused besides: %" PRIu64 " without a channel, %" PRIu64 " for want of a place", text,
                 guard->n_no_channel, guard->n_busy);
}

/* ---- Those who have yet to prove their key ----------------------------------------------------------------- */

static void stop_waiting(struct guard *guard, struct guarded *guarded)
{
        if (!guarded->link)
                return;
        *guarded->link = guarded->next;
        if (guarded->next)
                guarded->next->link = guarded->link;
        else
                guard->last_pending = guarded->link;
        guarded->link = NULL;
        guard->n_pending--;
        seal_pending_forget(&guarded->proof);
}

static bool is_full(struct guard *guard)
{
        int64_t now = now_ns();

        while (guard->pending && now - guard->pending->since_ns >= GUARD_PATIENCE_NS)
                stop_waiting(guard, guard->pending);
        return guard->n_pending >= GUARD_PENDING_MAX;
}

void guard_expect(struct guard *guard, struct guarded *guarded, struct seal_pending *pending)
{
        stop_waiting(guard, guarded);
        guarded->proof = *pending;
        seal_pending_forget(pending);
        guarded->since_ns = now_ns();
        guarded->next = NULL;
        guarded->link = guard->last_pending;
        *guard->last_pending = guarded;
        guard->last_pending = &guarded->next;
        guard->n_pending++;
}

/* ---- The handshake ---------------------------------------------------------------------------------------- */

static void answer(struct guard_answer *ret, enum seal_frame_type type, const void *message, size_t size)
{
        ret->size = sealed_handshake(type, message, size, ret->bytes);
}

static void refuse(struct guard *guard, enum seal_told told, struct guard_answer *ret)
{
        uint8_t refusal[SEAL_REFUSAL_SIZE];

        seal_server_refuse(&guard->server, told, refusal);
        answer(ret, SEAL_TYPE_REFUSAL, refusal, sizeof(refusal));
}

/* A handshake, which may say which key it is about; there is no session yet. */
static void note_handshake(struct guard *guard, const uint8_t *message, size_t size, unsigned reason)
{
        bool has_key = size >= SEAL_KEY_ID_AT + KEY_ID_SIZE;

        refused_note(guard->counts, guard->url, reason, has_key ? message + SEAL_KEY_ID_AT : NULL, NULL);
}

/* Frames: the session is what the first head says. */
static void note_frames(struct guard *guard, const struct guarded *guarded, const uint8_t *bytes, size_t size,
                        unsigned reason)
{
        refused_note(guard->counts, guard->url, reason, guarded ? guarded->who.key : NULL,
                     frame_session(bytes, size));
}

void guard_turn_away(struct guard *guard, const void *bytes, size_t size, struct guard_answer *ret_answer)
{
        guard->n_busy++;
        note_handshake(guard, bytes, size, REFUSAL_BUSY);
        refuse(guard, SEAL_TOLD_BUSY, ret_answer);
}

bool guard_hello(struct guard *guard, const void *bytes, size_t size, struct seal_pending *ret_pending,
                 struct guard_answer *ret_answer)
{
        uint8_t challenge[SEAL_CHALLENGE_SIZE], refusal[SEAL_REFUSAL_SIZE];

        if (is_full(guard)) {
                (void)fail(OBJD_E_LIMIT, "%u clients have yet to prove their keys", GUARD_PENDING_MAX);
                guard_turn_away(guard, bytes, size, ret_answer);
                return false;
        }
        if (seal_server_answer(&guard->server, bytes, size, ret_pending, challenge, refusal)) {
                note_handshake(guard, bytes, size, seal_last_reason());
                answer(ret_answer, SEAL_TYPE_REFUSAL, refusal, sizeof(refusal));
                return false;
        }
        answer(ret_answer, SEAL_TYPE_CHALLENGE, challenge, sizeof(challenge));
        return true;
}

bool guard_proof(struct guard *guard, struct guarded *guarded, const void *bytes, size_t size,
                 struct guard_answer *ret_answer)
{
        uint8_t refusal[SEAL_REFUSAL_SIZE];
        char text[KEY_ID_TEXT_SIZE];
        const struct seal_key *key;
        struct seal seal;
        objd_status r =
                seal_server_finish(&guard->server, &guarded->proof, bytes, size, &seal, &key, refusal);

        stop_waiting(guard, guarded);
        if (r) {
                note_handshake(guard, bytes, size, seal_last_reason());
                answer(ret_answer, SEAL_TYPE_REFUSAL, refusal, sizeof(refusal));
                return false;
        }
        seal_end(&guarded->seal);
        guarded->seal = seal;
        sodium_memzero(&seal, sizeof(seal));
        guarded->is_open = true;
        guarded->who = (struct proxy_who){ .has_key = true, .rights = key->rights };
        memcpy(guarded->who.key, key->id, KEY_ID_SIZE);
        log_debug("%s: a client has proven key %s", guard->url, key_id_text(key->id, text));
        return true;
}

/* ---- Frames ----------------------------------------------------------------------------------------------- */

void guard_open(struct guard *guard, struct guarded *guarded, uint8_t *bytes, size_t size, size_t *ret_size,
                struct guard_answer *ret_answer)
{
        *ret_size = 0;
        if (!guarded || !guarded->is_open) {
                guard->n_no_channel++;
                (void)fail(OBJD_E_PROTO, "%zu bytes from a connection that has no channel", size);
                note_frames(guard, NULL, bytes, size, REFUSAL_NO_CHANNEL);
                refuse(guard, SEAL_TOLD_NO_CHANNEL, ret_answer);
                return;
        }
        if (sealed_open(&guarded->seal, bytes, size, ret_size) == OBJD_OK)
                return;
        note_frames(guard, guarded, bytes, size, seal_last_reason());
        if (seal_last_reason() != SEAL_REPEATED && seal_last_reason() != SEAL_REFLECTED)
                refuse(guard, SEAL_TOLD_NO_CHANNEL,
                       ret_answer); /* one that was due may have been lost by it */
}

void guard_forget(struct guard *guard, struct guarded *guarded)
{
        stop_waiting(guard, guarded);
        sodium_memzero(guarded, sizeof(*guarded));
}
