/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_ring.c -- rpc/ring.c: frames through shared memory, and a peer that writes what it likes there
 */

#include "support/test.h"

#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "rpc/ring.h"
#include "support/random.h"

#define SIZE RING_SIZE_MIN
#define MAX_FRAME (SIZE / 4)
#define LARGE (4 * SIZE)

/* Both sides of a pair, each with a mapping of its own, as two processes have. */
struct sides {
        struct ring_pair client, daemon;
        uint64_t copy[MAX_FRAME / 8];
};

static struct sides *sides_of(uint32_t size)
{
        struct sides *s = calloc(1, sizeof(*s));
        int fd;

        assert_non_null(s);
        assert_ok(ring_memory(size, &fd));
        assert_ok(ring_map(fd, size, &s->client));
        assert_ok(ring_map(fd, size, &s->daemon));
        assert_int_equal(close(fd), 0);
        return s;
}

static struct sides *sides_new(void)
{
        return sides_of(SIZE);
}

static void sides_free(struct sides *s)
{
        ring_unmap(&s->client);
        ring_unmap(&s->daemon);
        free(s);
}

/* A frame of a batch with a piece of that size, all bytes alike; flags 0 is one from the middle of a message. */
static void write_frame(uint8_t *at, uint8_t flags, uint32_t piece, uint8_t fill)
{
        bool whole = flags == (FRAME_FIRST | FRAME_LAST);
        struct frame_head head = { .type = FRAME_BATCH, .flags = flags, .piece = piece };

        head.message = head.body = whole ? piece : piece + 1000;
        frame_encode(&head, at);
        memset(at + FRAME_HEAD, fill, piece);
}

static objd_status put(struct ring *ring, uint8_t flags, uint32_t piece, uint8_t fill)
{
        uint8_t *at;
        objd_status r = ring_reserve(ring, FRAME_HEAD + piece, &at);

        if (r)
                return r;
        write_frame(at, flags, piece, fill);
        (void)ring_put(ring, FRAME_HEAD + piece);
        return OBJD_OK;
}

static objd_status next(struct sides *s, struct frame_head *head, const void **ret_piece)
{
        return ring_next(&s->daemon.up, MAX_FRAME, s->copy, head, ret_piece);
}

static void expect(struct sides *s, uint32_t piece, uint8_t fill)
{
        struct frame_head head;
        const void *bytes;

        assert_ok(next(s, &head, &bytes));
        assert_int_equal(head.piece, piece);
        for (uint32_t i = 0; i < piece; i++)
                assert_int_equal(((const uint8_t *)bytes)[i], fill);
        (void)ring_take(&s->daemon.up, &head);
}

/* ---- Between friends -------------------------------------------------------------------------------------- */

static void move_frames(struct sides *s)
{
        struct frame_head head;
        const void *bytes;
        uint64_t n_put = 0, n_taken = 0;
        struct random random = { 7 };

        assert_status(next(s, &head, &bytes), OBJD_E_EMPTY);
        assert_false(ring_has_news(&s->daemon.up));
        /* Many times around, with all lengths, the ring now full, now empty. */
        while (n_taken < 20000) {
                while (n_put < 20000 && random_below(&random, 8) &&
                       put(&s->client.up, 3, 1 + (uint32_t)(n_put * 37 % 5000), (uint8_t)n_put) == OBJD_OK)
                        n_put++;
                while (n_taken < n_put && random_below(&random, 8)) {
                        expect(s, 1 + (uint32_t)(n_taken * 37 % 5000), (uint8_t)n_taken);
                        n_taken++;
                }
        }
        assert_status(next(s, &head, &bytes), OBJD_E_EMPTY);
        sides_free(s);
}

static void frames_come_out_as_they_went_in(void **state)
{
        (void)state;
        move_frames(sides_new());
        move_frames(sides_of(LARGE)); /* whose writer goes to the beginning now and then */
}

