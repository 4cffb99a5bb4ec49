/* SPDX-License-Identifier: Apache-2.0 */
/*
 * counter.c -- a client that counts, and sees each of its additions made once, whatever becomes of what lies between
 *
 * usage: net-counter URL KEY FILE
 *
 * It adds 1 at the key of the dict "counted" until it gets SIGTERM. Nobody else adds there, so each sum must be the one before and 1: an
 * addition that was lost, or made twice, shows at once. FILE always has the last sum. Ends with 0 if all were right.
 */

#include <objd.h>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static volatile sig_atomic_t ends;

static void on_term(int signal)
{
        (void)signal;
        ends = 1;
}

static void check(objd_status r, const char *what)
{
        if (r == OBJD_OK)
                return;
        fprintf(stderr, "net-counter: %s: %s\n", what, objd_last_error());
        exit(1);
}

/* A file of eight bytes that others can look at. */
static volatile int64_t *map_progress(const char *path)
{
        int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        void *at = MAP_FAILED;

        if (fd >= 0 && ftruncate(fd, sizeof(int64_t)) == 0)
                at = mmap(NULL, sizeof(int64_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (at == MAP_FAILED) {
                perror(path);
                exit(1);
        }
        (void)close(fd);
        return at;
}

static void count(objd_object *dict, const char *name, volatile int64_t *progress)
{
        objd_value key = objd_cstr(name);
        int64_t sum = 0;

        while (!ends) {
                check(objd_dict_add_int(dict, &key, 1, &sum), "an addition");
                if (sum != *progress + 1) {
                        fprintf(stderr, "net-counter: the sum is %lld after %lld\n", (long long)sum,
                                (long long)*progress);
                        exit(1);
                }
                *progress = sum;
        }
}

int main(int argc, char **argv)
{
        volatile int64_t *progress;
        objd_object *dict;
        objd_conn *conn;

        if (argc != 4) {
                fprintf(stderr, "usage: net-counter URL KEY FILE\n");
                return 2;
        }
        (void)signal(SIGTERM, on_term);
        progress = map_progress(argv[3]);
        check(objd_connect(argv[1], &conn), "no connection");
        check(objd_set_timeout(conn, OBJD_FOREVER), "no time-out");
        check(objd_open_or_create(conn, "counted", OBJD_DICT, NULL, &dict), "no dict");
        count(dict, argv[2], progress);
        objd_release(dict);
        objd_close(conn);
        return 0;
}
