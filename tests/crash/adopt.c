/* SPDX-License-Identifier: Apache-2.0 */

/*
 * adopt.c -- a daemon takes a store up, and is killed at any of its instructions
 *
 * In the store somebody has died in the middle of a batch, and somebody who had an anonymous object. A whole daemon, the program as it
 * is, is started on it under ptrace; from where it has mapped the store to where it has told everybody that it is there it goes
 * an instruction at a time, and wherever the store's memory has changed it is looked at as it would be found if the daemon died there,
 * by all who may come next (aftermath.c). The store holds what it would hold without any daemon.
 *
 * What else a daemon does in its start, to files and sockets, is tried by kill_daemon.c.
 */

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "crash/aftermath.h"
#include "crash/sweep.h"
#include "support/child.h"
#include "support/fixture.h"

/* Of the batch, at which its process dies; it has some 10,000 instructions. */
#define BATCH_STEPS 5000

/* The daemon is followed for so many instructions after it has said that it is there. */
#define STEPS_AFTER 2000u

/* In a sample: at every how many instructions memory is compared, and how many of the changes are looked at. */
#define COMPARE_STRIDE 10
#define LOOK_STRIDE 4

/* A sample ends here: under a sanitizer everything has many more instructions. */
#define STEPS_OF_SAMPLE 150000

#define REAL_KILLS_OF_ALL 10

/* With --all. */
#define RECOVERY_INSTRUCTIONS 1000000

struct daemon {
        char directory[64], arena[96];
        pid_t pid;
        struct objd_conn conn; /* our own view of its store */
        uint64_t epoch;        /* before it */
        uint64_t steps;
        bool ended;
};

struct adoption {
        struct aftermath after;
        struct op_test batch, reap;
        struct victim victim;
        struct image start;
        uint64_t n_steps;
};

/* ---- The store ------------------------------------------------------------------------------------------ */

/* Somebody dies who has an anonymous object; what the other test does for that is what we need. */
static objd_status outlive_somebody(struct objd_conn *conn, void *context)
{
        struct adoption *adoption = context;
        struct victim v = { .test = &adoption->reap };

        return adoption->reap.prepare(conn, &v);
}

static objd_status do_nothing(struct objd_conn *conn, void *context)
{
        (void)conn, (void)context;
        return OBJD_OK;
}

static void take_file(int fd, struct image *ret_image)
{
        struct objd_conn conn;

        bare_attach(&conn, fd);
        image_take(conn.arena, ret_image);
        bare_leave(&conn);
}

static void make_store(struct adoption *adoption)
{
        struct image built, bereaved;
        struct step_plan outlive = { .start = &built,
                                     .prepare = outlive_somebody,
                                     .fn = do_nothing,
                                     .context = adoption,
                                     .stride = 1 };
        struct step_plan batch = { .start = &bereaved,
                                   .prepare = prepare_victim,
                                   .fn = run_victim,
                                   .context = &adoption->victim,
                                   .stride = 1 };

        sweep_build(&adoption->batch, &built);
        take_file(step_and_kill(&outlive, 0), &bereaved);
        take_file(step_and_kill(&batch, BATCH_STEPS), &adoption->start);
        image_free(&built);
        image_free(&bereaved);
}

/* ---- The daemon ----------------------------------------------------------------------------------------- */

static void give_up(const char *what)
{
        fprintf(stderr, "a daemon to be stepped through: %s\n", what);
        exit(1);
}

static void exec_daemon(const struct daemon *daemon)
{
        int log = open("/dev/null", O_WRONLY | O_CLOEXEC);

        prctl(PR_SET_PDEATHSIG, SIGKILL);
        dup2(log, STDERR_FILENO);
        ptrace(PTRACE_TRACEME, 0, NULL, NULL);
        execl(fixture_program(), "objd", "--dir", daemon->directory, "--name", "test", (char *)NULL);
        _exit(127);
}

