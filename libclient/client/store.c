/* SPDX-License-Identifier: Apache-2.0 */

/*
 * store.c -- connections: opening, closing, what the arena costs
 *
 * A process is one client of an arena, however many connections it has: they share the mapping and the client's
 * entry, which goes with the last of them. Counting them, and all that hangs on the count being 0 or not, is under one lock
 * of this process.
 */

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fork.h"
#include "base/forklock.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/attach.h"
#include "client/help.h"
#include "client/leave.h"
#include "client/memfd.h"
#include "client/near.h"
#include "client/proxy.h"
#include "client/register.h"
#include "client/starter.h"
#include "client/url.h"
#include "object/object.h"
#include "txn/recover.h"

#define TIMEOUT_DEFAULT_NS 5000000000LL

/* Guards n_conns of every arena, and what follows from it. */
static struct forklock conns_lock;

/* ---- Connecting -------------------------------------------------------------------------------------- */

/* Says what was wrong with the arena, and whose it is. */
static objd_status not_usable(objd_status r, const char *text)
{
        return fail(r, "cannot connect to \"%s\": %s", text, objd_last_error());
}

static struct url *url_copy(const struct url *url)
{
        struct url *copy = sys.alloc(sizeof(*copy));

        if (copy)
                *copy = *url;
        return copy;
}

static struct objd_conn *conn_free(struct objd_conn *conn)
{
        if (conn->control >= 0)
                (void)close(conn->control); /* a hint for the daemon; nothing was written */
        free(conn->url);
        free(conn->name);
        free(conn);
        return NULL;
}

static struct objd_conn *conn_new(const char *text, const struct url *url)
{
        struct objd_conn *conn = sys.alloc(sizeof(*conn));

        if (!conn)
                return NULL;
        conn->control = -1;
        conn->timeout_ns = TIMEOUT_DEFAULT_NS;
        conn->fork_generation = fork_generation();
        conn->name = sys.alloc(strlen(text) + 1);
        conn->url = url->embedded ? NULL : url_copy(url);
        if (!conn->name || (!url->embedded && !conn->url))
                return conn_free(conn);
        strcpy(conn->name, text);
        return conn;
}

static objd_status connect_embedded(const struct url *url, struct objd_conn *conn)
{
        objd_status r;

        r = memfd_create_arena("embedded", url->size, false, &conn->arena);
        if (r)
                return not_usable(r, conn->name);
        conn->arena->n_conns = 1; /* nobody else has it */
        return OBJD_OK;
}

static objd_status connect_to_daemon(const struct url *url, struct objd_conn *conn)
{
        struct attachment attachment;
        objd_status r;

        r = (url->start ? starter_attach : attach_to_daemon)(
                conn->name, url, url->read_only ? CONTROL_READ_ONLY : CONTROL_READ_WRITE, &attachment);
        if (r)
                return r;
        conn->control = attachment.control;
        conn->daemon_epoch = attachment.daemon_epoch;
        conn->new_daemon_fn = register_again;

        forklock_take(&conns_lock);
        conn->arena = attachment.mapped;
        r = conn->arena ? OBJD_OK : arena_attach(attachment.fd, &conn->arena);
        if (r == OBJD_OK && conn->arena->read_only)
                r = help_init(conn->arena, conn->name, url);
        if (r == OBJD_OK)
                conn->arena->n_conns++;
        forklock_give(&conns_lock);
        if (r) {
                arena_unref(conn->arena);
                return not_usable(r, conn->name);
        }
        if (!conn->arena->read_only)
                recover_on_arrival(conn->arena);
        return OBJD_OK;
}

static const char *default_url(void)
{
        const char *text = secure_getenv("OBJD_URL");

        return text && *text ? text : "shm:" STORE_NAME_DEFAULT;
}

objd_status objd_connect(const char *url, objd_conn **ret_conn)
{
        const char *text = url ? url : default_url();
        struct objd_conn *conn;
        struct url parsed;
        objd_status r;

        if (!ret_conn)
                return fail(OBJD_E_INVAL, "objd_connect: ret_conn is NULL");
        if (proxy_is_url(text))
                return proxy_connect(text, ret_conn);
        r = url_parse(text, &parsed);
        if (r)
                return r;
        conn = conn_new(text, &parsed);
        if (!conn)
                return fail(OBJD_E_NOMEM, "cannot connect to \"%s\": no memory", text);
        r = parsed.embedded ? connect_embedded(&parsed, conn) : connect_to_daemon(&parsed, conn);
        if (r) {
                conn_free(conn);
                return r;
        }
        *ret_conn = conn;
        return OBJD_OK;
}

