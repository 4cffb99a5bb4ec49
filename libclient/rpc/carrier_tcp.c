/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier_tcp.c -- the carrier behind tcp:// urls: sealed frames in messages of nanomsg's
 *
 * A link is a channel (seal.h), made by a handshake. nanomsg connects again by itself and does not say so; frames that were sealed for
 * the old channel then find a daemon that has none on that connection, and it says so. What it says is not authenticated, so it is
 * worth no more than that the link does not work: a new channel is made, always by a new handshake. If nothing comes to
 * what must be answered, there is a new connection too, since bytes may have been changed that nanomsg goes by.
 */

#include "rpc/carrier.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <sodium.h>

#include "base/status.h"
#include "base/sys.h"
#include "rpc/keyfile.h"
#include "rpc/sealed.h"
#include "rpc/sp.h"

/* Longest message that is taken: the largest frame, and others in the same message. */
#define RECEIVE_MAX (SEALED_FRAME_MAX + (64u << 10))

/* How long an answer to a hello may take before another one is said: at first, and at most. */
#define HELLO_MIN_NS 300000000LL
#define HELLO_MAX_NS 5000000000LL

/* Between attempts to send while there is no connection. */
#define RETRY_NS 10000000LL

/* So many refusals in a row are believed, for now. Fewer could be from somebody between us and the daemon. */
#define REFUSALS_BELIEVED 3u

/* A ping is answered within that time, or the connection is dead; unless something as large as that has been taken meanwhile. */
#define DEAD_NS 10000000000LL
#define BYTES_OF_LIFE (32u << 10)

enum link_state { LINK_DOWN, LINK_SHAKING, LINK_UP };

struct carrier_tcp {
        struct carrier carrier;
        struct sp sp;
        int epoll; /* the descriptor that is given out: the socket's own changes */
        char *address;
        struct keyring *keyring;
        const struct seal_key *key;
        struct sp_count count;

        enum link_state state;
        struct seal_client handshake;
        struct seal seal;
        void *blocked; /* a sealed frame that nobody takes now; its number is given out, so it must go first */

        int64_t next_ns; /* nothing is said before that */
        int64_t patience_ns;
        uint32_t n_hellos; /* that nobody has answered */
        uint32_t n_refusals;
        objd_status told; /* to be said once */
        char sentence[256];

        int64_t asked_ns; /* when something was sent that must be answered; 0: nothing was */
};

static struct carrier_tcp *as_tcp(struct carrier *carrier)
{
        return (struct carrier_tcp *)carrier;
}

/* ---- The connection --------------------------------------------------------------------------------------- */

static objd_status dial(struct carrier_tcp *c)
{
        struct epoll_event event = { .events = EPOLLIN };
        objd_status r = sp_open(SP_CLIENT, RECEIVE_MAX, &c->sp);

        if (r == OBJD_OK)
                r = sp_connect(&c->sp, c->address);
        if (r == OBJD_OK && epoll_ctl(c->epoll, EPOLL_CTL_ADD, c->sp.readable, &event) < 0)
                r = fail_errno("cannot watch a descriptor");
        if (r)
                sp_close(&c->sp); /* so that it is tried again */
        return r;
}

/* Who waits is woken when it could be taken. */
static void watch_writable(const struct carrier_tcp *c, bool watch)
{
        struct epoll_event event = { .events = EPOLLIN };

        (void)epoll_ctl(c->epoll, watch ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, c->sp.writable, &event);
}

static void drop_blocked(struct carrier_tcp *c)
{
        if (!c->blocked)
                return;
        if (sp_is_own(&c->sp)) /* else the epoll instance is a parent's, too */
                watch_writable(c, false);
        sp_free(&c->sp, c->blocked);
        c->blocked = NULL;
}

/* The channel, if there is one, is of no use any more. */
static void go_down(struct carrier_tcp *c)
{
        drop_blocked(c);
        seal_end(&c->seal);
        seal_client_forget(&c->handshake);
        c->state = LINK_DOWN;
        c->asked_ns = 0;
}

