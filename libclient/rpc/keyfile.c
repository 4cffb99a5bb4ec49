/* SPDX-License-Identifier: Apache-2.0 */

/*
 * keyfile.c -- files of keys
 *
 * What is checked is the file that was opened, never the name again, so nobody can exchange it in between.
 * Its text passes through guarded memory only, and through no buffer of stdio.
 */

#include "rpc/keyfile.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

/* A key's line at its longest. */
#define LINE_MAX_SIZE (KEY_ID_TEXT_SIZE + 2 * KEY_SECRET_SIZE + 1 + RIGHTS_TEXT_MAX + 1)

static const char first_line[] = "# Keys of objd: id, secret, rights. Whoever can read this file has them.\n";

/* A file's text in guarded memory. */
struct text {
        char *data;
        size_t size;
};

/* ---- Reading ------------------------------------------------------------------------------------------ */

static objd_status check_file(const char *path, int fd, size_t *ret_size)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return fail_errno("cannot look at %s", path);
        if (!S_ISREG(st.st_mode))
                return fail(OBJD_E_ACCESS, "%s is no regular file, and is not taken for a file of keys",
                            path);
        if (st.st_uid != geteuid())
                return fail(OBJD_E_ACCESS, "%s belongs to uid %u, and not to uid %u, who is to use its keys",
                            path, (unsigned)st.st_uid, (unsigned)geteuid());
        if (st.st_mode & (07777 & ~0600))
                return fail(OBJD_E_ACCESS,
                            "%s has mode %04o, and keys are for their owner only: chmod 600 %s", path,
                            (unsigned)(st.st_mode & 07777), path);
        if (st.st_size > KEYFILE_SIZE_MAX)
                return fail(OBJD_E_TOOBIG, "%s has %lld bytes, and %u are the most for a file of keys", path,
                            (long long)st.st_size, KEYFILE_SIZE_MAX);
        *ret_size = (size_t)st.st_size;
        return OBJD_OK;
}

/* A file that shrinks meanwhile is as long as what could be read; one that grows is taken as it was. */
static objd_status read_text(const char *path, int fd, struct text *text)
{
        size_t done = 0;

        while (done < text->size) {
                ssize_t n = pread(fd, text->data + done, text->size - done, (off_t)done);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n < 0)
                        return fail_errno("cannot read %s", path);
                if (n == 0)
                        text->size = done;
                done += (size_t)n;
        }
        return OBJD_OK;
}

static objd_status read_keyring(const char *path, int fd, struct keyring **ret, bool *ret_ends_in_newline)
{
        struct text text = { .size = 0 };
        objd_status r = check_file(path, fd, &text.size);

        if (r)
                return r;
        text.data = sodium_malloc(text.size + 1);
        if (!text.data)
                return fail(OBJD_E_NOMEM, "no memory to read %s", path);
        r = read_text(path, fd, &text);
        if (r == OBJD_OK)
                r = keyring_parse(path, text.data, text.size, ret);
        *ret_ends_in_newline = text.size == 0 || text.data[text.size - 1] == '\n';
        sodium_free(text.data);
        return r;
}

/* Without following a link, and without waiting for a pipe's other end. */
static objd_status open_file(const char *path, int flags, int *ret_fd)
{
        int fd = open(path, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);

        if (fd < 0 && errno == ENOENT)
                return fail(OBJD_E_NOTFOUND, "there is no file of keys %s; \"objctl keygen %s\" makes one",
                            path, path);
        if (fd < 0 && errno == ELOOP)
                return fail(OBJD_E_ACCESS, "%s is a link, and a file of keys must not be one", path);
        if (fd < 0)
                return fail_errno("cannot open %s", path);
        *ret_fd = fd;
        return OBJD_OK;
}

static objd_status start_sodium(void)
{
        return sodium_init() < 0 ? fail(OBJD_E_SYS, "there is no source of random numbers") : OBJD_OK;
}

objd_status keyfile_load(const char *path, struct keyring **ret)
{
        struct keyring *keyring;
        bool ends_in_newline;
        objd_status r;
        int fd;

        r = start_sodium();
        if (r == OBJD_OK)
                r = open_file(path, O_RDONLY, &fd);
        if (r)
                return r;
        r = read_keyring(path, fd, &keyring, &ends_in_newline);
        (void)close(fd); /* nothing was written */
        if (r)
                return r;
        if (!keyring->n_keys) {
                keyring_free(keyring);
                return fail(OBJD_E_INVAL, "%s has no key; \"objctl keygen %s\" adds one", path, path);
        }
        *ret = keyring;
        return OBJD_OK;
}

