/* SPDX-License-Identifier: Apache-2.0 */

/*
 * faults.c -- a library that stands between the code under test and libc, and makes calls fail in turn
 *
 * A call counts if it comes from the program itself (which holds the engine, in tests and in the daemon): its return address says so.
 * Failing calls do nothing but set errno; what is left out here, and why: close() and munmap(), which the
 * engine cannot answer for; a byte for an eventfd, which it always takes; EPOLL_CTL_DEL, unlocking and F_UNLCK, which the kernel does not refuse; FUTEX_WAKE, whose only error is a
 * wrong address.
 */

#include "support/faults.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <link.h>
#include <malloc.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))

#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

static struct faults own;
EXPORT struct faults *faults = &own;
static bool steers;  /* faults is about another process; nothing fails here */
static bool is_left; /* what this process still does at its end is not the program's */

/* ---- Whose call it is ---------------------------------------------------------------------------------- */

static uintptr_t scope_start, scope_end;

/* The first object is the program. */
static int find_program(struct dl_phdr_info *info, size_t size, void *context)
{
        (void)size;
        (void)context;
        for (int i = 0; i < info->dlpi_phnum; i++) {
                const ElfW(Phdr) *p = &info->dlpi_phdr[i];
                uintptr_t start = info->dlpi_addr + p->p_vaddr;

                if (p->p_type != PT_LOAD || !(p->p_flags & PF_X))
                        continue;
                scope_start = start;
                scope_end = start + p->p_memsz;
        }
        return 1;
}

static bool is_ours(const void *from)
{
        return (uintptr_t)from >= scope_start && (uintptr_t)from < scope_end;
}

/* ---- Which call fails ---------------------------------------------------------------------------------- */

static bool is_chosen(unsigned seen)
{
        unsigned nth = __atomic_load_n(&faults->nth, __ATOMIC_RELAXED);

        return seen == nth || (faults->mode == FAULT_FROM_THEN_ON && seen > nth);
}

EXPORT void faults_leave(void)
{
        is_left = true;
}

/*
 * With exit(), before what the compiler has put behind it. Registered before the program's first own call, it would come
 * after that.
 */
static void leave_at_exit(void)
{
        static bool is_registered;

        if (__atomic_exchange_n(&is_registered, true, __ATOMIC_RELAXED))
                return;
        (void)atexit(faults_leave); /* what little it could fail for, it can do without */
}

static bool fails(const char *name, const void *from, int error, bool interruptible)
{
        if (steers || is_left || !__atomic_load_n(&faults->armed, __ATOMIC_ACQUIRE) || !is_ours(from))
                return false;
        leave_at_exit();
        if (faults->only[0] && strcmp(faults->only, name) != 0)
                return false;
        if (faults->mode == FAULT_INTERRUPT && !interruptible)
                return false;
        if (!is_chosen(__atomic_add_fetch(&faults->n_seen, 1, __ATOMIC_RELAXED)))
                return false;
        if (faults->mode == FAULT_KILL) {
                (void)kill(getpid(), SIGKILL);
                for (;;)
                        pause();
        }
        if (__atomic_add_fetch(&faults->n_failed, 1, __ATOMIC_RELAXED) == 1)
                (void)snprintf(faults->first, sizeof(faults->first), "%s", name);
        errno = faults->mode == FAULT_INTERRUPT ? EINTR : error;
        return true;
}

#define FROM __builtin_return_address(0)

