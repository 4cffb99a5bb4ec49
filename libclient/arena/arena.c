/* SPDX-License-Identifier: Apache-2.0 */
/*
 * arena.c -- mapping an arena into this process
 *
 * A process maps a file once, however many connections it opens: the record locks that say that it lives
 * (life.h) would be dropped with the first descriptor that is closed. So a second descriptor of the same file is
 * kept beside the first until the last connection ends.
 */

#include "arena/arena.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/forklock.h"
#include "base/status.h"
#include "base/sys.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* fallocate of more than this at once takes longer than anybody wants to hold a lock for. */
#define COMMIT_STEP (1ULL << 20)

static struct arena *arenas;
static struct forklock arenas_lock;

static uint64_t round_up(uint64_t n, uint64_t to)
{
        return (n + to - 1) / to * to;
}

static void set_pointers(struct arena *arena)
{
        struct header_shm *header = arena->header;

        arena->clients = (struct client_shm *)(arena->base + header->clients_off);
        arena->lanes = (struct lane_shm *)(arena->base + header->lanes_off);
        arena->blocks = (struct block_shm *)(arena->base + header->table_off);
        arena->data = arena->base + header->blocks_off;
        arena->data_off = header->blocks_off;
        arena->n_blocks = header->size >> BLOCK_SHIFT;
}

/* Where the tables are, for `size` bytes of blocks. */
static void lay_out(struct header_shm *header, uint64_t size)
{
        header->size = round_up(size, BLOCK_SIZE);
        header->clients_off = PAGE_SIZE;
        header->lanes_off = header->clients_off + N_CLIENTS * CLIENT_SIZE;
        header->table_off = header->lanes_off + (uint64_t)N_LANES * LANE_SIZE;
        header->blocks_off = round_up(
                header->table_off + (header->size >> BLOCK_SHIFT) * sizeof(struct block_shm), BLOCK_SIZE);
        header->file_size = header->blocks_off + header->size;
}

static objd_status fill_header(struct header_shm *header, const struct header_shm *layout)
{
        *header = *layout;
        header->magic = ARENA_MAGIC;
        header->format = ARENA_FORMAT;
        header->abi = ARENA_ABI;
        header->state = ARENA_CREATING;
        header->created_ns = (uint64_t)wall_ns();
        header->lanes_high = 1;
        header->clients_high = 1;
        if (getrandom(header->id, sizeof(header->id), 0) != sizeof(header->id) ||
            getrandom(header->hash_key, sizeof(header->hash_key), 0) != sizeof(header->hash_key))
                return fail_errno("cannot get random bytes for a new arena");
        header->pool.n_blocks = header->size >> BLOCK_SHIFT;
        header->pool.next_serial = 1;
        header->pool.version_floor = 1;
        return OBJD_OK;
}

/* What is wrong with a header, or NULL. */
static objd_status check_header(const struct header_shm *header, uint64_t file_size)
{
        struct header_shm layout = { 0 };

        if (header->magic != ARENA_MAGIC)
                return fail(OBJD_E_FORMAT, "the file is no arena (its first bytes are not an arena's)");
        if (header->abi != ARENA_ABI)
                return fail(OBJD_E_FORMAT, "the arena was made on a machine of another byte order");
        if (header->format != ARENA_FORMAT)
                return fail(
                        OBJD_E_FORMAT,
                        "the arena has format %u and this program reads format %u; use the objd that made it",
                        header->format, ARENA_FORMAT);
        if (header->size < ARENA_SIZE_MIN || header->size > ARENA_SIZE_MAX)
                return fail(OBJD_E_FORMAT, "the arena's header is damaged: it says that it has %llu bytes",
                            (unsigned long long)header->size);
        lay_out(&layout, header->size);
        if (header->clients_off != layout.clients_off || header->lanes_off != layout.lanes_off ||
            header->table_off != layout.table_off || header->blocks_off != layout.blocks_off ||
            header->file_size != layout.file_size || header->pool.n_blocks != header->size >> BLOCK_SHIFT)
                return fail(OBJD_E_FORMAT, "the arena's header is damaged: its tables do not fit its size");
        if (file_size < header->file_size)
                return fail(OBJD_E_FORMAT, "the arena is truncated: %llu bytes of %llu are there",
                            (unsigned long long)file_size, (unsigned long long)header->file_size);
        return OBJD_OK;
}

