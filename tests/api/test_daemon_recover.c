/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_daemon_recover.c -- objd --recover, over a damaged header
 */

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <objd.h>

#include "arena/layout.h"
#include "support/fixture.h"
#include "support/numbers.h"
#include "support/test.h"

/* Makes a store with something in it, whose daemon has been killed and whose last client has left. */
static void leave_store(struct fixture *f)
{
        objd_conn *conn;

        fixture_start(f, (const char *[]){ "--size", "2M", NULL });
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 7));
        fixture_stop(f, SIGKILL);
        objd_close(conn);
}

static void damage(const struct fixture *f, size_t off, const void *bytes, size_t size)
{
        char path[128];
        int fd;

        fixture_path(f, ".arena", path);
        fd = open(path, O_RDWR | O_CLOEXEC);
        assert_true(fd >= 0);
        assert_int_equal(pwrite(fd, bytes, size, (off_t)off), size);
        close(fd);
}

/* Takes the store up with --recover; everything is there and whole. */
static void expect_mended(struct fixture *f, const char *sentence)
{
        objd_conn *conn;

        fixture_start(f, (const char *[]){ "--recover", NULL });
        if (!strstr(fixture_log(f), sentence))
                fail_msg("\"%s\" is not in the log:\n%s", sentence, fixture_log(f));
        assert_contains(fixture_log(f), "--recover: the store has no faults");
        conn = fixture_connect(f);
        assert_ok(numbers_add(conn, "k", 1));
        assert_number(conn, "k", 8);
        objd_close(conn);
        fixture_stop(f, SIGTERM);
}

static void remove_store(const struct fixture *f)
{
        char path[128];

        fixture_path(f, ".arena", path);
        assert_int_equal(unlink(path), 0);
}

#define HEADER(field) offsetof(struct header_shm, field), #field

static void what_a_header_has_lost_is_put_back_and_listed(void **state)
{
        static const struct {
                size_t off;
                const char *name;
                bool is_counted; /* else it is put back from the copy */
        } words[] = {
                { HEADER(magic), false },           { HEADER(abi), false },
                { HEADER(file_size), false },       { HEADER(hash_key[0]), false },
                { HEADER(hash_key[1]), false },     { HEADER(clients_off), false },
                { HEADER(lanes_off), false },       { HEADER(table_off), false },
                { HEADER(blocks_off), false },      { HEADER(size), false },
                { HEADER(names), false },           { HEADER(pool.n_blocks), false },
                { HEADER(lanes_high), true },       { HEADER(clients_high), true },
                { HEADER(n_pins), true },           { HEADER(pool.frontier), true },
                { HEADER(pool.table_ready), true }, { HEADER(pool.n_used_blocks), true },
                { HEADER(pool.n_kept), true },
        };
        const uint64_t garbage = 0xdeadbeefcafe1234;
        struct fixture *f = *state;
        char sentence[128];

        for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++) {
                leave_store(f);
                damage(f, words[i].off, &garbage, sizeof(garbage));
                snprintf(sentence, sizeof(sentence),
                         words[i].is_counted ? "header: %s was 16045690984503054900; it is "
                                             : "header: %s was 0xdeadbeefcafe1234; it is ",
                         words[i].name);
                expect_mended(f, sentence);
                remove_store(f);
        }
}

static void a_header_of_nothing_but_zeros_is_put_back(void **state)
{
        static const char zeros[offsetof(struct header_shm, daemon_epoch)];
        struct fixture_output output;
        struct fixture *f = *state;

        leave_store(f);
        damage(f, 0, zeros, sizeof(zeros));
        fixture_run_here(f, NULL, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, "the file is no arena");

        expect_mended(f, "header: magic was 0; it is ");
}

static void a_lock_of_the_pool_that_nobody_has_is_free_again(void **state)
{
        const uint64_t word = 5ULL << 16 | 77 << 4 | 1;
        struct fixture *f = *state;

        leave_store(f);
        damage(f, offsetof(struct header_shm, pool.line.word), &word, sizeof(word));
        expect_mended(f, "header: the pool's lock named lane ");
}

static void a_header_beyond_repair_is_refused_and_so_is_one_in_use(void **state)
{
        static const char zeros[4096];
        struct fixture *f = *state;
        struct fixture_output output;
        objd_conn *conn;

        fixture_start(f, NULL);
        conn = fixture_connect(f);
        assert_ok(numbers_set(conn, "k", 1));
        fixture_stop(f, SIGKILL);
        fixture_run_here(f, (const char *[]){ "--recover", NULL }, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, "uses the arena, which can only be mended while nobody does");
        objd_close(conn);

        damage(f, 0, zeros, sizeof(zeros));
        fixture_run_here(f, (const char *[]){ "--recover", NULL }, &output);
        assert_int_equal(output.status, 1);
        assert_contains(output.err, "the header is damaged, and so is the copy of what it needs");
}

static void a_store_without_damage_is_recovered_without_a_word(void **state)
{
        struct fixture *f = *state;

        leave_store(f);
        expect_mended(f, "took up the file");
        assert_null(strstr(fixture_log(f), "header:"));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                FIXTURE_TEST(what_a_header_has_lost_is_put_back_and_listed),
                FIXTURE_TEST(a_header_of_nothing_but_zeros_is_put_back),
                FIXTURE_TEST(a_lock_of_the_pool_that_nobody_has_is_free_again),
                FIXTURE_TEST(a_header_beyond_repair_is_refused_and_so_is_one_in_use),
                FIXTURE_TEST(a_store_without_damage_is_recovered_without_a_word),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
