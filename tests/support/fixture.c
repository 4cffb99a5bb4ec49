/* SPDX-License-Identifier: Apache-2.0 */

/*
 * fixture.c -- a private daemon for a test
 */

#include "support/fixture.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "support/child.h"
#include "support/test.h"

#define STORE_NAME "test"

/* ---- The test's directory ---------------------------------------------------------------------------- */

/* Where meson says, or else beside the test in the build folder, so that a test can be run by hand. */
const char *fixture_program(void)
{
        static char beside[512];
        const char *path = getenv("OBJD_TEST_BIN_DAEMON");
        ssize_t n;

        if (path)
                return path;
        n = readlink("/proc/self/exe", beside, sizeof(beside) - sizeof("../daemon/objd"));
        if (n < 0)
                fail_msg("/proc/self/exe: %s", strerror(errno));
        while (n > 0 && beside[n - 1] != '/')
                n--;
        strcpy(beside + n, "../daemon/objd");
        return beside;
}

void fixture_use_program(struct fixture *f, const char *program)
{
        snprintf(f->program, sizeof(f->program), "%s", program ? program : "");
}

static const char *program_of(const struct fixture *f)
{
        return *f->program ? f->program : fixture_program();
}

static int make_notify_socket(const struct fixture *f)
{
        struct sockaddr_un address = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

        snprintf(address.sun_path, sizeof(address.sun_path), "%s/notify", f->base);
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
                fail_msg("%s: %s", address.sun_path, strerror(errno));
        return fd;
}

struct fixture *fixture_new(void)
{
        struct fixture *f = calloc(1, sizeof(*f));

        if (!f)
                fail_msg("no memory");
        leaks_begin(&f->leaks);
        strcpy(f->base, "/dev/shm/objd-test-XXXXXX");
        if (!mkdtemp(f->base))
                fail_msg("mkdtemp: %s", strerror(errno));
        chmod(f->base, 0755); /* tests connect as other users too */
        snprintf(f->directory, sizeof(f->directory), "%s/store", f->base);
        snprintf(f->url, sizeof(f->url), "shm:%s/" STORE_NAME, f->directory);
        snprintf(f->log, sizeof(f->log), "%s/log", f->base);
        f->pidfd = -1;
        f->notify = make_notify_socket(f);
        return f;
}

void fixture_path(const struct fixture *f, const char *suffix, char ret_path[128])
{
        snprintf(ret_path, 128, "%s/" STORE_NAME "%s", f->directory, suffix);
}

bool fixture_has(const struct fixture *f, const char *suffix)
{
        char path[128];

        fixture_path(f, suffix, path);
        return access(path, F_OK) == 0;
}

static bool ends_with(const char *text, const char *end)
{
        size_t n = strlen(text), m = strlen(end);

        return n >= m && strcmp(text + n - m, end) == 0;
}

/* An ended daemon leaves its arena and nothing else. Gives the name of something else, or "". */
static void find_stray(const struct fixture *f, char ret_name[256])
{
        DIR *dir = opendir(f->directory);
        struct dirent *entry;

        ret_name[0] = '\0';
        if (!dir)
                return; /* no daemon was ever started */
        while ((entry = readdir(dir)))
                if (ends_with(entry->d_name, ".lock") || ends_with(entry->d_name, ".sock") ||
                    ends_with(entry->d_name, ".new"))
                        snprintf(ret_name, 256, "%s", entry->d_name);
        closedir(dir);
}

static void remove_tree(const char *path)
{
        struct dirent *entry;
        char inner[512];
        DIR *dir = opendir(path);

        while (dir && (entry = readdir(dir))) {
                if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
                        continue;
                snprintf(inner, sizeof(inner), "%s/%s", path, entry->d_name);
                if (unlink(inner) < 0)
                        remove_tree(inner);
        }
        if (dir)
                closedir(dir);
        rmdir(path);
}

/* ---- The daemon -------------------------------------------------------------------------------------- */

