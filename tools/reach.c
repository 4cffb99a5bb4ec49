/* SPDX-License-Identifier: Apache-2.0 */

/*
 * reach.c -- a connection to a store, also to one whose daemon is dead
 *
 * The arena of a named store is a file that outlives the daemon. Its owner may open it by path: nobody else
 * could hand it out, and what is to be seen in it may be just why the daemon died.
 */

#include "reach.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/status.h"
#include "client/proxy.h"
#include "client/url.h"
#include "object/object.h"

#define TIMEOUT_NS 5000000000LL

static const char *chosen_url(const char *url)
{
        const char *text = url ? url : getenv("OBJD_URL");

        return text && *text ? text : "shm:" STORE_NAME_DEFAULT;
}

static objd_status no_daemon(const struct url *url)
{
        if (url->own_directory && strcmp(url->name, STORE_NAME_DEFAULT) == 0)
                return fail(OBJD_E_NODAEMON,
                            "no daemon answers at %s/%s" STORE_SOCKET "; start one with: objd",
                            url->directory, url->name);
        if (url->own_directory)
                return fail(OBJD_E_NODAEMON,
                            "no daemon answers at %s/%s" STORE_SOCKET "; start one with: objd --name %s",
                            url->directory, url->name, url->name);
        return fail(OBJD_E_NODAEMON,
                    "no daemon answers at %s/%s" STORE_SOCKET "; start one with: objd --dir %s --name %s",
                    url->directory, url->name, url->directory, url->name);
}

/* Opens the arena's file if it is one of the caller's own. */
static objd_status open_file(const struct url *url, int *ret_fd)
{
        char path[PATH_MAX + STORE_NAME_MAX + sizeof("/" STORE_ARENA)];
        struct stat st;
        int fd;

        snprintf(path, sizeof(path), "%s/%s" STORE_ARENA, url->directory, url->name);
        fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
                return no_daemon(url);
        if (fd < 0)
                return fail_errno("no daemon answers, and %s cannot be opened", path);
        if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
                (void)close(fd); /* nothing was written */
                return fail(OBJD_E_ACCESS, "no daemon answers, and %s is no file of uid %u", path,
                            (unsigned)geteuid());
        }
        *ret_fd = fd;
        return OBJD_OK;
}

/* A connection without a daemon; objd_close() takes it as one of the library's own. */
static objd_status make_conn(struct arena *arena, const char *text, objd_conn **ret_conn)
{
        objd_conn *conn = calloc(1, sizeof(*conn));
        char *name = strdup(text);

        if (!conn || !name) {
                free(conn);
                free(name);
                return fail(OBJD_E_NOMEM, "no memory for a connection");
        }
        conn->arena = arena;
        conn->timeout_ns = TIMEOUT_NS;
        conn->control = -1;
        conn->fork_generation = fork_generation();
        conn->name = name;
        arena->n_conns = 1; /* nobody else in this process has it */
        *ret_conn = conn;
        return OBJD_OK;
}

static objd_status attach(const char *text, int fd, objd_conn **ret_conn)
{
        struct arena *arena;
        objd_status r = arena_attach(fd, &arena);

        if (r)
                return r;
        r = make_conn(arena, text, ret_conn);
        if (r)
                arena_unref(arena);
        return r;
}

static objd_status reach_file(const char *text, const struct url *url, objd_conn **ret_conn)
{
        int fd = -1;
        objd_status r = open_file(url, &fd);

        if (r)
                return r;
        r = attach(text, fd, ret_conn);
        if (r)
                return fail(r, "no daemon answers, and %s/%s" STORE_ARENA " is of no use: %s", url->directory,
                            url->name, objd_last_error());
        return OBJD_OK;
}

/* Of an address without a file that could be opened in the daemon's place. */
static objd_status reach_proxy(const char *text, objd_conn **ret_conn)
{
        objd_status r = objd_connect(text, ret_conn);
        struct url parsed;

        if (r != OBJD_E_NODAEMON)
                return r;
        if (url_parse_local(text, &parsed) == OBJD_OK)
                return no_daemon(&parsed);
        return fail(r, "no daemon answers at %s; one that listens there is started with: objd --rpc %.*s",
                    text, (int)strcspn(text, "?"), text);
}

objd_status reach(const char *url, objd_conn **ret_conn)
{
        const char *text = chosen_url(url);
        struct url parsed;
        objd_conn *conn;
        objd_status r;

        if (proxy_is_url(text))
                return reach_proxy(text, ret_conn);
        r = url_parse(text, &parsed);
        if (r)
                return r;
        if (parsed.embedded)
                return fail(OBJD_E_INVAL,
                            "an embedded store (\"%s\") is only seen by the processes that share it", text);
        r = objd_connect(text, &conn);
        if (r == OBJD_E_NODAEMON)
                r = reach_file(text, &parsed, &conn);
        if (r)
                return r;
        /* Before the first call that claims a lane. */
        conn->arena->by_process = true;
        *ret_conn = conn;
        return OBJD_OK;
}

objd_status reach_alone(const char *url, header_report_fn report, void *context, objd_conn **ret_conn)
{
        const char *text = chosen_url(url);
        struct url parsed;
        int fd = -1;
        objd_status r;

        if (proxy_is_url(text))
                return fail(
                        OBJD_E_INVAL,
                        "--repair works on the store's file, with nobody else there: not through its daemon "
                        "(\"%s\")",
                        text);
        r = url_parse(text, &parsed);
        if (r)
                return r;
        if (parsed.embedded)
                return fail(OBJD_E_INVAL,
                            "an embedded store (\"%s\") is gone with the processes that share it", text);
        r = open_file(&parsed, &fd);
        if (r == OBJD_E_NODAEMON)
                return fail(OBJD_E_NOTFOUND,
                            "there is no %s/%s" STORE_ARENA " (a store in a memfd is gone with its daemon)",
                            parsed.directory, parsed.name);
        if (r)
                return r;
        r = header_restore(fd, report, context);
        if (r == OBJD_E_BUSY)
                r = fail(r, "%s; stop its daemon and its clients first", objd_last_error());
        if (r) {
                (void)close(fd); /* nothing was written */
                return r;
        }
        r = attach(text, fd, ret_conn);
        if (r == OBJD_OK)
                (*ret_conn)->arena->by_process = true;
        return r;
}