static objd_status dial_again(struct carrier_tcp *c)
{
        go_down(c);
        if (c->sp.socket >= 0)
                (void)epoll_ctl(c->epoll, EPOLL_CTL_DEL, c->sp.readable, NULL);
        sp_close(&c->sp);
        c->count = (struct sp_count){ 0 };
        c->n_hellos = 0;
        return dial(c);
}

static void close_tcp(struct carrier *carrier)
{
        struct carrier_tcp *c = as_tcp(carrier);

        go_down(c);
        sp_close(&c->sp);
        if (c->epoll >= 0)
                (void)close(c->epoll);
        keyring_free(c->keyring);
        free(c->address);
        free(c);
}

/* ---- The handshake ---------------------------------------------------------------------------------------- */

static objd_status send_handshake(struct carrier_tcp *c, enum seal_frame_type type, const void *message,
                                  size_t size)
{
        void *data = sp_alloc(&c->sp, FRAME_HEAD + size);
        objd_status r;

        if (!data)
                return fail(OBJD_E_NOMEM, "no memory for a message");
        (void)sealed_handshake(type, message, size, data);
        r = sp_count_send(&c->count, &c->sp, data);
        if (r)
                sp_free(&c->sp, data);
        return r;
}

static objd_status say_hello(struct carrier_tcp *c, int64_t now)
{
        uint8_t hello[SEAL_HELLO_SIZE];
        objd_status r = seal_client_begin(&c->handshake, c->key, NULL, NULL, hello);

        if (r == OBJD_OK)
                r = send_handshake(c, SEAL_TYPE_HELLO, hello, sizeof(hello));
        if (r == OBJD_E_BUSY) { /* there is no connection */
                go_down(c);
                c->next_ns = now + RETRY_NS;
                return r;
        }
        if (r)
                return r;
        c->state = LINK_SHAKING;
        c->n_hellos++;
        c->next_ns = now + c->patience_ns;
        c->patience_ns = c->patience_ns * 2 < HELLO_MAX_NS ? c->patience_ns * 2 : HELLO_MAX_NS;
        return OBJD_E_BUSY;
}

/* One that is none is as if nothing had come: it may be late, or somebody else's. */
static void on_challenge(struct carrier_tcp *c, const void *challenge, size_t size)
{
        struct seal_client before = c->handshake;
        uint8_t proof[SEAL_PROOF_SIZE];

        if (c->state != LINK_SHAKING)
                return;
        if (seal_client_finish(&c->handshake, challenge, size, proof, &c->seal)) {
                c->handshake = before;
        } else if (send_handshake(c, SEAL_TYPE_PROOF, proof, sizeof(proof))) {
                go_down(c);
        } else {
                c->state = LINK_UP;
                c->carrier.link++;
                c->n_hellos = 0;
                c->asked_ns = 0;
        }
        sodium_memzero(&before, sizeof(before));
        sodium_memzero(proof, sizeof(proof));
}

/* Anybody could have said it. It costs us this attempt; only if there are several in a row it is told to the caller. */
static void on_refusal(struct carrier_tcp *c, const void *refusal, size_t size)
{
        enum seal_told told = seal_refusal_told(refusal, size);
        uint8_t proof[SEAL_PROOF_SIZE];
        objd_status r;

        if (told == SEAL_TOLD_NO_CHANNEL) {
                if (c->state == LINK_UP)
                        go_down(c);
                return;
        }
        if (c->state != LINK_SHAKING) {
                if (c->state == LINK_UP && told == SEAL_TOLD_NO)
                        go_down(c); /* our proof has not come through as it was */
                return;
        }
        r = seal_client_finish(&c->handshake, refusal, size, proof, &c->seal);
        go_down(c);
        c->next_ns = now_ns() + HELLO_MIN_NS / 3;
        if (told != SEAL_TOLD_BUSY && ++c->n_refusals >= REFUSALS_BELIEVED) {
                c->told = r;
                strncpy(c->sentence, objd_last_error(), sizeof(c->sentence) - 1);
                c->n_refusals = 0;
        }
}

static bool is_dead(const struct carrier_tcp *c, int64_t now)
{
        return c->state == LINK_UP && c->asked_ns && now - c->asked_ns >= DEAD_NS;
}

