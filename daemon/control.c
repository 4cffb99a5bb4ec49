/* SPDX-License-Identifier: Apache-2.0 */

/*
 * control.c -- the control socket: who calls, and may they
 *
 * A client is trusted as far as the policy says. Who is not let in, or not yet, can cost little: one session, for a few
 * seconds, among a few that are kept for such callers. What is said then is caller.h's.
 */

#include "control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "arena/life.h"
#include "base/status.h"
#include "base/sys.h"
#include "caller.h"
#include "log.h"

#define STORE_SOCKET_NEW STORE_SOCKET ".new"

/* A client says hello right after it has connected; this is for one that is stopped in between. */
#define HELLO_TIMEOUT_NS 5000000000LL

/* Callers that will be refused hear why, if they say hello soon and are not too many. */
#define STRANGER_TIMEOUT_NS 1000000000LL
#define STRANGERS_MAX 64u

/* How many connections are accepted before others have their turn. */
#define ACCEPT_MAX 64

/* ---- New connections --------------------------------------------------------------------------------- */

static uint32_t count_callers(const struct caller *caller, uid_t uid)
{
        uint32_t n = 0;

        for (; caller; caller = caller->next)
                n += caller->peer.uid == uid && !caller->refusal;
        return n;
}

static objd_status check_limits(const struct control *control, uid_t uid)
{
        uint32_t n;

        if (control->n_clients >= control->max_clients)
                return fail(OBJD_E_LIMIT, "%u clients are connected, which is all that --max-clients allows",
                            control->n_clients);
        if (uid == control->policy->own)
                return OBJD_OK;
        n = count_callers(control->clients, uid) + count_callers(control->waiting, uid);
        if (n >= control->max_per_uid)
                return fail(OBJD_E_LIMIT, "uid %u has %u connections, which is all that --max-per-uid allows",
                            (unsigned)uid, n);
        return OBJD_OK;
}

/* Whether it will be let in; why not stands in the caller. */
static void judge(struct control *control, struct caller *caller)
{
        objd_status r = policy_check(control->policy, caller->source.fd, &caller->peer, &caller->allowed,
                                     &caller->rights);

        /* Who may work through the daemon is told why it gets no handle only if it asks for one. */
        if (r)
                snprintf(caller->sentence, sizeof(caller->sentence), "%s", objd_last_error());
        if (r == OBJD_OK || caller->allowed == POLICY_PROXIED) {
                r = check_limits(control, caller->peer.uid);
                if (r)
                        snprintf(caller->sentence, sizeof(caller->sentence), "%s", objd_last_error());
        }
        caller->refusal = r;
        caller->deadline_ns = now_ns() + (r ? STRANGER_TIMEOUT_NS : HELLO_TIMEOUT_NS);
}

static objd_status start_caller(struct control *control, int fd)
{
        socklen_t size = sizeof(struct ucred);
        struct caller *caller;
        objd_status r;

        caller = calloc(1, sizeof(*caller));
        if (!caller)
                return fail(OBJD_E_NOMEM, "no memory for a caller");
        caller->control = control;
        caller->helped.fd = fd;
        caller->source = (struct loop_source){ .fd = fd, .fn = caller_on_event, .context = caller };
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &caller->peer, &size) < 0) {
                free(caller);
                return fail_errno("cannot tell who connects");
        }
        judge(control, caller);
        r = caller->refusal && control->n_strangers >= STRANGERS_MAX
                    ? caller->refusal
                    : loop_add(control->loop, &caller->source, EPOLLIN);
        if (r) {
                free(caller);
                return r;
        }
        caller_list_add(&control->waiting, caller);
        if (caller->refusal)
                control->n_strangers++;
        else
                control->n_clients++;
        loop_set_ticking(control->loop, true);
        return OBJD_OK;
}

/* The system has no descriptor or memory for one more: who waits to be accepted waits for the next tick. */
static void pause_listening(struct control *control, const char *why)
{
        log_limited("cannot accept a client: %s", why);
        loop_remove(control->loop, &control->listener);
        control->is_paused = true;
        loop_set_ticking(control->loop, true);
}

static void resume_listening(struct control *control)
{
        control->is_paused = loop_add(control->loop, &control->listener, EPOLLIN) != OBJD_OK;
}

