/* SPDX-License-Identifier: Apache-2.0 */

/*
 * core_dump.c -- the death of a large process, with and without a core dump
 *
 *     test-core-dump              a worker with 256 MiB of its own
 *     test-core-dump MIB LIMIT    one with so many MiB, whose lock must be free within LIMIT milliseconds
 *
 * The worker holds a lock when a signal ends it. A waiter must have the lock soon after the kernel has marked the worker's
 * death, however long its memory takes to be written or torn down; and the dump holds nothing of the arena. How long is
 * printed; the default limit is that of a busy machine. `test-core-dump 8192 100` is the whole promise.
 */

#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "arena/arena.h"
#include "object/object.h"
#include "support/child.h"
#include "support/fixture.h"
#include "support/inside.h"
#include "support/test.h"

#define MIB (1ULL << 20)
#define IN_ARENA (64 * MIB) /* values that a dump must not hold */

static uint64_t private_mib = 256;
static int64_t limit_ms = 30000;

/* What the processes tell one another. */
struct shared {
        uint64_t arena_start, arena_end; /* in the worker */
        int64_t taken_ns;                /* when the waiter had the lock */
        uint32_t status;                 /* what it got */
        uint32_t taken;                  /* status and taken_ns are there */
        uint32_t works;                  /* the worker has its memory and the lock */
};

struct scene {
        struct fixture *f;
        struct shared *shared;
        struct gate ready;
        char folder[64]; /* where the core goes */
};

/* ---- Worker and waiter ----------------------------------------------------------------------------------- */

static objd_object *open_lock(const struct fixture *f, objd_conn **ret_conn)
{
        objd_object *lock = NULL;

        child_ok(objd_connect(f->url, ret_conn));
        child_ok(objd_open(*ret_conn, "lock", OBJD_LOCK, &lock));
        return lock;
}