static objd_status prepare(struct carrier *carrier, int64_t *ret_again_ns)
{
        struct carrier_tcp *c = as_tcp(carrier);
        int64_t now = now_ns();
        objd_status r = OBJD_OK;

        if (c->sp.socket < 0 || is_dead(c, now) ||
            (c->state == LINK_SHAKING && now >= c->next_ns && c->n_hellos > 1))
                r = dial_again(c);
        if (r || c->state == LINK_UP)
                return r;
        if (c->told) {
                r = c->told;
                c->told = OBJD_OK;
                return fail(r, "%s", c->sentence);
        }
        r = now >= c->next_ns ? say_hello(c, now) : OBJD_E_BUSY;
        *ret_again_ns = c->next_ns;
        return r;
}

/* ---- Frames ----------------------------------------------------------------------------------------------- */

/* The frame stays here if it is not taken now. */
static objd_status send_sealed(struct carrier_tcp *c, void *frame)
{
        objd_status r = sp_count_send(&c->count, &c->sp, frame);

        if (r == OBJD_OK ? c->blocked != NULL : c->blocked == NULL)
                watch_writable(c, r != OBJD_OK);
        c->blocked = r ? frame : NULL;
        return r;
}

static objd_status reserve(struct carrier *carrier, size_t size, void **ret_data)
{
        struct carrier_tcp *c = as_tcp(carrier);
        uint8_t *data;

        if (c->state != LINK_UP || (c->blocked && send_sealed(c, c->blocked)))
                return OBJD_E_BUSY;
        data = sp_alloc(&c->sp, size + SEAL_OVERHEAD);
        if (!data)
                return fail(OBJD_E_NOMEM, "no memory for a message of %zu bytes", size);
        *ret_data = data + SEAL_OVERHEAD;
        return OBJD_OK;
}

static void note_sent(struct carrier_tcp *c, uint8_t type, size_t size)
{
        bool asks = type == FRAME_PING || type == FRAME_HELLO;

        if (c->asked_ns ? size >= BYTES_OF_LIFE : asks)
                c->asked_ns = now_ns();
}

static objd_status send_tcp(struct carrier *carrier, void *data, size_t size)
{
        struct carrier_tcp *c = as_tcp(carrier);
        uint8_t *frame = (uint8_t *)data - SEAL_OVERHEAD, type;
        objd_status r;

        memmove(frame, data, FRAME_HEAD);
        type = frame[2];
        r = sealed_close(&c->seal, frame, size - FRAME_HEAD);
        if (r == OBJD_OK) {
                r = send_sealed(c, frame);
                if (r == OBJD_E_BUSY)
                        r = OBJD_OK; /* it goes before the next one */
        } else {
                sp_free(&c->sp, frame);
        }
        if (r) {
                go_down(c);
                return r;
        }
        note_sent(c, type, size);
        carrier->owes_answer = false;
        return OBJD_OK;
}

/*
 * A frame that was thrown in or changed is as if it had not come; if it was one of the daemon's, the next one shows that there is one
 * missing, and then this channel is over. At its beginning there may still be some that were sealed for the one before.
 */
static void on_bad_frame(struct carrier_tcp *c)
{
        bool has_begun = c->seal.receive.next != SEAL_SERVER_BIT;
        enum seal_reason reason = seal_last_reason();

        if (reason == SEAL_OVER || (reason == SEAL_MISSING && has_begun))
                go_down(c);
}

/* Whether there are frames in it. */
static bool on_message(struct carrier_tcp *c, struct sp_message *message)
{
        enum seal_frame_type type;
        const uint8_t *behind = (const uint8_t *)message->data + FRAME_HEAD;
        size_t size;

        c->carrier.owes_answer = sp_count_came(&c->count, message);
        if (sealed_is_handshake(message->data, message->size, &type)) {
                if (type == SEAL_TYPE_CHALLENGE)
                        on_challenge(c, behind, message->size - FRAME_HEAD);
                else if (type == SEAL_TYPE_REFUSAL)
                        on_refusal(c, behind, message->size - FRAME_HEAD);
                return false;
        }
        if (c->state != LINK_UP)
                return false;
        if (sealed_open(&c->seal, message->data, message->size, &size))
                on_bad_frame(c);
        message->size = size;
        if (!size)
                return false;
        c->asked_ns = 0;
        c->n_refusals = 0;
        c->patience_ns = HELLO_MIN_NS;
        return true;
}

