/* SPDX-License-Identifier: Apache-2.0 */
/*
 * snapshot.c -- copying an arena that stands still
 *
 * Everything in an arena is found by offsets, so a copy can be looked at like the arena itself. The copy has what a look needs: the
 * header, the table of blocks and the blocks that have memory. Lanes and clients are not copied; nobody lives in there, and
 * nobody waits.
 */

#include "dumpload/snapshot.h"

#include <errno.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/status.h"
#include "dumpload/spool.h"

static objd_status copy(const struct arena *arena, int fd, uint64_t off, uint64_t size)
{
        while (size) {
                ssize_t n = pwrite(fd, arena->base + off, size, (off_t)off);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return fail_errno("cannot copy the arena to a file in $TMPDIR");
                off += (uint64_t)n;
                size -= (uint64_t)n;
        }
        return OBJD_OK;
}

/* To read what has no memory would give it some, from a file system that may be full. */
static bool has_memory(const struct block_shm *block)
{
        return __atomic_load_n(&block->memory, __ATOMIC_RELAXED) != MEMORY_NONE;
}

static objd_status copy_blocks(const struct arena *arena, int fd)
{
        uint64_t n = arena_limit(arena) >> BLOCK_SHIFT, next;
        objd_status r = OBJD_OK;

        for (uint64_t first = 0; first < n && r == OBJD_OK; first = next) {
                next = first + 1;
                if (!has_memory(&arena->blocks[first]))
                        continue;
                while (next < n && has_memory(&arena->blocks[next]))
                        next++;
                r = copy(arena, fd, arena->data_off + (first << BLOCK_SHIFT), (next - first) << BLOCK_SHIFT);
        }
        return r;
}

/* A file that is larger than it may be costs the process its life, by SIGXFSZ, even where it is all holes. */
static bool may_have_file_of(uint64_t size)
{
        struct rlimit limit;

        errno = EFBIG;
        return getrlimit(RLIMIT_FSIZE, &limit) == 0 && size <= limit.rlim_cur;
}

static objd_status copy_arena(const struct arena *arena, int fd)
{
        uint64_t n = arena_limit(arena) >> BLOCK_SHIFT;
        objd_status r;

        if (!may_have_file_of(arena->mapped) || ftruncate(fd, (off_t)arena->mapped) < 0)
                return fail_errno("cannot copy the arena to a file in $TMPDIR");
        r = copy(arena, fd, 0, PAGE_SIZE);
        if (r == OBJD_OK)
                r = copy(arena, fd, (uint64_t)((uint8_t *)arena->blocks - arena->base),
                         n * sizeof(*arena->blocks));
        return r ? r : copy_blocks(arena, fd);
}

/* The same arena at another place in memory. */
static void look_at_copy(struct snapshot *snapshot, const struct arena *arena, uint8_t *base)
{
        struct arena *view = &snapshot->arena;

        *view = (struct arena){
                .base = base,
                .mapped = arena->mapped,
                .plain_end = arena->plain_end,
                .fd = -1,
                .n_refs = 1,
                .header = (struct header_shm *)(void *)base,
                .clients = (struct client_shm *)(void *)(base + ((uint8_t *)arena->clients - arena->base)),
                .lanes = (struct lane_shm *)(void *)(base + ((uint8_t *)arena->lanes - arena->base)),
                .blocks = (struct block_shm *)(void *)(base + ((uint8_t *)arena->blocks - arena->base)),
                .data = base + arena->data_off,
                .data_off = arena->data_off,
                .n_blocks = arena->n_blocks,
                .by_process = arena->by_process,
        };
}

objd_status snapshot_take(struct lane *lane, const struct objd_conn *conn, struct snapshot *ret_snapshot)
{
        const struct arena *arena = lane->arena;
        void *base = MAP_FAILED;
        int fd = spool_open();
        objd_status r;

        if (fd < 0)
                return fail_errno("cannot make a file in $TMPDIR for a copy of the arena");
        r = copy_arena(arena, fd);
        if (r == OBJD_OK) {
                base = mmap(NULL, arena->mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE, fd, 0);
                if (base == MAP_FAILED)
                        r = fail_errno("cannot map the copy of the arena");
        }
        (void)close(fd); /* the mapping keeps the file, and nobody else wants it */
        if (r)
                return r;
        look_at_copy(ret_snapshot, arena, base);
        ret_snapshot->conn = *conn;
        ret_snapshot->conn.arena = &ret_snapshot->arena;
        ret_snapshot->conn.new_daemon_fn = NULL; /* none will ever serve the copy */
        ret_snapshot->lane = *lane;
        ret_snapshot->lane.arena = &ret_snapshot->arena;
        ret_snapshot->lane.shm = arena_lane(&ret_snapshot->arena, lane->number);
        return OBJD_OK;
}

void snapshot_free(struct snapshot *snapshot)
{
        (void)munmap(snapshot->arena.base, snapshot->arena.mapped);
}