static objd_status map(struct arena *arena, uint64_t size)
{
        arena->base = sys.map(arena->fd, size, !arena->read_only);
        if (!arena->base)
                return fail_errno("cannot map the arena's %llu bytes", (unsigned long long)size);
        arena->mapped = size;
        arena->plain_end = size - BLOCK_SIZE;
        arena->header = (struct header_shm *)arena->base;
        /* A core dump of a sparse arena would fill each of its holes, and delay the news of a death meanwhile. */
        (void)madvise(arena->base, size, MADV_DONTDUMP);
        return OBJD_OK;
}

/* With the list locked. @return false: no memory */
static bool keep_fd(struct arena *arena, int fd)
{
        int *fds = sys.resize(arena->spare_fds, sizeof(int) * (size_t)(arena->n_spare_fds + 1));

        if (!fds)
                return false;
        fds[arena->n_spare_fds++] = fd;
        arena->spare_fds = fds;
        return true;
}

/*
 * Closes a descriptor of a read-only arena, unless this process has the same file open for writing: then closing it would say
 * that we are dead. If there is no memory to remember it, it stays open for good.
 */
static void close_reader(uint64_t dev, uint64_t ino, int fd)
{
        struct arena *arena;

        forklock_take(&arenas_lock);
        for (arena = arenas; arena; arena = arena->next)
                if (!arena->read_only && arena->dev == dev && arena->ino == ino)
                        break;
        if (arena)
                (void)keep_fd(arena, fd);
        else
                (void)close(fd); /* nothing was written */
        forklock_give(&arenas_lock);
}

static void close_fd(const struct arena *arena, int fd)
{
        if (arena->read_only)
                close_reader(arena->dev, arena->ino, fd);
        else
                (void)close(fd); /* what was written is in memory */
}

static void unmap(struct arena *arena)
{
        if (arena->base)
                munmap(arena->base, arena->mapped);
        for (int i = 0; i < arena->n_spare_fds; i++)
                close_fd(arena, arena->spare_fds[i]);
        if (arena->help)
                arena->help->free(arena->help);
        free(arena->spare_fds);
        free(arena);
}

/*
 * From now on this process knows the file as mapped. It must be known by its file: mapped once more, its second descriptor would
 * take our record locks with it when it is closed, and we would look dead.
 */
static objd_status publish(struct arena *arena)
{
        struct stat st;

        if (fstat(arena->fd, &st) < 0)
                return fail_errno("cannot look at the arena's file");
        arena->dev = st.st_dev;
        arena->ino = st.st_ino;
        arena->n_refs = 1;
        forklock_take(&arenas_lock);
        arena->next = arenas;
        arenas = arena;
        forklock_give(&arenas_lock);
        return OBJD_OK;
}

objd_status arena_create(int fd, uint64_t size, struct arena **ret_arena)
{
        struct header_shm layout = { 0 };
        struct arena *arena;
        objd_status r;

        if (size < ARENA_SIZE_MIN || size > ARENA_SIZE_MAX)
                return fail(OBJD_E_INVAL, "an arena has 1 MiB to 1 TiB, not %llu bytes",
                            (unsigned long long)size);
        lay_out(&layout, size);
        if (ftruncate(fd, (off_t)layout.file_size) < 0)
                return fail_errno("cannot size the arena to %llu bytes",
                                  (unsigned long long)layout.file_size);
        arena = sys.alloc(sizeof(*arena));
        if (!arena)
                return fail(OBJD_E_NOMEM, "no memory for the arena's description");
        arena->fd = fd;
        r = arena_commit(arena, 0, PAGE_SIZE);
        if (r == OBJD_OK)
                r = arena_commit(arena, layout.lanes_off + (uint64_t)RESERVE_LANE * LANE_SIZE, LANE_SIZE);
        if (r == OBJD_OK)
                r = map(arena, layout.file_size);
        if (r == OBJD_OK)
                r = fill_header(arena->header, &layout);
        if (r == OBJD_OK) {
                set_pointers(arena);
                r = publish(arena);
        }
        if (r) {
                unmap(arena);
                return r;
        }
        *ret_arena = arena;
        return OBJD_OK;
}

/* This process's arena of that file, with the new descriptor kept beside the old one. */
static objd_status find_mapped(int fd, const struct stat *st, bool read_only, struct arena **ret_arena)
{
        struct arena *arena;
        objd_status r = OBJD_OK;

        forklock_take(&arenas_lock);
        for (arena = arenas; arena; arena = arena->next) {
                if (arena->dev != st->st_dev || arena->ino != st->st_ino || arena->read_only != read_only)
                        continue;
                if (!keep_fd(arena, fd)) {
                        /* fd stays open, though nobody knows of it any more: closing it would say that we are dead. */
                        r = fail(OBJD_E_NOMEM, "no memory for one more connection to the arena");
                        break;
                }
                arena->n_refs++;
                break;
        }
        forklock_give(&arenas_lock);
        *ret_arena = arena;
        return r;
}