static objd_status receive(struct carrier *carrier, struct carrier_frames *ret_frames)
{
        struct carrier_tcp *c = as_tcp(carrier);
        struct sp_message message;
        objd_status r;

        while ((r = sp_receive(&c->sp, &message)) == OBJD_OK) {
                if (on_message(c, &message)) {
                        *ret_frames = (struct carrier_frames){ .data = message.data, .size = message.size };
                        return OBJD_OK;
                }
                sp_free(&c->sp, message.data);
        }
        return r;
}

static void release(struct carrier *carrier, struct carrier_frames *frames)
{
        sp_free(&as_tcp(carrier)->sp, frames->data);
}

static int64_t wait_tcp(struct carrier *carrier, int64_t until_ns)
{
        int64_t left_ns = until_ns - now_ns();
        struct timespec time = { 0 };

        if (left_ns > 0)
                time = (struct timespec){ .tv_sec = left_ns / 1000000000, .tv_nsec = left_ns % 1000000000 };
        (void)ppoll(&(struct pollfd){ .fd = carrier->readable, .events = POLLIN }, 1, &time, NULL);
        return now_ns();
}

static const struct carrier_kind tcp_kind = {
        .close = close_tcp,
        .prepare = prepare,
        .reserve = reserve,
        .send = send_tcp,
        .receive = receive,
        .release = release,
        .wait = wait_tcp,
};

/* ---- Beginning -------------------------------------------------------------------------------------------- */

static objd_status open_sealed(char *address, const char *key_file, struct carrier **ret_carrier)
{
        struct carrier_tcp *c = sys.alloc(sizeof(*c));
        objd_status r;

        if (!c) {
                free(address);
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        }
        c->carrier = (struct carrier){ .kind = &tcp_kind, .max_frame = SEALED_FRAME_MAX, .readable = -1 };
        c->sp.socket = -1;
        c->address = address;
        c->patience_ns = HELLO_MIN_NS;
        c->epoll = c->carrier.readable = epoll_create1(EPOLL_CLOEXEC);
        r = c->epoll < 0 ? fail_errno("cannot make a descriptor to wait with")
                         : keyfile_load(key_file, &c->keyring);
        if (r == OBJD_OK)
                r = keyring_only(c->keyring, key_file, &c->key);
        if (r == OBJD_OK)
                r = dial(c);
        if (r) {
                close_tcp(&c->carrier);
                return r;
        }
        *ret_carrier = &c->carrier;
        return OBJD_OK;
}

/* What stands behind the ? of the url, or else in the environment; *ret is NULL if there is to be no seal. */
static objd_status find_key_file(const char *url, const char *options, const char **ret)
{
        static const char key[] = "?key=";

        *ret = secure_getenv("OBJD_KEY_FILE");
        if (options && strcmp(options, "?insecure") == 0) {
                *ret = NULL;
                return OBJD_OK;
        }
        if (options && strncmp(options, key, sizeof(key) - 1) == 0)
                *ret = options + sizeof(key) - 1;
        else if (options)
                return fail(OBJD_E_INVAL, "\"%s\": behind the ? may be key=FILE, or insecure", url);
        if (*ret && **ret)
                return OBJD_OK;
        return fail(OBJD_E_INVAL,
                    "\"%s\" needs a key: a file with one, made by \"objctl keygen FILE\", that OBJD_KEY_FILE "
                    "names, or \"?key=FILE\" at the end of the url",
                    url);
}

objd_status carrier_tcp_open(const char *url, struct carrier **ret_carrier)
{
        const char *options = strchr(url, '?'), *key_file;
        char *address;
        objd_status r = find_key_file(url, options, &key_file);

        if (r)
                return r;
        address = options ? strndup(url, (size_t)(options - url)) : strdup(url);
        if (!address)
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        if (key_file)
                return open_sealed(address, key_file, ret_carrier);
        r = carrier_sp_open(address, ret_carrier);
        free(address);
        return r;
}