/* ---- Adding a key ------------------------------------------------------------------------------------- */

/* The line of a new key, into guarded memory of LINE_MAX_SIZE bytes. Gives its size. */
static size_t make_line(const uint8_t id[KEY_ID_SIZE], const struct rights *rights, char *line)
{
        uint8_t secret[KEY_SECRET_SIZE];
        size_t n = 2 * KEY_ID_SIZE;

        randombytes_buf(secret, sizeof(secret));
        (void)key_id_text(id, line);
        line[n++] = ' ';
        (void)sodium_bin2hex(line + n, 2 * KEY_SECRET_SIZE + 1, secret, sizeof(secret));
        sodium_memzero(secret, sizeof(secret));
        n += 2 * KEY_SECRET_SIZE;
        line[n++] = ' ';
        n += strlen(rights_write(rights, line + n));
        line[n++] = '\n';
        return n;
}

static bool write_all(int fd, const char *data, size_t size)
{
        while (size) {
                ssize_t n = write(fd, data, size);

                if (n < 0 && errno == EINTR)
                        continue;
                if (n <= 0)
                        return false;
                data += n;
                size -= (size_t)n;
        }
        return true;
}

/* before stands in front of the new line. If it cannot all be written, nothing of it is in the file. */
static objd_status append_key(const char *path, int fd, const char *before, const struct rights *rights,
                              const uint8_t id[KEY_ID_SIZE])
{
        off_t old_size = lseek(fd, 0, SEEK_END);
        char *line = sodium_malloc(LINE_MAX_SIZE);
        objd_status r = OBJD_OK;

        if (!line)
                return fail(OBJD_E_NOMEM, "no memory for a new key");
        if (old_size < 0 || !write_all(fd, before, strlen(before)) ||
            !write_all(fd, line, make_line(id, rights, line)) || fsync(fd) < 0) {
                r = fail_errno("cannot write the new key to %s", path);
                if (old_size >= 0)
                        (void)!ftruncate(fd, old_size); /* the sentence says what went wrong first */
        }
        sodium_free(line);
        return r;
}

static objd_status create_file(const char *path, int fd, const struct rights *rights,
                               uint8_t ret_id[KEY_ID_SIZE])
{
        objd_status r = OBJD_OK;

        randombytes_buf(ret_id, KEY_ID_SIZE);
        if (fchmod(fd, 0600) < 0) /* whatever the umask was */
                r = fail_errno("cannot set the mode of %s", path);
        if (r == OBJD_OK)
                r = append_key(path, fd, first_line, rights, ret_id);
        if (r)
                (void)unlink(path); /* ours, and of no use */
        return r;
}

static objd_status add_to_file(const char *path, int fd, const struct rights *rights,
                               uint8_t ret_id[KEY_ID_SIZE])
{
        struct keyring *keyring;
        bool ends_in_newline;
        objd_status r;

        r = read_keyring(path, fd, &keyring, &ends_in_newline);
        if (r)
                return r;
        do
                randombytes_buf(ret_id, KEY_ID_SIZE);
        while (keyring_find(keyring, ret_id) != &keyring->nobody);
        if (keyring->n_keys == KEYS_MAX)
                r = fail(OBJD_E_LIMIT, "%s has %d keys, which is all there can be", path, KEYS_MAX);
        else
                r = append_key(path, fd, ends_in_newline ? "" : "\n", rights, ret_id);
        keyring_free(keyring);
        return r;
}

objd_status keyfile_add(const char *path, const struct rights *rights, uint8_t ret_id[KEY_ID_SIZE])
{
        objd_status r = start_sodium();
        bool is_new;
        int fd;

        if (r)
                return r;
        fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0 && errno != EEXIST)
                return fail_errno("cannot make %s", path);
        is_new = fd >= 0;
        if (!is_new)
                r = open_file(path, O_RDWR | O_APPEND, &fd);
        if (r)
                return r;
        if (flock(fd, LOCK_EX) < 0) /* two that add at once come one after the other */
                r = fail_errno("cannot lock %s", path);
        else
                r = is_new ? create_file(path, fd, rights, ret_id) : add_to_file(path, fd, rights, ret_id);
        if (close(fd) < 0 && r == OBJD_OK)
                r = fail_errno("cannot write %s", path);
        return r;
}
