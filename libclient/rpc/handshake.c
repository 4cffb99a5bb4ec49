/* SPDX-License-Identifier: Apache-2.0 */

/*
 * handshake.c -- proving a common key to each other, and agreeing on fresh keys
 *
 *     hello      0 magic  8 step 1  9 from  10 to   11 zeros  16 key id  24 nonce  56 ephemeral  88 MAC
 *     challenge  0 magic  8 step 2  9 version       10 zeros  16 key id  24 nonce  56 ephemeral  88 MAC
 *     proof      0 magic  8 step 3  9 version       10 zeros  16 key id  24 MAC
 *     refusal    0 magic  8 step 4  9 what is told  10 from   11 to      12 zeros
 *
 * MACs and hashes are BLAKE2b, the derivation of keys is libsodium's crypto_kdf, the common secret X25519.
 * With the key K:
 *
 *     hello's MAC      = hash(key: kdf(K, 1), hello without its MAC)
 *     h                = hash(hello, challenge without its MAC)
 *     master           = hash(key: kdf(K, 2), X25519 of the ephemeral keys, h)
 *     challenge's MAC  = hash(key: kdf(master, 1), h)
 *     proof's MAC      = hash(key: kdf(master, 2), h, challenge's MAC, proof without its MAC)
 *     frames           : kdf(master, 3) to the server, kdf(master, 4) back; the channel is kdf(master, 5)
 *
 * docs/protocol.md argues why that is enough.
 */

#include "rpc/handshake.h"

#include <sodium.h>
#include <string.h>

#include "base/fork.h"
#include "base/status.h"

#define MAGIC "objdseal"
#define MAGIC_SIZE 8

/* Places in the messages. */
#define AT_STEP 8
#define AT_VERSION 9
#define AT_FROM 9
#define AT_TO 10
#define AT_TOLD 9
#define AT_TOLD_FROM 10
#define AT_TOLD_TO 11
#define AT_TOLD_ZEROS 12
#define AT_KEY_ID SEAL_KEY_ID_AT
#define AT_NONCE 24
#define AT_EPHEMERAL 56
#define AT_MAC 88 /* of hello and challenge */
#define AT_PROOF_MAC 24

#define NONCE_SIZE 32
#define MAC_SIZE 32
#define POINT_SIZE crypto_scalarmult_BYTES
#define HASH_SIZE 64

enum step {
        STEP_HELLO = 1,
        STEP_CHALLENGE = 2,
        STEP_PROOF = 3,
        STEP_REFUSAL = 4,
};

/* What is derived from a key, and from the master secret of a handshake. */
enum key_use {
        USE_HELLO = 1,
        USE_MASTER = 2,
};

enum master_use {
        USE_CHALLENGE = 1,
        USE_PROOF = 2,
        USE_CLIENT_FRAMES = 3,
        USE_SERVER_FRAMES = 4,
        USE_CHANNEL_ID = 5,
};

_Static_assert(AT_MAC + MAC_SIZE == SEAL_HELLO_SIZE && AT_MAC + MAC_SIZE == SEAL_CHALLENGE_SIZE,
               "hello, challenge");
_Static_assert(AT_PROOF_MAC + MAC_SIZE == SEAL_PROOF_SIZE, "proof");
_Static_assert(AT_EPHEMERAL + POINT_SIZE == AT_MAC, "ephemeral key");
_Static_assert(KEY_SECRET_SIZE == crypto_kdf_KEYBYTES, "keys are derived from keys");
_Static_assert(sizeof(((struct seal_client *)0)->ephemeral) == crypto_scalarmult_SCALARBYTES,
               "secret of a point");

/* docs/protocol.md says so to whoever counts what strangers cost. */
_Static_assert(sizeof(struct seal_pending) < 300, "a stranger costs little");

static const struct seal_versions our_versions = { .from = SEAL_VERSION, .to = SEAL_VERSION };

/* ---- Messages ----------------------------------------------------------------------------------------- */

static void begin_message(uint8_t *message, size_t size, enum step step)
{
        memset(message, 0, size);
        memcpy(message, MAGIC, MAGIC_SIZE);
        message[AT_STEP] = (uint8_t)step;
}

/*
 * The reason to refuse the message by its form, if there is one; `from` is the first of its bytes that must
 * be zero.
 */
