/* SPDX-License-Identifier: Apache-2.0 */

/*
 * server.c -- the daemon as a whole
 */

#include "server.h"

#include <inttypes.h>
#include <string.h>
#include <sys/resource.h>

#include "log.h"

/* Descriptors that are no client's: the loop's, the store's, the standard ones, those of libraries. */
#define DESCRIPTORS_OWN 128u

/*
 * A hang-up comes a moment before the kernel drops a dead process's record locks, so the last client's death is looked
 * for a few ticks longer.
 */
#define TICKS_AFTER_LAST 10u

static void on_tick(void *context)
{
        struct server *server = context;

        control_tick(&server->control);
        reaper_run(&server->reaper);
        if (control_is_busy(&server->control) || reaper_has_clients(&server->reaper))
                server->ticks_left = TICKS_AFTER_LAST;
        else if (server->ticks_left > 0)
                server->ticks_left--;
        loop_set_ticking(&server->loop, server->ticks_left > 0);
}

static void on_hang_up(void *context)
{
        struct server *server = context;

        reaper_run(&server->reaper);
}

/* Room for a descriptor a client; if the system grants less, fewer clients. */
static uint32_t raise_limit(uint32_t max_clients)
{
        const rlim_t need = (rlim_t)max_clients + DESCRIPTORS_OWN;
        struct rlimit limit;

        if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= need)
                return max_clients;
        if (setrlimit(RLIMIT_NOFILE,
                      &(struct rlimit){ .rlim_cur = need,
                                        .rlim_max = limit.rlim_max > need ? limit.rlim_max : need }) == 0)
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
                 ", clients connect to \"shm:%s%s%s\"",
                 options->name, options->directory, server->store.is_new ? "a new" : "took up the",
                 server->store.has_file ? "file" : "memfd", header->size >> 20,
                 word_get(&header->daemon_epoch), options->own_directory ? "" : options->directory,
                 options->own_directory ? "" : "/", options->name);
        if (!server->store.is_new && header->size != options->size)
                log_info("the store keeps its size; --size is for a new one");
}

static objd_status start_in_loop(struct server *server, const struct options *options)
{
        objd_status r;

        r = store_open(options, &server->store);
        if (r)
                return r;
        reaper_begin(&server->reaper, server->store.arena);
        loop_set_tick_fn(&server->loop, on_tick, server);
        r = control_init(&server->control, &server->loop, &server->store, raise_limit(options->max_clients),
                         on_hang_up, server);
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
        r = loop_init(&server->loop);
        if (r)
                return r;
        r = start_in_loop(server, options);
        if (r) {
                loop_deinit(&server->loop);
                return r;
        }
        say_what_runs(server);
        /* Clients of an earlier daemon connect again with their next call, and may die before it. */
        loop_set_ticking(&server->loop, reaper_has_clients(&server->reaper));
        return OBJD_OK;
}

objd_status server_run(struct server *server)
{
        objd_status r = loop_run(&server->loop);

        if (r == OBJD_OK)
                log_info("ends: %s from pid %d", strsignal(server->loop.stopped_by),
                         server->loop.stopped_by_pid);
        return r;
}

objd_status server_stop(struct server *server)
{
        const struct control_stats *stats = &server->control.stats;
        objd_status r;

        control_deinit(&server->control);
        log_info("%" PRIu64 " clients were let in, %" PRIu64 " refused, %" PRIu64 " dropped",
                 stats->n_welcomed, stats->n_refused, stats->n_dropped);
        r = store_close(&server->store);
        loop_deinit(&server->loop);
        return r;
}