static int work(void *context)
{
        const struct scene *scene = context;
        const struct rlimit unlimited = { RLIM_INFINITY, RLIM_INFINITY };
        uint8_t *own =
                mmap(NULL, private_mib * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        objd_conn *conn;
        objd_object *lock = open_lock(scene->f, &conn);

        child_check(own != MAP_FAILED && chdir(scene->folder) == 0);
        child_check(setrlimit(RLIMIT_CORE, &unlimited) == 0 || errno == EPERM);
        for (uint64_t off = 0; off < private_mib * MIB; off += 4096)
                own[off] = (uint8_t)(off >> 12) | 1;
        scene->shared->arena_start = (uintptr_t)conn->arena->base;
        scene->shared->arena_end = scene->shared->arena_start + conn->arena->mapped;
        child_ok(objd_lock_take(lock, OBJD_NOWAIT, NULL));
        __atomic_store_n(&scene->shared->works, 1, __ATOMIC_RELEASE);
        for (;;)
                pause();
}

static int wait_for_lock(void *context)
{
        const struct scene *scene = context;
        objd_conn *conn;
        objd_object *lock = open_lock(scene->f, &conn);

        gate_open(&scene->ready, 1);
        scene->shared->status = objd_lock_take(lock, OBJD_FOREVER, NULL);
        scene->shared->taken_ns = test_now_ns();
        __atomic_store_n(&scene->shared->taken, 1, __ATOMIC_RELEASE);
        child_ok(objd_lock_give(lock));
        objd_release(lock);
        objd_close(conn);
        return 0;
}

/* The lane that holds the lock: the only one whose thread is the worker's. */
static const struct lane_shm *lane_of(const struct arena *arena, pid_t pid)
{
        for (uint32_t i = 1; i < word_get(&arena->header->lanes_high); i++) {
                const struct lane_shm *lane = arena_lane(arena, i);

                if (half_get(&lane->claimed) &&
                    (half_get(&lane->life.word) & FUTEX_TID_MASK) == (uint32_t)pid)
                        return lane;
        }
        fail_msg("the worker has no lane");
        return NULL;
}

/* ---- The dump -------------------------------------------------------------------------------------------- */

/* Whether dumps come as files into the working directory; says why not. */
static bool are_dumps_ours(void)
{
        char pattern[256] = "";
        FILE *file = fopen("/proc/sys/kernel/core_pattern", "re");

        if (!file || !fgets(pattern, sizeof(pattern), file))
                pattern[0] = '|';
        if (file)
                fclose(file);
        if (pattern[0] != '|' && !strchr(pattern, '/') && strncmp(pattern, "core", 4) == 0)
                return true;
        printf("the dump is not looked at: core_pattern is %s\n", pattern);
        return false;
}

static void check_segments(const struct scene *scene, int fd)
{
        const struct shared *shared = scene->shared;
        uint64_t dumped = 0;
        Elf64_Ehdr head;
        struct stat st;

        assert_int_equal(pread(fd, &head, sizeof(head), 0), sizeof(head));
        assert_memory_equal(head.e_ident, ELFMAG, SELFMAG);
        assert_int_equal(head.e_type, ET_CORE);
        for (unsigned i = 0; i < head.e_phnum; i++) {
                Elf64_Phdr p;

                assert_int_equal(pread(fd, &p, sizeof(p), (off_t)(head.e_phoff + i * sizeof(p))), sizeof(p));
                if (p.p_type != PT_LOAD || !p.p_filesz)
                        continue;
                dumped += p.p_filesz;
                if (p.p_vaddr < shared->arena_end && p.p_vaddr + p.p_filesz > shared->arena_start)
                        fail_msg("%#llx bytes of the arena are in the dump", (unsigned long long)p.p_filesz);
        }
        assert_int_equal(fstat(fd, &st), 0);
        printf("the dump has %llu MiB\n", (unsigned long long)(dumped >> 20));
        assert_true(dumped >= private_mib * MIB);           /* it is a dump of the worker, */
        assert_true(dumped < private_mib * MIB + IN_ARENA); /* and not of what it had in the arena */
}

/* Looks at the file, if so asked, and removes it. Gives whether there was one. */
static bool take_dump(const struct scene *scene, bool look)
{
        DIR *dir = opendir(scene->folder);
        struct dirent *entry;
        bool found = false;

        assert_non_null(dir);
        while ((entry = readdir(dir))) {
                int fd;

                if (strncmp(entry->d_name, "core", 4) != 0)
                        continue;
                found = true;
                fd = openat(dirfd(dir), entry->d_name, O_RDONLY | O_CLOEXEC);
                assert_int_equal(unlinkat(dirfd(dir), entry->d_name, 0), 0);
                assert_true(fd >= 0);
                if (look)
                        check_segments(scene, fd);
                close(fd);
        }
        closedir(dir);
        return found;
}

/* ---- The deaths ------------------------------------------------------------------------------------------ */

static void fill_arena(objd_conn *conn)
{
        objd_object *dict = inside_dict(conn, "dict");
        void *bytes = calloc(1, MIB);

        assert_non_null(bytes);
        for (int64_t i = 0; i < (int64_t)(IN_ARENA / MIB); i++) {
                objd_value key = objd_int(i), value = objd_bytes(bytes, MIB);

                assert_ok(objd_dict_set(dict, &key, &value));
        }
        free(bytes);
        objd_release(dict);
}

/* Gigabytes take their time: a minute for each is more than any disk needs. */
static void wait_patiently(const uint32_t *word)
{
        int64_t end_ns = test_now_ns() + PATIENCE_NS + (int64_t)(private_mib >> 10) * 60000000000LL;

        while (!__atomic_load_n(word, __ATOMIC_ACQUIRE)) {
                if (test_now_ns() > end_ns)
                        fail_msg("it never happened");
                usleep(200);
        }
}

static void end_worker(struct scene *scene, int signal_number, bool look)
{
        objd_conn *conn = fixture_connect(scene->f);
        const struct lane_shm *lane;
        int64_t sent_ns, marked_ns, late_ns;
        pid_t worker, waiter;
        int status;

        scene->shared->taken = 0;
        gate_init(&scene->ready);
        scene->shared->works = 0;
        worker = child_start(work, scene);
        wait_patiently(&scene->shared->works);
        lane = lane_of(conn->arena, worker);
        waiter = child_start(wait_for_lock, scene);
        gate_wait(&scene->ready);

        sent_ns = test_now_ns();
        kill(worker, signal_number);
        while (half_get(&lane->life.word) != 0 && !(half_get(&lane->life.word) & FUTEX_OWNER_DIED) &&
               !__atomic_load_n(&scene->shared->taken, __ATOMIC_ACQUIRE))
                usleep(50);
        marked_ns = test_now_ns();
        wait_patiently(&scene->shared->taken);
        child_expect_success(waiter);
        assert_int_equal(waitpid(worker, &status, 0), worker); /* takes as long as its memory takes */
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == signal_number);
        assert_int_equal(scene->shared->status, OBJD_E_OWNER_DIED);
        late_ns = scene->shared->taken_ns - marked_ns;
        printf("%s, %llu MiB: marked after %.3f ms, the lock free %.3f ms later, the process gone after %.3f ms%s\n",
               strsignal(signal_number), (unsigned long long)private_mib, (double)(marked_ns - sent_ns) / 1e6,
               (double)late_ns / 1e6, (double)(test_now_ns() - sent_ns) / 1e6,
               WCOREDUMP(status) ? ", dumped" : "");
        assert_true(late_ns <= limit_ms * 1000000);
        assert_true(take_dump(scene, look) || !look);
        gate_deinit(&scene->ready);
        objd_close(conn);
}

static void a_large_process_leaves_its_lock_at_once(void **state)
{
        struct scene scene = { .f = *state, .folder = "/var/tmp/objd-test-core-XXXXXX" };
        objd_object *lock;
        objd_conn *conn;

        assert_non_null(mkdtemp(scene.folder));
        scene.shared =
                mmap(NULL, sizeof(*scene.shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        assert_true(scene.shared != MAP_FAILED);
        fixture_start(scene.f, (const char *const[]){ "--size", "256M", NULL });
        conn = fixture_connect(scene.f);
        fill_arena(conn);
        assert_ok(objd_create(conn, "lock", OBJD_LOCK, NULL, &lock));

        end_worker(&scene, SIGKILL, false);
        end_worker(&scene, SIGSEGV, are_dumps_ours());

        inside_check(conn);
        objd_release(lock);
        objd_close(conn);
        munmap(scene.shared, sizeof(*scene.shared));
        (void)rmdir(scene.folder);
}

int main(int argc, char **argv)
{
        const struct CMUnitTest tests[] = { FIXTURE_TEST(a_large_process_leaves_its_lock_at_once) };

        if (argc > 1)
                private_mib = strtoull(argv[1], NULL, 10);
        if (argc > 2)
                limit_ms = strtoll(argv[2], NULL, 10);
        return cmocka_run_group_tests(tests, NULL, NULL);
}
