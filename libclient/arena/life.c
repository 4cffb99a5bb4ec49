/* SPDX-License-Identifier: Apache-2.0 */
/*
 * life.c -- who is alive, as the kernel says
 */

#include "arena/life.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "arena/session.h"
#include "base/fork.h"
#include "base/plant.h"
#include "base/forklock.h"
#include "base/status.h"
#include "base/sys.h"

/* Bytes far behind any arena's end; record locks need no bytes to be there. */
#define GATE_BYTE (1LL << 52)
#define READERS_BYTE (GATE_BYTE - 1)
#define CLIENT_BYTE(number) (GATE_BYTE + 1 + (int64_t)(number))

static struct forklock gate_lock;

/* How the thread in the gate was before: which signals it had blocked, whether it could be cancelled. Under gate_lock. */
struct standing {
        sigset_t signals;
        int cancel_state;
};

static struct standing before_gate;

static int range_lock(int fd, int command, int type, int64_t start, int64_t end, struct flock *ret_lock)
{
        struct flock lock = {
                .l_type = (short)type, .l_whence = SEEK_SET, .l_start = start, .l_len = end - start
        };
        int r;

        do
                r = fcntl(fd, command, &lock);
        while (r < 0 && errno == EINTR);
        if (ret_lock)
                *ret_lock = lock;
        return r;
}

static int record_lock(int fd, int command, int type, int64_t byte, struct flock *ret_lock)
{
        return range_lock(fd, command, type, byte, byte + 1, ret_lock);
}

/*
 * A signal handler that called us while its thread stands in the gate would wait for itself, and one that left with longjmp(), or a
 * cancelled thread, would leave the gate shut. Signals that the thread itself causes cannot wait.
 */
static void stand_firm(struct standing *ret_before)
{
        sigset_t mask;

        (void)pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &ret_before->cancel_state);
        (void)sigfillset(&mask);
        (void)sigdelset(&mask, SIGBUS);
        (void)sigdelset(&mask, SIGSEGV);
        (void)sigdelset(&mask, SIGFPE);
        (void)sigdelset(&mask, SIGILL);
        (void)sigdelset(&mask, SIGTRAP);
        (void)pthread_sigmask(SIG_BLOCK, &mask, &ret_before->signals);
}

static void stand_at_ease(const struct standing *before)
{
        (void)pthread_sigmask(SIG_SETMASK, &before->signals, NULL);
        (void)pthread_setcancelstate(before->cancel_state, NULL);
}

/* Passes if nobody is there. errno tells a gate that is taken (EAGAIN or EACCES) from one that cannot be locked. */
static bool gate_try(struct arena *arena)
{
        struct standing before;
        int error;

        stand_firm(&before);
        errno = EAGAIN;
        if (forklock_try(&gate_lock)) {
                if (record_lock(arena->fd, F_SETLK, F_WRLCK, GATE_BYTE, NULL) == 0) {
                        before_gate = before;
                        return true;
                }
                forklock_give(&gate_lock);
        }
        error = errno;
        stand_at_ease(&before);
        errno = error;
        return false;
}

/* The kernel knows who it is. A read lock is none of ours: it is laid by somebody who may only read. */
static objd_status gate_is_shut(struct arena *arena)
{
        struct flock lock;

        if (record_lock(arena->fd, F_GETLK, F_WRLCK, GATE_BYTE, &lock) < 0 || lock.l_type == F_UNLCK)
                return fail(OBJD_E_BUSY, "another process stands in the arena's gate (is it stopped?)");
        if (lock.l_type == F_WRLCK && lock.l_len != 1)
                return fail(OBJD_E_BUSY, "process %lld repairs the arena", (long long)lock.l_pid);
        return fail(OBJD_E_BUSY, "process %lld %s", (long long)lock.l_pid,
                    lock.l_type == F_RDLCK ? "may only read the arena, and keeps its gate shut with a lock"
                                           : "stands in the arena's gate (is it stopped?)");
}