/* The next library's function of that name. */
#define REAL(name)                     \
        static __typeof__(name) *real; \
        if (!real)                     \
        *(void **)&real = dlsym(RTLD_NEXT, #name)

/* A call that returns -1 and sets errno. */
#define WRAP(type, name, error, interruptible, parameters, arguments) \
        EXPORT type name parameters                                   \
        {                                                             \
                REAL(name);                                           \
                if (fails(#name, FROM, error, interruptible))         \
                        return (type)-1;                              \
                return real arguments;                                \
        }

/* A call that returns an error number. */
#define WRAP_PTHREAD(name, error, parameters, arguments) \
        EXPORT int name parameters                       \
        {                                                \
                REAL(name);                              \
                if (fails(#name, FROM, error, false))    \
                        return error;                    \
                return real arguments;                   \
        }

/* ---- Memory -------------------------------------------------------------------------------------------- */

#ifndef SANITIZED

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void __libc_free(void *p);

/* The allocations of the code under test: a table by address. 0 is free, 1 was once used. */
#define N_LIVE 65536u
static uintptr_t live[N_LIVE];

static void live_add(const void *p)
{
        for (uintptr_t i = (uintptr_t)p >> 4;; i++) {
                uintptr_t was = __atomic_load_n(&live[i % N_LIVE], __ATOMIC_RELAXED);

                if (was <= 1 && __atomic_compare_exchange_n(&live[i % N_LIVE], &was, (uintptr_t)p, false,
                                                            __ATOMIC_RELAXED, __ATOMIC_RELAXED))
                        break;
        }
        __atomic_add_fetch(&faults->n_live, 1, __ATOMIC_RELAXED);
}

static void live_remove(const void *p)
{
        for (uintptr_t i = (uintptr_t)p >> 4, n = 0; n < N_LIVE; i++, n++) {
                uintptr_t was = __atomic_load_n(&live[i % N_LIVE], __ATOMIC_RELAXED);

                if (was == 0)
                        return;
                if (was != (uintptr_t)p)
                        continue;
                __atomic_store_n(&live[i % N_LIVE], 1, __ATOMIC_RELAXED);
                __atomic_sub_fetch(&faults->n_live, 1, __ATOMIC_RELAXED);
                return;
        }
}

/* Allocations are followed from the first faults_begin() on, in a daemon from its start. */
static void *follow(void *p, const void *from)
{
        if (p && !steers && is_ours(from) && __atomic_load_n(&faults->armed, __ATOMIC_RELAXED))
                live_add(p);
        return p;
}

EXPORT void *malloc(size_t size)
{
        return fails("malloc", FROM, ENOMEM, false) ? NULL : follow(__libc_malloc(size), FROM);
}

EXPORT void *calloc(size_t n, size_t size)
{
        return fails("calloc", FROM, ENOMEM, false) ? NULL : follow(__libc_calloc(n, size), FROM);
}

EXPORT void *realloc(void *p, size_t size)
{
        void *q;

        if (fails("realloc", FROM, ENOMEM, false))
                return NULL;
        if (p && !steers)
                live_remove(p);
        q = __libc_realloc(p, size);
        return follow(q, FROM);
}

/* libc's own call of malloc() is not ours, so these are. */
EXPORT char *strndup(const char *text, size_t max)
{
        size_t size = strnlen(text, max);
        char *copy = fails("strdup", FROM, ENOMEM, false) ? NULL : follow(__libc_malloc(size + 1), FROM);

        if (!copy)
                return NULL;
        memcpy(copy, text, size);
        copy[size] = '\0';
        return copy;
}

EXPORT char *strdup(const char *text)
{
        size_t size = strlen(text) + 1;
        char *copy = fails("strdup", FROM, ENOMEM, false) ? NULL : follow(__libc_malloc(size), FROM);

        return copy ? memcpy(copy, text, size) : NULL;
}

EXPORT void free(void *p)
{
        if (p && !steers)
                live_remove(p);
        __libc_free(p);
}

/* Of libc's too: the daemon's jemalloc, which has the next one, knows nothing of this memory, and may read where nothing is. */
EXPORT size_t malloc_usable_size(void *p)
{
        static size_t (*real)(void *);

        if (!real)
                *(void **)(void *)&real =
                        dlsym(dlopen("libc.so.6", RTLD_LAZY | RTLD_NOLOAD), "malloc_usable_size");
        return real(p);
}

#endif

WRAP(void *, mmap, ENOMEM, false, (void *at, size_t size, int prot, int flags, int fd, off_t off),
     (at, size, prot, flags, fd, off))
WRAP(int, madvise, EINVAL, false, (void *at, size_t size, int advice), (at, size, advice))
WRAP(int, mprotect, ENOMEM, false, (void *at, size_t size, int prot), (at, size, prot))

/* ---- Files --------------------------------------------------------------------------------------------- */

EXPORT int fallocate(int fd, int mode, off_t off, off_t size)
{
        REAL(fallocate);
        if (fails("fallocate", FROM, mode & FALLOC_FL_PUNCH_HOLE ? EOPNOTSUPP : ENOSPC, true))
                return -1;
        return real(fd, mode, off, size);
}

EXPORT int open(const char *path, int flags, ...)
{
        va_list args;
        mode_t mode;

        REAL(open);
        va_start(args, flags);
        mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
        va_end(args);
        return fails("open", FROM, EMFILE, true) ? -1 : real(path, flags, mode);
}

EXPORT int openat(int dir, const char *path, int flags, ...)
{
        va_list args;
        mode_t mode;

        REAL(openat);
        va_start(args, flags);
        mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(args, mode_t) : 0;
        va_end(args);
        return fails("openat", FROM, EMFILE, true) ? -1 : real(dir, path, flags, mode);
}

EXPORT int fcntl(int fd, int command, ...)
{
        va_list args;
        void *argument;
        bool unlocks;

        REAL(fcntl);
        va_start(args, command);
        argument = va_arg(args, void *);
        va_end(args);
        unlocks = command == F_SETLK && ((struct flock *)argument)->l_type == F_UNLCK;
        if (!unlocks && fails("fcntl", FROM, command == F_ADD_SEALS ? EBUSY : ENOLCK, true))
                return -1;
        return real(fd, command, argument);
}

WRAP(int, ftruncate, EFBIG, true, (int fd, off_t size), (fd, size))
WRAP(int, fstat, ENOMEM, false, (int fd, struct stat *st), (fd, st))
WRAP(int, stat, ENOMEM, false, (const char *path, struct stat *st), (path, st))
WRAP(int, fstatat, ENOMEM, false, (int fd, const char *path, struct stat *st, int flags),
     (fd, path, st, flags))
WRAP(int, fstatvfs, ENOMEM, true, (int fd, struct statvfs *st), (fd, st))
WRAP(int, fchmod, ENOMEM, false, (int fd, mode_t mode), (fd, mode))
WRAP(int, chmod, ENOMEM, false, (const char *path, mode_t mode), (path, mode))
WRAP(int, mkdir, ENOSPC, false, (const char *path, mode_t mode), (path, mode))
WRAP(int, renameat, ENOSPC, false, (int a, const char *from, int b, const char *to), (a, from, b, to))
WRAP(int, fchdir, ENOMEM, false, (int fd), (fd))
WRAP(int, chdir, ENOMEM, false, (const char *path), (path))
WRAP(ssize_t, read, EIO, true, (int fd, void *p, size_t size), (fd, p, size))
WRAP(ssize_t, pread, EIO, true, (int fd, void *p, size_t size, off_t off), (fd, p, size, off))
WRAP(ssize_t, pwrite, ENOSPC, true, (int fd, const void *p, size_t size, off_t off), (fd, p, size, off))
WRAP(int, memfd_create, EMFILE, false, (const char *name, unsigned flags), (name, flags))

/* ---- Sockets and waiting ------------------------------------------------------------------------------- */

WRAP(int, socket, EMFILE, false, (int family, int type, int protocol), (family, type, protocol))
WRAP(int, bind, ENOMEM, false, (int fd, __CONST_SOCKADDR_ARG address, socklen_t size), (fd, address, size))
WRAP(int, listen, ENOMEM, false, (int fd, int backlog), (fd, backlog))
WRAP(int, connect, ENOMEM, true, (int fd, __CONST_SOCKADDR_ARG address, socklen_t size), (fd, address, size))
WRAP(int, accept4, EMFILE, true, (int fd, __SOCKADDR_ARG address, socklen_t *size, int flags),
     (fd, address, size, flags))
WRAP(int, setsockopt, ENOMEM, false, (int fd, int level, int name, const void *p, socklen_t size),
     (fd, level, name, p, size))
WRAP(int, getsockopt, ENOMEM, false, (int fd, int level, int name, void *p, socklen_t *size),
     (fd, level, name, p, size))
WRAP(ssize_t, send, ENOBUFS, true, (int fd, const void *p, size_t size, int flags), (fd, p, size, flags))
WRAP(ssize_t, sendmsg, ENOBUFS, true, (int fd, const struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, recvmsg, ENOMEM, true, (int fd, struct msghdr *message, int flags), (fd, message, flags))
WRAP(ssize_t, recv, ENOMEM, true, (int fd, void *p, size_t size, int flags), (fd, p, size, flags))
WRAP(int, ppoll, ENOMEM, true,
     (struct pollfd * fds, nfds_t n, const struct timespec *timeout, const sigset_t *mask),
     (fds, n, timeout, mask))
WRAP(int, eventfd, EMFILE, false, (unsigned value, int flags), (value, flags))
WRAP(int, epoll_create1, EMFILE, false, (int flags), (flags))
WRAP(int, timerfd_create, EMFILE, false, (int clock, int flags), (clock, flags))
WRAP(int, timerfd_settime, ENOMEM, false,
     (int fd, int flags, const struct itimerspec *new, struct itimerspec *old), (fd, flags, new, old))
WRAP(int, signalfd, EMFILE, false, (int fd, const sigset_t *mask, int flags), (fd, mask, flags))
WRAP(int, sigprocmask, EINVAL, false, (int how, const sigset_t *set, sigset_t *old), (how, set, old))
WRAP(int, nanosleep, EINTR, true, (const struct timespec *time, struct timespec *left), (time, left))
WRAP(ssize_t, getrandom, ENOSYS, true, (void *p, size_t size, unsigned flags), (p, size, flags))
WRAP(int, clock_gettime, EINVAL, false, (clockid_t clock, struct timespec *time), (clock, time))

/* A signal is all that can befall it, and not for ever. */
EXPORT int epoll_wait(int fd, struct epoll_event *events, int max, int timeout)
{
        REAL(epoll_wait);
        if (faults->mode != FAULT_FROM_THEN_ON && fails("epoll_wait", FROM, EINTR, true))
                return -1;
        return real(fd, events, max, timeout);
}

EXPORT int epoll_ctl(int fd, int command, int about, struct epoll_event *event)
{
        REAL(epoll_ctl);
        if (command != EPOLL_CTL_DEL && fails("epoll_ctl", FROM, ENOMEM, false))
                return -1;
        return real(fd, command, about, event);
}

EXPORT long syscall(long number, ...)
{
        static long (*real)(long, ...);
        long a[6];
        va_list args;
        bool wakes;

        if (!real)
                *(void **)(void *)&real = dlsym(RTLD_NEXT, "syscall");
        va_start(args, number);
        for (int i = 0; i < 6; i++)
                a[i] = va_arg(args, long);
        va_end(args);
        wakes = number == SYS_futex && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAKE;
        if (!wakes && fails(number == SYS_futex        ? "futex"
                            : number == SYS_membarrier ? "membarrier"
                                                       : "syscall",
                            FROM, number == SYS_futex ? EINTR : ENOSYS, number == SYS_futex))
                return -1;
        return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

/* ---- Threads ------------------------------------------------------------------------------------------- */

WRAP_PTHREAD(pthread_mutexattr_init, ENOMEM, (pthread_mutexattr_t * attributes), (attributes))
WRAP_PTHREAD(pthread_mutexattr_setpshared, ENOTSUP, (pthread_mutexattr_t * attributes, int value),
             (attributes, value))
WRAP_PTHREAD(pthread_mutexattr_setrobust, ENOTSUP, (pthread_mutexattr_t * attributes, int value),
             (attributes, value))
WRAP_PTHREAD(pthread_mutex_init, ENOMEM, (pthread_mutex_t * mutex, const pthread_mutexattr_t *attributes),
             (mutex, attributes))
WRAP_PTHREAD(pthread_create, EAGAIN,
             (pthread_t * thread, const pthread_attr_t *attributes, void *(*fn)(void *), void *context),
             (thread, attributes, fn, context))
WRAP_PTHREAD(pthread_setspecific, ENOMEM, (pthread_key_t key, const void *value), (key, value))

/* Only of a robust mutex, of which the kernel keeps a list, is there a limit. */
EXPORT int pthread_mutex_lock(pthread_mutex_t *mutex)
{
        enum { ROBUST = 16 }; /* in glibc's kinds of mutexes */

        REAL(pthread_mutex_lock);
        if (mutex->__data.__kind & ROBUST && fails("pthread_mutex_lock", FROM, EAGAIN, false))
                return EAGAIN;
        return real(mutex);
}

/* ---- Steering ------------------------------------------------------------------------------------------ */

EXPORT void faults_begin(unsigned nth, enum fault_mode mode)
{
        faults->nth = nth;
        faults->mode = mode;
        faults->n_seen = faults->n_failed = 0;
        faults->first[0] = 0;
        __atomic_store_n(&faults->armed, 1, __ATOMIC_RELEASE);
}

EXPORT unsigned faults_end(void)
{
        __atomic_store_n(&faults->armed, 0, __ATOMIC_RELEASE);
        return __atomic_load_n(&faults->n_failed, __ATOMIC_RELAXED);
}

EXPORT void faults_only(const char *name)
{
        (void)snprintf(faults->only, sizeof(faults->only), "%s", name ? name : "");
}

static void map_shared(int fd)
{
        void *p = (void *)syscall(SYS_mmap, 0L, sizeof(struct faults), (long)(PROT_READ | PROT_WRITE),
                                  (long)MAP_SHARED, (long)fd, 0L);

        if (p != MAP_FAILED)
                faults = p;
        (void)close(fd);
}

EXPORT void faults_share(const char *path)
{
        int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        Dl_info info;

        if (fd < 0 || ftruncate(fd, sizeof(struct faults)) < 0 || !dladdr(&own, &info))
                abort(); /* a test that cannot steer tests nothing */
        map_shared(fd);
        steers = true;
        (void)setenv("OBJD_FAULTS", path, 1);
        (void)setenv("LD_PRELOAD", info.dli_fname, 1);
}

EXPORT void faults_unshare(void)
{
        if (faults != &own)
                (void)munmap(faults, sizeof(*faults));
        faults = &own;
        steers = false;
        (void)unsetenv("OBJD_FAULTS");
        (void)unsetenv("LD_PRELOAD");
}

static __attribute__((constructor)) void begin(void)
{
        const char *path = getenv("OBJD_FAULTS");
        int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;

        (void)dl_iterate_phdr(find_program, NULL);
        if (fd >= 0)
                map_shared(fd);
}
