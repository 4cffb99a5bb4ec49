/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * image.h -- what tests of the engine share: an arena without a connection's ceremony, its content as an image, its checker
 *
 * An image is a copy of all memory that an arena has. A new arena that is made from it is what the survivors of a power of
 * death see: the same bytes, in which everybody who was alive in the first one is dead.
 */

#include <stddef.h>
#include <stdint.h>

#include <objd.h>

#include "arena/arena.h"
#include "object/object.h"

/* ---- Arenas -------------------------------------------------------------------------------------------- */

/* A new arena in a memfd, and a connection to it that lives in the caller's memory. Ends the process if it cannot be made. */
void bare_create(struct objd_conn *conn, uint64_t size);

/* The same for the arena in fd, which it takes over. */
void bare_attach(struct objd_conn *conn, int fd);

/* Gives everything back that this process has in the arena; handles must have been released. */
void bare_leave(struct objd_conn *conn);

/* Recovers what is dead, then checks all of the arena. Prints each fault after `what`, and returns how many there are. */
uint64_t bare_check(struct objd_conn *conn, const char *what);

/* ---- Images -------------------------------------------------------------------------------------------- */

struct image_piece {
        uint64_t off, size;
        uint8_t *bytes;
};

struct image {
        uint64_t file_size;
        size_t n;
        struct image_piece *pieces;
};

void image_take(const struct arena *arena, struct image *ret_image);
void image_free(struct image *image);

/* Whether the arena's memory is still what it was when the image was taken. */
bool image_is_same(const struct arena *arena, const struct image *image);

/* A new file with this content, in which every lane that is claimed is marked as the kernel marks those of the dead. */
int image_make_file(const struct image *image);

/* The same with nobody marked: those in it who are alive in the first arena are taken for living. */
int image_make_living(const struct image *image);

/* The same as image_make_file(), into a file that is there and empty. */
void image_write(const struct image *image, int fd);

/*
 * The same for two images between which nobody's way goes on differently: without pids, times, counters, and what lies behind
 * the end of a log or of a lane's list.
 */
uint64_t image_digest(const struct image *image);

/* What stands in the lanes of those who have begun something: their logs' states and lengths, and what they owe. */
uint64_t image_log_digest(const struct image *image);

/* The same, and the words of the lines in the lanes' intents: who holds which lock, and what is noted. */
uint64_t image_lock_digest(const struct image *image);