objd_status gate_enter(struct arena *arena, int64_t deadline_ns)
{
        long pause_ns = 20000;

        while (!gate_try(arena)) {
                if (errno != EACCES && errno != EAGAIN)
                        return fail_errno("cannot lock the arena's gate");
                if (now_ns() >= deadline_ns)
                        return gate_is_shut(arena);
                nanosleep(&(struct timespec){ .tv_nsec = pause_ns }, NULL);
                /* A thousand who knock every 2 ms leave whoever stands in the gate no processor to leave it with. */
                if (pause_ns < 20000000)
                        pause_ns *= 2;
        }
        return OBJD_OK;
}

void gate_leave(struct arena *arena)
{
        struct standing before = before_gate;

        if (!arena->alone)
                (void)record_lock(arena->fd, F_SETLK, F_UNLCK, GATE_BYTE, NULL);
        forklock_give(&gate_lock);
        stand_at_ease(&before);
}

static void read_comm(char comm[16])
{
        int fd = open("/proc/self/comm", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, comm, 15);

        if (fd >= 0)
                close(fd);
        if (n < 0)
                n = 0;
        comm[n] = 0;
        if (n > 0 && comm[n - 1] == '\n')
                comm[n - 1] = 0;
}

static objd_status take_client(struct arena *arena, uint32_t number, uint64_t *ret_client)
{
        struct client_shm *client = arena_client(arena, number);
        objd_status r = arena_commit(arena, arena_off(arena, client), CLIENT_SIZE);

        if (r)
                return r;
        if (record_lock(arena->fd, F_SETLK, F_WRLCK, CLIENT_BYTE(number), NULL) < 0)
                return fail_errno("cannot lock the client's byte in the arena");
        client->generation++;
        client->uid = getuid();
        client->pid = getpid();
        client->since_ns = wall_ns();
        word_set(&client->n_anonymous, 0);
        word_set(&client->flags, 0);
        read_comm(client->comm);
        order_for_death();
        half_set(&client->claimed, 1);
        if (number >= arena->header->clients_high)
                word_set(&arena->header->clients_high, number + 1);
        *ret_client = id_make(number, client->generation);
        return OBJD_OK;
}

objd_status client_claim(struct arena *arena, uint64_t *ret_client)
{
        uint64_t high = word_get(&arena->header->clients_high);

        /* Whoever retires memory makes all readers pass a barrier that they do not execute themselves. */
        (void)syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_GLOBAL_EXPEDITED, 0, 0);

        for (uint32_t i = 1; i < high; i++)
                if (!half_get(&arena_client(arena, i)->claimed))
                        return take_client(arena, i, ret_client);
        if (high >= N_CLIENTS)
                return fail(OBJD_E_LIMIT, "the arena has %u clients, which is all it can have",
                            N_CLIENTS - 1);
        return take_client(arena, (uint32_t)high, ret_client);
}

void client_release(struct arena *arena, uint64_t client)
{
        half_set(&arena_client(arena, id_number(client))->claimed, 0);
        if (!arena->alone)
                (void)record_lock(arena->fd, F_SETLK, F_UNLCK, CLIENT_BYTE(id_number(client)), NULL);
}

/* The readers' byte, the gate's and those of all clients, at once: if anybody has any of them, we get none. */
objd_status life_begin_alone(struct arena *arena)
{
        const int64_t end = CLIENT_BYTE(N_CLIENTS);
        struct flock lock;

        if (range_lock(arena->fd, F_SETLK, F_WRLCK, READERS_BYTE, end, NULL) == 0) {
                arena->alone = true;
                return OBJD_OK;
        }
        if (errno != EACCES && errno != EAGAIN)
                return fail_errno("cannot tell whether the arena is in use");
        if (range_lock(arena->fd, F_GETLK, F_WRLCK, READERS_BYTE, end, &lock) < 0 || lock.l_type == F_UNLCK ||
            lock.l_pid <= 0)
                return fail(OBJD_E_BUSY, "somebody uses the arena");
        return fail(OBJD_E_BUSY, "process %lld uses the arena", (long long)lock.l_pid);
}

/* What this process has become meanwhile, it stays. */
void life_end_alone(struct arena *arena)
{
        uint64_t client = word_get(&arena->client_fork) == fork_generation() ? word_get(&arena->client) : 0;
        int64_t own = client ? CLIENT_BYTE(id_number(client)) : READERS_BYTE;

        arena->alone = false;
        if (own > READERS_BYTE)
                (void)range_lock(arena->fd, F_SETLK, F_UNLCK, READERS_BYTE, own, NULL);
        (void)range_lock(arena->fd, F_SETLK, F_UNLCK, client ? own + 1 : own, CLIENT_BYTE(N_CLIENTS), NULL);
}

