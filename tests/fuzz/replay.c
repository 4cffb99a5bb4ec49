/* SPDX-License-Identifier: Apache-2.0 */
/*
 * replay.c -- main() for a fuzz target without a fuzzer: gives it each file of its corpus once
 *
 *     replay-NAME FOLDER
 *
 * What was found by fuzzing, and kept, is so tried again in every build, also where there is no libFuzzer.
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void die(const char *what)
{
        perror(what);
        exit(1);
}

static void replay(int folder, const char *name)
{
        int fd = openat(folder, name, O_RDONLY | O_CLOEXEC);
        struct stat st;
        uint8_t *data;

        if (fd < 0 || fstat(fd, &st) < 0)
                die(name);
        data = malloc(st.st_size ? (size_t)st.st_size
                                 : 1); /* no larger, so that the address sanitizer sees the end */
        if (!data || read(fd, data, (size_t)st.st_size) != st.st_size)
                die(name);
        close(fd);
        (void)LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
        free(data);
}

int main(int argc, char **argv)
{
        const struct dirent *entry;
        int n_files = 0;
        DIR *folder;

        if (argc != 2) {
                fprintf(stderr, "usage: %s FOLDER\n", argv[0]);
                return 2;
        }
        folder = opendir(argv[1]);
        if (!folder)
                die(argv[1]);
        while ((entry = readdir(folder)))
                if (entry->d_name[0] != '.') {
                        replay(dirfd(folder), entry->d_name);
                        n_files++;
                }
        closedir(folder);
        printf("%d inputs\n", n_files);
        return n_files ? 0 : 1;
}
