/* SPDX-License-Identifier: Apache-2.0 */

/*
 * test_keyfile.c -- rpc/keyring.c and rpc/keyfile.c
 */

#include "support/test.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <signal.h>
#include <unistd.h>

#include "base/sys.h"
#include "rpc/keyfile.h"

#define SECRET_1 "00112233445566778899aabbccddeeff0f1e2d3c4b5a69788796a5b4c3d2e1f0"
#define SECRET_2 "FFEEDDCCBBAA99887766554433221100ffeeddccbbaa99887766554433221100"
#define LINE_1 "0123456789abcdef " SECRET_1 " rw\n"
#define LINE_2 "fedcba9876543210 " SECRET_2 " ro team/*\n"

static char folder[64];

static int make_folder(void **state)
{
        (void)state;
        snprintf(folder, sizeof(folder), "/tmp/objd-test-XXXXXX");
        return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
        (void)state;
        return rmdir(folder);
}

/* The path of a file in the folder. */
static const char *path_of(const char *name)
{
        static char path[128];

        snprintf(path, sizeof(path), "%s/%s", folder, name);
        return path;
}

/* Makes the file "keys". */
static const char *make_file(const char *text, size_t size, mode_t mode)
{
        const char *path = path_of("keys");
        int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

        assert_true(fd >= 0);
        assert_int_equal(write(fd, text, size), size);
        assert_int_equal(fchmod(fd, mode), 0);
        assert_int_equal(close(fd), 0);
        return path;
}

static void remove_file(void)
{
        assert_int_equal(unlink(path_of("keys")), 0);
}

/* ---- Texts -------------------------------------------------------------------------------------------- */

static struct keyring *parse(const char *text)
{
        struct keyring *keyring;

        assert_ok(keyring_parse("keys", text, strlen(text), &keyring));
        return keyring;
}

static void check_not_parsed(const char *text, const char *sentence)
{
        struct keyring *keyring;

        assert_sentence(keyring_parse("keys", text, strlen(text), &keyring), OBJD_E_INVAL, sentence);
}

static void keys_are_read_with_their_rights(void **state)
{
        static const uint8_t id[KEY_ID_SIZE] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef };
        struct keyring *keyring = parse("# comment\n\n" LINE_1 "   \t\n  # another\n \t" LINE_2);
        char text[KEY_ID_TEXT_SIZE];

        (void)state;
        assert_int_equal(keyring->n_keys, 2);
        assert_memory_equal(keyring->keys[0].id, id, KEY_ID_SIZE);
        assert_int_equal(keyring->keys[0].line, 3);
        assert_int_equal(keyring->keys[0].secret[1], 0x11);
        assert_int_equal(keyring->keys[0].secret[31], 0xf0);
        assert_false(keyring->keys[0].rights.read_only);
        assert_int_equal(keyring->keys[1].line, 6);
        assert_int_equal(keyring->keys[1].secret[0], 0xff);
        assert_true(keyring->keys[1].rights.read_only);
        assert_true(rights_allow_name(&keyring->keys[1].rights, "team/a"));
        assert_false(rights_allow_name(&keyring->keys[1].rights, "other"));
        assert_string_equal(key_id_text(keyring->keys[1].id, text), "fedcba9876543210");
        keyring_free(keyring);
}

static void the_last_line_needs_no_end(void **state)
{
        struct keyring *keyring = parse("0123456789abcdef " SECRET_1 " rw");

        (void)state;
        assert_int_equal(keyring->n_keys, 1);
        keyring_free(keyring);
}

static void keys_are_found_by_their_ids(void **state)
{
        static const uint8_t other[KEY_ID_SIZE] = { 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xee };
        struct keyring *keyring = parse(LINE_1 LINE_2), *none = parse("");
        const struct seal_key *key;

        (void)state;
        for (size_t i = 0; i < keyring->n_keys; i++)
                assert_ptr_equal(keyring_find(keyring, keyring->keys[i].id), &keyring->keys[i]);
        key = keyring_find(keyring, other);
        assert_ptr_equal(key, &keyring->nobody);
        assert_memory_not_equal(key->secret, keyring->keys[0].secret, KEY_SECRET_SIZE);
        assert_memory_not_equal(key->secret, none->nobody.secret, KEY_SECRET_SIZE);
        assert_ptr_equal(keyring_find(none, other), &none->nobody);
        keyring_free(keyring);
        keyring_free(none);
        assert_null(keyring_free(NULL));
}