bool client_is_alive(struct arena *arena, uint64_t id)
{
        struct client_shm *client = arena_client(arena, id_number(id));
        struct flock lock;

        if (!id_number(id) || id_number(id) >= word_get(&arena->header->clients_high) ||
            !half_get_acquire(&client->claimed) || client->generation != id_generation(id))
                return false;
        if (word_get(&client->flags) & CLIENT_IS_SESSION)
                return session_is_alive(arena, client);
        if (id == word_get(&arena->client) && word_get(&arena->client_fork) == fork_generation())
                return true;
        /* Only who may write can hold a write lock; the read locks of others, which this does not ask for, say nothing. */
        if (record_lock(arena->fd, F_GETLK, F_RDLCK, CLIENT_BYTE(id_number(id)), &lock) < 0)
                return true; /* no news is no death */
        return lock.l_type != F_UNLCK;
}

bool readers_mark(int fd)
{
        return record_lock(fd, F_OFD_SETLK, F_RDLCK, READERS_BYTE, NULL) == 0;
}

bool readers_are_known_to_kernel(const struct arena *arena)
{
        struct flock lock;

        return record_lock(arena->fd, F_GETLK, F_WRLCK, READERS_BYTE, &lock) < 0 || lock.l_type != F_UNLCK;
}

bool readers_are_there(const struct arena *arena)
{
        return word_get_acquire(&arena->header->readers) && readers_are_known_to_kernel(arena);
}

objd_status life_begin(struct arena *arena, struct lane_shm *lane)
{
        pthread_mutexattr_t attributes;

        (void)arena;
        if (lane->by_process)
                return OBJD_OK;
        /*
         * The lane is free, so no thread has this mutex in its list: a dead owner's list went with it, and a
         * living one has unlocked before it said that the lane is free.
         */
        half_set(&lane->life.word, 0); /* which somebody may look at who has been told of an earlier owner */
        memset(lane->life.pad + sizeof(lane->life.word), 0, sizeof(lane->life) - sizeof(lane->life.word));
        if (pthread_mutexattr_init(&attributes) ||
            pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED) ||
            pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST) ||
            pthread_mutex_init(&lane->life.mutex, &attributes) || pthread_mutex_lock(&lane->life.mutex))
                return fail(OBJD_E_SYS, "cannot make a robust mutex");
        (void)pthread_mutexattr_destroy(&attributes);
        /*
         * glibc writes the number that it knows the thread by. In a child of a raw clone() that is the parent's, and the
         * kernel, which compares it with the one who dies, would mark nothing.
         */
        if ((half_get(&lane->life.word) & FUTEX_TID_MASK) != (uint32_t)gettid()) {
                (void)pthread_mutex_unlock(&lane->life.mutex);
                half_set(&lane->by_process, 1);
        }
        return OBJD_OK;
}

void life_end(struct lane_shm *lane)
{
        if (!lane->by_process)
                (void)pthread_mutex_unlock(&lane->life.mutex);
}

static bool word_is_dead(uint32_t word)
{
        return (word & FUTEX_OWNER_DIED) || !(word & FUTEX_TID_MASK);
}

bool lane_is_dead(struct arena *arena, const struct lane_shm *lane)
{
        uint64_t generation;

        if (!half_get_acquire(&lane->claimed))
                return false;
        if (PLANTED(LIVING_ROBBED) && half_get(&lane->n_locks) && lane->pid != getpid())
                return true;
        generation = word_get(&lane->generation);
        if (half_get(&lane->by_process) ? client_is_alive(arena, word_get(&lane->client))
                                        : !word_is_dead(half_get_acquire(&lane->life.word)))
                return false;
        /*
         * A lane that is being given back says so before it unlocks. So a word that is unlocked and still
         * claimed belongs to a dead owner, unless the lane has changed hands since the first look.
         */
        return half_get_acquire(&lane->claimed) && word_get(&lane->generation) == generation;
}
