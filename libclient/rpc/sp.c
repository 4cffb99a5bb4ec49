/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sp.c -- the carrier behind ipc:// and tcp:// urls
 */

#include "rpc/sp.h"

#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <fcntl.h>
#include <unistd.h>

#include <nanomsg/nn.h>
#include <nanomsg/reqrep.h>
#include <nanomsg/tcp.h>

#include "base/fork.h"
#include "base/forklock.h"
#include "base/status.h"
#include "base/sys.h"

/* How long the library pauses before it connects again, at most. */
#define RECONNECT_MIN_MS 5
#define RECONNECT_MAX_MS 200

/* How long a connection is waited for before another one is made, at first and at most. */
#define CONNECT_MIN_NS 500000000LL
#define CONNECT_MAX_NS 4000000000LL

/* Both directions: a reply that finds it full is dropped by the library, so it is more than is ever under way. */
#define BUFFER_BYTES (256 * 1024)

struct sp_library {
        uint64_t fork_generation; /* in which process its threads are */
        void *handle;
        int (*socket_)(int domain, int protocol);
        int (*close_)(int s);
        int (*setsockopt_)(int s, int level, int option, const void *value, size_t size);
        int (*getsockopt_)(int s, int level, int option, void *value, size_t *size);
        int (*bind_)(int s, const char *addr);
        int (*connect_)(int s, const char *addr);
        int (*shutdown_)(int s, int endpoint);
        uint64_t (*get_statistic_)(int s, int statistic);
        void *(*allocmsg_)(size_t size, int type);
        int (*freemsg_)(void *msg);
        int (*sendmsg_)(int s, const struct nn_msghdr *header, int flags);
        int (*recvmsg_)(int s, struct nn_msghdr *header, int flags);
        int (*errno_)(void);
        const char *(*strerror_)(int error);
};

static struct forklock library_lock;
static struct sp_library library;

/* ---- Loading ---------------------------------------------------------------------------------------------- */

static bool resolve(struct sp_library *lib)
{
        const struct {
                const char *name;
                void *pointer;
        } symbols[] = {
                { "nn_socket", &lib->socket_ },
                { "nn_close", &lib->close_ },
                { "nn_setsockopt", &lib->setsockopt_ },
                { "nn_getsockopt", &lib->getsockopt_ },
                { "nn_bind", &lib->bind_ },
                { "nn_connect", &lib->connect_ },
                { "nn_shutdown", &lib->shutdown_ },
                { "nn_get_statistic", &lib->get_statistic_ },
                { "nn_allocmsg", &lib->allocmsg_ },
                { "nn_freemsg", &lib->freemsg_ },
                { "nn_sendmsg", &lib->sendmsg_ },
                { "nn_recvmsg", &lib->recvmsg_ },
                { "nn_errno", &lib->errno_ },
                { "nn_strerror", &lib->strerror_ },
        };

        for (size_t i = 0; i < sizeof(symbols) / sizeof(*symbols); i++) {
                void *found = dlsym(lib->handle, symbols[i].name);

                if (!found)
                        return false;
                memcpy(symbols[i].pointer, &found, sizeof(found));
        }
        return true;
}