static void a_clients_file_has_one_key(void **state)
{
        struct keyring *one = parse(LINE_2), *two = parse(LINE_1 LINE_2);
        const struct seal_key *key;

        (void)state;
        assert_ok(keyring_only(one, "k", &key));
        assert_ptr_equal(key, one->keys);
        assert_sentence(
                keyring_only(two, "k", &key), OBJD_E_INVAL,
                "k has 2 keys, and a client's file has one: put the line of the client's key into a file of its "
                "own");
        keyring_free(one);
        keyring_free(two);
}

static void what_is_wrong_is_said_with_its_line_and_without_its_text(void **state)
{
        (void)state;
        check_not_parsed("\n0123456789abcde " SECRET_1 " rw\n",
                         "keys: line 2: does not begin with a key's id, 16 hex digits");
        check_not_parsed("0123456789abcdef0 " SECRET_1 " rw\n",
                         "keys: line 1: does not begin with a key's id, 16 hex digits");
        check_not_parsed("0123456789abcdeg " SECRET_1 " rw\n",
                         "keys: line 1: does not begin with a key's id, 16 hex digits");
        check_not_parsed(LINE_1 "root:x:0:0\n",
                         "keys: line 2: does not begin with a key's id, 16 hex digits");
        check_not_parsed("0123456789abcdef\n",
                         "keys: line 1: behind the id there is no secret, 64 hex digits");
        check_not_parsed("0123456789abcdef 0123 rw\n",
                         "keys: line 1: behind the id there is no secret, 64 hex digits");
        check_not_parsed("0123456789abcdef " SECRET_1 "0 rw\n",
                         "keys: line 1: behind the id there is no secret, 64 hex digits");
        check_not_parsed("0123456789abcdef " SECRET_1 "\n",
                         "keys: line 1: the rights do not begin with \"rw\" or \"ro\"");
        check_not_parsed("0123456789abcdef " SECRET_1 " rw a*b\n",
                         "keys: line 1: in a pattern for names a star can only be the last character");
        check_not_parsed(LINE_1 "# again\n" LINE_1, "keys: line 3: the key has the id of that in line 1");
}

static void a_text_may_have_any_bytes(void **state)
{
        static const char zeros[100];
        struct keyring *keyring;

        (void)state;
        assert_status(keyring_parse("keys", zeros, sizeof(zeros), &keyring), OBJD_E_INVAL);
        assert_status(keyring_parse("keys", LINE_1 "\0", sizeof(LINE_1), &keyring), OBJD_E_INVAL);
        assert_ok(keyring_parse("keys", "", 0, &keyring));
        assert_int_equal(keyring->n_keys, 0);
        keyring_free(keyring);
}

static void there_is_an_end_to_how_many_keys_there_can_be(void **state)
{
        const size_t line_size = sizeof(LINE_1) - 1;
        char *text = malloc((KEYS_MAX + 1) * line_size + 1);
        struct keyring *keyring;

        (void)state;
        assert_non_null(text);
        for (size_t i = 0; i <= KEYS_MAX; i++)
                snprintf(text + i * line_size, line_size + 1, "%016zx " SECRET_1 " rw\n", i);
        assert_sentence(keyring_parse("keys", text, (KEYS_MAX + 1) * line_size, &keyring), OBJD_E_LIMIT,
                        "keys: has 4097 keys, and 4096 are the most");
        assert_ok(keyring_parse("keys", text, KEYS_MAX * line_size, &keyring));
        assert_int_equal(keyring->n_keys, KEYS_MAX);
        assert_ptr_equal(keyring_find(keyring, keyring->keys[KEYS_MAX - 1].id), &keyring->keys[KEYS_MAX - 1]);
        keyring_free(keyring);
        free(text);
}

static int n_allocs_left;

static void *alloc_some(size_t size)
{
        return n_allocs_left-- > 0 ? calloc(1, size) : NULL;
}

static void without_memory_nothing_is_read(void **state)
{
        void *(*before)(size_t) = sys.alloc;
        struct keyring *keyring;
        objd_status r;

        (void)state;
        sys.alloc = alloc_some;
        for (int n = 0; n < 3; n++) {
                n_allocs_left = n;
                assert_sentence(keyring_parse("keys", LINE_1, sizeof(LINE_1) - 1, &keyring), OBJD_E_NOMEM,
                                "keys: no memory for 1 key");
        }
        n_allocs_left = 3;
        r = keyring_parse("keys", LINE_1, sizeof(LINE_1) - 1, &keyring);
        sys.alloc = before;
        assert_int_equal(r, OBJD_OK);
        keyring_free(keyring);
}

/* ---- Files -------------------------------------------------------------------------------------------- */

static void check_not_loaded(const char *path, objd_status status, const char *sentence)
{
        char expected[400];
        struct keyring *keyring;

        snprintf(expected, sizeof(expected), "%s%s", path, sentence);
        assert_sentence(keyfile_load(path, &keyring), status, expected);
}

