/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_seal.c -- two honest ends with anybody between them
 *
 * The input is steps of four bytes: what to do, to what, and two of how. The ends say hello, answer, prove,
 * and seal frames; every message goes into a store of what was captured. From there the one between brings it
 * to either end, as it is, changed, cut, or made up. Whatever he does, an end takes only what the other end
 * has said in this very place: a proof of this handshake, the next frame of this channel, with the bytes it
 * was sealed from.
 */

#include <sodium.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "rpc/handshake.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define HEADER_SIZE 32
#define PAYLOAD_MAX 64
#define MESSAGE_MAX 160 /* every message, and some more */
#define N_CAPTURED 16
#define N_FRAMES 64 /* of one direction of a channel */
#define N_CHANNELS 8
#define STEP_SIZE 4

static const char keys_text[] =
        "0123456789abcdef 00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0 rw\n"
        "0123456789abcdee 10112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0 ro\n";

struct message {
        size_t size;
        uint8_t bytes[MESSAGE_MAX];
};

/* What one end has sealed, in order, and how much of it the other end has opened. */
struct stream {
        size_t n_sent, n_opened;
        struct message frames[N_FRAMES]; /* header and payload */
};

/* Made by the client when it has taken a challenge. */
struct channel {
        uint8_t id[SEAL_ID_SIZE];
        uint8_t key_id[KEY_ID_SIZE];
        uint8_t proof[SEAL_PROOF_SIZE];
        bool is_served;
        struct stream to_server, to_client;
};

struct world {
        struct seal_server server;
        struct seal_pending pending;
        struct seal_client client;
        struct seal_stats client_stats;
        struct seal client_end, server_end;
        struct channel *of_client, *of_server; /* the channels of these; NULL: none yet */
        size_t n_channels;
        struct channel channels[N_CHANNELS];
        size_t n_captured;
        struct message captured[N_CAPTURED];
};

static struct keyring *keyring;
static struct world world;

static void must(bool condition)
{
        if (!condition)
                abort();
}

/*
 * ---- Randomness that an input always has the same of ----------------------------------------------------
 */

static uint64_t random_state;

static const char *random_name(void)
{
        return "counter";
}

static uint32_t random_number(void)
{
        random_state = random_state * 6364136223846793005ULL + 1442695040888963407ULL;
        return (uint32_t)(random_state >> 32);
}

static void random_bytes(void *const dst, const size_t size)
{
        for (size_t i = 0; i < size; i++)
                ((uint8_t *)dst)[i] = (uint8_t)random_number();
}

static struct randombytes_implementation random_source = {
        .implementation_name = random_name,
        .random = random_number,
        .buf = random_bytes,
};

static void start(void)
{
        must(randombytes_set_implementation(&random_source) == 0);
        must(sodium_init() == 0);
        must(keyring_parse("keys", keys_text, sizeof(keys_text) - 1, &keyring) == OBJD_OK);
}

/* ---- Messages ----------------------------------------------------------------------------------------- */

static void capture(const void *bytes, size_t size)
{
        struct message *message = &world.captured[world.n_captured++ % N_CAPTURED];

        message->size = size;
        memcpy(message->bytes, bytes, size);
}

/* A copy of one that was captured, with a bit changed, cut short or made longer if `how` says so. */
static struct message choose(uint8_t which, uint8_t how, uint8_t where)
{
        struct message message = world.captured[which % N_CAPTURED];

        switch (how % 4) {
        case 1:
                if (message.size)
                        message.bytes[where % message.size] ^= (uint8_t)(1 << how / 4 % 8);
                break;
        case 2:
                message.size = where % (MESSAGE_MAX + 1);
                break;
        case 3:
                if (message.size)
                        message.bytes[where % message.size] = (uint8_t)(how / 4);
                break;
        default:
                break;
        }
        return message;
}

static void say_hello(uint8_t which)
{
        uint8_t hello[SEAL_HELLO_SIZE];

        must(seal_client_begin(&world.client, &keyring->keys[which % keyring->n_keys], NULL,
                               &world.client_stats, hello) == OBJD_OK);
        capture(hello, sizeof(hello));
}

static void bring_hello(const struct message *message)
{
        uint8_t challenge[SEAL_CHALLENGE_SIZE], refusal[SEAL_REFUSAL_SIZE];

        if (seal_server_answer(&world.server, message->bytes, message->size, &world.pending, challenge,
                               refusal) == OBJD_OK)
                capture(challenge, sizeof(challenge));
        else
                capture(refusal, sizeof(refusal));
}

static void bring_answer(const struct message *message)
{
        struct channel *channel = &world.channels[world.n_channels];

        if (world.n_channels == N_CHANNELS ||
            seal_client_finish(&world.client, message->bytes, message->size, channel->proof,
                               &world.client_end) != OBJD_OK)
                return;
        memcpy(channel->id, world.client_end.id, SEAL_ID_SIZE);
        memcpy(channel->key_id, world.client_end.key_id, KEY_ID_SIZE);
        world.of_client = channel;
        world.n_channels++;
        capture(channel->proof, SEAL_PROOF_SIZE);
}

