/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * account.h -- what a client costs the daemon, and how much that may be
 *
 * All memory that is taken for a session is charged to its account: requests, the pieces of one that is still coming, what calls
 * have read, and replies that have not gone out. Each account has a limit, and beyond its first ACCOUNT_FREE bytes all of them share
 * a reserve. So nobody costs more than the limit, all together no more than the reserve and
 * ACCOUNT_FREE each, and whoever takes all of the reserve keeps nobody from small requests.
 *
 * Small requests are decoded into a piece that the account has on hand, one at a time. What does not fit there comes from an arena of jemalloc's, the
 * client's own, which is made when it is first needed (it takes 88 KiB itself) and reset when a reply has gone and nothing else is
 * left in it. Pieces of a MiB or more are the kernel's, which grows them without a copy; one of up to 32 MiB is kept for a second or two.
 */

#include <objd.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ACCOUNT_HAND 4096u
#define ACCOUNT_FREE (1u << 20)

/*
 * Pieces that are there for whatever batch is being worked on. Only batches take them, which are done in a moment, or fall back on their
 * own arenas where others that wait have them all.
 */
#define ACCOUNT_DESK 8u
#define ACCOUNT_DESK_PIECE 65536u

/*
 * One large piece that has been given back is kept for the next one: new pages cost several times what it costs to write them. It
 * goes when nobody has wanted it from one accounts_rest() to the next. Nobody pays for it but who has it.
 */
struct account_spare {
        void *memory;
        size_t size;    /* of what is mapped; a piece there may be smaller */
        bool is_taken;  /* a piece is there */
        bool was_taken; /* since the last rest */
};

/* Of all clients. A limit of 0 is none. */
struct accounts {
        size_t limit;   /* of one */
        size_t reserve; /* of all together, beyond ACCOUNT_FREE each */
        size_t reserve_used;
        size_t used;
        bool is_dirty;            /* there is memory that can be given back to the system */
        void *desk[ACCOUNT_DESK]; /* what is made when it is first needed, and then stays */
        uint32_t desk_taken;      /* a bit for each */
        struct account_spare spare;
        uint64_t n_arenas, n_resets, n_refused;
};

struct account {
        struct accounts *all;
        uint32_t n_refs;
        size_t used, most;
        size_t in_arena; /* of those, in jemalloc's */
        unsigned arena;
        bool has_arena;
        bool lets_go; /* what is given back goes with the whole arena */
        bool refused; /* something was not given for want of room; whoever asks resets it */
        bool hand_is_taken;
        size_t working;                               /* what a call has taken: account_begin() */
        _Alignas(16) uint64_t hand[ACCOUNT_HAND / 8]; /* as a space promises */
};

/* Before there are other threads. Without it there are no limits, and nothing is counted of what calls take. */
void accounts_init(struct accounts *all, size_t limit, size_t reserve);

/* When none is left. */
void accounts_deinit(struct accounts *all);

/* With one reference. NULL without memory. */
struct account *account_new(struct accounts *all);
struct account *account_ref(struct account *account);
void account_unref(struct account *account);

/* For memory that comes from elsewhere. False: it would be too much, and `refused` says so. */
bool account_charge(struct account *account, size_t size);
void account_give(struct account *account, size_t size);

/* Charges what is there already, also if it is too much. */
void account_note(struct account *account, size_t size);

/* malloc() that the account pays for, and lives until it is given back; without an account nobody does. NULL also if that is too much. */
void *account_alloc(struct account *account, size_t size);
void account_free(void *memory);

/* How much more there may be. */
size_t account_room(const struct account *account);

/* resize() of a struct memory, whose context is the account. */
void *account_resize(void *context, void *old, size_t old_size, size_t new_size);

/* The piece on hand, of ACCOUNT_HAND bytes; NULL: it is taken, or would be too much. */
void *account_take_hand(struct account *account);
void account_give_hand(struct account *account);

/* A piece of the desk, if there is one and so much is not too much; gives back what is one. False, NULL: it is none, there is none. */
void *account_take_desk(struct account *account, size_t size);
bool account_give_desk(struct account *account, const void *piece, size_t size);

/* How much of account_resize()'s pieces of this size is in the arena: all or nothing. */
size_t account_arena_part(size_t size);

/* Between these two all that is given back is in the arena's and is all that is there: one reset gives it back. */
void account_begin_reset(struct account *account);
void account_end_reset(struct account *account);

/*
 * Around a call that may read as much as there is: what this thread takes of sys.alloc() and sys.resize() meanwhile may not be more
 * than the account has room for, or it gets none. What is left of it at the end the caller charges.
 */
void account_begin(struct account *account);
void account_end(struct account *account);

/*
 * The failure of a caller that was refused: OBJD_E_LIMIT, with a sentence; `refused` is reset. If it was not refused the status
 * is what it is, and so is the sentence.
 */
objd_status account_fail(struct account *account, objd_status status);

/* From time to time: memory that has not been used for a moment goes back to the system. Whether there may be any. */
void accounts_rest(struct accounts *all);
static inline bool accounts_want_rest(const struct accounts *all)
{
        return all->is_dirty || all->spare.memory;
}
