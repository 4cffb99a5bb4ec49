/* SPDX-License-Identifier: Apache-2.0 */

/*
 * saved.c -- a store that comes from a dump, and goes into one
 */

#include "saved.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/status.h"
#include "dumpload/dump.h"
#include "dumpload/load.h"
#include "log.h"
#include "object/object.h"

#define SAVED_NEW ".new"

/* How long to wait for somebody who is in the middle of a change. */
#define TIMEOUT_NS 5000000000LL

static struct objd_conn connection_to(struct arena *arena)
{
        return (struct objd_conn){ .arena = arena, .timeout_ns = TIMEOUT_NS, .control = -1 };
}

objd_status saved_load(const struct options *options, struct arena *arena)
{
        struct objd_conn conn = connection_to(arena);
        struct load_report report;
        objd_status r;
        FILE *f = fopen(options->load, "re");

        if (!f && errno == ENOENT && options->save && strcmp(options->load, options->save) == 0) {
                log_info("there is no %s yet: the store is empty", options->load);
                return OBJD_OK;
        }
        if (!f)
                return fail_errno("cannot open %s", options->load);
        r = load_read(&conn, f, options->load, LOAD_REFUSE, &report);
        (void)fclose(f); /* nothing was written */
        if (r)
                return r;
        log_info("%" PRIu64 " objects are loaded from %s", report.n_loaded, options->load);
        if (report.n_damaged)
                log_warning("%" PRIu64 " objects were damaged when %s was written, and are not in it",
                            report.n_damaged, options->load);
        return OBJD_OK;
}

/* A name is only there for good when its directory is on the disk, too. */
static objd_status sync_directory(const char *path)
{
        char *copy = strdup(path);
        int fd = copy ? open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
        objd_status r = OBJD_OK;

        if (fd < 0 || fsync(fd) < 0)
                r = fail_errno("cannot write the directory of %s to its disk", path);
        if (fd >= 0)
                (void)close(fd); /* nothing was written through it */
        free(copy);
        return r;
}

static objd_status write_file(struct objd_conn *conn, const char *path, struct dump_report *ret_report)
{
        const struct dump_options options = { .atomic = true };
        objd_status r = OBJD_OK;
        FILE *f;
        int fd;

        (void)unlink(path); /* of one that was killed in here */
        fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        f = fd < 0 ? NULL : fdopen(fd, "w");
        if (!f)
                return fail_errno("cannot make %s", path);
        r = dump_write(conn, f, &options, ret_report);
        if (r == OBJD_OK && (fflush(f) || fsync(fd) < 0))
                r = fail_errno("cannot write %s", path);
        if (fclose(f) && r == OBJD_OK)
                r = fail_errno("cannot write %s", path);
        return r;
}

static objd_status write_and_rename(struct objd_conn *conn, const char *path, const char *new_path,
                                    struct dump_report *ret_report)
{
        objd_status r = write_file(conn, new_path, ret_report);

        if (r == OBJD_OK && rename(new_path, path) < 0)
                r = fail_errno("cannot rename %s to %s", new_path, path);
        if (r)
                (void)unlink(new_path); /* it may never have been made */
        return r ? r : sync_directory(path);
}

objd_status saved_write(const struct options *options, struct arena *arena)
{
        struct objd_conn conn = connection_to(arena);
        size_t size = strlen(options->save) + sizeof(SAVED_NEW);
        struct dump_report report;
        char *new_path = malloc(size);
        objd_status r;

        if (!new_path)
                return fail(OBJD_E_NOMEM, "no memory to save the store");
        snprintf(new_path, size, "%s" SAVED_NEW, options->save);
        r = write_and_rename(&conn, options->save, new_path, &report);
        free(new_path);
        if (r)
                return r;
        log_info("%" PRIu64 " objects are saved in %s; they stood still for %.1f ms", report.n_objects,
                 options->save, (double)report.pause_ns / 1e6);
        if (report.n_damaged)
                log_warning("%" PRIu64 " damaged objects are not saved; of the first: %s", report.n_damaged,
                            report.why);
        return OBJD_OK;
}
