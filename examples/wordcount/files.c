/* SPDX-License-Identifier: Apache-2.0 */

/*
 * files.c -- which files are counted, and what is in them
 */

#include "files.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOOK_BYTES 8192
#define FTW_DESCRIPTORS 32

/* nftw() has no room for a context. */
static struct files *adding_to;

/* Reads up to size bytes; fewer only at the file's end. Returns how many, or -1. */
static ssize_t read_fully(int fd, char *data, size_t size)
{
        size_t n = 0;

        while (n < size) {
                ssize_t got = read(fd, data + n, size - n);

                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return -1;
                if (got == 0)
                        break;
                n += (size_t)got;
        }
        return (ssize_t)n;
}

static bool is_text(const char *path)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        char data[LOOK_BYTES];
        ssize_t n;

        if (fd < 0)
                return false;
        n = read_fully(fd, data, sizeof(data));
        (void)close(fd); /* it was only read */
        return n > 0 && !memchr(data, 0, (size_t)n);
}

static bool add(struct files *files, const char *path)
{
        if (files->len == files->room) {
                size_t room = files->room ? files->room * 2 : 1024;
                char **larger = realloc(files->path, room * sizeof(*larger));

                if (!larger)
                        return false;
                files->path = larger;
                files->room = room;
        }
        files->path[files->len] = strdup(path);
        if (!files->path[files->len])
                return false;
        files->len++;
        return true;
}

static int visit(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
        (void)ftw;
        if (type != FTW_F || !S_ISREG(st->st_mode) || !is_text(path))
                return 0;
        return add(adding_to, path) ? 0 : -1;
}

bool files_add_folder(struct files *files, const char *folder)
{
        adding_to = files;
        return nftw(folder, visit, FTW_DESCRIPTORS, FTW_PHYS) == 0;
}

bool files_write_list(const struct files *files, const char *path)
{
        FILE *f = fopen(path, "we");

        if (!f)
                return false;
        for (size_t i = 0; i < files->len; i++)
                fwrite(files->path[i], 1, strlen(files->path[i]) + 1, f);
        if (ferror(f)) {
                (void)fclose(f); /* it has failed already */
                return false;
        }
        return fclose(f) == 0;
}

void files_free(struct files *files)
{
        for (size_t i = 0; i < files->len; i++)
                free(files->path[i]);
        free(files->path);
        *files = (struct files){ 0 };
}

char *file_read(const char *path, size_t *ret_size)
{
        int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        struct stat st;
        char *data = NULL;
        ssize_t n = -1;

        if (fd < 0)
                return NULL;
        if (fstat(fd, &st) == 0)
                data = malloc((size_t)st.st_size + 1);
        if (data)
                n = read_fully(fd, data, (size_t)st.st_size);
        (void)close(fd); /* it was only read */
        if (n < 0) {
                free(data);
                return NULL;
        }
        *ret_size = (size_t)n;
        return data;
}
