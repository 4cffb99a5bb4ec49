/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_daemon_files.c -- files that a daemon is to take up and are not what they should be; who else can open those that are
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <objd.h>

#include "arena/layout.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"

#define NOBODY 65534

/* The daemon fails to start with status 1 and this in its log. */
static void assert_does_not_start(struct fixture *f, const char *const *options, const char *sentence)
{
        struct fixture_output output;

        fixture_run_here(f, options, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, sentence);
        assert_contains(output.err, " error   cannot start: ");
}

/* ---- Files that are not what they should be ---------------------------------------------------------- */

/* An arena with its header changed, or any other bytes. */
struct forgery {
        const char *sentence;
        uint64_t size; /* of the file; 0: as it is */
        size_t off;
        uint64_t word;
};

/* A whole arena as the fixture's store, whose daemon has ended. */
static void make_store(struct fixture *f)
{
        objd_conn *conn;

        fixture_start(f, (const char *[]){ "--size", "1M", NULL });
        conn = fixture_connect(f);
        assert_ok(numbers_add(conn, "k", 1));
        objd_close(conn);
        fixture_stop(f, SIGTERM);
}

static void *read_all(const char *path, size_t *ret_size)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat st;
        void *bytes;

        assert_true(fd >= 0);
        assert_int_equal(fstat(fd, &st), 0);
        bytes = malloc((size_t)st.st_size + 1);
        assert_int_equal(pread(fd, bytes, (size_t)st.st_size, 0), st.st_size);
        close(fd);
        *ret_size = (size_t)st.st_size;
        return bytes;
}

static void forge(const char *path, const struct forgery *forgery)
{
        int fd = open(path, O_RDWR | O_CLOEXEC);

        assert_true(fd >= 0);
        if (forgery->size)
                assert_int_equal(ftruncate(fd, (off_t)forgery->size), 0);
        if (forgery->off || forgery->word)
                assert_int_equal(pwrite(fd, &forgery->word, 8, (off_t)forgery->off), 8);
        close(fd);
}

static void assert_is_refused_and_untouched(struct fixture *f, const char *path, const char *sentence)
{
        size_t before_size, after_size;
        void *before = read_all(path, &before_size), *after;
        struct stat before_st, after_st;

        assert_int_equal(stat(path, &before_st), 0);
        assert_does_not_start(f, NULL, sentence);

        after = read_all(path, &after_size);
        assert_int_equal(after_size, before_size);
        assert_memory_equal(after, before, before_size);
        assert_int_equal(stat(path, &after_st), 0);
        assert_int_equal(after_st.st_mode, before_st.st_mode);
        assert_int_equal(after_st.st_ino, before_st.st_ino);
        assert_int_equal(after_st.st_blocks, before_st.st_blocks);
        assert_false(fixture_has(f, ".lock"));
        assert_false(fixture_has(f, ".sock"));
        free(before);
        free(after);
}

/* format and state are the halves of one word. */
#define FORMAT_WORD(format, state) ((uint64_t)(format) | (uint64_t)(state) << 32)

static void a_file_that_is_no_arena_of_ours_is_refused_and_untouched(void **state)
{
        static const struct forgery forgeries[] = {
                { "the file is no arena (its first bytes are not an arena's)", 0, 0, 0x46554e4b59464c45ULL },
                { "the arena was made on a machine of another byte order", 0,
                  offsetof(struct header_shm, abi), 0x0102030405060708ULL },
                { "the arena has format 2 and this program reads format 1", 0,
                  offsetof(struct header_shm, format), FORMAT_WORD(2, ARENA_READY) },
                { "the arena has format 0 and this program reads format 1", 0,
                  offsetof(struct header_shm, format), FORMAT_WORD(0, ARENA_READY) },
                { "the arena was never finished", 0, offsetof(struct header_shm, format),
                  FORMAT_WORD(ARENA_FORMAT, ARENA_CREATING) },
                { "its tables do not fit its size", 0, offsetof(struct header_shm, lanes_off), 1 },
                { "the arena's header is damaged", 0, offsetof(struct header_shm, size), UINT64_MAX },
                { "the arena is truncated: 1000000 bytes of", 1000000, 0, 0 },
                { "the arena is truncated: 4096 bytes of", 4096, 0, 0 },
                { "the file is no arena: it has only 100 bytes", 100, 0, 0 },
                { "the file is no arena: it has only 4095 bytes", 4095, 0, 0 },
        };
        struct fixture *f = *state;
        char path[128], sentence[256];

        fixture_path(f, ".arena", path);
        for (size_t i = 0; i < sizeof(forgeries) / sizeof(forgeries[0]); i++) {
                make_store(f);
                forge(path, &forgeries[i]);

                assert_is_refused_and_untouched(f, path, forgeries[i].sentence);
                snprintf(sentence, sizeof(sentence), "cannot take up %s: the ", path);
                assert_is_refused_and_untouched(f, path, sentence);
                assert_int_equal(unlink(path), 0);
        }
}