/* The memory behind the first part of a large ring is not touched, for as long as little is under way. */
static void small_frames_stay_near_the_beginning(void **state)
{
        struct sides *s = sides_of(LARGE);
        uint64_t n_round = 0;

        (void)state;
        for (uint32_t i = 0; i < 20000; i++) {
                assert_ok(put(&s->client.up, 3, 1 + i % 3000, (uint8_t)i));
                expect(s, 1 + i % 3000, (uint8_t)i);
                assert_true((s->client.up.own & (LARGE - 1)) <= RING_REWIND_FROM + FRAME_HEAD + 3000);
                n_round = s->client.up.own / LARGE;
        }
        assert_true(n_round > 100);
        /* What does not fit before the place that would be skipped goes on behind it. */
        while ((s->client.up.own & (LARGE - 1)) < RING_REWIND_FROM) {
                assert_ok(put(&s->client.up, 3, 1000, 1));
                expect(s, 1000, 1);
        }
        assert_ok(put(&s->client.up, 3, MAX_FRAME - FRAME_HEAD, 2));
        assert_ok(put(&s->client.up, 3, MAX_FRAME - FRAME_HEAD, 3));
        assert_int_equal(s->client.up.own & (LARGE - 1), 2 * MAX_FRAME);
        expect(s, MAX_FRAME - FRAME_HEAD, 2);
        expect(s, MAX_FRAME - FRAME_HEAD, 3);
        sides_free(s);
}

static void a_full_ring_takes_nothing_more(void **state)
{
        struct sides *s = sides_new();
        uint8_t *at;

        (void)state;
        for (int i = 0; i < 4; i++)
                assert_ok(put(&s->client.up, 3, MAX_FRAME - FRAME_HEAD, 1));
        assert_status(put(&s->client.up, 3, 1, 2), OBJD_E_BUSY);
        assert_true(ring_writer_sleeps(&s->client.up, FRAME_HEAD + 1));
        expect(s, MAX_FRAME - FRAME_HEAD, 1);
        assert_false(ring_writer_sleeps(&s->client.up, FRAME_HEAD + 1));
        assert_ok(put(&s->client.up, 3, 1, 2));
        assert_status(ring_reserve(&s->client.up, SIZE + 1, &at), OBJD_E_PROTO);
        sides_free(s);
}

static void the_two_directions_do_not_meet(void **state)
{
        struct sides *s = sides_new();
        struct frame_head head;
        const void *bytes;

        (void)state;
        assert_ok(put(&s->daemon.down, 3, 100, 9));
        assert_false(ring_has_news(&s->daemon.up));
        assert_true(ring_has_news(&s->client.down));
        assert_ok(ring_next(&s->client.down, MAX_FRAME, s->copy, &head, &bytes));
        assert_int_equal(head.piece, 100);
        sides_free(s);
}

static void who_sleeps_is_woken_once(void **state)
{
        struct sides *s = sides_new();
        struct frame_head head;
        const void *bytes;
        uint8_t *at;

        (void)state;
        assert_true(ring_reader_sleeps(&s->daemon.up));
        assert_ok(ring_reserve(&s->client.up, FRAME_HEAD + 8, &at));
        write_frame(at, 3, 8, 0);
        assert_true(ring_put(&s->client.up, FRAME_HEAD + 8));
        write_frame(at + FRAME_HEAD + 8, 3, 8, 0);
        assert_false(ring_put(&s->client.up, FRAME_HEAD + 8));
        assert_false(ring_reader_sleeps(&s->daemon.up)); /* there is something */
        for (int i = 0; i < 2; i++) {
                assert_ok(next(s, &head, &bytes));
                (void)ring_take(&s->daemon.up, &head);
        }
        assert_true(ring_reader_sleeps(&s->daemon.up));
        ring_reader_wakes(&s->daemon.up);
        assert_ok(ring_reserve(&s->client.up, FRAME_HEAD + 8, &at));
        write_frame(at, 3, 8, 0);
        assert_false(ring_put(&s->client.up, FRAME_HEAD + 8));
        sides_free(s);
}

