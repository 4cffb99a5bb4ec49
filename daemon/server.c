/* SPDX-License-Identifier: Apache-2.0 */

/*
 * server.c -- the daemon as a whole
 */

#include "server.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "arena/survive.h"
#include "base/status.h"
#include "base/sys.h"
#include "log.h"
#include "rpc/keyfile.h"

/* Descriptors that are no client's: the loop's, the store's, the standard ones, those of libraries. */
#define DESCRIPTORS_OWN 128u

/*
 * A hang-up comes a moment before the kernel drops a dead process's record locks, so the last client's death is looked
 * for a few ticks longer.
 */
#define TICKS_AFTER_LAST 10u

/* What is left of the store is of no use to anybody; clients keep what they have mapped. */
static void look_after_file(struct server *server)
{
        if (survive_was_cut(server->store.arena))
                loop_end(&server->loop, "the store is damaged");
}

static void look_whether_idle(struct server *server, bool is_busy)
{
        uint32_t limit = server->store.options->idle_exit;
        int64_t now = now_ns();

        if (is_busy)
                server->idle_since_ns = now;
        else if (limit && now - server->idle_since_ns >= (int64_t)limit * 1000000000)
                loop_end(&server->loop, "nobody has used the store for %u s", limit);
}

static void on_tick(void *context)
{
        struct server *server = context;
        bool is_busy;

        control_tick(&server->control);
        reaper_run(&server->reaper);
        look_after_file(server);
        is_busy = control_is_busy(&server->control) || reaper_has_clients(&server->reaper);
        if (is_busy)
                server->ticks_left = TICKS_AFTER_LAST;
        else if (server->ticks_left > 0)
                server->ticks_left--;
        look_whether_idle(server, is_busy);
        loop_set_ticking(&server->loop, server->ticks_left > 0 || server->store.options->idle_exit);
}

static void on_parent(void *context, uint32_t events)
{
        struct server *server = context;

        (void)events;
        loop_end(&server->loop, "the process that started it is gone");
}

/*
 * Not PR_SET_PDEATHSIG, which tells of the death of the thread that started us. A parent that has died before we asked for
 * its pid has left us to another one; we can only know if we have been told which it was.
 */
static objd_status watch_parent(struct server *server, const struct options *options)
{
        pid_t pid = getppid();

        if (options->parent && pid != (pid_t)options->parent)
                return fail(OBJD_E_SYS, "--die-with-parent: process %u is not the parent, or is gone",
                            options->parent);
        if (pid == 0)
                return fail(OBJD_E_SYS, "--die-with-parent: the parent is in another pid namespace");
        server->parent.fd = (int)syscall(SYS_pidfd_open, pid, 0);
        if (server->parent.fd < 0 || getppid() != pid)
                return fail_errno("--die-with-parent: cannot watch process %d", (int)pid);
        return loop_add(&server->loop, &server->parent, EPOLLIN);
}

static void on_hang_up(void *context)
{
        struct server *server = context;

        reaper_run(&server->reaper);
        look_after_file(server);
}

/* Room for a descriptor a client, for the bells of those with rings, and for connections; if the system grants less, fewer clients. */
static uint32_t raise_limit(const struct options *options)
{
        uint32_t max_clients = options->max_clients;
        const rlim_t need = (rlim_t)max_clients + DESCRIPTORS_OWN,
                     want = need + RING_LINK_PEERS_MAX + 2 * SP_CONNECTIONS_MAX * options->n_rpc;
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= want)
                return max_clients;
        if (setrlimit(RLIMIT_NOFILE,
                      &(struct rlimit){ .rlim_cur = want,
                                        .rlim_max = limit.rlim_max > want ? limit.rlim_max : want }) == 0)
                return max_clients;
        if (setrlimit(RLIMIT_NOFILE,
                      &(struct rlimit){ .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max }) == 0)
                limit.rlim_cur = limit.rlim_max;
        if (limit.rlim_cur >= need)
                return max_clients;
        max_clients = limit.rlim_cur > 2 * DESCRIPTORS_OWN ? (uint32_t)limit.rlim_cur - DESCRIPTORS_OWN
                                                           : DESCRIPTORS_OWN;
        log_warning("only %u clients can connect: the limit of open files is %" PRIu64, max_clients,
                    (uint64_t)limit.rlim_cur);
        return max_clients;
}

static void say_what_runs(const struct server *server)
{
        const struct options *options = server->store.options;
        const struct header_shm *header = server->store.arena->header;

        log_info("store \"%s\" in %s: %s %s of %" PRIu64 " MiB, daemon epoch %" PRIu64
                 ", clients connect to \"%s\"",
                 options->name, options->directory, server->store.is_new ? "a new" : "took up the",
                 server->store.has_file ? "file" : "memfd", header->size >> 20,
                 word_get(&header->daemon_epoch), server->url);
        if (!server->store.is_new && header->size != options->size)
                log_info("the store keeps its size; --size is for a new one");
}

static void close_parent(const struct server *server)
{
        if (server->parent.fd >= 0)
                (void)close(server->parent.fd); /* a pidfd */
}

