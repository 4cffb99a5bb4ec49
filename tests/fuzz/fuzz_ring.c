/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_ring.c -- what a client may leave in its ring, for the daemon to read
 *
 * An input is a row of steps, each of a byte that says what is done and one that says how much of what follows it takes: bytes are
 * written behind those that are there, or over those that are about to be read; the position is moved, soundly or not at all. After each
 * of them the daemon's side reads what there is. Whatever it is given lies within bounds, and is put together as frames
 * are; what it refuses has a reason, and after that it reads nothing more.
 */

#include <objd.h>

#include <endian.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "rpc/ring.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MAX_FRAME (RING_SIZE_MIN / 4)
#define JOINED_MAX (4u << 20)
#define SIZE (2 * RING_SIZE_MIN)

/* Where the positions begin: the end is near, and the writer may go to the beginning from there. */
#define BEGINNING (SIZE - 1024)

enum step { WRITE, PUT, SCRIBBLE, MOVE, N_STEPS };

static struct ring_pair client, server;
static uint64_t copy[MAX_FRAME / 8];

static void must(bool condition)
{
        if (!condition)
                abort();
}

static void begin(void)
{
        int fd;

        if (!client.map) {
                must(ring_memory(SIZE, &fd) == OBJD_OK);
                must(ring_map(fd, SIZE, &client) == OBJD_OK);
                must(ring_map(fd, SIZE, &server) == OBJD_OK);
                must(close(fd) == 0);
        }
        memset(client.up.data, 0, SIZE);
        memset(client.up.shm, 0, sizeof(*client.up.shm));
        client.up.shm->put = client.up.shm->taken = BEGINNING;
        client.up.own = client.up.seen = server.up.own = server.up.seen = BEGINNING;
}

static void look_at(const void *piece, size_t size)
{
        volatile uint8_t sum = 0;

        for (size_t i = 0; i < size; i++)
                sum = (uint8_t)(sum + ((const uint8_t *)piece)[i]);
}

static void join(struct frame_joiner *joiner, const struct frame_head *head, const void *piece)
{
        struct wire_in in;
        bool whole = false;

        if (head->type > FRAME_REFUSED || head->message > JOINED_MAX)
                return;
        if (frame_join(joiner, head, piece, &whole, &in) == OBJD_OK && whole)
                look_at(in.data, in.size);
}

/* False: nothing more is to be had. */
static bool read_all(struct frame_joiner *joiner)
{
        const uint8_t *end = server.up.data + 2 * (size_t)server.up.size;

        for (;;) {
                struct frame_head head;
                const void *piece;
                uint64_t before = server.up.own;
                objd_status r = ring_next(&server.up, MAX_FRAME, copy, &head, &piece);

                if (r == OBJD_E_EMPTY)
                        return true;
                if (r) {
                        must(strlen(objd_last_error()) > 10);
                        return false;
                }
                must(head.piece <= MAX_FRAME - FRAME_HEAD);
                must(piece == copy || ((const uint8_t *)piece >= server.up.data &&
                                       (const uint8_t *)piece + head.piece <= end));
                must((piece == copy) == (head.flags == (FRAME_FIRST | FRAME_LAST)));
                join(joiner, &head, piece);
                (void)ring_take(&server.up, &head);
                must(server.up.own > before && server.up.own - before <= server.up.size);
                must(server.up.own <= server.up.seen);
        }
}

/* at: how much has been written behind the last position. */
static void take_step(enum step step, const uint8_t *bytes, size_t size, uint32_t *at)
{
        uint32_t mask = client.up.size - 1;
        uint64_t number = 0;

        switch (step) {
        case WRITE:
        case SCRIBBLE:
                for (size_t i = 0; i < size; i++)
                        client.up.data[(client.up.own + (step == WRITE ? *at : 0) + i) & mask] = bytes[i];
                *at += step == WRITE ? (uint32_t)size : 0;
                break;
        case PUT:
                (void)ring_put(&client.up, *at);
                *at = 0;
                break;
        default:
                memcpy(&number, bytes, size < 8 ? size : 8);
                client.up.shm->put = BEGINNING + le64toh(number);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct frame_joiner joiner;
        uint32_t at = 0;

        begin();
        frame_joiner_init(&joiner, NULL, 256);
        while (size >= 2) {
                size_t n = data[1] < size - 2 ? data[1] : size - 2;

                take_step((enum step)(data[0] % N_STEPS), data + 2, n, &at);
                if (!read_all(&joiner))
                        break;
                data += 2 + n;
                size -= 2 + n;
        }
        frame_joiner_deinit(&joiner);
        return 0;
}
