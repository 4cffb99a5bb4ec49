/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_arena.c -- files that are arenas and files that are none; one mapping for a process; who counts as alive
 */

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "arena/arena.h"
#include "arena/life.h"
#include "base/sys.h"
#include "client/memfd.h"
#include "object/object.h"
#include "support/child.h"
#include "support/image.h"
#include "support/inside.h"
#include "support/test.h"
#include "txn/lane.h"

/* A finished arena's file, in which nobody is alive. */
static int new_file(void)
{
        struct objd_conn conn;
        struct image image;
        int fd;

        bare_create(&conn, 1 << 20);
        lane_release_own(conn.arena);
        image_take(conn.arena, &image);
        fd = image_make_file(&image);
        image_free(&image);
        bare_leave(&conn);
        return fd;
}

static struct header_shm header_of(int fd)
{
        struct header_shm header;

        assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
        return header;
}

static void expect_refused(int fd, const struct header_shm *header, const char *sentence)
{
        struct arena *arena = NULL;

        assert_int_equal(pwrite(fd, header, sizeof(*header), 0), sizeof(*header));
        assert_status(arena_attach(fd, &arena), OBJD_E_FORMAT);
        assert_contains(objd_last_error(), sentence);
        assert_null(arena);
        assert_int_equal(fcntl(fd, F_GETFD), -1); /* it has been closed */
}

#define EXPECT_REFUSED(change, sentence)                  \
        do {                                              \
                int fd = new_file();                      \
                struct header_shm header = header_of(fd); \
                change;                                   \
                expect_refused(fd, &header, sentence);    \
        } while (0)

static void a_file_that_is_no_arena_is_refused_with_what_is_wrong_with_it(void **state)
{
        (void)state;
        EXPECT_REFUSED(header.magic ^= 1, "no arena");
        EXPECT_REFUSED(header.abi = __builtin_bswap64(header.abi), "another byte order");
        EXPECT_REFUSED(header.format++, "format");
        EXPECT_REFUSED(header.size = 5, "it says that it has 5 bytes");
        EXPECT_REFUSED(header.size = UINT64_MAX, "damaged");
        EXPECT_REFUSED(header.size *= 2, "its tables do not fit its size");
        EXPECT_REFUSED(header.clients_off += 8, "its tables do not fit its size");
        EXPECT_REFUSED(header.lanes_off = 1ULL << 60, "its tables do not fit its size");
        EXPECT_REFUSED(header.blocks_off -= BLOCK_SIZE, "its tables do not fit its size");
        EXPECT_REFUSED(header.pool.n_blocks++, "its tables do not fit its size");
        EXPECT_REFUSED(header.state = ARENA_CREATING, "never finished");
        EXPECT_REFUSED(assert_int_equal(ftruncate(fd, (off_t)header.file_size - 4096), 0), "truncated");
}

static void an_arena_has_a_size_within_bounds(void **state)
{
        struct arena *arena = NULL;

        (void)state;
        assert_status(memfd_create_arena("test", ARENA_SIZE_MIN - 1, false, &arena), OBJD_E_INVAL);
        assert_status(memfd_create_arena("test", ARENA_SIZE_MAX + 1, false, &arena), OBJD_E_INVAL);
        assert_null(arena);
}

static void an_offset_outside_has_no_pointer(void **state)
{
        objd_conn *conn = *state;
        struct arena *arena = conn->arena;
        uint64_t start = arena->data_off, limit = arena_limit(arena);

        assert_ptr_equal(arena_at(arena, start, 8), arena->data);
        assert_ptr_equal(arena_at(arena, start + limit - 8, 8), arena->data + limit - 8);
        assert_null(arena_at(arena, start - 8, 8));
        assert_null(arena_at(arena, 0, 8));
        assert_null(arena_at(arena, start + 4, 8));
        assert_null(arena_at(arena, start + limit, 8));
        assert_null(arena_at(arena, start + limit - 8, 16));
        assert_null(arena_at(arena, UINT64_MAX - 7, 8));
        assert_null(arena_at(arena, start, UINT64_MAX));
}

/* ---- One mapping ------------------------------------------------------------------------------------------ */

static int attach_copy(objd_conn *conn, struct arena **ret_arena, objd_status *ret_status)
{
        int fd = fcntl(conn->arena->fd, F_DUPFD_CLOEXEC, 3);

        assert_true(fd >= 0);
        *ret_status = arena_attach(fd, ret_arena);
        return fd;
}

static int look_whether_alive(void *context)
{
        objd_conn *conn = context;

        return client_is_alive(conn->arena, conn->arena->client) ? 0 : 1;
}

static void expect_alive(objd_conn *conn)
{
        child_expect_success(child_start(look_whether_alive, conn));
}

static void a_process_maps_a_file_once(void **state)
{
        objd_conn *conn = *state;
        struct arena *second = NULL;
        objd_status r;

        (void)attach_copy(conn, &second, &r);
        assert_ok(r);
        assert_ptr_equal(second, conn->arena);
        arena_unref(second);
        expect_alive(conn);
}

static void *no_memory(void *p, size_t size)
{
        (void)p;
        (void)size;
        errno = ENOMEM;
        return NULL;
}

/*
 * Closing any descriptor of the file says to the others that we are dead. So one that we have no memory to remember stays
 * open; it was once given back to the caller, who closed it, or used for a second mapping.
 */
static void a_second_connection_that_fails_for_memory_does_not_look_like_death(void **state)
{
        void *(*real_resize)(void *p, size_t size) = sys.resize;
        objd_conn *conn = *state;
        struct arena *second = NULL;
        objd_status r;
        int fd;

        sys.resize = no_memory;
        fd = attach_copy(conn, &second, &r);
        sys.resize = real_resize;

        assert_int_equal(r, OBJD_E_NOMEM);
        assert_null(second);
        expect_alive(conn);
        inside_check(conn);
        objd_close(conn);
        close(fd);
        assert_ok(objd_connect("embedded:1M", &conn));
        *state = conn;
}

/* ---- Memory of the system ---------------------------------------------------------------------------------- */

static int (*real_fallocate)(int fd, int mode, int64_t off, int64_t size);
static int n_interrupted, n_steps;

static int fallocate_interrupted(int fd, int mode, int64_t off, int64_t size)
{
        assert_true(size <= 1 << 20);
        n_steps++;
        if (n_interrupted++ % 2 == 0) {
                errno = EINTR;
                return -1;
        }
        return real_fallocate(fd, mode, off, size);
}

static void memory_is_asked_for_in_steps_that_may_be_interrupted(void **state)
{
        objd_conn *conn = *state;

        real_fallocate = sys.fallocate;
        sys.fallocate = fallocate_interrupted;
        assert_ok(arena_commit(conn->arena, conn->arena->data_off, 5 << 20));
        sys.fallocate = real_fallocate;

        assert_int_equal(n_steps, 10);
        assert_ok(arena_punch(conn->arena, conn->arena->data_off + (4 << 20), 1 << 20));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_file_that_is_no_arena_is_refused_with_what_is_wrong_with_it),
                cmocka_unit_test(an_arena_has_a_size_within_bounds),
                INSIDE_TEST(an_offset_outside_has_no_pointer),
                INSIDE_TEST(a_process_maps_a_file_once),
                INSIDE_TEST(a_second_connection_that_fails_for_memory_does_not_look_like_death),
                INSIDE_TEST(memory_is_asked_for_in_steps_that_may_be_interrupted),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