/* Maps a file that this process has not mapped. */
static objd_status map_arena(int fd, uint64_t size, bool read_only, struct arena **ret_arena)
{
        struct arena *arena = sys.alloc(sizeof(*arena));
        objd_status r;

        if (!arena)
                return fail(OBJD_E_NOMEM, "no memory for the arena's description");
        arena->fd = fd;
        arena->read_only = read_only;
        r = map(arena, size);
        if (r == OBJD_OK)
                r = check_header(arena->header, size);
        if (r == OBJD_OK && half_get_acquire(&arena->header->state) != ARENA_READY)
                r = fail(OBJD_E_FORMAT,
                         "the arena was never finished by the process that made it; delete it");
        if (r == OBJD_OK) {
                set_pointers(arena);
                r = publish(arena);
        }
        if (r) {
                unmap(arena);
                return r;
        }
        *ret_arena = arena;
        return OBJD_OK;
}

objd_status arena_attach(int fd, struct arena **ret_arena)
{
        bool read_only = (fcntl(fd, F_GETFL) & O_ACCMODE) == O_RDONLY;
        struct arena *arena = NULL;
        struct stat st = { 0 };
        objd_status r;

        if (fstat(fd, &st) < 0)
                r = fail_errno("cannot look at the arena's file");
        else if ((uint64_t)st.st_size < PAGE_SIZE)
                r = fail(OBJD_E_FORMAT, "the file is no arena: it has only %llu bytes",
                         (unsigned long long)st.st_size);
        else
                r = find_mapped(fd, &st, read_only, &arena);
        if (r == OBJD_OK && !arena)
                r = map_arena(fd, (uint64_t)st.st_size, read_only, &arena);
        else if (arena)
                fd = -1; /* kept, whatever r is */
        if (r == OBJD_OK)
                *ret_arena = arena;
        else if (fd >= 0 && read_only)
                close_reader(st.st_dev, st.st_ino, fd);
        else if (fd >= 0)
                (void)close(fd); /* nothing was written */
        return r;
}

struct arena *arena_find(uint64_t dev, uint64_t ino, bool read_only)
{
        struct arena *arena;

        forklock_take(&arenas_lock);
        for (arena = arenas; arena; arena = arena->next)
                if (arena->dev == dev && arena->ino == ino && arena->read_only == read_only)
                        break;
        if (arena)
                arena->n_refs++;
        forklock_give(&arenas_lock);
        return arena;
}

struct arena *arena_ref(struct arena *arena)
{
        forklock_take(&arenas_lock);
        arena->n_refs++;
        forklock_give(&arenas_lock);
        return arena;
}

struct arena *arena_unref(struct arena *arena)
{
        bool last;

        if (!arena)
                return NULL;
        forklock_take(&arenas_lock);
        last = --arena->n_refs == 0;
        if (last) {
                struct arena **p = &arenas;

                while (*p && *p != arena)
                        p = &(*p)->next;
                if (*p)
                        *p = arena->next;
        }
        forklock_give(&arenas_lock);
        if (last) {
                close_fd(arena, arena->fd);
                unmap(arena);
        }
        return NULL;
}

objd_status arena_commit(struct arena *arena, uint64_t off, uint64_t size)
{
        while (size) {
                uint64_t step = size < COMMIT_STEP ? size : COMMIT_STEP;

                if (sys.fallocate(arena->fd, 0, (int64_t)off, (int64_t)step) < 0) {
                        if (errno == EINTR)
                                continue;
                        return fail_errno("the file system has no %llu bytes for the arena",
                                          (unsigned long long)step);
                }
                off += step;
                size -= step;
        }
        return OBJD_OK;
}

void arena_populate(struct arena *arena, uint64_t off, uint64_t size)
{
        (void)madvise(arena->base + off, size, MADV_POPULATE_WRITE);
}

objd_status arena_punch(struct arena *arena, uint64_t off, uint64_t size)
{
        if (sys.fallocate(arena->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (int64_t)off,
                          (int64_t)size) < 0)
                return fail_errno("cannot give memory back to the system");
        return OBJD_OK;
}

uint64_t arena_resident(const struct arena *arena)
{
        struct stat st;

        return fstat(arena->fd, &st) < 0 ? 0 : (uint64_t)st.st_blocks * 512;
}