static void a_writer_that_sleeps_is_woken_by_room(void **state)
{
        struct sides *s = sides_new();
        struct frame_head head;
        const void *bytes;
        uint64_t left = 0;
        bool woken = false;

        (void)state;
        while (put(&s->client.up, 3, 1000, 0) == OBJD_OK)
                left = s->client.up.own;
        assert_true(ring_writer_sleeps(&s->client.up, 2000));
        while (left) {
                uint64_t before = s->daemon.up.own;

                assert_ok(next(s, &head, &bytes));
                woken = ring_take(&s->daemon.up, &head);
                left -= s->daemon.up.own - before;
                assert_int_equal(woken, left <= SIZE / 2 && left + ring_padded(FRAME_HEAD + 1000) > SIZE / 2);
        }
        sides_free(s);
}

/* Two threads, each waiting for the other one by its word and no other sign: a bell that is forgotten would stop them. */
enum { N_TURNS = 20000 };

struct racer {
        struct sides *s;
        uint32_t bell, room; /* rung by the writer, and by the reader */
};

static void wait_for(uint32_t *bell)
{
        while (!__atomic_exchange_n(bell, 0, __ATOMIC_ACQ_REL))
                (void)sched_yield();
}

static void *read_all(void *context)
{
        struct racer *racer = context;
        struct frame_head head;
        const void *bytes;

        for (int i = 0; i < N_TURNS;) {
                objd_status r = next(racer->s, &head, &bytes);

                if (r == OBJD_OK) {
                        if (ring_take(&racer->s->daemon.up, &head))
                                __atomic_store_n(&racer->room, 1, __ATOMIC_RELEASE);
                        i++;
                } else if (r != OBJD_E_EMPTY) {
                        return racer;
                } else if (ring_reader_sleeps(&racer->s->daemon.up)) {
                        wait_for(&racer->bell);
                }
        }
        return NULL;
}

static void race(struct sides *s)
{
        struct racer racer = { .s = s };
        pthread_t thread;
        void *failed;

        assert_int_equal(pthread_create(&thread, NULL, read_all, &racer), 0);
        for (int i = 0; i < N_TURNS;) {
                uint8_t *at;

                if (ring_reserve(&s->client.up, FRAME_HEAD + 8, &at) == OBJD_E_BUSY) {
                        if (ring_writer_sleeps(&s->client.up, FRAME_HEAD + 8))
                                wait_for(&racer.room);
                        continue;
                }
                write_frame(at, 3, 8, 0);
                if (ring_put(&s->client.up, FRAME_HEAD + 8))
                        __atomic_store_n(&racer.bell, 1, __ATOMIC_RELEASE);
                i++;
        }
        assert_int_equal(pthread_join(thread, &failed), 0);
        assert_null(failed);
        sides_free(s);
}

static void no_bell_is_forgotten(void **state)
{
        (void)state;
        race(sides_new());
        race(sides_of(LARGE));
}

/* ---- A hostile peer --------------------------------------------------------------------------------------- */

static void positions_that_cannot_be_are_refused(void **state)
{
        static const uint64_t bad[] = { SIZE + 1, UINT64_MAX, UINT64_MAX - SIZE, 1ULL << 32, 1, 31 };
        struct frame_head head;
        const void *bytes;
        uint8_t *at;

        (void)state;
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                struct sides *s = sides_new();

                s->client.up.shm->put = bad[i];
                assert_status(next(s, &head, &bytes), OBJD_E_PROTO);
                sides_free(s);
        }
        for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
                struct sides *s = sides_new();

                while (put(&s->daemon.down, 3, 1000, 0) == OBJD_OK)
                        ;
                s->client.down.shm->taken = s->daemon.down.own + bad[i];
                assert_status(ring_reserve(&s->daemon.down, 2000, &at), OBJD_E_PROTO);
                assert_false(ring_writer_sleeps(&s->daemon.down, 2000));
                sides_free(s);
        }
}