/* To the next stop. */
static void go_on(struct daemon *daemon, enum __ptrace_request how)
{
        int status, pass = 0;

        do {
                if (ptrace(how, daemon->pid, NULL, (void *)(intptr_t)pass) < 0 ||
                    waitpid(daemon->pid, &status, 0) != daemon->pid)
                        give_up("it cannot be traced");
                if (!WIFSTOPPED(status)) {
                        daemon->ended = true;
                        return;
                }
                pass = WSTOPSIG(status);
        } while (pass != SIGTRAP && pass != (SIGTRAP | 0x80));
}

static bool has_mapped(const struct daemon *daemon)
{
        char path[64], line[512];
        bool found = false;
        FILE *maps;

        snprintf(path, sizeof(path), "/proc/%d/maps", (int)daemon->pid);
        maps = fopen(path, "re");
        while (maps && !found && fgets(line, sizeof(line), maps))
                found = strstr(line, daemon->arena) != NULL;
        if (maps)
                fclose(maps);
        return found;
}

/* A daemon of its own, on a copy of the store, that has just mapped it. */
static void daemon_start(const struct adoption *adoption, struct daemon *ret_daemon)
{
        struct daemon *d = ret_daemon;
        int fd, status;

        *d = (struct daemon){ .directory = "/dev/shm/objd-test-XXXXXX" };
        if (!mkdtemp(d->directory))
                give_up("a directory");
        snprintf(d->arena, sizeof(d->arena), "%s/test.arena", d->directory);
        fd = open(d->arena, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                give_up("a file");
        image_write(&adoption->start, fd);
        bare_attach(&d->conn, fd);
        d->epoch = word_get(&d->conn.arena->header->daemon_epoch);
        fflush(NULL);
        d->pid = fork();
        if (d->pid == 0)
                exec_daemon(d);
        if (d->pid < 0 || waitpid(d->pid, &status, 0) != d->pid || !WIFSTOPPED(status) ||
            ptrace(PTRACE_SETOPTIONS, d->pid, NULL, (void *)(PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL)) < 0)
                give_up("it does not start");
        while (!d->ended && !has_mapped(d))
                go_on(d, PTRACE_SYSCALL);
}

static bool is_there(const struct daemon *daemon)
{
        return word_get(&daemon->conn.arena->header->daemon_epoch) != daemon->epoch;
}

static void daemon_step(struct daemon *daemon)
{
        go_on(daemon, PTRACE_SINGLESTEP);
        if (daemon->ended)
                give_up("it has come to its end");
        daemon->steps++;
}

/* It may have been killed with files under names that it has only for a moment. */
static void empty_directory(const char *path)
{
        DIR *directory = opendir(path);
        const struct dirent *entry;

        /* "." and ".." are no files, and stay. */
        while (directory && (entry = readdir(directory)))
                (void)unlinkat(dirfd(directory), entry->d_name, 0);
        if (directory)
                (void)closedir(directory);
}

/* Kills it and removes its directory; gives what it has left as the store. */
static int daemon_kill(struct daemon *daemon)
{
        int fd;

        kill(daemon->pid, SIGKILL);
        (void)waitpid(daemon->pid, NULL, 0);
        fd = fcntl(daemon->conn.arena->fd, F_DUPFD_CLOEXEC, 3);
        bare_leave(&daemon->conn);
        empty_directory(daemon->directory);
        if (rmdir(daemon->directory) < 0)
                give_up("its directory stays");
        return fd;
}

/* ---- Its deaths ----------------------------------------------------------------------------------------- */

static void look(struct adoption *adoption, struct daemon *daemon, const struct image *state)
{
        struct aftermath *after = &adoption->after;

        after->step = daemon->steps;
        after->states++;
        aftermath_check_first(after, image_make_file(state));
        aftermath_write_first(after, state);
        if (sweep_options.all)
                aftermath_kill_the_next(after, state);
        aftermath_enter(after, TO_STEP, "stepping");
}

static void step_through_adoption(struct adoption *adoption, struct daemon *daemon)
{
        uint64_t compare = sweep_options.all ? 1 : COMPARE_STRIDE,
                 look_at = sweep_options.all ? 1 : LOOK_STRIDE;
        uint64_t left = STEPS_AFTER, n = 0;
        struct image last;

        image_take(daemon->conn.arena, &last);
        while (left && adoption->after.faults < FAULTS_MAX &&
               (sweep_options.all || daemon->steps < STEPS_OF_SAMPLE)) {
                daemon_step(daemon);
                left -= is_there(daemon);
                if ((daemon->steps + sweep_options.seed) % compare ||
                    image_is_same(daemon->conn.arena, &last))
                        continue;
                image_free(&last);
                image_take(daemon->conn.arena, &last);
                if ((n++ + sweep_options.seed) % look_at == 0)
                        look(adoption, daemon, &last);
        }
        image_free(&last);
}

static void kill_really(struct adoption *adoption, uint64_t n_kills)
{
        struct aftermath *after = &adoption->after;

        for (uint64_t i = 0; i < n_kills && after->faults < FAULTS_MAX; i++) {
                struct daemon daemon;

                after->step = (adoption->n_steps * i + (sweep_options.seed + i) % 7 * adoption->n_steps / 7) /
                              n_kills;
                aftermath_enter(after, TO_STEP, "stepping");
                daemon_start(adoption, &daemon);
                while (daemon.steps < after->step)
                        daemon_step(&daemon);
                aftermath_of_kill(after, daemon_kill(&daemon), i % 2);
        }
}

static void look_everywhere(struct adoption *adoption)
{
        struct aftermath *after = &adoption->after;
        struct daemon daemon;

        aftermath_enter(after, TO_STEP, "stepping");
        daemon_start(adoption, &daemon);
        if (daemon.ended)
                give_up("it does not take the store up");
        step_through_adoption(adoption, &daemon);
        (void)close(daemon_kill(&daemon));
        adoption->n_steps = daemon.steps;
        if (!after->states)
                aftermath_complain(after, "it has changed nothing");
        kill_really(adoption, sweep_options.all ? REAL_KILLS_OF_ALL : 1);
}

int sweep_adoption(void *context)
{
        struct sweep_job *job = context;
        struct sweep_sums before = *job->sums;
        struct adoption adoption = { .batch = *find_operation("batch: a dict, a list, two queues"),
                                     .reap = *find_operation("reap: a dead client with an anonymous object"),
                                     .victim = { .test = &adoption.batch },
                                     .after = { .test = &adoption.batch,
                                                .sums = job->sums,
                                                .name = ADOPTION_NAME,
                                                .recovery_instructions = RECOVERY_INSTRUCTIONS,
                                                .n_outcomes = 1,
                                                .follows = { 1 },
                                                .allowed = 1 } };
        struct aftermath *after = &adoption.after;
        int64_t start_ns = test_now_ns();

        aftermath_begin(after);
        step_on_one_processor();
        make_store(&adoption);
        aftermath_learn(after, image_make_file(&adoption.start), image_make_file(&adoption.start), 0);
        look_everywhere(&adoption);
        image_free(&adoption.start);
        job->sums->operations++;
        job->sums->instructions += adoption.n_steps;
        job->sums->states += after->states;
        job->sums->faults += after->faults;
        printf("%-52s %7llu instructions, %6llu states, %5llu logs, %8llu of recovery, %6llu states, %5.1f s: %s\n",
               ADOPTION_NAME, (unsigned long long)adoption.n_steps, (unsigned long long)after->states,
               (unsigned long long)(job->sums->logs - before.logs),
               (unsigned long long)(job->sums->recovery_instructions - before.recovery_instructions),
               (unsigned long long)(job->sums->recovery_states - before.recovery_states),
               (double)(test_now_ns() - start_ns) / 1e9, after->faults ? "FAULTS" : "clean");
        return after->faults ? 1 : 0;
}
