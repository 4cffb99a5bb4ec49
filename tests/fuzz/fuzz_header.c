/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_header.c -- an arena whose header has any bytes: either it is refused, or what it leads to can be looked at
 *
 * The input is pairs of an offset into the header (16 bits, little-endian) and the eight bytes that then stand there.
 */

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fork.h"
#include "client/leave.h"
#include "object/directory.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ARENA_BYTES (1ULL << 20)
#define NO_TIME_NS 1000000LL

static uint8_t sound[PAGE_SIZE];
static int file = -1;

static void must(bool condition)
{
        if (!condition)
                abort();
}

/* A sound arena that nobody has mapped any more. */
static void make_sound(void)
{
        struct arena *arena;

        file = memfd_create("objd-fuzz", MFD_CLOEXEC);
        must(file >= 0);
        must(directory_create_arena(dup(file), ARENA_BYTES, true, &arena) == OBJD_OK);
        leave_arena(arena, NO_TIME_NS);
        arena_unref(arena);
        must(pread(file, sound, sizeof(sound), 0) == sizeof(sound));
}

static void look_at(struct arena *arena)
{
        struct objd_conn conn = {
                .arena = arena, .timeout_ns = NO_TIME_NS, .control = -1, .fork_generation = fork_generation()
        };
        objd_info *infos;
        objd_stats stats;
        size_t len;

        arena->by_process = true;
        (void)objd_stats_get(&conn, &stats);
        if (objd_list(&conn, NULL, &infos, &len) == OBJD_OK)
                objd_infos_free(infos);
        leave_arena(arena, NO_TIME_NS);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        uint8_t header[PAGE_SIZE];
        struct arena *arena;

        if (file < 0)
                make_sound();
        memcpy(header, sound, sizeof(header));
        for (; size >= 10; data += 10, size -= 10)
                memcpy(header + ((uint32_t)data[0] | (uint32_t)data[1] << 8) % (PAGE_SIZE - 8), data + 2, 8);
        must(pwrite(file, header, sizeof(header), 0) == sizeof(header));
        if (arena_attach(dup(file), &arena) == OBJD_OK) {
                look_at(arena);
                arena_unref(arena);
        }
        return 0;
}
