/* SPDX-License-Identifier: Apache-2.0 */

/*
 * counters.c -- where coverage is measured: writes gcov's counters before an end that would lose them
 *
 * scripts/coverage links this into every program, with --wrap for the functions below. A process that somebody else kills still
 * loses its counters.
 */

#include <dlfcn.h>
#include <signal.h>
#include <sys/types.h>
#include <unistd.h>

/* Weak, for the compiler's own checks when the build is set up; the linker is told to want it (-u). */
void __gcov_dump(void) __attribute__((weak));

void __real__exit(int status) __attribute__((noreturn));
int __real_kill(pid_t pid, int signal_number);
int __real_raise(int signal_number);

void __wrap__exit(int status) __attribute__((noreturn));
int __wrap_kill(pid_t pid, int signal_number);
int __wrap_raise(int signal_number);

static void write_counters(void)
{
        void (*faults_leave)(void);

        /* The calls that gcov makes are none of the program's, and it cannot stand that they fail (tests/support/faults.c). */
        *(void **)&faults_leave = dlsym(RTLD_DEFAULT, "faults_leave");
        if (faults_leave)
                faults_leave();
        if (__gcov_dump)
                __gcov_dump();
}

void __wrap__exit(int status)
{
        write_counters();
        __real__exit(status);
}

int __wrap_kill(pid_t pid, int signal_number)
{
        if (pid == getpid() && signal_number == SIGKILL)
                write_counters();
        return __real_kill(pid, signal_number);
}

int __wrap_raise(int signal_number)
{
        if (signal_number == SIGKILL)
                write_counters();
        return __real_raise(signal_number);
}
