/* SPDX-License-Identifier: Apache-2.0 */
/*
 * damage.c -- damaged arenas by the thousand: words of an arena are changed, and everything that can be done with a store is
 * done with it. What comes back may be a value or an error; what must not come is a crash, a report of a sanitizer, a touch
 * outside the mapping, or no end.
 *
 *   test-damage                           10 seconds from a fixed seed
 *   test-damage --seed S --seconds T      for longer; a case is what its seed and number make of it
 *   test-damage --seed S --cases N        so many; --first I begins with that one
 *   --keep-going                          goes on after a failure
 *   --repair                              the arena is repaired, and then the checker must find nothing
 *   --hang T                              a case that takes T seconds has no end
 *   test-damage --seed S --case I         one again, with what was changed
 *
 * SIGTERM ends a long run after the case that it is at; the sum is printed.
 *
 * All cases run in one process, on small arenas that are put back after each one. A second process only looks whether the
 * first one still gets on. Time is the program's own: waiting for something takes none, but it counts, so that a wait
 * without an end is seen as well.
 */

#include "damage.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <linux/futex.h>

#include "base/sys.h"

/* One case takes a millisecond; on a machine that does other things as well, and under a debugger, longer. */
#define HANG_SECONDS 30u

/* One case in so many does everything with all objects; the others, what concerns the objects that were struck. */
#define FULL_EVERY 32

/* How long all waits of one case may take together, by its own clock, and how often it may look at that. */
#define CASE_NS 300000000000LL
#define CASE_LOOKS 3000000

/* What a look at the clock takes: as much as a turn of a loop that looks at it. */
#define LOOK_NS 1000

const char *__asan_default_options(void);

/* A size from a damaged arena must be refused, whatever this machine could give. */
const char *__asan_default_options(void)
{
        return "allocator_may_return_null=1:max_allocation_size_mb=256:handle_abort=1:detect_stack_use_after_return=0:malloc_context_size=2:"
               "quarantine_size_mb=1:allocator_release_to_os_interval_ms=-1";
}

const char *__ubsan_default_options(void);

const char *__ubsan_default_options(void)
{
        return "halt_on_error=1:print_stacktrace=1";
}

/* Where the first process is, for the second one. */
struct progress {
        uint64_t number;
        char step[32];
};

static volatile struct progress *progress;

struct options {
        uint64_t seed, first, end; /* cases [first, end) */
        int64_t seconds;
        uint64_t hang; /* a case that takes this many seconds has no end */
        bool print, keep_going, repair;
};

/* ---- A clock of our own -------------------------------------------------------------------------------- */

/* The linker puts these in the place of the engine's. */
int64_t __wrap_now_ns(void);
int64_t __wrap_deadline_after(int64_t timeout_ns);
int __wrap_nanosleep(const struct timespec *time, struct timespec *left);
int64_t __real_now_ns(void);

static int64_t clock_ns, case_start_ns;
static uint64_t n_looks;
static struct sys real;

static void pass(int64_t ns)
{
        if (__builtin_add_overflow(clock_ns, ns, &clock_ns))
                clock_ns = INT64_MAX / 2;
        if (clock_ns - case_start_ns > CASE_NS || ++n_looks > CASE_LOOKS) {
                fprintf(stderr, "a wait without an end\n");
                abort();
        }
}

int64_t __wrap_now_ns(void)
{
        pass(LOOK_NS);
        return clock_ns;
}

int64_t __wrap_deadline_after(int64_t timeout_ns)
{
        int64_t deadline_ns;

        if (timeout_ns < 0)
                return INT64_MAX;
        return __builtin_add_overflow(__wrap_now_ns(), timeout_ns, &deadline_ns) ? INT64_MAX : deadline_ns;
}

int __wrap_nanosleep(const struct timespec *time, struct timespec *left)
{
        (void)left;
        pass(time->tv_sec * 1000000000LL + time->tv_nsec);
        return 0;
}

/* Other threads, which the barrier is for before memory is punched, there are none. */
long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f);
long __real_syscall(long number, long a, long b, long c, long d, long e, long f);

long __wrap_syscall(long number, long a, long b, long c, long d, long e, long f)
{
        return number == SYS_membarrier ? 0 : __real_syscall(number, a, b, c, d, e, f);
}

/* The arenas' keys come from the seed, so that a case is the same in each process. */
ssize_t __wrap_getrandom(void *dst, size_t size, unsigned flags);

static struct random keys;

ssize_t __wrap_getrandom(void *dst, size_t size, unsigned flags)
{
        (void)flags;
        random_fill(&keys, dst, size);
        return (ssize_t)size;
}

static long sleepless_futex(const uint32_t *word, int op, uint32_t value, const int64_t *timeout_ns)
{
        if (op != FUTEX_WAIT)
                return real.futex(word, op, value, timeout_ns);
        if (__atomic_load_n(word, __ATOMIC_RELAXED) != value) {
                errno = EAGAIN;
                return -1;
        }
        pass(timeout_ns ? *timeout_ns : CASE_NS);
        errno = ETIMEDOUT;
        return -1;
}

/* ---- The first process --------------------------------------------------------------------------------- */