static bool find_fault(const uint8_t *message, size_t size, size_t expected_size, enum step step, size_t from,
                       size_t to, enum seal_reason *ret)
{
        bool is_of_server;

        if (size != expected_size) {
                *ret = SEAL_SIZE;
                return true;
        }
        *ret = SEAL_MALFORMED;
        if (memcmp(message, MAGIC, MAGIC_SIZE) != 0)
                return true;
        if (message[AT_STEP] != step) {
                is_of_server = message[AT_STEP] == STEP_CHALLENGE || message[AT_STEP] == STEP_REFUSAL;
                if (message[AT_STEP] >= STEP_HELLO && message[AT_STEP] <= STEP_REFUSAL &&
                    is_of_server != (step == STEP_CHALLENGE))
                        *ret = SEAL_REFLECTED;
                return true;
        }
        return !sodium_is_zero(message + from, to - from);
}

static const char *fault_text(enum seal_reason reason)
{
        switch (reason) {
        case SEAL_SIZE:
                return "a message of a handshake does not have its size";
        case SEAL_REFLECTED:
                return "a message of a handshake comes from our own side";
        default:
                return "a message is none of a handshake, or not the one that is due";
        }
}

static objd_status refuse_form(struct seal_stats *stats, enum seal_reason reason)
{
        return seal_refused(stats, reason, fail(OBJD_E_PROTO, "%s", fault_text(reason)));
}

/* A refusal that names a key. */
static objd_status refuse_key(struct seal_stats *stats, enum seal_reason reason, objd_status status,
                              const uint8_t id[KEY_ID_SIZE], const char *why)
{
        char text[KEY_ID_TEXT_SIZE];

        return seal_refused(stats, reason, fail(status, "key %s: %s", key_id_text(id, text), why));
}

static void write_refusal(const struct seal_versions *versions, enum seal_told told,
                          uint8_t ret[SEAL_REFUSAL_SIZE])
{
        begin_message(ret, SEAL_REFUSAL_SIZE, STEP_REFUSAL);
        ret[AT_TOLD] = (uint8_t)told;
        ret[AT_TOLD_FROM] = versions->from;
        ret[AT_TOLD_TO] = versions->to;
}

/* ---- Keys --------------------------------------------------------------------------------------------- */

static void derive(uint8_t *ret, size_t size, uint64_t use, const uint8_t key[crypto_kdf_KEYBYTES])
{
        (void)crypto_kdf_derive_from_key(ret, size, use, "objdseal", key);
}

static void make_hello_mac(const struct seal_key *key, const uint8_t hello[SEAL_HELLO_SIZE],
                           uint8_t ret[MAC_SIZE])
{
        uint8_t mac_key[32];

        derive(mac_key, sizeof(mac_key), USE_HELLO, key->secret);
        (void)crypto_generichash(ret, MAC_SIZE, hello, AT_MAC, mac_key, sizeof(mac_key));
        sodium_memzero(mac_key, sizeof(mac_key));
}

/* Everything that both sides compute from what was said; secret. */
struct agreed {
        uint8_t transcript[HASH_SIZE];
        uint8_t master[32];
};

/* false if the other side's point gives a secret that everybody knows. */
static bool agree(const struct seal_key *key, const uint8_t hello[SEAL_HELLO_SIZE],
                  const uint8_t challenge[SEAL_CHALLENGE_SIZE], const uint8_t ephemeral[32],
                  const uint8_t point[POINT_SIZE], struct agreed *ret)
{
        crypto_generichash_state state;
        uint8_t shared[POINT_SIZE], mix_key[32];
        bool is_good = crypto_scalarmult(shared, ephemeral, point) == 0;

        (void)crypto_generichash_init(&state, NULL, 0, HASH_SIZE);
        (void)crypto_generichash_update(&state, hello, SEAL_HELLO_SIZE);
        (void)crypto_generichash_update(&state, challenge, AT_MAC);
        (void)crypto_generichash_final(&state, ret->transcript, HASH_SIZE);

        derive(mix_key, sizeof(mix_key), USE_MASTER, key->secret);
        (void)crypto_generichash_init(&state, mix_key, sizeof(mix_key), sizeof(ret->master));
        (void)crypto_generichash_update(&state, shared, sizeof(shared));
        (void)crypto_generichash_update(&state, ret->transcript, HASH_SIZE);
        (void)crypto_generichash_final(&state, ret->master, sizeof(ret->master));

        sodium_memzero(shared, sizeof(shared));
        sodium_memzero(mix_key, sizeof(mix_key));
        sodium_memzero(&state, sizeof(state));
        return is_good;
}