/* ---- Closing ----------------------------------------------------------------------------------------- */

void objd_close(objd_conn *conn)
{
        struct arena *arena;

        if (!conn)
                return;
        if (conn->rpc) {
                proxy_close(conn);
                return;
        }
        near_close(conn);
        arena = conn->arena;
        forklock_take(&conns_lock);
        if (--arena->n_conns == 0)
                leave_arena(arena, __atomic_load_n(&conn->timeout_ns, __ATOMIC_RELAXED));
        forklock_give(&conns_lock);
        conn_free(conn);
        arena_unref(arena);
}

bool objd_is_read_only(const objd_conn *conn)
{
        return conn && (conn->rpc ? rpc_is_read_only(conn->rpc) : conn->arena->read_only);
}

objd_status objd_set_timeout(objd_conn *conn, int64_t timeout_ns)
{
        if (!conn)
                return fail(OBJD_E_INVAL, "objd_set_timeout: the connection is NULL");
        if (timeout_ns < OBJD_FOREVER)
                return fail(OBJD_E_INVAL, "objd_set_timeout: %lld ns is no time-out", (long long)timeout_ns);
        __atomic_store_n(&conn->timeout_ns, timeout_ns, __ATOMIC_RELAXED);
        return OBJD_OK;
}

/* ---- Statistics -------------------------------------------------------------------------------------- */

/* Counters stay in a lane when it changes hands. */
static void add_lanes(struct arena *arena, objd_stats *stats)
{
        uint64_t high = word_get(&arena->header->lanes_high);

        for (uint32_t i = 1; i < high && i < N_LANES; i++) {
                const struct lane_shm *shm = arena_lane(arena, i);

                stats->n_lanes += half_get(&shm->claimed) != 0;
                stats->n_reads += word_get(&shm->n_reads);
                stats->n_writes += word_get(&shm->n_writes);
                stats->n_recoveries += word_get(&shm->n_recoveries);
        }
}

static void add_clients(struct arena *arena, objd_stats *stats)
{
        uint64_t high = word_get(&arena->header->clients_high);

        for (uint32_t i = 1; i < high && i < N_CLIENTS; i++)
                stats->n_clients += half_get(&arena_client(arena, i)->claimed) != 0;
}

/* What can still be taken: free blocks, if the file system has the memory for those that have none. */
static uint64_t limit_of(const struct arena *arena)
{
        const struct pool_shm *pool = &arena->header->pool;
        uint64_t used = word_get(&pool->n_used_blocks), kept = word_get(&pool->n_kept);
        uint64_t free_blocks = arena->n_blocks > used ? arena->n_blocks - used : 0;
        uint64_t room = free_blocks << BLOCK_SHIFT, available;
        struct statvfs fs;

        /* A file system without a size, as that of memfds, has no limit of its own. */
        if (fstatvfs(arena->fd, &fs) < 0 || fs.f_blocks == 0)
                return room;
        available = (uint64_t)fs.f_bavail * fs.f_frsize + (kept << BLOCK_SHIFT);
        return available < room ? available : room;
}

objd_status objd_stats_get(objd_conn *conn, objd_stats *ret_stats)
{
        HOLD_NEXT_TIMEOUT;
        objd_stats stats = { 0 };
        struct arena *arena;

        if (!conn || !ret_stats)
                return fail(OBJD_E_INVAL, "objd_stats_get: the connection or ret_stats is NULL");
        if (conn->rpc)
                return proxy_stats(conn, ret_stats);
        arena = conn->arena;
        stats.arena_size = arena->data_off + (arena->n_blocks << BLOCK_SHIFT);
        stats.arena_used = word_get(&arena->header->pool.used);
        stats.arena_resident = arena_resident(arena);
        stats.arena_limit = limit_of(arena);
        stats.n_objects = word_get(&arena->header->pool.n_objects);
        add_lanes(arena, &stats);
        add_clients(arena, &stats);
        *ret_stats = stats;
        return OBJD_OK;
}
