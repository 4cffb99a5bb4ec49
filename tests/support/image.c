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

#define XXH_INLINE_ALL
#include <xxhash.h>

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

/* Whether this is the piece of lanes, or of the reserve. */
static bool has_lanes(size_t piece)
{
        return piece == 2 || piece == 3;
}

/*
 * What the kernel does to the robust mutex of a thread that ends. A lane may not be claimed yet, or not any more, when its
 * owner dies with the mutex locked.
 */
static bool mark_of_death(const struct lane_shm *lane, uint32_t *ret_word)
{
        if (!(lane->life.word & FUTEX_TID_MASK))
                return false;
        *ret_word = (lane->life.word & FUTEX_WAITERS) | FUTEX_OWNER_DIED;
        return true;
}

static void mark_dead(const struct image_piece *piece, int fd)
{
        uint32_t word;

        for (uint64_t done = 0; done < piece->size; done += LANE_SIZE)
                if (mark_of_death((const struct lane_shm *)(piece->bytes + done), &word) &&
                    pwrite(fd, &word, sizeof(word), (off_t)(piece->off + done)) != sizeof(word))
                        die("writing a memfd");
}

static void write_pieces(const struct image *image, int fd)
{
        if (ftruncate(fd, (off_t)image->file_size) < 0)
                die("a file for an image");
        for (size_t i = 0; i < image->n; i++) {
                const struct image_piece *piece = &image->pieces[i];

                if (pwrite(fd, piece->bytes, piece->size, (off_t)piece->off) != (ssize_t)piece->size)
                        die("writing an image");
        }
}

void image_write(const struct image *image, int fd)
{
        write_pieces(image, fd);
        for (size_t i = 0; i < image->n; i++)
                if (has_lanes(i))
                        mark_dead(&image->pieces[i], fd);
}

static int make_memfd(void)
{
        int fd = memfd_create("objd-image", MFD_CLOEXEC);

        if (fd < 0)
                die("a memfd");
        return fd;
}

int image_make_living(const struct image *image)
{
        int fd = make_memfd();

        write_pieces(image, fd);
        return fd;
}

int image_make_file(const struct image *image)
{
        int fd = make_memfd();

        image_write(image, fd);
        return fd;
}

/* ---- Digests ------------------------------------------------------------------------------------------- */

static uint64_t mix(uint64_t digest, const void *bytes, size_t size)
{
        return XXH3_64bits_withSeed(bytes, size, digest);
}

/* What says nothing: who and when it was, how often, and what lies behind the end of a list or log. */
static void forget_in_lane(struct lane_shm *lane)
{
        uint64_t own = lane->log.off && lane->log.capacity == LANE_LOG ? lane->log.used : 0;

        lane->life.word = lane->life.word & FUTEX_TID_MASK ? FUTEX_OWNER_DIED : lane->life.word;
        memset(lane->life.pad + 4, 0, sizeof(lane->life.pad) - 4);
        lane->pid = lane->tid = 0;
        lane->n_reads = lane->n_writes = lane->n_recoveries = 0;
        lane->epoch &= 1;
        lane->recoverer = lane->recoverer != 0;
        if (lane->n_locks < LANE_LOCKS)
                memset(lane->locks + lane->n_locks, 0, (LANE_LOCKS - lane->n_locks) * 8);
        if (lane->n_wakes < LANE_WAKES)
                memset(lane->wakes + lane->n_wakes, 0, (LANE_WAKES - lane->n_wakes) * 8);
        if (lane->n_new_slots < LANE_SLOTS)
                memset(lane->new_slots + lane->n_new_slots, 0, (LANE_SLOTS - lane->n_new_slots) * 8);
        if (lane->n_dead_slots < LANE_SLOTS)
                memset(lane->dead_slots + lane->n_dead_slots, 0, (LANE_SLOTS - lane->n_dead_slots) * 8);
        if (lane->pool_log.used < LANE_POOL_LOG)
                memset(lane->pool_log_bytes + lane->pool_log.used, 0, LANE_POOL_LOG - lane->pool_log.used);
        if (own < LANE_LOG)
                memset(lane->log_bytes + own, 0, LANE_LOG - own);
}

uint64_t image_digest(const struct image *image)
{
        uint64_t digest = 0;

        for (size_t i = 0; i < image->n; i++) {
                const struct image_piece *piece = &image->pieces[i];

                if (i == 0) {
                        struct header_shm header;

                        memcpy(&header, piece->bytes, sizeof(header));
                        header.lanes_looked = header.clients_looked = 0;
                        digest = mix(digest, &header, sizeof(header));
                } else if (i == 1) {
                        for (uint64_t done = 0; done < piece->size; done += CLIENT_SIZE)
                                digest = mix(digest,
                                             &((const struct client_shm *)(piece->bytes + done))->claimed, 4);
                } else if (has_lanes(i)) {
                        for (uint64_t done = 0; done < piece->size; done += LANE_SIZE) {
                                struct lane_shm lane;

                                memcpy(&lane, piece->bytes + done, sizeof(lane));
                                forget_in_lane(&lane);
                                digest = mix(digest, &lane, sizeof(lane));
                        }
                } else {
                        digest = mix(digest, piece->bytes, piece->size);
                }
        }
        return digest;
}

uint64_t image_log_digest(const struct image *image)
{
        const struct image_piece *lanes = &image->pieces[2];
        uint64_t digest = 0;

        for (uint64_t done = 0; done < lanes->size; done += LANE_SIZE) {
                const struct lane_shm *lane = (const struct lane_shm *)(lanes->bytes + done);
                uint64_t words[] = {
                        lane->log.state, lane->log.used,    lane->pool_log.state, lane->pool_log.used,
                        lane->taken,     lane->doomed,      lane->log_chunk,      lane->n_locks,
                        lane->n_wakes,   lane->n_new_slots, lane->n_dead_slots,
                };
                uint64_t any = 0;

                words[1] = lane->log.state == TXN_ACTIVE ? words[1] : 0;
                words[3] = lane->pool_log.state == TXN_ACTIVE ? words[3] : 0;
                for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
                        any |= words[i];
                if (any)
                        digest = mix(digest, words, sizeof(words));
        }
        return digest;
}

/* Where the image has what is at this place in the file. */
static const uint8_t *bytes_at(const struct image *image, uint64_t off, uint64_t size)
{
        for (size_t i = 0; i < image->n; i++) {
                const struct image_piece *piece = &image->pieces[i];

                if (off >= piece->off && size <= piece->size && off - piece->off <= piece->size - size)
                        return piece->bytes + (off - piece->off);
        }
        return NULL;
}

uint64_t image_lock_digest(const struct image *image)
{
        const struct image_piece *lanes = &image->pieces[2];
        uint64_t digest = image_log_digest(image);

        for (uint64_t done = 0; done < lanes->size; done += LANE_SIZE) {
                const struct lane_shm *lane = (const struct lane_shm *)(lanes->bytes + done);

                for (uint32_t i = 0; i < lane->n_locks && i < LANE_LOCKS; i++) {
                        const uint8_t *word = bytes_at(image, lane->locks[i], sizeof(uint64_t));

                        if (word)
                                digest = mix(digest, word, sizeof(uint64_t));
                }
        }
        return digest;
}