static void make_challenge_mac(const struct agreed *agreed, uint8_t ret[MAC_SIZE])
{
        uint8_t mac_key[32];

        derive(mac_key, sizeof(mac_key), USE_CHALLENGE, agreed->master);
        (void)crypto_generichash(ret, MAC_SIZE, agreed->transcript, HASH_SIZE, mac_key, sizeof(mac_key));
        sodium_memzero(mac_key, sizeof(mac_key));
}

/* The whole last message. */
static void make_proof(const struct agreed *agreed, const uint8_t challenge[SEAL_CHALLENGE_SIZE],
                       uint8_t ret[SEAL_PROOF_SIZE])
{
        crypto_generichash_state state;
        uint8_t mac_key[32];

        begin_message(ret, SEAL_PROOF_SIZE, STEP_PROOF);
        ret[AT_VERSION] = challenge[AT_VERSION];
        memcpy(ret + AT_KEY_ID, challenge + AT_KEY_ID, KEY_ID_SIZE);

        derive(mac_key, sizeof(mac_key), USE_PROOF, agreed->master);
        (void)crypto_generichash_init(&state, mac_key, sizeof(mac_key), MAC_SIZE);
        (void)crypto_generichash_update(&state, agreed->transcript, HASH_SIZE);
        (void)crypto_generichash_update(&state, challenge + AT_MAC, MAC_SIZE);
        (void)crypto_generichash_update(&state, ret, AT_PROOF_MAC);
        (void)crypto_generichash_final(&state, ret + AT_PROOF_MAC, MAC_SIZE);
        sodium_memzero(mac_key, sizeof(mac_key));
        sodium_memzero(&state, sizeof(state));
}

static void make_channel(const struct agreed *agreed, const uint8_t challenge[SEAL_CHALLENGE_SIZE],
                         bool is_server, struct seal_stats *stats, struct seal *ret)
{
        struct seal_way client = { .next = 0 }, server = { .next = SEAL_SERVER_BIT };

        derive(client.key, SEAL_KEY_SIZE, USE_CLIENT_FRAMES, agreed->master);
        derive(server.key, SEAL_KEY_SIZE, USE_SERVER_FRAMES, agreed->master);
        *ret = (struct seal){
                .send = is_server ? server : client,
                .receive = is_server ? client : server,
                .version = challenge[AT_VERSION],
                .fork_generation = fork_generation(),
                .stats = stats,
        };
        derive(ret->id, SEAL_ID_SIZE, USE_CHANNEL_ID, agreed->master);
        memcpy(ret->key_id, challenge + AT_KEY_ID, KEY_ID_SIZE);
        sodium_memzero(&client, sizeof(client));
        sodium_memzero(&server, sizeof(server));
}

static void count_channel(struct seal_stats *stats)
{
        if (stats)
                (void)__atomic_fetch_add(&stats->n_channels, 1, __ATOMIC_RELAXED);
}

static objd_status start_sodium(void)
{
        return sodium_init() < 0 ? fail(OBJD_E_SYS, "there is no source of random numbers") : OBJD_OK;
}

/* A nonce, a fresh secret and its point. */
static void make_ephemeral(uint8_t *message, uint8_t ret_secret[32])
{
        randombytes_buf(message + AT_NONCE, NONCE_SIZE);
        randombytes_buf(ret_secret, crypto_scalarmult_SCALARBYTES);
        (void)crypto_scalarmult_base(message + AT_EPHEMERAL, ret_secret);
}

/* ---- The client --------------------------------------------------------------------------------------- */