/* The same file under another name is another library to the loader, with a state of its own. */
static void *load_copy(void *handle)
{
        struct link_map *map = NULL;
        char path[64];
        void *copy = NULL;
        off_t size;
        int from, to;

        if (dlinfo(handle, RTLD_DI_LINKMAP, &map) || !map)
                return NULL;
        from = open(map->l_name, O_RDONLY | O_CLOEXEC);
        to = memfd_create("libnanomsg", MFD_CLOEXEC);
        size = from < 0 ? -1 : lseek(from, 0, SEEK_END);
        if (to >= 0 && size > 0) {
                off_t at = 0;

                while (at < size && sendfile(to, from, &at, (size_t)(size - at)) > 0)
                        ;
                (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", to);
                if (at == size)
                        copy = dlopen(path, RTLD_NOW | RTLD_LOCAL);
        }
        if (from >= 0)
                (void)close(from);
        if (to >= 0)
                (void)close(to);
        return copy;
}

static objd_status load(struct sp_library *lib)
{
        struct sp_library fresh = { .fork_generation = fork_generation() };

        fresh.handle =
                lib->handle ? load_copy(lib->handle) : dlopen("libnanomsg.so.5", RTLD_NOW | RTLD_LOCAL);
        if (!fresh.handle || !resolve(&fresh))
                return fail(OBJD_E_SYS,
                            "ipc:// and tcp:// need the library nanomsg (Debian: libnanomsg5): %s",
                            dlerror());
        *lib = fresh;
        return OBJD_OK;
}

static objd_status get_library(const struct sp_library **ret_library)
{
        objd_status r = OBJD_OK;

        forklock_take(&library_lock);
        if (!library.handle || library.fork_generation != fork_generation())
                r = load(&library);
        forklock_give(&library_lock);
        *ret_library = &library;
        return r;
}

static objd_status fail_sp(const struct sp_library *lib, const char *what)
{
        return fail(OBJD_E_SYS, "%s: %s", what, lib->strerror_(lib->errno_()));
}

/* ---- Sockets ---------------------------------------------------------------------------------------------- */

static bool set(const struct sp *sp, int level, int option, int value)
{
        return sp->library->setsockopt_(sp->socket, level, option, &value, sizeof(value)) == 0;
}

objd_status sp_open(enum sp_side side, size_t max_receive, struct sp *ret_sp)
{
        struct sp sp = { .fork_generation = fork_generation() };
        size_t size = sizeof(sp.readable);
        objd_status r = get_library(&sp.library);

        if (r)
                return r;
        sp.socket = sp.library->socket_(AF_SP_RAW, side == SP_SERVER ? NN_REP : NN_REQ);
        if (sp.socket < 0)
                return fail_sp(sp.library, "cannot make a socket of nanomsg's");
        if (!set(&sp, NN_SOL_SOCKET, NN_RCVMAXSIZE, (int)max_receive) ||
            !set(&sp, NN_SOL_SOCKET, NN_SNDBUF, BUFFER_BYTES) ||
            !set(&sp, NN_SOL_SOCKET, NN_RCVBUF, BUFFER_BYTES) ||
            !set(&sp, NN_SOL_SOCKET, NN_RECONNECT_IVL, RECONNECT_MIN_MS) ||
            !set(&sp, NN_SOL_SOCKET, NN_RECONNECT_IVL_MAX, RECONNECT_MAX_MS) ||
            !set(&sp, NN_TCP, NN_TCP_NODELAY, 1) ||
            sp.library->getsockopt_(sp.socket, NN_SOL_SOCKET, NN_RCVFD, &sp.readable, &size) ||
            (side == SP_CLIENT &&
             sp.library->getsockopt_(sp.socket, NN_SOL_SOCKET, NN_SNDFD, &sp.writable, &size))) {
                r = fail_sp(sp.library, "cannot set up a socket of nanomsg's");
                (void)sp.library->close_(sp.socket);
                return r;
        }
        *ret_sp = sp;
        return OBJD_OK;
}

bool sp_is_own(const struct sp *sp)
{
        return sp->fork_generation == fork_generation();
}

/*
 * Of a socket that was made in a parent process there is nothing to close: its threads are the parent's, and its number may by now be
 * that of one of our own.
 */
void sp_close(struct sp *sp)
{
        if (sp->socket >= 0 && sp_is_own(sp))
                (void)sp->library->close_(sp->socket);
        sp->socket = -1;
        free(sp->url);
        sp->url = NULL;
}

static objd_status fail_address(const struct sp *sp, const char *what, const char *url)
{
        int error = sp->library->errno_();

        return fail(error == EINVAL || error == ENAMETOOLONG || error == ENODEV ? OBJD_E_INVAL : OBJD_E_SYS,
                    "cannot %s %s: %s", what, url,
                    error == ENODEV ? "this machine has no such address" : sp->library->strerror_(error));
}

/* The library knows of IPv6 only if it is told to; then it needs a kernel that does, so it is told for such addresses only. */
static void set_family(const struct sp *sp, const char *url)
{
        (void)set(sp, NN_SOL_SOCKET, NN_IPV4ONLY, strchr(url, '[') == NULL);
}

objd_status sp_bind(struct sp *sp, const char *url)
{
        set_family(sp, url);
        sp->endpoint = sp->library->bind_(sp->socket, url);
        return sp->endpoint < 0 ? fail_address(sp, "listen on", url) : OBJD_OK;
}

uint64_t sp_n_connections(const struct sp *sp)
{
        return sp->library->get_statistic_(sp->socket, NN_STAT_CURRENT_CONNECTIONS);
}

objd_status sp_bind_again(struct sp *sp, const char *url)
{
        if (sp->endpoint >= 0)
                (void)sp->library->shutdown_(sp->socket, sp->endpoint);
        return sp_bind(sp, url);
}

static bool connect_now(struct sp *sp)
{
        sp->endpoint = sp->library->connect_(sp->socket, sp->url);
        sp->connected_ns = now_ns();
        return sp->endpoint >= 0;
}

objd_status sp_connect(struct sp *sp, const char *url)
{
        sp->url = strdup(url);
        if (!sp->url)
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        sp->pause_ns = CONNECT_MIN_NS;
        set_family(sp, url);
        return connect_now(sp) ? OBJD_OK : fail_address(sp, "connect to", url);
}

/*
 * Nothing can be sent. If that is because there is no connection, and has been none for a while, another one is made from the
 * beginning: what nanomsg had read of a lost connection, and not yet given out, it takes for the beginning of the next one's
 * handshake, which then fails, each time anew. An endpoint of its own begins without that.
 */
static void connect_again(struct sp *sp)
{
        if (!sp->url)
                return;
        if (sp->library->get_statistic_(sp->socket, NN_STAT_CURRENT_CONNECTIONS)) {
                sp->connected_ns = now_ns();
                sp->pause_ns = CONNECT_MIN_NS;
        } else if (now_ns() - sp->connected_ns >= sp->pause_ns) {
                if (sp->endpoint >= 0)
                        (void)sp->library->shutdown_(sp->socket, sp->endpoint);
                (void)connect_now(sp);
                if (sp->pause_ns < CONNECT_MAX_NS)
                        sp->pause_ns *= 2;
        }
}

/* ---- Messages --------------------------------------------------------------------------------------------- */

void *sp_alloc(const struct sp *sp, size_t size)
{
        return sp->library->allocmsg_(size, 0);
}

void sp_free(const struct sp *sp, void *data)
{
        if (data)
                (void)sp->library->freemsg_(data);
}

/* What stands in a control message behind its head: how long the header is, and the header. */
struct control {
        struct nn_cmsghdr head;
        size_t size;
        uint8_t bytes[SP_HEAD_MAX];
};

objd_status sp_send(struct sp *sp, const void *head, size_t head_size, void *data)
{
        struct control control = { .size = head_size };
        struct nn_iovec part = { &data, NN_MSG };
        const struct nn_msghdr header = {
                .msg_iov = &part,
                .msg_iovlen = 1,
                .msg_control = &control,
                .msg_controllen = NN_CMSG_SPACE(sizeof(size_t) + head_size),
        };
        int error;

        control.head.cmsg_len = NN_CMSG_LEN(sizeof(size_t) + head_size);
        control.head.cmsg_level = PROTO_SP;
        control.head.cmsg_type = SP_HDR;
        memcpy(control.bytes, head, head_size);
        if (sp->library->sendmsg_(sp->socket, &header, NN_DONTWAIT) >= 0) {
                sp->pause_ns = CONNECT_MIN_NS; /* there is a connection */
                return OBJD_OK;
        }
        error = sp->library->errno_();
        if (error != EAGAIN && error != EINTR)
                return fail_sp(sp->library, "cannot send");
        connect_again(sp);
        return OBJD_E_BUSY;
}

bool sp_takes(struct sp *sp)
{
        struct pollfd fd = { .fd = sp->writable, .events = POLLIN };

        if (poll(&fd, 1, 0) > 0)
                return true;
        connect_again(sp);
        return false;
}

static bool read_head(const struct control *control, struct sp_message *message)
{
        if (!control || control->head.cmsg_level != PROTO_SP || control->head.cmsg_type != SP_HDR ||
            control->size > sizeof(message->head) || control->size < 4)
                return false;
        message->head_size = control->size;
        memcpy(message->head, control->bytes, control->size);
        return true;
}

/* A message whose header we cannot have sent, or that no peer of ours has sent, is thrown away. */
objd_status sp_receive(const struct sp *sp, struct sp_message *ret_message)
{
        for (;;) {
                struct control *control = NULL;
                struct nn_iovec part = { &ret_message->data, NN_MSG };
                struct nn_msghdr header = {
                        .msg_iov = &part,
                        .msg_iovlen = 1,
                        .msg_control = &control,
                        .msg_controllen = NN_MSG,
                };
                int n = sp->library->recvmsg_(sp->socket, &header, NN_DONTWAIT);
                bool good;

                if (n < 0) {
                        int error = sp->library->errno_();

                        return error == EAGAIN || error == EINTR ? OBJD_E_EMPTY
                                                                 : fail_sp(sp->library, "cannot receive");
                }
                good = read_head(control, ret_message);
                sp_free(sp, control);
                ret_message->size = (size_t)n;
                if (good)
                        return OBJD_OK;
                sp_free(sp, ret_message->data);
        }
}

/* ---- What has come ---------------------------------------------------------------------------------------- */

bool sp_count_came(struct sp_count *count, const struct sp_message *message)
{
        const uint8_t *head = message->head;

        count->number =
                ((uint32_t)head[0] << 24 | (uint32_t)head[1] << 16 | (uint32_t)head[2] << 8 | head[3]) &
                ~(1u << 31);
        count->n_owed++;
        count->bytes_owed += message->size;
        return count->n_owed >= SP_TELL_MESSAGES || count->bytes_owed >= SP_TELL_BYTES;
}

objd_status sp_count_send(struct sp_count *count, struct sp *sp, void *data)
{
        uint32_t number = count->number | 1u << 31;
        const uint8_t head[4] = { (uint8_t)(number >> 24), (uint8_t)(number >> 16), (uint8_t)(number >> 8),
                                  (uint8_t)number };
        objd_status r = sp_send(sp, head, sizeof(head), data);

        if (r == OBJD_OK) {
                count->n_owed = 0;
                count->bytes_owed = 0;
        }
        return r;
}
