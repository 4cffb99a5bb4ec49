/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ring.c -- frames through memory that two processes share
 */

#include "rpc/ring.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "arena/word.h"
#include "base/status.h"

#define HEAD_BYTES 4096u
#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

_Static_assert(sizeof(struct ring_shm) == 192, "each word in a line of its own");
_Static_assert(sizeof(struct ring_pair_shm) <= HEAD_BYTES, "it is the first page");

/* ---- Memory ------------------------------------------------------------------------------------------- */

static off_t file_size(uint32_t size)
{
        return (off_t)HEAD_BYTES + 2 * (off_t)size;
}

objd_status ring_memory(uint32_t size, int *ret_fd)
{
        int fd = memfd_create("objd-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);

        if (fd < 0)
                return fail_errno("cannot make the memory of a ring");
        if (ftruncate(fd, file_size(size)) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0) {
                objd_status r = fail_errno("cannot make a ring of %u bytes", size);

                (void)close(fd);
                return r;
        }
        *ret_fd = fd;
        return OBJD_OK;
}

static objd_status check_file(int fd, uint32_t size)
{
        int seals = fcntl(fd, F_GET_SEALS);
        struct stat st;

        if (size < RING_SIZE_MIN || size > RING_SIZE_MAX || (size & (size - 1)))
                return fail(OBJD_E_PROTO, "a ring cannot have %u bytes", size);
        if (fstat(fd, &st) < 0)
                return fail_errno("cannot look at a pair of rings");
        if (st.st_size != file_size(size) || seals < 0 || (seals & SEALS) != SEALS)
                return fail(OBJD_E_PROTO,
                            "what should be a pair of rings has another size, or could get one");
        return OBJD_OK;
}

/* A ring's bytes, twice. */
static bool map_twice(uint8_t *at, int fd, off_t from, uint32_t size)
{
        for (int i = 0; i < 2; i++)
                if (mmap(at + (size_t)i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd,
                         from) == MAP_FAILED)
                        return false;
        return true;
}

objd_status ring_map(int fd, uint32_t size, struct ring_pair *ret_pair)
{
        struct ring_pair pair = { .map_size = HEAD_BYTES + 4 * (size_t)size };
        struct ring_pair_shm *shm;
        uint8_t *at;
        objd_status r = check_file(fd, size);

        if (r)
                return r;
        pair.map = mmap(NULL, pair.map_size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (pair.map == MAP_FAILED)
                return fail_errno("cannot map a pair of rings");
        at = pair.map;
        if (mmap(at, HEAD_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
            !map_twice(at + HEAD_BYTES, fd, HEAD_BYTES, size) ||
            !map_twice(at + HEAD_BYTES + 2 * (size_t)size, fd, (off_t)HEAD_BYTES + size, size)) {
                r = fail_errno("cannot map a pair of rings");
                ring_unmap(&pair);
                return r;
        }
        shm = pair.map;
        pair.up = (struct ring){ .shm = &shm->up, .data = at + HEAD_BYTES, .size = size };
        pair.down =
                (struct ring){ .shm = &shm->down, .data = at + HEAD_BYTES + 2 * (size_t)size, .size = size };
        *ret_pair = pair;
        return OBJD_OK;
}

void ring_unmap(struct ring_pair *pair)
{
        if (pair->map)
                (void)munmap(pair->map, pair->map_size);
        memset(pair, 0, sizeof(*pair));
}

/* Whether a bell is to be rung: said before, and not by two at once. */
static bool take_back(uint32_t *sleeps)
{
        return __atomic_load_n(sleeps, __ATOMIC_SEQ_CST) && __atomic_exchange_n(sleeps, 0, __ATOMIC_SEQ_CST);
}

/* ---- Writing ------------------------------------------------------------------------------------------ */

/* The reader's position as it is now: never behind what it was, never before ours. */
static objd_status look_at_reader(struct ring *ring, int order)
{
        uint64_t taken = __atomic_load_n(&ring->shm->taken, order);

        if (taken - ring->seen > ring->own - ring->seen || taken % 8)
                return fail(OBJD_E_PROTO,
                            "the reader of a ring says that it is at %llu, between %llu and %llu",
                            (unsigned long long)taken, (unsigned long long)ring->seen,
                            (unsigned long long)ring->own);
        ring->seen = taken;
        return OBJD_OK;
}

static uint64_t room(const struct ring *ring)
{
        return ring->size - (ring->own - ring->seen);
}

static uint32_t offset(const struct ring *ring)
{
        return (uint32_t)(ring->own & (ring->size - 1));
}

/* What the reader is to step over is published together with the frame behind it. */
static void rewind_if_empty(struct ring *ring, size_t size)
{
        uint32_t skip = ring->size - offset(ring);

        if (ring->seen == ring->own && skip + ring_padded(size) <= ring->size) {
                word_set((uint64_t *)(void *)(ring->data + offset(ring)), RING_REWIND);
                ring->own += skip;
        }
}

objd_status ring_reserve(struct ring *ring, size_t size, uint8_t **ret_data)
{
        bool rewinds = offset(ring) >= RING_REWIND_FROM && size <= RING_REWIND_FROM;
        objd_status r = OBJD_OK;

        if (size > ring->size)
                return fail(OBJD_E_PROTO, "a frame of %zu bytes does not fit a ring of %u", size, ring->size);
        if (rewinds || room(ring) < ring_padded(size))
                r = look_at_reader(ring, __ATOMIC_ACQUIRE);
        if (r)
                return r;
        if (rewinds)
                rewind_if_empty(ring, size);
        if (room(ring) < ring_padded(size))
                return OBJD_E_BUSY;
        *ret_data = ring->data + offset(ring);
        return OBJD_OK;
}

bool ring_put(struct ring *ring, size_t size)
{
        ring->own += ring_padded(size);
        __atomic_store_n(&ring->shm->put, ring->own, __ATOMIC_SEQ_CST);
        return take_back(&ring->shm->reader_sleeps);
}

bool ring_writer_sleeps(struct ring *ring, size_t size)
{
        __atomic_store_n(&ring->shm->writer_sleeps, 1, __ATOMIC_SEQ_CST);
        if (look_at_reader(ring, __ATOMIC_SEQ_CST) == OBJD_OK && room(ring) < ring_padded(size))
                return true;
        __atomic_store_n(&ring->shm->writer_sleeps, 0, __ATOMIC_RELAXED);
        return false;
}

/* ---- Reading ------------------------------------------------------------------------------------------ */

static objd_status look_at_writer(struct ring *ring)
{
        uint64_t put = __atomic_load_n(&ring->shm->put, __ATOMIC_ACQUIRE);

        if (put - ring->own > ring->size || put % 8)
                return fail(OBJD_E_PROTO,
                            "the writer of a ring of %u bytes says that it is at %llu, we are at %llu",
                            ring->size, (unsigned long long)put, (unsigned long long)ring->own);
        ring->seen = put;
        return OBJD_OK;
}

/* Words, so that nothing is read twice. */
static void copy_head(uint64_t dst[FRAME_HEAD / 8], const uint8_t *src)
{
        const uint64_t *words = (const uint64_t *)(const void *)src;

        for (size_t i = 0; i < FRAME_HEAD / 8; i++)
                dst[i] = __atomic_load_n(&words[i], __ATOMIC_RELAXED);
}

/* The writer has gone on at the ring's beginning, and a frame of its stands there. */
static objd_status follow_rewind(struct ring *ring)
{
        uint32_t skip = ring->size - offset(ring);

        if (offset(ring) < RING_REWIND_FROM || ring->seen - ring->own < skip + FRAME_HEAD)
                return fail(OBJD_E_PROTO,
                            "the writer of a ring has gone to its beginning from %u, for no frame",
                            offset(ring));
        ring->own += skip;
        return OBJD_OK;
}

static bool is_single(const struct frame_head *head)
{
        return head->flags == (FRAME_FIRST | FRAME_LAST);
}

objd_status ring_next(struct ring *ring, uint32_t max_frame, void *copy, struct frame_head *ret_head,
                      const void **ret_piece)
{
        uint64_t head[FRAME_HEAD / 8];
        const uint8_t *at;
        objd_status r = OBJD_OK;

        if (ring->seen == ring->own)
                r = look_at_writer(ring);
        if (r)
                return r;
        if (ring->seen == ring->own)
                return OBJD_E_EMPTY;
        if (ring->seen - ring->own < FRAME_HEAD)
                return fail(OBJD_E_PROTO, "there are %llu bytes in a ring, which is no frame",
                            (unsigned long long)(ring->seen - ring->own));
        copy_head(head, ring->data + offset(ring));
        if (head[0] == RING_REWIND) {
                r = follow_rewind(ring);
                if (r)
                        return r;
                copy_head(head, ring->data + offset(ring));
        }
        at = ring->data + offset(ring);
        r = frame_decode(head, sizeof(head), max_frame - FRAME_HEAD, (uint32_t)WIRE_MESSAGE_MAX, ret_head);
        if (r)
                return r;
        if (ring_padded(FRAME_HEAD + (size_t)ret_head->piece) > ring->seen - ring->own)
                return fail(OBJD_E_PROTO, "a frame in a ring has been cut short");
        *ret_piece = at + FRAME_HEAD;
        if (is_single(ret_head)) {
                memcpy(copy, at + FRAME_HEAD, ret_head->piece);
                *ret_piece = copy;
        }
        return OBJD_OK;
}

/* What a sleeping writer has put does not grow: more than half of it is left to be read. */
static bool is_rather_full(const struct ring *ring)
{
        uint64_t left = __atomic_load_n(&ring->shm->put, __ATOMIC_RELAXED) - ring->own;

        return left > ring->size / 2 && left <= ring->size;
}

bool ring_take(struct ring *ring, const struct frame_head *head)
{
        ring->own += ring_padded(FRAME_HEAD + (size_t)head->piece);
        __atomic_store_n(&ring->shm->taken, ring->own, __ATOMIC_SEQ_CST);
        if (!__atomic_load_n(&ring->shm->writer_sleeps, __ATOMIC_SEQ_CST) || is_rather_full(ring))
                return false;
        return take_back(&ring->shm->writer_sleeps);
}

bool ring_reader_sleeps(struct ring *ring)
{
        __atomic_store_n(&ring->shm->reader_sleeps, 1, __ATOMIC_SEQ_CST);
        if (__atomic_load_n(&ring->shm->put, __ATOMIC_SEQ_CST) == ring->own)
                return true;
        ring_reader_wakes(ring);
        return false;
}

void ring_reader_wakes(struct ring *ring)
{
        __atomic_store_n(&ring->shm->reader_sleeps, 0, __ATOMIC_RELAXED);
}