objd_status seal_client_begin(struct seal_client *client, const struct seal_key *key,
                              const struct seal_versions *versions, struct seal_stats *stats,
                              uint8_t ret_hello[SEAL_HELLO_SIZE])
{
        objd_status r = start_sodium();

        if (r)
                return r;
        *client = (struct seal_client){ .key = key,
                                        .versions = versions ? *versions : our_versions,
                                        .stats = stats };
        begin_message(client->hello, SEAL_HELLO_SIZE, STEP_HELLO);
        client->hello[AT_FROM] = client->versions.from;
        client->hello[AT_TO] = client->versions.to;
        memcpy(client->hello + AT_KEY_ID, key->id, KEY_ID_SIZE);
        make_ephemeral(client->hello, client->ephemeral);
        make_hello_mac(key, client->hello, client->hello + AT_MAC);
        memcpy(ret_hello, client->hello, SEAL_HELLO_SIZE);
        return OBJD_OK;
}

void seal_client_forget(struct seal_client *client)
{
        sodium_memzero(client, sizeof(*client));
}

/* Nobody has proven that this comes from the daemon: it ends the attempt, and changes nothing else. */
static objd_status turned_away(const struct seal_client *client, const uint8_t *refusal)
{
        char text[KEY_ID_TEXT_SIZE];
        objd_status r;

        switch (refusal[AT_TOLD]) {
        case SEAL_TOLD_NO_VERSION:
                r = fail(OBJD_E_PROTO,
                         "the daemon speaks versions %u to %u of the sealing, this library %u to %u",
                         refusal[AT_TOLD_FROM], refusal[AT_TOLD_TO], client->versions.from,
                         client->versions.to);
                break;
        case SEAL_TOLD_BUSY:
                r = fail(OBJD_E_LIMIT, "the daemon has too many clients that have not proven their keys yet");
                break;
        default:
                r = fail(OBJD_E_ACCESS,
                         "the daemon does not accept key %s: it has no such key, or another secret for it",
                         key_id_text(client->key->id, text));
                break;
        }
        return seal_refused(client->stats, SEAL_TURNED_AWAY, r);
}

static bool is_refusal(const uint8_t *message, size_t size)
{
        enum seal_reason reason;

        return !find_fault(message, size, SEAL_REFUSAL_SIZE, STEP_REFUSAL, AT_TOLD_ZEROS, SEAL_REFUSAL_SIZE,
                           &reason);
}

enum seal_told seal_refusal_told(const void *message, size_t size)
{
        return is_refusal(message, size) ? (enum seal_told)((const uint8_t *)message)[AT_TOLD]
                                         : SEAL_TOLD_NOTHING;
}

static objd_status check_challenge(const struct seal_client *client, const uint8_t *challenge, size_t size)
{
        enum seal_reason reason;

        if (is_refusal(challenge, size))
                return turned_away(client, challenge);
        if (find_fault(challenge, size, SEAL_CHALLENGE_SIZE, STEP_CHALLENGE, AT_VERSION + 1, AT_KEY_ID,
                       &reason))
                return refuse_form(client->stats, reason);
        if (challenge[AT_VERSION] < client->versions.from || challenge[AT_VERSION] > client->versions.to)
                return refuse_key(client->stats, SEAL_DOWNGRADED, OBJD_E_PROTO, client->key->id,
                                  "the answer has a version that was not offered");
        if (memcmp(challenge + AT_KEY_ID, client->key->id, KEY_ID_SIZE) != 0)
                return refuse_key(client->stats, SEAL_WRONG_PROOF, OBJD_E_ACCESS, client->key->id,
                                  "the answer is about another key");
        return OBJD_OK;
}

static objd_status prove(struct seal_client *client, const uint8_t *challenge,
                         uint8_t ret_proof[SEAL_PROOF_SIZE], struct seal *ret_seal)
{
        struct agreed agreed;
        uint8_t mac[MAC_SIZE];
        objd_status r = OBJD_OK;

        if (!agree(client->key, client->hello, challenge, client->ephemeral, challenge + AT_EPHEMERAL,
                   &agreed))
                r = refuse_key(client->stats, SEAL_WEAK_POINT, OBJD_E_ACCESS, client->key->id,
                               "the answer has an ephemeral key that is of no use");
        make_challenge_mac(&agreed, mac);
        if (r == OBJD_OK && sodium_memcmp(mac, challenge + AT_MAC, MAC_SIZE) != 0)
                r = refuse_key(client->stats, SEAL_WRONG_PROOF, OBJD_E_ACCESS, client->key->id,
                               "who answers has not proven to have it");
        if (r == OBJD_OK) {
                make_proof(&agreed, challenge, ret_proof);
                make_channel(&agreed, challenge, false, client->stats, ret_seal);
                count_channel(client->stats);
        }
        sodium_memzero(&agreed, sizeof(agreed));
        sodium_memzero(mac, sizeof(mac));
        return r;
}