static struct channel *find_channel(const uint8_t id[SEAL_ID_SIZE])
{
        for (size_t i = 0; i < world.n_channels; i++)
                if (memcmp(world.channels[i].id, id, SEAL_ID_SIZE) == 0)
                        return &world.channels[i];
        return NULL;
}

/*
 * The server has a channel only with a client that has made the same one, by the proof that this client made,
 * and once.
 */
static void bring_proof(const struct message *message)
{
        uint8_t refusal[SEAL_REFUSAL_SIZE];
        const struct seal_key *key;
        struct channel *channel;

        if (seal_server_finish(&world.server, &world.pending, message->bytes, message->size,
                               &world.server_end, &key, refusal) != OBJD_OK) {
                capture(refusal, sizeof(refusal));
                return;
        }
        channel = find_channel(world.server_end.id);
        must(channel && !channel->is_served);
        must(message->size == SEAL_PROOF_SIZE &&
             memcmp(message->bytes, channel->proof, SEAL_PROOF_SIZE) == 0);
        must(memcmp(key->id, channel->key_id, KEY_ID_SIZE) == 0);
        channel->is_served = true;
        world.of_server = channel;
}

/* ---- Frames ------------------------------------------------------------------------------------------- */

static void send_frame(struct seal *end, struct stream *stream, uint8_t size, uint8_t byte)
{
        struct message *frame = &stream->frames[stream->n_sent];
        uint8_t sealed[HEADER_SIZE + SEAL_OVERHEAD + PAYLOAD_MAX];

        if (stream->n_sent == N_FRAMES)
                return;
        frame->size = HEADER_SIZE + size % (PAYLOAD_MAX + 1);
        memset(frame->bytes, byte, frame->size);
        memcpy(sealed, frame->bytes, HEADER_SIZE);
        must(seal_frame(end, sealed, HEADER_SIZE, frame->bytes + HEADER_SIZE, frame->size - HEADER_SIZE,
                        sealed + HEADER_SIZE) == OBJD_OK);
        stream->n_sent++;
        capture(sealed, frame->size + SEAL_OVERHEAD);
}

/* What was opened is what was sealed next. */
static void check_opened(struct stream *stream, const struct message *message, const uint8_t *payload)
{
        const struct message *frame = &stream->frames[stream->n_opened];

        must(stream->n_opened++ < stream->n_sent);
        must(message->size == frame->size + SEAL_OVERHEAD);
        must(memcmp(message->bytes, frame->bytes, HEADER_SIZE) == 0);
        must(memcmp(payload, frame->bytes + HEADER_SIZE, frame->size - HEADER_SIZE) == 0);
}

/* Opens it in place, in a buffer of just its size. */
static void bring_frame(struct seal *end, struct stream *stream, const struct message *message)
{
        size_t size = message->size > HEADER_SIZE ? message->size - HEADER_SIZE : 0;
        uint8_t *sealed = malloc(size + !size), *payload;

        must(sealed != NULL);
        memcpy(sealed, message->bytes + HEADER_SIZE, size);
        payload = size > SEAL_OVERHEAD ? sealed + SEAL_OVERHEAD : sealed;
        if (seal_open(end, message->bytes, HEADER_SIZE, sealed, size, payload) == OBJD_OK)
                check_opened(stream, message, payload);
        else
                must(*objd_last_error() && seal_last_reason() < SEAL_N_REASONS);
        free(sealed);
}

static void do_step(const uint8_t step[STEP_SIZE])
{
        struct message message = choose(step[1], step[2], step[3]);

        switch (step[0] % 9) {
        case 0:
                say_hello(step[1]);
                break;
        case 1:
                bring_hello(&message);
                break;
        case 2:
                bring_answer(&message);
                break;
        case 3:
                bring_proof(&message);
                break;
        case 4:
                if (world.of_client)
                        send_frame(&world.client_end, &world.of_client->to_server, step[2], step[3]);
                break;
        case 5:
                if (world.of_server)
                        send_frame(&world.server_end, &world.of_server->to_client, step[2], step[3]);
                break;
        case 6:
                if (world.of_server)
                        bring_frame(&world.server_end, &world.of_server->to_server, &message);
                break;
        case 7:
                if (world.of_client)
                        bring_frame(&world.client_end, &world.of_client->to_client, &message);
                break;
        default: /* a message of the one between, with the beginning of one that was captured */
                message.bytes[step[3] % MESSAGE_MAX] = step[2];
                capture(message.bytes, message.size);
                break;
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        if (!keyring)
                start();
        random_state = 1;
        memset(&world, 0, sizeof(world));
        must(seal_server_init(&world.server, keyring) == OBJD_OK);
        for (; size >= STEP_SIZE; data += STEP_SIZE, size -= STEP_SIZE)
                do_step(data);
        return 0;
}