static void on_listener(void *context, uint32_t events)
{
        struct control *control = context;

        (void)events;
        for (int i = 0; i < ACCEPT_MAX; i++) {
                int fd = accept4(control->listener.fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

                if (fd < 0) {
                        if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
                                pause_listening(control, strerror(errno));
                        return;
                }
                if (start_caller(control, fd)) {
                        control->stats.n_dropped++;
                        log_debug("a connection was closed at once: %s", objd_last_error());
                        (void)close(fd); /* nothing was said */
                }
        }
}

/* ---- The socket -------------------------------------------------------------------------------------- */

/*
 * A path for bind() has at most 107 bytes, so the directory becomes the working directory for a moment; there is no
 * other thread that would mind.
 */
static objd_status bind_new(const struct control *control, const char *name)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        objd_status r = OBJD_OK;

        snprintf(address.sun_path, sizeof(address.sun_path), "%s", name);
        if (fchdir(control->store->directory) < 0)
                return fail_errno("cannot enter directory %s", control->store->options->directory);
        (void)unlink(name); /* of a daemon that was killed just here */
        /* Everybody may knock: the kernel says who it is, and the policy decides. */
        if (bind(control->listener.fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                r = fail_errno("cannot bind the control socket %s/%s", control->store->options->directory,
                               name);
        else if (chmod(name, 0666) < 0 || listen(control->listener.fd, SOMAXCONN) < 0)
                r = fail_errno("cannot listen on the control socket %s/%s",
                               control->store->options->directory, name);
        if (chdir("/") < 0 && !r)
                r = fail_errno("cannot enter directory /");
        return r;
}

static objd_status start_listening(struct control *control)
{
        char name[STORE_FILE_NAME_MAX], new_name[STORE_FILE_NAME_MAX];
        const struct store *store = control->store;
        objd_status r;

        store_file_name(store, STORE_SOCKET, name);
        store_file_name(store, STORE_SOCKET_NEW, new_name);
        control->listener.fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (control->listener.fd < 0)
                return fail_errno("cannot make the control socket");
        r = bind_new(control, new_name);
        if (r == OBJD_OK)
                r = loop_add(control->loop, &control->listener, EPOLLIN);
        /* The name of a killed daemon's socket changes over to ours, with nothing in between. */
        if (r == OBJD_OK && renameat(store->directory, new_name, store->directory, name) < 0)
                r = fail_errno("cannot make %s/%s", store->options->directory, name);
        if (r)
                (void)unlinkat(store->directory, new_name, 0);
        return r;
}

objd_status control_init(struct control *control, struct loop *loop, const struct store *store,
                         uint32_t max_clients, void (*hang_up_fn)(void *context), void *hang_up_context)
{
        objd_status r;

        *control = (struct control){
                .loop = loop,
                .store = store,
                .policy = &store->options->policy,
                .listener = { .fd = -1, .fn = on_listener, .context = control },
                .max_clients = max_clients,
                .max_per_uid = store->options->max_per_uid,
                .hang_up_fn = hang_up_fn,
                .hang_up_context = hang_up_context,
        };
        r = help_start(&control->help, loop, store->arena);
        if (r)
                return r;
        r = start_listening(control);
        if (r && control->listener.fd >= 0)
                (void)close(control->listener.fd);
        if (r)
                help_stop(&control->help);
        return r;
}

void control_deinit(struct control *control)
{
        char name[STORE_FILE_NAME_MAX];

        store_file_name(control->store, STORE_SOCKET, name);
        if (unlinkat(control->store->directory, name, 0) < 0)
                log_warning("cannot remove %s/%s: %s", control->store->options->directory, name,
                            strerror(errno));
        loop_remove(control->loop, &control->listener);
        (void)close(control->listener.fd);
        while (control->waiting)
                caller_end(control->waiting);
        while (control->clients)
                caller_end(control->clients);
        help_stop(&control->help);
}

/* As long as somebody may read, nothing is punched; once the kernel knows of nobody, and nobody is about to get it, it may be. */
static void look_for_readers(struct control *control)
{
        struct arena *arena = control->store->arena;

        if (!control->n_readers && word_get(&arena->header->readers) && !readers_are_known_to_kernel(arena))
                word_set_release(&arena->header->readers, 0);
}

void control_tick(struct control *control)
{
        int64_t now = now_ns();

        if (control->is_paused)
                resume_listening(control);
        look_for_readers(control);
        for (struct caller *caller = control->clients; caller; caller = caller->next)
                caller_resume(caller);
        for (struct caller *caller = control->waiting, *next; caller; caller = next) {
                next = caller->next;
                if (now >= caller->deadline_ns)
                        caller_drop(caller, "it did not say hello in time");
        }
}

bool control_is_busy(const struct control *control)
{
        return control->waiting || control->clients || control->is_paused;
}