static void a_position_does_not_go_back(void **state)
{
        struct sides *s = sides_new();
        struct frame_head head;
        const void *bytes;
        uint8_t *at;

        (void)state;
        assert_ok(put(&s->client.up, 3, 1000, 0));
        expect(s, 1000, 0);
        s->client.up.shm->put -= 8;
        assert_status(next(s, &head, &bytes), OBJD_E_PROTO);

        while (put(&s->daemon.down, 3, MAX_FRAME - FRAME_HEAD, 0) == OBJD_OK)
                ;
        s->client.down.shm->taken = MAX_FRAME;
        assert_ok(ring_reserve(&s->daemon.down, MAX_FRAME, &at));
        (void)ring_put(&s->daemon.down, MAX_FRAME);
        s->client.down.shm->taken = MAX_FRAME - 8;
        assert_status(ring_reserve(&s->daemon.down, MAX_FRAME, &at), OBJD_E_PROTO);
        sides_free(s);
}

static void frames_that_are_none_are_refused(void **state)
{
        struct sides *s = sides_new();
        struct frame_head head;
        const void *bytes;
        uint8_t *at;

        (void)state;
        /* Cut short: its head says more than has been put. */
        assert_ok(ring_reserve(&s->client.up, FRAME_HEAD + 100, &at));
        write_frame(at, 3, 100, 0);
        (void)ring_put(&s->client.up, FRAME_HEAD + 8);
        assert_status(next(s, &head, &bytes), OBJD_E_PROTO);
        /* Over the limit, and beyond all limits. */
        write_frame(at, 3, MAX_FRAME, 0);
        (void)ring_put(&s->client.up, MAX_FRAME);
        assert_status(next(s, &head, &bytes), OBJD_E_TOOBIG);
        write_frame(at, 3, 0, 0);
        memset(at + 4, 0xff, 12);
        assert_int_not_equal(next(s, &head, &bytes), OBJD_OK);
        memset(at, 0, FRAME_HEAD);
        assert_status(next(s, &head, &bytes), OBJD_E_PROTO);
        sides_free(s);
}

/* Says that the writer goes to the beginning, and puts so many bytes. */
static objd_status say_rewind(struct sides *s, uint64_t n_bytes)
{
        struct frame_head head;
        const void *bytes;
        uint8_t *at;

        at = s->client.up.data + (s->client.up.own & (LARGE - 1));
        memcpy(at, &(uint64_t){ RING_REWIND }, 8);
        (void)ring_put(&s->client.up, n_bytes);
        return next(s, &head, &bytes);
}

static void who_goes_to_the_beginning_for_nothing_is_refused(void **state)
{
        uint32_t skip = LARGE - RING_REWIND_FROM;
        struct sides *s;

        (void)state;
        s = sides_of(LARGE); /* where it is already, */
        assert_status(say_rewind(s, LARGE), OBJD_E_PROTO);
        sides_free(s);
        for (int i = 0; i < 4; i++) {
                static const uint32_t behind[] = { 8, 0, FRAME_HEAD - 8, FRAME_HEAD };

                s = sides_of(LARGE);
                s->client.up.own = s->daemon.up.own = s->daemon.up.seen = RING_REWIND_FROM;
                memcpy(s->client.up.data, &(uint64_t){ RING_REWIND },
                       8); /* no frame there, but the same again */
                assert_status(say_rewind(s, i ? skip + behind[i] : behind[i]), OBJD_E_PROTO);
                sides_free(s);
        }
        s = sides_of(LARGE); /* before the place from which it may */
        s->client.up.own = s->daemon.up.own = s->daemon.up.seen = RING_REWIND_FROM - 8;
        write_frame(s->client.up.data, 3, 8, 0);
        assert_status(say_rewind(s, skip + 8 + FRAME_HEAD + 8), OBJD_E_PROTO);
        sides_free(s);
}

/* What is in one frame is ours once it has been given; changing it afterwards changes nothing. */
static void a_message_in_one_frame_cannot_be_changed_any_more(void **state)
{
        struct sides *s = sides_new();
        struct frame_head head;
        const void *bytes;

        (void)state;
        assert_ok(put(&s->client.up, 3, 1000, 7));
        assert_ok(next(s, &head, &bytes));
        memset(s->client.up.data, 0xff, SIZE);
        assert_int_equal(head.piece, 1000);
        for (int i = 0; i < 1000; i++)
                assert_int_equal(((const uint8_t *)bytes)[i], 7);
        (void)ring_take(&s->daemon.up, &head);
        assert_int_equal(s->daemon.up.own, FRAME_HEAD + 1000);
        sides_free(s);
}