static void announce(const char *name)
{
        size_t size = strlen(name) + 1;

        for (size_t i = 0; i < size && i < sizeof(progress->step); i++)
                progress->step[i] = name[i];
}

static void run_case(struct subject *subjects, const struct options *options, uint64_t number)
{
        struct subject *subject = subject_of(subjects, number);
        struct random random = { options->seed * 0x9e3779b97f4a7c15ULL + number };

        for (int i = 0; i < 3; i++) /* neighbouring seeds begin alike */
                (void)random_next(&random);
        progress->number = number;
        case_start_ns = clock_ns = 1000000000000LL;
        n_looks = 0;
        strike(subject, &random, options->print);
        if (options->repair) {
                announce("repair");
                mend(subject, options->print);
        } else {
                session(subject, &random, number % FULL_EVERY == 0, announce);
        }
        subject_restore(subject);
}

static volatile sig_atomic_t is_enough;

static void have_enough(int signal_number)
{
        (void)signal_number;
        is_enough = 1;
}

static int work(const struct options *options)
{
        static struct subject subjects[N_SUBJECTS];
        int64_t start_ns, end_ns;

        real = sys;
        keys.state = options->seed;
        subjects_make(subjects);
        sys.futex = sleepless_futex;
        start_ns = __real_now_ns();
        end_ns = start_ns + options->seconds * 1000000000LL;
        for (uint64_t i = options->first; i < options->end && !is_enough; i++) {
                if (i % 64 == 0 && options->seconds && __real_now_ns() > end_ns)
                        break;
                run_case(subjects, options, i);
        }
        case_start_ns = clock_ns = 0;
        subjects_free(subjects);
        return 0;
}

/* ---- The second process -------------------------------------------------------------------------------- */

/* Waits for the first one; ends it if it stands still. */
static int watch(pid_t pid, uint64_t hang)
{
        uint64_t last = UINT64_MAX, still = 0;
        int status;

        while (waitpid(pid, &status, WNOHANG) != pid) {
                (void)usleep(20000);
                if (is_enough)
                        (void)kill(pid, SIGTERM);
                still = progress->number == last ? still + 1 : 0;
                last = progress->number;
                if (still == hang * 50) {
                        fprintf(stderr, "no end\n");
                        (void)kill(pid, SIGABRT); /* the sanitizer says where it is */
                }
        }
        return status;
}

static int run(struct options *options)
{
        int64_t start_ns = __real_now_ns();
        uint64_t first = options->first, n_failed = 0, n;
        int status;

        for (;;) {
                pid_t pid = fork();

                if (pid < 0)
                        return 3;
                if (pid == 0)
                        exit(work(options));
                status = watch(pid, options->hang);
                if (!status)
                        break;
                n_failed++;
                fprintf(stderr,
                        "case %" PRIu64 " failed in \"%s\" (wait status %#x); again with: --seed %" PRIu64
                        " --case %" PRIu64 "\n",
                        progress->number, (const char *)progress->step, (unsigned)status, options->seed,
                        progress->number);
                if (!options->keep_going || is_enough)
                        break;
                options->first = progress->number + 1;
        }
        n = progress->number + 1 - first;
        printf("seed %" PRIu64 ": %" PRIu64 " cases, %" PRIu64 " failed, %.0f a second\n", options->seed, n,
               n_failed, (double)n * 1e9 / (double)(__real_now_ns() - start_ns));
        return n_failed != 0;
}

static uint64_t number_of(const char *arg)
{
        return arg ? strtoull(arg, NULL, 0) : 0;
}

int main(int argc, char **argv)
{
        uint64_t n_cases = UINT64_MAX / 2;
        struct options options = { .seed = 1, .seconds = 10, .hang = HANG_SECONDS };

        setvbuf(stdout, NULL, _IOLBF, 0);
        for (int i = 1; i < argc; i++) {
                const char *next = i + 1 < argc ? argv[i + 1] : NULL;

                if (!strcmp(argv[i], "--keep-going")) {
                        options.keep_going = true;
                        continue;
                }
                if (!strcmp(argv[i], "--repair")) {
                        options.repair = true;
                        continue;
                }
                if (!strcmp(argv[i], "--seed"))
                        options.seed = number_of(next);
                else if (!strcmp(argv[i], "--seconds"))
                        options.seconds = (int64_t)number_of(next);
                else if (!strcmp(argv[i], "--hang"))
                        options.hang = number_of(next);
                else if (!strcmp(argv[i], "--first"))
                        options.first = number_of(next);
                else if (!strcmp(argv[i], "--cases"))
                        n_cases = number_of(next), options.seconds = 0;
                else if (!strcmp(argv[i], "--case")) {
                        options.first = number_of(next);
                        n_cases = 1;
                        options.seconds = 0;
                        options.print = true;
                } else {
                        fprintf(stderr,
                                "usage: %s [--seed S] [--seconds T | --cases N | --case I] [--first I] [--keep-going] [--repair] [--hang T]\n",
                                argv[0]);
                        return 2;
                }
                i++;
        }
        options.end = options.first + n_cases;
        (void)signal(SIGTERM, have_enough); /* the second process inherits it */
        progress = mmap(NULL, sizeof(*progress), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (progress == MAP_FAILED)
                return 3;
        return run(&options);
}
