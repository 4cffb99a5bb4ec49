/* SPDX-License-Identifier: Apache-2.0 */

/*
 * main.c -- objd, the daemon: parse, set up, run, tear down
 */

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <linux/close_range.h>
#include <systemd/sd-daemon.h>

#include "log.h"
#include "options.h"
#include "server.h"

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

/* What a caller left open is none of our business: a pipe of its would never see its end while we run. */
static void close_inherited(void)
{
        int fd;

        (void)close_range(STDERR_FILENO + 1, ~0U, 0); /* it fails only for a bad range */
        do {
                fd = open("/dev/null", O_RDWR); /* fills a gap among the standard ones, if there is one */
        } while (fd >= 0 && fd <= STDERR_FILENO);
        if (fd > STDERR_FILENO)
                (void)close(fd);
}

/* From here on only the log goes anywhere. */
static void let_go_of_input_and_output(void)
{
        int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

        if (fd < 0)
                return;
        (void)dup2(fd, STDIN_FILENO);
        (void)dup2(fd, STDOUT_FILENO);
        (void)close(fd);
}

/* ---- In the background ------------------------------------------------------------------------------- */

/* Before anything else: record locks, by which a process says that it lives, do not survive a fork. */
static bool go_to_background(int *ret_ready)
{
        int fds[2];
        pid_t pid;

        *ret_ready = -1;
        if (pipe2(fds, O_CLOEXEC) < 0) {
                log_error("cannot start: pipe: %s", strerror(errno));
                exit(EXIT_FAILED);
        }
        pid = fork();
        if (pid < 0) {
                log_error("cannot start: fork: %s", strerror(errno));
                exit(EXIT_FAILED);
        }
        (void)close(fds[pid ? 1 : 0]); /* nothing was written */
        *ret_ready = fds[pid ? 0 : 1];
        if (pid == 0)
                (void)setsid(); /* it fails only for the leader of a group */
        return pid == 0;
}

/* Whoever has started us waits until the one in the background is ready, or has said why not. */
static int wait_until_ready(int ready)
{
        char status = EXIT_FAILED;
        ssize_t n;

        do {
                n = read(ready, &status, 1);
        } while (n < 0 && errno == EINTR);
        return n == 1 ? status : EXIT_FAILED;
}

/* Nobody hears us any more, unless there is a log file. */
static void leave_caller(const struct options *options, int ready)
{
        int null = options->log_file ? -1 : open("/dev/null", O_WRONLY | O_CLOEXEC);
        const char status = EXIT_DONE;

        if (null >= 0) {
                (void)dup2(null, STDERR_FILENO);
                (void)close(null);
        }
        (void)!write(ready, &status, 1); /* a caller that has been killed does not care */
        (void)close(ready);
}

static bool open_log(const char *path)
{
        int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0600);

        if (fd < 0) {
                log_error("cannot open %s: %s", path, strerror(errno));
                return false;
        }
        (void)dup2(fd, STDERR_FILENO);
        (void)close(fd);
        return true;
}

/* ---- Running ----------------------------------------------------------------------------------------- */

static int run(const struct options *options, int ready)
{
        struct server server;
        objd_status r;

        r = server_start(&server, options);
        if (r) {
                log_error("cannot start: %s", objd_last_error());
                return EXIT_FAILED;
        }
        if (ready >= 0)
                leave_caller(options, ready);
        (void)sd_notify(0, "READY=1"); /* without a service manager there is nobody to tell */

        r = server_run(&server);
        if (r)
                log_error("cannot go on: %s", objd_last_error());

        (void)sd_notify(0, "STOPPING=1");
        if (server_stop(&server)) {
                log_error("cannot save the store: %s", objd_last_error());
                return EXIT_FAILED;
        }
        return r ? EXIT_FAILED : EXIT_DONE;
}

int main(int argc, char **argv)
{
        static struct options options;
        int ready = -1;

        close_inherited();
        if (options_parse(argc, argv, &options)) {
                log_error("%s", objd_last_error());
                return EXIT_USAGE;
        }
        if (options.answer) {
                log_answer(options.answer);
                return EXIT_DONE;
        }
        log_set_level(options.log_level);
        let_go_of_input_and_output();
        umask(077);
        if (options.background && !go_to_background(&ready))
                return wait_until_ready(ready);
        if (options.log_file && !open_log(options.log_file))
                return EXIT_FAILED;
        return run(&options, ready);
}