objd_status seal_client_finish(struct seal_client *client, const void *answer, size_t size,
                               uint8_t ret_proof[SEAL_PROOF_SIZE], struct seal *ret_seal)
{
        objd_status r;

        if (!client->key)
                return refuse_form(client->stats, SEAL_MALFORMED);
        r = check_challenge(client, answer, size);
        if (r == OBJD_OK)
                r = prove(client, answer, ret_proof, ret_seal);
        seal_client_forget(client);
        return r;
}

/* ---- The server --------------------------------------------------------------------------------------- */

objd_status seal_server_init(struct seal_server *server, const struct keyring *keyring)
{
        memset(server, 0, sizeof(*server));
        server->keyring = keyring;
        server->versions = our_versions;
        return start_sodium();
}

void seal_server_refuse(const struct seal_server *server, enum seal_told told,
                        uint8_t ret_refusal[SEAL_REFUSAL_SIZE])
{
        write_refusal(&server->versions, told, ret_refusal);
}

void seal_pending_forget(struct seal_pending *pending)
{
        sodium_memzero(pending, sizeof(*pending));
}

/* The highest version that both speak; 0 if there is none. */
static uint8_t choose_version(const struct seal_versions *ours, uint8_t from, uint8_t to)
{
        uint8_t highest = to < ours->to ? to : ours->to;

        return highest >= from && highest >= ours->from ? highest : 0;
}

/* The MAC of a hello is as good as its fingerprint: nobody without the key can make a second one. */
static uint64_t fingerprint(const uint8_t hello[SEAL_HELLO_SIZE])
{
        uint64_t number;

        memcpy(&number, hello + AT_MAC, sizeof(number));
        return number;
}

static bool was_seen(const struct seal_server *server, const uint8_t hello[SEAL_HELLO_SIZE])
{
        uint64_t number = fingerprint(hello);

        for (unsigned i = 0; i < SEAL_SEEN_MAX; i++)
                if (server->seen[i] == number)
                        return true;
        return false;
}

static void remember(struct seal_server *server, const uint8_t hello[SEAL_HELLO_SIZE])
{
        server->seen[server->next_seen] = fingerprint(hello);
        server->next_seen = (server->next_seen + 1) % SEAL_SEEN_MAX;
}

/* An unknown key goes the way of a wrong one up to the end, where it only has another name in the log. */
static objd_status check_hello_mac(struct seal_server *server, const uint8_t *hello,
                                   const struct seal_key **ret)
{
        const struct seal_key *key = keyring_find(server->keyring, hello + AT_KEY_ID);
        bool is_unknown = key == &server->keyring->nobody;
        uint8_t mac[MAC_SIZE];

        make_hello_mac(key, hello, mac);
        if ((sodium_memcmp(mac, hello + AT_MAC, MAC_SIZE) != 0) | is_unknown)
                return refuse_key(&server->stats, is_unknown ? SEAL_UNKNOWN_KEY : SEAL_WRONG_KEY,
                                  OBJD_E_ACCESS, hello + AT_KEY_ID,
                                  is_unknown ? "is not among the keys"
                                             : "was not known to who said hello with it");
        if (was_seen(server, hello))
                return refuse_key(&server->stats, SEAL_SEEN_BEFORE, OBJD_E_ACCESS, hello + AT_KEY_ID,
                                  "a hello was sent a second time");
        *ret = key;
        return OBJD_OK;
}

static objd_status check_hello(struct seal_server *server, const uint8_t *hello, size_t size,
                               uint8_t *ret_version, const struct seal_key **ret_key,
                               enum seal_told *ret_told)
{
        enum seal_reason reason;

        *ret_told = SEAL_TOLD_NO;
        if (find_fault(hello, size, SEAL_HELLO_SIZE, STEP_HELLO, AT_TO + 1, AT_KEY_ID, &reason))
                return refuse_form(&server->stats, reason);
        *ret_version = choose_version(&server->versions, hello[AT_FROM], hello[AT_TO]);
        if (!*ret_version) {
                *ret_told = SEAL_TOLD_NO_VERSION;
                return seal_refused(
                        &server->stats, SEAL_NO_VERSION,
                        fail(OBJD_E_PROTO,
                             "a client speaks versions %u to %u of the sealing, this daemon %u to %u",
                             hello[AT_FROM], hello[AT_TO], server->versions.from, server->versions.to));
        }
        return check_hello_mac(server, hello, ret_key);
}

