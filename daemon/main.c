/* SPDX-License-Identifier: Apache-2.0 */

/*
 * main.c -- objd, the daemon: parse, set up, run, tear down
 */

#include <fcntl.h>
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

static int run(const struct options *options)
{
        struct server server;
        objd_status r;

        r = server_start(&server, options);
        if (r) {
                log_error("cannot start: %s", objd_last_error());
                return EXIT_FAILED;
        }
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
        return run(&options);
}