static void stop_proxy(struct server *server)
{
        server->control.rings = NULL;
        proxy_stop(&server->proxy);
        while (server->n_links)
                sp_link_close(server->links[--server->n_links]);
        ring_link_close(server->rings);
        server->rings = NULL;
}

static objd_status start_link(struct server *server, const char *url)
{
        bool is_tcp = strncmp(url, "tcp://", 6) == 0;
        objd_status r = sp_link_open(&server->proxy, url, is_tcp ? server->keys : NULL,
                                     &server->links[server->n_links]);

        if (r)
                return r;
        server->n_links++;
        log_info("clients without a mapping connect to \"%s\"%s", url,
                 is_tcp && server->keys ? ", with a key" : "");
        if (is_tcp && !server->keys)
                log_warning("%s: whoever can reach it may do everything (--insecure)", url);
        return OBJD_OK;
}

/* The policy lets others in, too: they show who they are by what the control socket gives them. */
static objd_status take_others(struct server *server, const struct options *options)
{
        objd_status r = token_key_make(&server->tokens);

        if (r)
                return r;
        snprintf(server->control_path, sizeof(server->control_path), "%s/%s" STORE_SOCKET, options->directory,
                 options->name);
        server->control.tokens = &server->tokens;
        server->proxy.tokens = &server->tokens;
        server->proxy.control = server->control_path;
        server->proxy.max_per_uid = options->max_per_uid;
        return OBJD_OK;
}

static objd_status start_proxy(struct server *server, const struct options *options)
{
        objd_status r;

        r = proxy_init(&server->proxy, server->store.arena, options->name, server->url,
                       (int64_t)options->session_expiry * 1000000000);
        if (r)
                return r;
        proxy_set_memory(&server->proxy, options->client_memory, options->proxy_memory);
        if (policy_is_open(&options->policy))
                r = take_others(server, options);
        if (r == OBJD_OK)
                r = ring_link_open(&server->proxy, &server->rings);
        for (uint32_t i = 0; i < options->n_rpc && r == OBJD_OK; i++)
                r = start_link(server, options->rpc[i]);
        if (r == OBJD_OK)
                r = proxy_start(&server->proxy);
        if (r)
                stop_proxy(server);
        else
                server->control.rings = server->rings;
        return r;
}

static void set_url(struct server *server, const struct options *options)
{
        snprintf(server->url, sizeof(server->url), "shm:%s%s%s",
                 options->own_directory ? "" : options->directory, options->own_directory ? "" : "/",
                 options->name);
}

static objd_status start_in_loop(struct server *server, const struct options *options)
{
        objd_status r = OBJD_OK;

        if (options->keys) /* before anything changes the working directory */
                r = keyfile_load(options->keys, &server->keys);
        if (r == OBJD_OK)
                r = store_open(options, &server->store);
        if (r)
                return r;
        set_url(server, options);
        survive_truncation(server->store.arena);
        reaper_begin(&server->reaper, server->store.arena);
        loop_set_tick_fn(&server->loop, on_tick, server);
        r = control_init(&server->control, &server->loop, &server->store, raise_limit(options), on_hang_up,
                         server);
        if (r == OBJD_OK) {
                r = start_proxy(server, options);
                if (r)
                        control_deinit(&server->control);
        }
        if (r) {
                store_drop(&server->store);
                return r;
        }
        store_sign(&server->store);
        return OBJD_OK;
}

objd_status server_start(struct server *server, const struct options *options)
{
        objd_status r;

        memset(server, 0, sizeof(*server));
        server->parent = (struct loop_source){ .fd = -1, .fn = on_parent, .context = server };
        r = loop_init(&server->loop);
        if (r)
                return r;
        if (options->die_with_parent)
                r = watch_parent(server, options);
        if (r == OBJD_OK)
                r = start_in_loop(server, options);
        if (r) {
                server->keys = keyring_free(server->keys);
                close_parent(server);
                loop_deinit(&server->loop);
                return r;
        }
        say_what_runs(server);
        server->idle_since_ns = now_ns();
        /* Clients of an earlier daemon connect again with their next call, and may die before it. */
        loop_set_ticking(&server->loop, reaper_has_clients(&server->reaper) || options->idle_exit);
        return OBJD_OK;
}

objd_status server_run(struct server *server)
{
        objd_status r = loop_run(&server->loop);

        if (r == OBJD_OK)
                log_info("ends: %s", server->loop.end);
        if (r == OBJD_OK && survive_was_cut(server->store.arena))
                return fail(OBJD_E_CORRUPT, "somebody has cut the arena's file short");
        return r;
}

objd_status server_stop(struct server *server)
{
        const struct control_stats *stats = &server->control.stats;
        objd_status r;

        stop_proxy(server);
        server->keys = keyring_free(server->keys);
        control_deinit(&server->control);
        log_info("%" PRIu64 " clients were let in, %" PRIu64 " refused, %" PRIu64 " dropped",
                 stats->n_welcomed, stats->n_refused, stats->n_dropped);
        r = store_close(&server->store);
        close_parent(server);
        loop_deinit(&server->loop);
        return r;
}