const char *fixture_log(const struct fixture *f)
{
        static char text[65536];
        int fd = open(f->log, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? 0 : read(fd, text, sizeof(text) - 1);

        if (fd >= 0)
                close(fd);
        text[n > 0 ? n : 0] = '\0';
        return text;
}

static void reap_and_fail(struct fixture *f, const char *what)
{
        int status = 0;

        waitpid(f->pid, &status, 0);
        close(f->pidfd);
        f->pid = 0;
        f->pidfd = -1;
        fail_msg("the daemon %s: %s %d. Its log:\n%s", what, WIFSIGNALED(status) ? "signal" : "exit status",
                 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), fixture_log(f));
}

void fixture_check_runs(struct fixture *f)
{
        struct pollfd pollfd = { .fd = f->pidfd, .events = POLLIN };

        if (f->pid == 0)
                fail_msg("no daemon has been started");
        if (poll(&pollfd, 1, 0) != 0)
                reap_and_fail(f, "died");
}

/* Waits for a message to the service manager or for the daemon's death. */
static void receive_notice(struct fixture *f, char *text, size_t size)
{
        struct pollfd pollfds[] = { { .fd = f->notify, .events = POLLIN },
                                    { .fd = f->pidfd, .events = POLLIN } };
        ssize_t n;

        if (poll(pollfds, f->pidfd < 0 ? 1 : 2, (int)(PATIENCE_NS / 1000000)) <= 0)
                fail_msg("the daemon does not say anything. Its log:\n%s", fixture_log(f));
        if (!(pollfds[0].revents & POLLIN))
                reap_and_fail(f, "ended before it was ready");
        n = recv(f->notify, text, size - 1, 0);
        text[n > 0 ? n : 0] = '\0';
}

void fixture_expect_notice(struct fixture *f, const char *text)
{
        char message[512];

        do {
                receive_notice(f, message, sizeof(message));
        } while (!strstr(message, text));
}

static size_t add_args(const char **argv, size_t n, const char *const *args)
{
        for (; args && *args; args++) {
                if (n == FIXTURE_ARGS_MAX - 1)
                        fail_msg("too many arguments");
                argv[n++] = *args;
        }
        argv[n] = NULL;
        return n;
}

/* In the child. Descriptors 0 to 2 become these. */
static void exec_daemon(const struct fixture *f, const char **argv, int out, int err)
{
        char notify[80];

        prctl(PR_SET_PDEATHSIG, SIGKILL); /* survives the exec: a test that fails leaves no daemon behind */
        snprintf(notify, sizeof(notify), "%s/notify", f->base);
        setenv("NOTIFY_SOCKET", notify, 1);
        if (out >= 0)
                dup2(out, STDOUT_FILENO);
        dup2(err, STDERR_FILENO);
        execv(argv[0], (char **)argv);
        _exit(127);
}

static void drain_notices(const struct fixture *f)
{
        char text[512];

        while (recv(f->notify, text, sizeof(text), MSG_DONTWAIT) >= 0)
                ;
}