/* Makes the challenge, and all that follows from it. */
static objd_status challenge_client(struct seal_server *server, const uint8_t *hello, uint8_t version,
                                    const struct seal_key *key, struct seal_pending *ret_pending,
                                    uint8_t ret_challenge[SEAL_CHALLENGE_SIZE])
{
        uint8_t ephemeral[32];
        struct agreed agreed;
        objd_status r = OBJD_OK;

        begin_message(ret_challenge, SEAL_CHALLENGE_SIZE, STEP_CHALLENGE);
        ret_challenge[AT_VERSION] = version;
        memcpy(ret_challenge + AT_KEY_ID, key->id, KEY_ID_SIZE);
        make_ephemeral(ret_challenge, ephemeral);
        if (!agree(key, hello, ret_challenge, ephemeral, hello + AT_EPHEMERAL, &agreed)) {
                r = refuse_key(&server->stats, SEAL_WEAK_POINT, OBJD_E_ACCESS, key->id,
                               "a hello has an ephemeral key that is of no use");
        } else {
                make_challenge_mac(&agreed, ret_challenge + AT_MAC);
                ret_pending->key = key;
                make_proof(&agreed, ret_challenge, ret_pending->expected);
                make_channel(&agreed, ret_challenge, true, &server->stats, &ret_pending->seal);
                remember(server, hello);
        }
        sodium_memzero(ephemeral, sizeof(ephemeral));
        sodium_memzero(&agreed, sizeof(agreed));
        return r;
}

objd_status seal_server_answer(struct seal_server *server, const void *hello, size_t size,
                               struct seal_pending *ret_pending, uint8_t ret_challenge[SEAL_CHALLENGE_SIZE],
                               uint8_t ret_refusal[SEAL_REFUSAL_SIZE])
{
        const struct seal_key *key = NULL;
        enum seal_told told;
        uint8_t version = 0;
        objd_status r = check_hello(server, hello, size, &version, &key, &told);

        memset(ret_pending, 0, sizeof(*ret_pending));
        if (r == OBJD_OK)
                r = challenge_client(server, hello, version, key, ret_pending, ret_challenge);
        if (r)
                write_refusal(&server->versions, told, ret_refusal);
        return r;
}

static objd_status check_proof(struct seal_server *server, const struct seal_pending *pending,
                               const uint8_t *proof, size_t size)
{
        enum seal_reason reason;

        if (find_fault(proof, size, SEAL_PROOF_SIZE, STEP_PROOF, AT_VERSION + 1, AT_KEY_ID, &reason))
                return refuse_form(&server->stats, reason);
        if (!pending->key)
                return refuse_key(&server->stats, SEAL_WRONG_PROOF, OBJD_E_ACCESS, proof + AT_KEY_ID,
                                  "a proof that nobody waits for");
        if (proof[AT_VERSION] != pending->expected[AT_VERSION])
                return refuse_key(&server->stats, SEAL_DOWNGRADED, OBJD_E_PROTO, pending->key->id,
                                  "the proof has another version than was agreed on");
        if (sodium_memcmp(proof, pending->expected, SEAL_PROOF_SIZE) != 0)
                return refuse_key(&server->stats, SEAL_WRONG_PROOF, OBJD_E_ACCESS, pending->key->id,
                                  "the client has not proven to have it");
        return OBJD_OK;
}

objd_status seal_server_finish(struct seal_server *server, struct seal_pending *pending, const void *proof,
                               size_t size, struct seal *ret_seal, const struct seal_key **ret_key,
                               uint8_t ret_refusal[SEAL_REFUSAL_SIZE])
{
        objd_status r = check_proof(server, pending, proof, size);

        if (r == OBJD_OK) {
                *ret_seal = pending->seal;
                *ret_key = pending->key;
                count_channel(&server->stats);
        } else {
                write_refusal(&server->versions, SEAL_TOLD_NO, ret_refusal);
        }
        seal_pending_forget(pending);
        return r;
}