static void a_file_is_loaded(void **state)
{
        static const mode_t modes[] = { 0600, 0400 };

        (void)state;
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
                struct keyring *keyring;

                assert_ok(keyfile_load(make_file(LINE_1 LINE_2, sizeof(LINE_1 LINE_2) - 1, modes[i]),
                                       &keyring));
                assert_int_equal(keyring->n_keys, 2);
                keyring_free(keyring);
                remove_file();
        }
}

static void a_file_that_others_may_use_is_refused(void **state)
{
        static const mode_t modes[] = { 0644, 0640, 0660, 0604, 0620, 0601, 0700, 04600, 02600, 01600 };

        (void)state;
        for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
                const char *path = make_file(LINE_1, sizeof(LINE_1) - 1, modes[i]);
                char sentence[200];

                snprintf(sentence, sizeof(sentence),
                         " has mode %04o, and keys are for their owner only: chmod 600 %s",
                         (unsigned)modes[i], path);
                check_not_loaded(path, OBJD_E_ACCESS, sentence);
                remove_file();
        }
}

static void somebody_elses_file_is_refused(void **state)
{
        const char *path;
        char sentence[200];

        (void)state;
        if (geteuid() != 0)
                skip(); /* only root can make one */
        path = make_file(LINE_1, sizeof(LINE_1) - 1, 0600);
        assert_int_equal(chown(path, 12345, (gid_t)-1), 0);
        snprintf(sentence, sizeof(sentence),
                 " belongs to uid 12345, and not to uid 0, who is to use its keys");
        check_not_loaded(path, OBJD_E_ACCESS, sentence);
        remove_file();
}

static void links_folders_and_pipes_are_refused(void **state)
{
        char target[128];
        const char *path = make_file(LINE_1, sizeof(LINE_1) - 1, 0600);

        (void)state;
        snprintf(target, sizeof(target), "%s", path);
        path = path_of("link");
        assert_int_equal(symlink(target, path), 0);
        check_not_loaded(path, OBJD_E_ACCESS, " is a link, and a file of keys must not be one");
        assert_int_equal(unlink(path), 0);
        remove_file();

        path = path_of("pipe");
        assert_int_equal(mkfifo(path, 0600), 0);
        check_not_loaded(path, OBJD_E_ACCESS, " is no regular file, and is not taken for a file of keys");
        assert_int_equal(unlink(path), 0);

        check_not_loaded(folder, OBJD_E_ACCESS, " is no regular file, and is not taken for a file of keys");
}

static void a_file_that_is_missing_empty_or_huge_is_refused(void **state)
{
        char sentence[512];
        struct keyring *keyring;
        const char *path = path_of("keys");

        (void)state;
        snprintf(sentence, sizeof(sentence), "there is no file of keys %s; \"objctl keygen %s\" makes one",
                 path, path);
        assert_sentence(keyfile_load(path, &keyring), OBJD_E_NOTFOUND, sentence);

        path = make_file("# nothing\n", 10, 0600);
        snprintf(sentence, sizeof(sentence), " has no key; \"objctl keygen %s\" adds one", path);
        check_not_loaded(path, OBJD_E_INVAL, sentence);
        remove_file();

        path = make_file("", 0, 0600);
        assert_int_equal(truncate(path, KEYFILE_SIZE_MAX + 1), 0);
        check_not_loaded(path, OBJD_E_TOOBIG,
                         " has 8388609 bytes, and 8388608 are the most for a file of keys");
        remove_file();

        path = make_file("nonsense\n", 9, 0600);
        check_not_loaded(path, OBJD_E_INVAL, ": line 1: does not begin with a key's id, 16 hex digits");
        remove_file();
}

/* ---- New keys ----------------------------------------------------------------------------------------- */

static void a_new_key_makes_its_file(void **state)
{
        struct rights rights = { .read_only = true };
        const char *path = path_of("keys");
        uint8_t id[KEY_ID_SIZE];
        struct keyring *keyring;
        struct stat st;
        mode_t mask = umask(0777); /* whatever it is, the mode is right */

        (void)state;
        assert_ok(rights_add_name(&rights, "team/*", 6));
        assert_ok(keyfile_add(path, &rights, id));
        (void)umask(mask);
        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_mode & 07777, 0600);

        assert_ok(keyfile_load(path, &keyring));
        assert_int_equal(keyring->n_keys, 1);
        assert_memory_equal(keyring->keys[0].id, id, KEY_ID_SIZE);
        assert_memory_equal(&keyring->keys[0].rights, &rights, sizeof(rights));
        keyring_free(keyring);
        remove_file();
}