static void spawn(struct fixture *f, const char *const *options)
{
        const char *own[] = { program_of(f), "--dir", f->directory, "--name", STORE_NAME, NULL };
        const char *argv[FIXTURE_ARGS_MAX];
        int log;

        add_args(argv, add_args(argv, 0, own), options);
        drain_notices(f);
        log = open(f->log, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (log < 0)
                fail_msg("%s: %s", f->log, strerror(errno));
        fflush(NULL);
        f->pid = fork();
        if (f->pid == 0)
                exec_daemon(f, argv, -1, log);
        close(log);
        if (f->pid < 0)
                fail_msg("fork: %s", strerror(errno));
        f->pidfd = (int)syscall(SYS_pidfd_open, f->pid, 0);
}

void fixture_start(struct fixture *f, const char *const *options)
{
        int64_t start_ns = test_now_ns();

        spawn(f, options);
        fixture_expect_notice(f, "READY=1");
        f->ready_ns = test_now_ns() - start_ns;
}

bool fixture_try_start(struct fixture *f, const char *const *options, int *ret_status)
{
        struct pollfd pollfds[] = { { .fd = f->notify, .events = POLLIN }, { .events = POLLIN } };

        spawn(f, options);
        pollfds[1].fd = f->pidfd;
        if (poll(pollfds, 2, (int)(PATIENCE_NS / 1000000)) <= 0)
                fail_msg("the daemon does not say anything. Its log:\n%s", fixture_log(f));
        if (pollfds[0].revents & POLLIN)
                return true;
        *ret_status = child_wait(f->pid);
        close(f->pidfd);
        f->pid = 0;
        f->pidfd = -1;
        return false;
}

void fixture_check_tidy(const struct fixture *f)
{
        char stray[256];

        find_stray(f, stray);
        if (*stray)
                fail_msg("the daemon left %s behind", stray);
}

int fixture_stop(struct fixture *f, int signal_number)
{
        int status;

        fixture_check_runs(f);
        kill(f->pid, signal_number);
        status = child_wait(f->pid);
        close(f->pidfd);
        f->pid = 0;
        f->pidfd = -1;
        return status;
}

int fixture_wait(struct fixture *f)
{
        int status = child_wait(f->pid);

        close(f->pidfd);
        f->pid = 0;
        f->pidfd = -1;
        return status;
}

int fixture_free(struct fixture *f)
{
        char stray[256] = "";
        struct leaks leaks;
        bool dead = false;

        if (!f)
                return 0;
        if (f->pid) {
                struct pollfd pollfd = { .fd = f->pidfd, .events = POLLIN };

                dead = poll(&pollfd, 1, 0) != 0;
                kill(f->pid, SIGTERM);
                dead |= child_wait(f->pid) != 0;
                close(f->pidfd);
                if (dead)
                        print_error("the daemon died, or did not end well. Its log:\n%s", fixture_log(f));
                find_stray(f, stray);
        }
        close(f->notify);
        remove_tree(f->base);
        leaks = f->leaks;
        free(f);

        leaks_end(&leaks);
        if (*stray)
                fail_msg("the daemon left %s behind", stray);
        return dead ? -1 : 0;
}

int fixture_setup(void **state)
{
        *state = fixture_new();
        return 0;
}

int fixture_teardown(void **state)
{
        return fixture_free(*state);
}

objd_conn *fixture_connect(const struct fixture *f)
{
        const int64_t end_ns = test_now_ns() + PATIENCE_NS;
        objd_conn *conn = NULL;
        objd_status r;

        /* A daemon that gets no processor for as long as objd_connect() waits for it is there all the same. */
        while ((r = objd_connect(f->url, &conn)) == OBJD_E_NODAEMON && test_now_ns() < end_ns)
                usleep(10000);
        assert_ok(r);
        return conn;
}

/* ---- Daemons that end by themselves ------------------------------------------------------------------ */

static void read_back(int fd, char *text, size_t size)
{
        ssize_t n = pread(fd, text, size - 1, 0);

        text[n > 0 ? n : 0] = '\0';
        close(fd);
}

static int temporary_file(void)
{
        int fd = open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

        if (fd < 0)
                fail_msg("a temporary file: %s", strerror(errno));
        return fd;
}

static void run(struct fixture *f, const char **argv, struct fixture_output *ret_output)
{
        int out = temporary_file(), err = temporary_file(), status;
        pid_t pid;

        fflush(NULL);
        pid = fork();
        if (pid == 0)
                exec_daemon(f, argv, out, err);
        if (pid < 0)
                fail_msg("fork: %s", strerror(errno));
        status = child_wait(pid);
        read_back(out, ret_output->out, sizeof(ret_output->out));
        read_back(err, ret_output->err, sizeof(ret_output->err));
        if (!WIFEXITED(status))
                fail_msg("the daemon died of signal %d; it said: %s", WTERMSIG(status), ret_output->err);
        ret_output->status = WEXITSTATUS(status);
}

void fixture_run(struct fixture *f, const char *const *args, struct fixture_output *ret_output)
{
        const char *own[] = { program_of(f), NULL };
        const char *argv[FIXTURE_ARGS_MAX];

        add_args(argv, add_args(argv, 0, own), args);
        run(f, argv, ret_output);
}

void fixture_run_here(struct fixture *f, const char *const *options, struct fixture_output *ret_output)
{
        const char *own[] = { program_of(f), "--dir", f->directory, "--name", STORE_NAME, NULL };
        const char *argv[FIXTURE_ARGS_MAX];

        add_args(argv, add_args(argv, 0, own), options);
        run(f, argv, ret_output);
}
