/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * files.h -- which files are counted, and what is in them
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct files {
        char **path;
        size_t len, room;
};

/*
 * Adds every regular file below the folder that is text: not empty, and without a NUL byte in its first 8
 * KiB. Symbolic links are not followed; files that cannot be read are left out. False, with errno, if the
 * folder cannot be read.
 */
bool files_add_folder(struct files *files, const char *folder);

/* Writes the paths, each with a NUL behind it, as xargs -0 reads them. False with errno. */
bool files_write_list(const struct files *files, const char *path);

void files_free(struct files *files);

/* The whole file, in memory that the caller frees; NULL with errno. */
char *file_read(const char *path, size_t *ret_size);
