/* SPDX-License-Identifier: Apache-2.0 */

/*
 * header.c -- mending an arena's header
 */

#include "object/header.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena/life.h"
#include "base/status.h"
#include "base/sys.h"
#include "mem/pool.h"
#include "sync/lock.h"

#define COPY_OFF 2048u
#define COPY_MAGIC 0x79706f6361646fULL /* "odacopy" */

/* Where record locks say that somebody lives; see life.c. */
#define LIFE_BYTES (1LL << 52)

static const struct {
        const char *name;
        size_t off;
} constants[] = {
        { "magic", offsetof(struct header_shm, magic) },
        { "abi", offsetof(struct header_shm, abi) },
        { "file_size", offsetof(struct header_shm, file_size) },
        { "id[0]", offsetof(struct header_shm, id) },
        { "id[1]", offsetof(struct header_shm, id) + 8 },
        { "hash_key[0]", offsetof(struct header_shm, hash_key) },
        { "hash_key[1]", offsetof(struct header_shm, hash_key) + 8 },
        { "clients_off", offsetof(struct header_shm, clients_off) },
        { "lanes_off", offsetof(struct header_shm, lanes_off) },
        { "table_off", offsetof(struct header_shm, table_off) },
        { "blocks_off", offsetof(struct header_shm, blocks_off) },
        { "size", offsetof(struct header_shm, size) },
        { "created_ns", offsetof(struct header_shm, created_ns) },
        { "names", offsetof(struct header_shm, names) },
        { "pool.n_blocks", offsetof(struct header_shm, pool.n_blocks) },
};

#define N_CONSTANTS (sizeof(constants) / sizeof(*constants))

struct header_copy {
        uint64_t magic;
        uint64_t format;
        uint64_t words[N_CONSTANTS];
        uint64_t sum;
};

static_assert(sizeof(struct header_shm) <= COPY_OFF, "the copy has the second half of the page");
static_assert(COPY_OFF + sizeof(struct header_copy) <= PAGE_SIZE, "it fits");

/* Against accidents, not against anybody who means harm. */
static uint64_t sum_of(const struct header_copy *copy)
{
        uint64_t sum = copy->magic ^ copy->format;

        for (size_t i = 0; i < N_CONSTANTS; i++) {
                sum = (sum ^ copy->words[i]) * 0x9e3779b97f4a7c15ULL;
                sum ^= sum >> 29;
        }
        return sum;
}

static uint64_t *constant_of(struct header_shm *header, size_t i)
{
        return (uint64_t *)(void *)((uint8_t *)header + constants[i].off);
}

static struct header_copy *copy_of(const struct header_shm *header)
{
        return (struct header_copy *)(uintptr_t)((const uint8_t *)header + COPY_OFF);
}

void header_seal(struct header_shm *header)
{
        struct header_copy *copy = copy_of(header);

        copy->magic = COPY_MAGIC;
        copy->format = header->format;
        for (size_t i = 0; i < N_CONSTANTS; i++)
                copy->words[i] = *constant_of(header, i);
        copy->sum = sum_of(copy);
}

bool header_is_sealed(const struct header_shm *header)
{
        const struct header_copy *copy = copy_of(header);

        return copy->magic == COPY_MAGIC && copy->sum == sum_of(copy);
}

/* ---- Constants ------------------------------------------------------------------------------------------ */

struct mending {
        header_report_fn report;
        void *context;
};

static __attribute__((format(printf, 2, 3))) void say(const struct mending *mending, const char *format, ...)
{
        char sentence[256];
        va_list args;

        va_start(args, format);
        (void)vsnprintf(sentence, sizeof(sentence), format, args);
        va_end(args);
        mending->report(mending->context, sentence);
}

static void put_back(const struct mending *mending, struct header_shm *header)
{
        const struct header_copy *copy = copy_of(header);

        for (size_t i = 0; i < N_CONSTANTS; i++) {
                uint64_t *word = constant_of(header, i);

                if (*word == copy->words[i])
                        continue;
                say(mending, "header: %s was %#" PRIx64 "; it is %#" PRIx64 " again, from the copy",
                    constants[i].name, *word, copy->words[i]);
                *word = copy->words[i];
        }
        if (header->format != copy->format)
                say(mending, "header: format was %u; it is %" PRIu64 " again, from the copy", header->format,
                    copy->format);
        header->format = (uint32_t)copy->format;
}