static void *scribble(void *context)
{
        struct ring *ring = context;
        struct random random = { 3 };

        while (!__atomic_load_n(&ring->own, __ATOMIC_RELAXED)) {
                write_frame(ring->data, (uint8_t)random_below(&random, 4),
                            (uint32_t)random_below(&random, 200), 0);
                __atomic_store_n(&ring->shm->put, 8 * random_below(&random, 64), __ATOMIC_RELAXED);
                if (!random_below(&random, 4))
                        ring->data[random_below(&random, 256)] = (uint8_t)random_below(&random, 256);
        }
        return NULL;
}

/* While another thread changes all of it, whatever comes out lies within bounds, and is all there. */
static void torn_frames_stay_within_bounds(void **state)
{
        struct sides *s = sides_new();
        uint32_t n_good = 0;
        pthread_t thread;

        (void)state;
        assert_int_equal(pthread_create(&thread, NULL, scribble, &s->client.up), 0);
        while (!ring_has_news(&s->daemon.up))
                (void)sched_yield();
        for (int i = 0; i < 200000; i++) {
                struct frame_head head;
                const void *bytes;

                s->daemon.up.seen = s->daemon.up.own = 0;
                if (next(s, &head, &bytes))
                        continue;
                n_good++;
                assert_true(head.piece <= MAX_FRAME - FRAME_HEAD);
                assert_true(ring_padded(FRAME_HEAD + head.piece) <= s->daemon.up.seen);
                assert_true((head.flags == (FRAME_FIRST | FRAME_LAST)) == (bytes == s->copy));
        }
        __atomic_store_n(&s->client.up.own, 1, __ATOMIC_RELAXED);
        assert_int_equal(pthread_join(thread, NULL), 0);
        print_message("%u of 200000 looks found a good frame\n", n_good);
        sides_free(s);
}

/* ---- Memory ----------------------------------------------------------------------------------------------- */

static void the_memory_cannot_be_cut_short(void **state)
{
        struct ring_pair pair;
        int fd;

        (void)state;
        assert_ok(ring_memory(SIZE, &fd));
        assert_int_equal(ftruncate(fd, 0), -1);
        assert_int_equal(ftruncate(fd, 1 << 30), -1);
        assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
        assert_status(ring_map(fd, 2 * SIZE, &pair), OBJD_E_PROTO);
        assert_status(ring_map(fd, SIZE + 4096, &pair), OBJD_E_PROTO);
        assert_ok(ring_map(fd, SIZE, &pair));
        /* Holes read as zeros. */
        memset(pair.up.data, 1, SIZE);
        assert_int_equal(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 1 << 20), 0);
        assert_int_equal(pair.up.data[0], 0);
        assert_int_equal(close(fd), 0);
        ring_unmap(&pair);
        fd = memfd_create("plain", MFD_CLOEXEC);
        assert_int_equal(ftruncate(fd, 4096 + 2 * SIZE), 0);
        assert_status(ring_map(fd, SIZE, &pair), OBJD_E_PROTO);
        assert_int_equal(close(fd), 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(frames_come_out_as_they_went_in),
                cmocka_unit_test(small_frames_stay_near_the_beginning),
                cmocka_unit_test(who_goes_to_the_beginning_for_nothing_is_refused),
                cmocka_unit_test(a_full_ring_takes_nothing_more),
                cmocka_unit_test(the_two_directions_do_not_meet),
                cmocka_unit_test(who_sleeps_is_woken_once),
                cmocka_unit_test(a_writer_that_sleeps_is_woken_by_room),
                cmocka_unit_test(no_bell_is_forgotten),
                cmocka_unit_test(positions_that_cannot_be_are_refused),
                cmocka_unit_test(a_position_does_not_go_back),
                cmocka_unit_test(frames_that_are_none_are_refused),
                cmocka_unit_test(a_message_in_one_frame_cannot_be_changed_any_more),
                cmocka_unit_test(torn_frames_stay_within_bounds),
                cmocka_unit_test(the_memory_cannot_be_cut_short),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