static void more_keys_are_added_behind_it(void **state)
{
        const struct rights rights = { .read_only = false };
        const char *path = make_file("0123456789abcdef " SECRET_1 " ro", 16 + 1 + 64 + 3, 0600);
        uint8_t ids[3][KEY_ID_SIZE];
        struct keyring *keyring;

        (void)state;
        for (int i = 0; i < 3; i++)
                assert_ok(keyfile_add(path, &rights, ids[i]));
        assert_ok(keyfile_load(path, &keyring));
        assert_int_equal(keyring->n_keys, 4);
        assert_true(keyring->keys[0].rights.read_only);
        for (int i = 0; i < 3; i++) {
                assert_memory_equal(keyring->keys[i + 1].id, ids[i], KEY_ID_SIZE);
                assert_memory_not_equal(keyring->keys[i + 1].secret, keyring->keys[i].secret,
                                        KEY_SECRET_SIZE);
        }
        keyring_free(keyring);
        remove_file();
}

static void check_size(const char *path, off_t expected)
{
        struct stat st;

        assert_int_equal(stat(path, &st), 0);
        assert_int_equal(st.st_size, expected);
}

static void nothing_is_added_to_a_file_that_is_not_in_order(void **state)
{
        const struct rights rights = { .read_only = false };
        uint8_t id[KEY_ID_SIZE];
        const char *path = make_file("precious\n", 9, 0600);

        (void)state;
        assert_status(keyfile_add(path, &rights, id), OBJD_E_INVAL);
        check_size(path, 9);
        remove_file();

        path = make_file(LINE_1, sizeof(LINE_1) - 1, 0644);
        assert_status(keyfile_add(path, &rights, id), OBJD_E_ACCESS);
        check_size(path, sizeof(LINE_1) - 1);
        remove_file();

        assert_int_equal(symlink("nowhere", path_of("link")), 0);
        assert_status(keyfile_add(path_of("link"), &rights, id), OBJD_E_ACCESS);
        assert_int_equal(unlink(path_of("link")), 0);
        assert_int_equal(access(path_of("nowhere"), F_OK), -1);

        assert_status(keyfile_add(path_of("no/such/folder"), &rights, id), OBJD_E_SYS);
}

/*
 * Writes fail at each size that the limit allows: what was there stays, and a file that was to be made is
 * not.
 */
static void a_key_that_cannot_be_written_leaves_nothing(void **state)
{
        const struct rights rights = { .read_only = false };
        struct rlimit old, limit;
        uint8_t id[KEY_ID_SIZE];
        const char *path;

        (void)state;
        assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
        (void)signal(SIGXFSZ, SIG_IGN);
        path = make_file(LINE_1, sizeof(LINE_1) - 1, 0600);
        for (rlim_t more = 0; more < 80; more += 13) {
                limit = (struct rlimit){ sizeof(LINE_1) - 1 + more, old.rlim_max };
                assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
                assert_status(keyfile_add(path, &rights, id), OBJD_E_SYS);
                check_size(path, sizeof(LINE_1) - 1);
        }
        remove_file();
        limit.rlim_cur = 100; /* the first line, and a part of the second */
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        assert_status(keyfile_add(path, &rights, id), OBJD_E_SYS);
        assert_int_equal(access(path, F_OK), -1);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        (void)signal(SIGXFSZ, SIG_DFL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(keys_are_read_with_their_rights),
                cmocka_unit_test(the_last_line_needs_no_end),
                cmocka_unit_test(keys_are_found_by_their_ids),
                cmocka_unit_test(a_clients_file_has_one_key),
                cmocka_unit_test(what_is_wrong_is_said_with_its_line_and_without_its_text),
                cmocka_unit_test(a_text_may_have_any_bytes),
                cmocka_unit_test(there_is_an_end_to_how_many_keys_there_can_be),
                cmocka_unit_test(without_memory_nothing_is_read),
                cmocka_unit_test(a_file_is_loaded),
                cmocka_unit_test(a_file_that_others_may_use_is_refused),
                cmocka_unit_test(somebody_elses_file_is_refused),
                cmocka_unit_test(links_folders_and_pipes_are_refused),
                cmocka_unit_test(a_file_that_is_missing_empty_or_huge_is_refused),
                cmocka_unit_test(a_new_key_makes_its_file),
                cmocka_unit_test(more_keys_are_added_behind_it),
                cmocka_unit_test(nothing_is_added_to_a_file_that_is_not_in_order),
                cmocka_unit_test(a_key_that_cannot_be_written_leaves_nothing),
        };

        return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