static objd_status check_unused(int fd)
{
        struct flock lock = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = LIFE_BYTES };

        if (fcntl(fd, F_GETLK, &lock) < 0)
                return fail_errno("cannot tell whether the arena is in use");
        if (lock.l_type != F_UNLCK)
                return fail(OBJD_E_BUSY,
                            "process %d uses the arena, which can only be mended while nobody does",
                            (int)lock.l_pid);
        return OBJD_OK;
}

/* The header's page, which is not the arena's yet: nothing in it is believed. */
union page {
        struct header_shm header;
        uint8_t bytes[PAGE_SIZE];
};

static objd_status mend_constants(const struct mending *mending, union page *page, uint64_t file_size)
{
        struct header_shm *header = &page->header;

        if (!header_is_sealed(header)) {
                if (header->magic != ARENA_MAGIC || header->abi != ARENA_ABI ||
                    header->file_size != file_size)
                        return fail(OBJD_E_FORMAT,
                                    "the header is damaged, and so is the copy of what it needs: "
                                    "the key of all hashes cannot be found again");
                say(mending, "header: the copy of its constants is damaged or was never made");
                return OBJD_OK;
        }
        if (copy_of(header)->format != ARENA_FORMAT)
                return fail(OBJD_E_FORMAT,
                            "the arena has format %" PRIu64 " and this program mends format %u",
                            copy_of(header)->format, ARENA_FORMAT);
        put_back(mending, header);
        if (header->file_size > file_size)
                return fail(OBJD_E_FORMAT,
                            "the arena is truncated: %" PRIu64 " bytes of %" PRIu64 " are there", file_size,
                            header->file_size);
        if (header->state != ARENA_READY) {
                say(mending, "header: its state was %u; the arena had been finished", header->state);
                header->state = ARENA_READY;
        }
        return OBJD_OK;
}

objd_status header_restore(int fd, header_report_fn report, void *context)
{
        const struct mending mending = { report, context };
        union page page, before;
        struct stat st;
        objd_status r = check_unused(fd);

        if (r)
                return r;
        if (fstat(fd, &st) < 0 || pread(fd, &page, sizeof(page), 0) != (ssize_t)sizeof(page))
                return fail(OBJD_E_FORMAT, "the file is no arena: it has less than a header");
        before = page;
        r = mend_constants(&mending, &page, (uint64_t)st.st_size);
        if (r == OBJD_OK && memcmp(&page, &before, sizeof(page)) != 0 &&
            pwrite(fd, &page, sizeof(page), 0) != (ssize_t)sizeof(page))
                r = fail_errno("cannot write the header");
        return r;
}

/* ---- Numbers -------------------------------------------------------------------------------------------- */

static void set(const struct mending *mending, const char *name, uint64_t *word, uint64_t value)
{
        if (*word == value)
                return;
        say(mending, "header: %s was %" PRIu64 "; it is %" PRIu64 ", counted again", name, *word, value);
        *word = value;
}

/* How many entries of a table there must be, for all that have ever been used to be among them. */
static uint64_t high_of(struct arena *arena, uint64_t off, uint64_t entry, uint64_t n)
{
        off_t end = (off_t)(off + n * entry), data = lseek(arena->fd, (off_t)off, SEEK_DATA), hole = 0;
        uint64_t high = 1;

        while (data >= 0 && data < end) {
                hole = lseek(arena->fd, data, SEEK_HOLE);
                if (hole < 0 || hole > end)
                        hole = end;
                for (uint64_t i = ((uint64_t)data - off) / entry; i * entry + off < (uint64_t)hole; i++) {
                        /* claimed and generation are among an entry's first words in both tables */
                        const struct client_shm *client = (const void *)(arena->base + off + i * entry);
                        const struct lane_shm *lane = (const void *)(arena->base + off + i * entry);

                        if (i && (entry == CLIENT_SIZE ? client->generation : lane->generation))
                                high = i + 1;
                }
                data = lseek(arena->fd, hole, SEEK_DATA);
        }
        return high;
}

static uint64_t count_pins(const struct arena *arena)
{
        uint64_t n = 0;

        for (uint32_t i = 1; i < arena_lanes_high(arena); i++)
                for (uint32_t pin = 0; pin < LANE_PINS; pin++)
                        n += word_get(&arena_lane(arena, i)->pins[pin]) != 0;
        return n;
}