static void an_empty_file_is_no_arena(void **state)
{
        struct fixture *f = *state;
        char path[128];

        fixture_path(f, ".arena", path);
        assert_int_equal(mkdir(f->directory, 0755), 0);
        close(open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));

        assert_is_refused_and_untouched(f, path, "the file is no arena: it has only 0 bytes");
}

static void an_arena_that_others_could_open_is_refused(void **state)
{
        struct fixture *f = *state;
        char path[128];

        fixture_path(f, ".arena", path);
        make_store(f);
        assert_int_equal(chmod(path, 0644), 0);
        assert_is_refused_and_untouched(f, path, "test.arena (its mode is 0644, not 0600)");
        assert_int_equal(chmod(path, 0600), 0);
        if (geteuid() == 0) {
                assert_int_equal(chown(path, NOBODY, NOBODY), 0);
                assert_is_refused_and_untouched(f, path,
                                                "test.arena belongs to uid 65534, and objd runs as uid 0");
        }
}

static void what_is_no_file_is_refused(void **state)
{
        struct fixture *f = *state;
        char path[128];

        fixture_path(f, ".arena", path);
        assert_int_equal(mkdir(f->directory, 0755), 0);
        assert_int_equal(symlink("/etc/passwd", path), 0);
        assert_does_not_start(f, NULL, "test.arena: Too many levels of symbolic links");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkfifo(path, 0600), 0);
        assert_does_not_start(f, NULL, "test.arena is no regular file");
        assert_int_equal(unlink(path), 0);
        assert_int_equal(mkdir(path, 0700), 0);
        assert_does_not_start(f, NULL, "test.arena: Is a directory");
}

static void a_directory_that_others_can_change_is_refused(void **state)
{
        struct fixture *f = *state;
        char elsewhere[128];

        assert_int_equal(mkdir(f->directory, 0700), 0);
        assert_int_equal(chmod(f->directory, 0777), 0);
        assert_does_not_start(f, NULL, "(its mode is 0777)");
        assert_int_equal(chmod(f->directory, 0775), 0);
        assert_does_not_start(f, NULL, "others than its owner can write to directory");
        assert_int_equal(chmod(f->directory, 0755), 0);
        if (geteuid() == 0) {
                assert_int_equal(chown(f->directory, NOBODY, NOBODY), 0);
                assert_does_not_start(f, NULL, "belongs to uid 65534, and objd runs as uid 0");
        }

        snprintf(elsewhere, sizeof(elsewhere), "%s/elsewhere", f->base);
        assert_int_equal(rename(f->directory, elsewhere), 0);
        assert_int_equal(symlink(elsewhere, f->directory), 0);
        assert_does_not_start(f, NULL, "is a symbolic link, and may point anywhere tomorrow");
        assert_int_equal(unlink(f->directory), 0);
}

static void a_parent_directory_that_is_not_there_is_not_made(void **state)
{
        struct fixture_output output;
        char directory[128];

        snprintf(directory, sizeof(directory), "%s/a/b", ((struct fixture *)*state)->base);
        fixture_run(*state, (const char *[]){ "--dir", directory, NULL }, &output);

        assert_int_equal(output.status, 1);
        assert_contains(output.err, "/a/b: No such file or directory");
}

/* ---- Memory that only its owner can open ------------------------------------------------------------- */

static void a_memfd_is_sealed_and_closed_to_others(void **state)
{
        struct fixture *f = *state;
        char path[64], target[256];
        struct stat st;
        bool found = false;

        fixture_start(f, (const char *[]){ "--memfd", NULL });
        for (int fd = 3; fd < 32 && !found; fd++) {
                ssize_t n;
                int copy;

                snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int)f->pid, fd);
                n = readlink(path, target, sizeof(target) - 1);
                target[n > 0 ? n : 0] = '\0';
                if (!strstr(target, "memfd:objd-test"))
                        continue;
                found = true;
                copy = open(path, O_RDWR | O_CLOEXEC);
                assert_true(copy >= 0);
                assert_int_equal(fcntl(copy, F_GET_SEALS), F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
                assert_int_equal(fstat(copy, &st), 0);
                assert_int_equal(st.st_mode & 07777, 0600);
                assert_int_equal(ftruncate(copy, 0), -1);
                close(copy);
        }
        assert_true(found);
}

static void an_arena_file_is_closed_to_others(void **state)
{
        struct fixture *f = *state;
        struct stat st;
        char path[128];

        umask(0);
        fixture_start(f, NULL);
        umask(022);

        fixture_path(f, ".arena", path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        fixture_path(f, ".lock", path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);
        fixture_path(f, ".sock", path);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0666);
        assert_int_equal(stat(f->directory, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0755);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(a_file_that_is_no_arena_of_ours_is_refused_and_untouched),
                FIXTURE_TEST(an_empty_file_is_no_arena),
                FIXTURE_TEST(an_arena_that_others_could_open_is_refused),
                FIXTURE_TEST(what_is_no_file_is_refused),
                FIXTURE_TEST(a_directory_that_others_can_change_is_refused),
                FIXTURE_TEST(a_parent_directory_that_is_not_there_is_not_made),
                FIXTURE_TEST(a_memfd_is_sealed_and_closed_to_others),
                FIXTURE_TEST(an_arena_file_is_closed_to_others),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
