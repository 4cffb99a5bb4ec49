/* SPDX-License-Identifier: Apache-2.0 */

/*
 * image.c -- arenas, images and the checker for tests of the engine
 */

#include "support/image.h"

#include <errno.h>
#include <linux/futex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fork.h"
#include "client/leave.h"
#include "client/memfd.h"
#include "object/check.h"
#include "support/child.h"

#define TIMEOUT_NS 1000000000LL

static void die(const char *what)
{
        fprintf(stderr, "%s: %s (%s)\n", what, strerror(errno), objd_last_error());
        exit(1);
}

/* ---- Arenas -------------------------------------------------------------------------------------------- */

static void fill_conn(struct objd_conn *conn, struct arena *arena)
{
        *conn = (struct objd_conn){
                .arena = arena,
                .timeout_ns = TIMEOUT_NS,
                .control = -1,
                .fork_generation = fork_generation(),
        };
}

void bare_create(struct objd_conn *conn, uint64_t size)
{
        struct arena *arena;

        if (memfd_create_arena("test", size, false, &arena))
                die("a new arena");
        fill_conn(conn, arena);
}

void bare_attach(struct objd_conn *conn, int fd)
{
        struct arena *arena;

        if (arena_attach(fd, &arena))
                die("an arena in a file");
        fill_conn(conn, arena);
}

void bare_leave(struct objd_conn *conn)
{
        leave_arena(conn->arena, TIMEOUT_NS);
        arena_unref(conn->arena);
}

static void print_fault(void *context, const char *object, const char *sentence)
{
        fprintf(stderr, "%s: %s: %s\n", (const char *)context, object, sentence);
}

uint64_t bare_check(struct objd_conn *conn, const char *what)
{
        uint64_t n_errors = 0;
        objd_status r;

        r = check_arena(conn, print_fault, (void *)what, &n_errors);
        if (r) {
                fprintf(stderr, "%s: the check: %s (%s)\n", what, objd_strerror(r), objd_last_error());
                return 1;
        }
        return n_errors;
}

/* ---- Images -------------------------------------------------------------------------------------------- */

/* Everything that has memory: the header, clients and lanes that have been used, the block table, blocks to the frontier. */
static size_t list_pieces(const struct arena *arena, struct image_piece pieces[6])
{
        const struct header_shm *header = arena->header;
        uint64_t lanes = header->lanes_high + 1,
                 reserve = header->lanes_off + (uint64_t)RESERVE_LANE * LANE_SIZE;
        size_t n = 0;

        pieces[n++] = (struct image_piece){ .off = 0, .size = PAGE_SIZE };
        pieces[n++] = (struct image_piece){ .off = header->clients_off,
                                            .size = (header->clients_high + 1) * CLIENT_SIZE };
        pieces[n++] = (struct image_piece){ .off = header->lanes_off, .size = lanes * LANE_SIZE };
        pieces[n++] = (struct image_piece){ .off = reserve, .size = LANE_SIZE };
        pieces[n++] = (struct image_piece){ .off = header->table_off,
                                            .size = header->pool.table_ready * sizeof(struct block_shm) };
        pieces[n++] = (struct image_piece){ .off = header->blocks_off,
                                            .size = header->pool.frontier << BLOCK_SHIFT };
        return n;
}

void image_take(const struct arena *arena, struct image *ret_image)
{
        struct image_piece pieces[6];
        size_t n = list_pieces(arena, pieces);

        *ret_image = (struct image){ .file_size = arena->header->file_size, .n = n };
        ret_image->pieces = calloc(n, sizeof(pieces[0]));
        if (!ret_image->pieces)
                die("memory for an image");
        for (size_t i = 0; i < n; i++) {
                pieces[i].bytes = malloc(pieces[i].size + 1);
                if (!pieces[i].bytes)
                        die("memory for an image");
                memcpy(pieces[i].bytes, arena->base + pieces[i].off, pieces[i].size);
                ret_image->pieces[i] = pieces[i];
        }
}

void image_free(struct image *image)
{
        for (size_t i = 0; i < image->n; i++)
                free(image->pieces[i].bytes);
        free(image->pieces);
        *image = (struct image){ 0 };
}

bool image_is_same(const struct arena *arena, const struct image *image)
{
        struct image_piece pieces[6];
        size_t n = list_pieces(arena, pieces);

        if (n != image->n)
                return false;
        for (size_t i = 0; i < n; i++)
                if (pieces[i].size != image->pieces[i].size ||
                    memcmp(arena->base + pieces[i].off, image->pieces[i].bytes, pieces[i].size))
                        return false;
        return true;
}

/* What the kernel does to the robust mutex of a thread that ends. */
static void mark_dead(struct lane_shm *lane)
{
        if (lane->claimed && !lane->by_process)
                lane->life.word = (lane->life.word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
}

int image_make_file(const struct image *image)
{
        int fd = memfd_create("objd-image", MFD_CLOEXEC);

        if (fd < 0 || ftruncate(fd, (off_t)image->file_size) < 0)
                die("a memfd");
        for (size_t i = 0; i < image->n; i++) {
                const struct image_piece *piece = &image->pieces[i];
                bool lanes = i == 2 || i == 3;

                for (uint64_t done = 0; lanes && done < piece->size; done += LANE_SIZE)
                        mark_dead((struct lane_shm *)(piece->bytes + done));
                if (pwrite(fd, piece->bytes, piece->size, (off_t)piece->off) != (ssize_t)piece->size)
                        die("writing a memfd");
        }
        return fd;
}
