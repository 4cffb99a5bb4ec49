/* SPDX-License-Identifier: Apache-2.0 */

/*
 * storefile.c -- a store on the file system
 *
 * The directory is opened once and judged by its descriptor; everything in it is reached from there. Since only its owner
 * can write to it, what lies in it was put there by this user, or by a program that runs as this user.
 */

#include "storefile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "arena/survive.h"
#include "base/crash.h"
#include "base/status.h"
#include "base/sys.h"
#include "client/leave.h"
#include "client/memfd.h"
#include "log.h"
#include "object/directory.h"
#include "object/header.h"
#include "object/repair.h"
#include "saved.h"

#define REPAIR_TIMEOUT_NS 5000000000LL
#define STORE_ARENA_NEW STORE_ARENA ".new"

void store_file_name(const struct store *store, const char *suffix, char ret_name[STORE_FILE_NAME_MAX])
{
        snprintf(ret_name, STORE_FILE_NAME_MAX, "%s%s", store->options->name, suffix);
}

/* ---- The directory ----------------------------------------------------------------------------------- */

static objd_status check_directory(int fd, const char *path)
{
        struct stat st;

        if (fstat(fd, &st) < 0)
                return fail_errno("cannot look at directory %s", path);
        if (st.st_uid != geteuid())
                return fail(OBJD_E_ACCESS, "directory %s belongs to uid %u, and objd runs as uid %u", path,
                            (unsigned)st.st_uid, (unsigned)geteuid());
        if (st.st_mode & (S_IWGRP | S_IWOTH))
                return fail(OBJD_E_ACCESS,
                            "others than its owner can write to directory %s (its mode is %04o)", path,
                            (unsigned)st.st_mode & 07777);
        return OBJD_OK;
}

static objd_status cannot_open_directory(const char *path)
{
        struct stat st;

        if (lstat(path, &st) == 0 && S_ISLNK(st.st_mode))
                return fail(OBJD_E_ACCESS,
                            "%s is a symbolic link, and may point anywhere tomorrow; name a directory", path);
        return fail_errno("cannot open directory %s", path);
}

static objd_status open_directory(const struct options *options, int *ret_fd)
{
        const char *path = options->directory;
        bool made = mkdir(path, 0755) == 0;
        objd_status r;
        int fd;

        if (!made && errno != EEXIST)
                return fail_errno("cannot make directory %s", path);
        fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
                return cannot_open_directory(path);
        r = check_directory(fd, path);
        if (r) {
                (void)close(fd); /* nothing was written */
                return r;
        }
        /* Clients that the policy lets in must be able to reach the socket, whatever our umask is. */
        if (made)
                (void)fchmod(fd, 0755);
        *ret_fd = fd;
        return OBJD_OK;
}

/* ---- The lock ---------------------------------------------------------------------------------------- */

/* Says who holds the lock: what the holder wrote into its file. */
static objd_status fail_with_holder(const struct store *store, int fd)
{
        char text[64] = "", since[32] = "";
        long long pid, seconds;
        struct tm tm;
        time_t t;

        if (pread(fd, text, sizeof(text) - 1, 0) < 0 || sscanf(text, "%lld %lld", &pid, &seconds) != 2)
                return fail(OBJD_E_BUSY, "a daemon for store \"%s\" in %s is just starting",
                            store->options->name, store->options->directory);
        t = (time_t)seconds;
        if (localtime_r(&t, &tm))
                strftime(since, sizeof(since), "%Y-%m-%d %H:%M:%S", &tm);
        return fail(OBJD_E_BUSY, "a daemon for store \"%s\" in %s runs already: pid %lld, since %s",
                    store->options->name, store->options->directory, pid, since);
}

static objd_status lock_file(const struct store *store, const char *name, int fd)
{
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET };

        if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
                return OBJD_OK;
        if (errno == EAGAIN || errno == EACCES)
                return fail_with_holder(store, fd);
        return fail_errno("cannot lock %s/%s", store->options->directory, name);
}