/* How many blocks have been in use: the last entry of the table that says so. */
static uint64_t count_frontier(const struct arena *arena)
{
        uint64_t table = arena_off(arena, arena->blocks), n = 0;
        off_t end = (off_t)(table + arena->n_blocks * sizeof(struct block_shm)),
              data = lseek(arena->fd, (off_t)table, SEEK_DATA), hole;

        while (data >= 0 && data < end) {
                hole = lseek(arena->fd, data, SEEK_HOLE);
                if (hole < 0 || hole > end)
                        hole = end;
                for (uint64_t i = ((uint64_t)data - table) / sizeof(struct block_shm);
                     i < arena->n_blocks && table + i * sizeof(struct block_shm) < (uint64_t)hole; i++)
                        if (arena->blocks[i].state != BLOCK_UNUSED)
                                n = i + 1;
                data = lseek(arena->fd, hole, SEEK_DATA);
        }
        return n;
}

/* The pool's lock names a lane; unless that lane knows of it, nobody has it. */
static void mend_lock(const struct mending *mending, struct arena *arena)
{
        struct line_shm *line = &arena->header->pool.line;
        uint32_t holder = lock_lane(word_get(&line->word));
        const struct lane_shm *lane = arena_lane(arena, holder);

        if (!(word_get(&line->word) & ~LOCK_VERSION_MASK))
                return;
        if (arena_has_lane(arena, holder) && half_get(&lane->claimed))
                for (uint32_t i = 0; i < lane->n_locks && i < LANE_LOCKS; i++)
                        if (lane->locks[i] == arena_off(arena, line))
                                return;
        say(mending, "header: the pool's lock named lane %u, which does not have it", holder);
        word_set(&line->word, word_get(&line->word) & LOCK_VERSION_MASK);
}

/* A count that is taken from the table is only good if no transaction of the pool is in the middle of changing it. */
static bool is_pool_at_rest(const struct arena *arena)
{
        for (uint32_t i = 1; i < arena_lanes_high(arena); i++)
                if (half_get(&arena_lane(arena, i)->claimed) &&
                    word_get(&arena_lane(arena, i)->pool_log.state) != TXN_IDLE)
                        return false;
        return true;
}

static void recount_blocks(const struct mending *mending, struct arena *arena)
{
        struct pool_shm *pool = &arena->header->pool;
        uint64_t n_used = 0, n_kept = 0, frontier = count_frontier(arena);

        set(mending, "pool.frontier", &pool->frontier, frontier);
        if (pool->table_ready < frontier || pool->table_ready > arena->n_blocks)
                set(mending, "pool.table_ready", &pool->table_ready, frontier);
        for (uint64_t i = 0, n; i < frontier; i += n) {
                const struct block_shm *block = &arena->blocks[i];
                bool is_run = block->state == BLOCK_FREE || block->state == BLOCK_RUN;

                /* Only a run's first block says what it is. */
                n = is_run && block->run && block->run <= frontier - i ? block->run : 1;
                n_used += block->state == BLOCK_FREE ? 0 : n;
                for (uint64_t k = 0; block->state == BLOCK_FREE && k < n; k++)
                        n_kept += block[k].memory != MEMORY_NONE;
        }
        set(mending, "pool.n_used_blocks", &pool->n_used_blocks, n_used);
        set(mending, "pool.n_kept", &pool->n_kept, n_kept);
}

void header_recount(struct arena *arena, header_report_fn report, void *context)
{
        const struct mending mending = { report, context };
        struct header_shm *header = arena->header;
        uint64_t high;

        /* They were sound when the arena was mapped; what has been done to them since must not be sealed. */
        if (header_is_sealed(header))
                put_back(&mending, header);
        high = high_of(arena, arena_off(arena, arena_client(arena, 0)), CLIENT_SIZE, N_CLIENTS);
        if (header->clients_high < high || header->clients_high > N_CLIENTS)
                set(&mending, "clients_high", &header->clients_high, high);
        high = high_of(arena, arena_off(arena, arena_lane(arena, 0)), LANE_SIZE, RESERVE_LANE);
        if (header->lanes_high < high || header->lanes_high > RESERVE_LANE)
                set(&mending, "lanes_high", &header->lanes_high, high);
        set(&mending, "n_pins", &header->n_pins, count_pins(arena));
        mend_lock(&mending, arena);
        if (is_pool_at_rest(arena))
                recount_blocks(&mending, arena);
        header_seal(header);
}
