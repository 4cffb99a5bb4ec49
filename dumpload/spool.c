/* SPDX-License-Identifier: Apache-2.0 */
/*
 * spool.c -- where a dump goes while objects stand still
 */

#include "dumpload/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"

#define BUFFER_SIZE (256u << 10)

static const char *spool_directory(void)
{
        const char *directory = secure_getenv("TMPDIR");

        return directory && *directory ? directory : "/var/tmp";
}

/* A file that is gone with its last descriptor; not every file system can make one without a name. */
static int open_unnamed(const char *directory)
{
        char path[PATH_MAX];
        int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        if (fd >= 0 || (errno != EOPNOTSUPP && errno != EISDIR && errno != ENOENT))
                return fd;
        snprintf(path, sizeof(path), "%s/objd-dump-XXXXXX", directory);
        fd = mkostemp(path, O_CLOEXEC);
        if (fd >= 0)
                (void)unlink(path); /* one that stays is only in the way */
        return fd;
}

int spool_open(void)
{
        return open_unnamed(spool_directory());
}

static bool is_regular(FILE *f)
{
        struct stat st;

        return fstat(fileno(f), &st) == 0 && S_ISREG(st.st_mode);
}

objd_status spool_init(struct spool *spool, FILE *target)
{
        int fd;

        *spool = (struct spool){ .f = target, .target = target };
        if (is_regular(target))
                return OBJD_OK;
        fd = spool_open();
        spool->f = fd < 0 ? NULL : fdopen(fd, "w+");
        spool->buffer = malloc(BUFFER_SIZE);
        if (spool->f && spool->buffer) {
                setvbuf(spool->f, spool->buffer, _IOFBF, BUFFER_SIZE);
                return OBJD_OK;
        }
        if (fd >= 0 && !spool->f)
                (void)close(fd); /* nothing was written */
        spool_deinit(spool);
        return fail_errno("cannot make a file for the dump in %s", spool_directory());
}

void spool_deinit(struct spool *spool)
{
        if (spool->f && spool->f != spool->target)
                (void)fclose(spool->f); /* what was in it has been passed on, or is not wanted */
        free(spool->buffer);
        *spool = (struct spool){ 0 };
}

objd_status spool_check(const struct spool *spool)
{
        if (ferror(spool->f))
                return fail_errno(spool->f == spool->target ? "cannot write the dump"
                                                            : "cannot write to the dump's file in $TMPDIR");
        return OBJD_OK;
}

objd_status spool_flush(struct spool *spool)
{
        char piece[16384];
        off_t size, at = 0;

        if (spool->f == spool->target)
                return spool_check(spool);
        size = ftello(spool->f);
        if (fflush(spool->f) || size < 0)
                return fail_errno("cannot write to the dump's file in $TMPDIR");
        while (at < size) {
                size_t want = size - at < (off_t)sizeof(piece) ? (size_t)(size - at) : sizeof(piece);
                ssize_t n = pread(fileno(spool->f), piece, want, at);

                if (n <= 0)
                        return fail_errno("cannot read the dump's file in $TMPDIR");
                if (fwrite(piece, 1, (size_t)n, spool->target) != (size_t)n)
                        return fail_errno("cannot write the dump");
                at += n;
        }
        if (fseeko(spool->f, 0, SEEK_SET) || ftruncate(fileno(spool->f), 0))
                return fail_errno("cannot empty the dump's file in $TMPDIR");
        return OBJD_OK;
}