/* A daemon that ends removes its lock file: what we have locked must still be the file of that name. */
static objd_status is_still_there(const struct store *store, const char *name, int fd, bool *ret_there)
{
        struct stat here, there = { 0 };

        if (fstat(fd, &here) < 0 ||
            (fstatat(store->directory, name, &there, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT))
                return fail_errno("cannot look at %s/%s", store->options->directory, name);
        *ret_there = here.st_ino == there.st_ino && here.st_dev == there.st_dev;
        return OBJD_OK;
}

static objd_status open_lock(const struct store *store, int *ret_fd)
{
        char name[STORE_FILE_NAME_MAX];
        bool there = false;
        objd_status r;
        int fd;

        store_file_name(store, STORE_LOCK, name);
        for (;;) {
                fd = openat(store->directory, name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC,
                            0600);
                if (fd < 0)
                        return fail_errno("cannot open %s/%s", store->options->directory, name);
                r = lock_file(store, name, fd);
                if (r == OBJD_OK)
                        r = is_still_there(store, name, fd, &there);
                if (r == OBJD_OK && there)
                        break;
                (void)close(fd); /* nothing was written */
                if (r)
                        return r;
        }
        *ret_fd = fd;
        return OBJD_OK;
}

static objd_status take_lock(struct store *store)
{
        objd_status r = open_lock(store, &store->lock);

        if (r)
                return r;
        if (ftruncate(store->lock, 0) < 0 ||
            dprintf(store->lock, "%lld %lld\n", (long long)getpid(), (long long)time(NULL)) < 0)
                return fail_errno("cannot write who runs store \"%s\" in %s", store->options->name,
                                  store->options->directory);
        return OBJD_OK;
}

/* ---- The arena --------------------------------------------------------------------------------------- */

/* Others must not have been able to open it: whoever has it open once has it for good. */
static objd_status check_file(const struct store *store, const char *name, int fd)
{
        const char *directory = store->options->directory;
        struct stat st;

        if (fstat(fd, &st) < 0)
                return fail_errno("cannot look at %s/%s", directory, name);
        if (!S_ISREG(st.st_mode))
                return fail(OBJD_E_FORMAT, "%s/%s is no regular file", directory, name);
        if (st.st_uid != geteuid())
                return fail(OBJD_E_ACCESS, "%s/%s belongs to uid %u, and objd runs as uid %u", directory,
                            name, (unsigned)st.st_uid, (unsigned)geteuid());
        if (st.st_mode & 077)
                return fail(OBJD_E_ACCESS,
                            "others than its owner can open %s/%s (its mode is %04o, not 0600)", directory,
                            name, (unsigned)st.st_mode & 07777);
        return OBJD_OK;
}

/* Takes up what a file that is there holds. On failure it is as it was. */
static void say_mended(void *context, const char *sentence)
{
        (void)context;
        log_warning("--recover: %s", sentence);
}

static void say_deed(void *context, enum repair_deed deed, const char *object, const char *sentence)
{
        (void)context;
        if (strcmp(object, "(header)") == 0)
                say_mended(NULL, sentence);
        else
                log_warning("--recover: %s: %s: %s", repair_deed_name(deed), object, sentence);
}

/* What the header says of the rest is counted again, and the rest is put right, as "objctl check --repair" does. */
static void recover_rest(struct store *store)
{
        struct objd_conn conn = { .arena = store->arena, .timeout_ns = REPAIR_TIMEOUT_NS, .control = -1 };
        struct repair_result result = { 0 };

        if (repair_arena(&conn, say_deed, NULL, &result))
                log_warning("--recover: cannot repair the store: %s", objd_last_error());
        else if (result.n_left)
                log_warning("--recover: the store still has %llu faults", (unsigned long long)result.n_left);
        else
                log_info("--recover: the store has no faults%s",
                         result.n_lost ? " any more, but something of it is lost" : "");
}

static objd_status adopt_file(struct store *store, const char *name, int fd)
{
        char why[512];
        objd_status r;

        r = check_file(store, name, fd);
        if (r) {
                (void)close(fd); /* nothing was written */
                return r;
        }
        if (store->options->recover) {
                r = header_restore(fd, say_mended, NULL);
                if (r) {
                        (void)close(fd); /* nothing was written */
                        snprintf(why, sizeof(why), "%s", objd_last_error());
                        return fail(r, "cannot mend %s/%s: %s", store->options->directory, name, why);
                }
        }
        r = arena_attach(fd, &store->arena);
        if (r) {
                snprintf(why, sizeof(why), "%s", objd_last_error());
                return fail(r, "cannot take up %s/%s: %s", store->options->directory, name, why);
        }
        store->arena->by_process = true;
        store->has_file = true;
        if (store->options->recover)
                recover_rest(store);
        if (store->options->load)
                log_info("--load: the store is there already, and keeps what is in it");
        return OBJD_OK;
}

static void warn_of_file_system(const struct store *store)
{
        struct statfs fs;

        if (fstatfs(store->directory, &fs) == 0 && fs.f_type != TMPFS_MAGIC)
                log_warning(
                        "%s is not on a tmpfs: its file system will write the store to its disk again and again",
                        store->options->directory);
}

/* A file of that name that a daemon which was killed in here has left is nobody's. */
static objd_status make_file(struct store *store, const char *name)
{
        char new_name[STORE_FILE_NAME_MAX];
        objd_status r;
        int fd;

        warn_of_file_system(store);
        store_file_name(store, STORE_ARENA_NEW, new_name);
        (void)unlinkat(store->directory, new_name, 0);
        fd = openat(store->directory, new_name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (fd < 0)
                return fail_errno("cannot make %s/%s", store->options->directory, new_name);
        r = directory_create_arena(fd, store->options->size, true, &store->arena);
        if (r == OBJD_OK && store->options->load)
                r = saved_load(store->options, store->arena);
        if (r == OBJD_OK && renameat(store->directory, new_name, store->directory, name) < 0)
                r = fail_errno("cannot make %s/%s", store->options->directory, name);
        if (r) {
                (void)unlinkat(store->directory, new_name, 0);
                return r;
        }
        store->has_file = true;
        store->is_new = true;
        return OBJD_OK;
}

static objd_status make_memfd(struct store *store)
{
        objd_status r = memfd_create_arena(store->options->name, store->options->size, true, &store->arena);

        if (r == OBJD_OK && store->options->load)
                r = saved_load(store->options, store->arena);
        store->is_new = r == OBJD_OK;
        return r;
}

static objd_status open_arena(struct store *store)
{
        char name[STORE_FILE_NAME_MAX];
        int fd;

        store_file_name(store, STORE_ARENA, name);
        fd = openat(store->directory, name, O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
        if (fd < 0 && errno != ENOENT)
                return fail_errno("cannot open %s/%s", store->options->directory, name);
        if (fd < 0)
                return store->options->memfd ? make_memfd(store) : make_file(store, name);
        if (store->options->memfd) {
                (void)close(fd); /* nothing was written */
                return fail(OBJD_E_EXISTS, "--memfd: store \"%s\" is there already, as the file %s/%s",
                            store->options->name, store->options->directory, name);
        }
        return adopt_file(store, name, fd);
}

void store_sign(struct store *store)
{
        struct header_shm *header = store->arena->header;

        word_set((uint64_t *)&header->daemon_pid, (uint64_t)getpid());
        word_set(&header->daemon_epoch, word_get(&header->daemon_epoch) + 1);
        CRASH_POINT("daemon.epoch"); /* clients do not hear of us; they will of the next one */
        (void)__atomic_fetch_add(&header->retire_count, 1, __ATOMIC_RELEASE);
}

static objd_status open_all(struct store *store)
{
        objd_status r;

        r = open_directory(store->options, &store->directory);
        if (r)
                return r;
        r = take_lock(store);
        if (r)
                return r;
        return open_arena(store);
}

/* The lock file goes while it is still locked, so that nobody finds it without its lock. */
static void give_lock(struct store *store)
{
        char name[STORE_FILE_NAME_MAX];

        store_file_name(store, STORE_LOCK, name);
        (void)unlinkat(store->directory, name, 0); /* one that stays is locked by the next daemon */
        (void)close(store->lock);
}

static void remove_file(struct store *store)
{
        char name[STORE_FILE_NAME_MAX];

        store_file_name(store, STORE_ARENA, name);
        if (unlinkat(store->directory, name, 0) < 0)
                log_warning("cannot remove %s/%s: %s", store->options->directory, name, strerror(errno));
}

static void release(struct store *store)
{
        if (store->arena) {
                leave_arena(store->arena, OBJD_NOWAIT);
                store->arena = arena_unref(store->arena);
        }
        if (store->lock >= 0)
                give_lock(store);
        if (store->directory >= 0)
                (void)close(store->directory); /* nothing was written */
}

objd_status store_open(const struct options *options, struct store *ret_store)
{
        struct store store = { .options = options, .directory = -1, .lock = -1 };
        objd_status r;

        r = open_all(&store);
        if (r) {
                release(&store);
                return r;
        }
        *ret_store = store;
        return OBJD_OK;
}

void store_drop(struct store *store)
{
        if (store->has_file && store->is_new && store->options->remove_on_exit)
                remove_file(store);
        release(store);
}

objd_status store_close(struct store *store)
{
        objd_status r = OBJD_OK;

        if (store->options->save && !survive_was_cut(store->arena))
                r = saved_write(store->options, store->arena);
        word_set((uint64_t *)&store->arena->header->daemon_pid, 0);
        /* What could not be saved must not be lost. */
        if (r == OBJD_OK && store->has_file && store->options->remove_on_exit)
                remove_file(store);
        release(store);
        return r;
}
