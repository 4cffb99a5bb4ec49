/* SPDX-License-Identifier: Apache-2.0 */

/*
 * seqlock.pml -- reads under a version (libclient/sync/lock.h), in the memory model of C11
 *
 * Three writers change two words under the lock; a reader copies both without it. What the reader accepts
 * must be one writer's pair, and that of the version it saw.
 *
 * Memory is not a box per word but the list of all messages ever stored to it, in order. A thread has a view:
 * for each word, the oldest message that it may still read. It may read any newer one, so a relaxed load may
 * be as old, or as early, as the processor and the compiler like. A message carries a view of its own, which
 * is what synchronises:
 *
 *      relaxed store   carries what was seen before the thread's last release fence
 *      release store   carries all that the thread has seen
 *      swap            reads the newest message, and carries on what that one carried
 *      relaxed load    keeps the message's view aside
 *      acquire load    takes it over
 *      release fence   what has been seen so far goes along with later relaxed stores
 *      acquire fence   takes over what was kept aside
 *
 * (This is the usual operational form of C11's rules without load buffering, which none of these threads
 * could use: no store of theirs depends on a later load.)
 *
 * Variants that must fail: NO_RELEASE_FENCE, NO_ACQUIRE_FENCE, RELAXED_BEGIN, RELAXED_SWAP, RELAXED_UNLOCK.
 */

#define N_WORDS 3
#define LOCK 0 /* 2 * version + writing */
#define X 1
#define Y 2
#define N_WRITERS 3
#define N_MESSAGES 7 /* of the lock: the first, and two of each writer */

byte value[21]; /* N_WORDS * N_MESSAGES */
byte newest[N_WORDS];

/* The view that a message carries, by word. */
byte carried_lock[21], carried_x[21], carried_y[21];

#define message(word, n) ((word) * N_MESSAGES + (n))
#define raise(to, from)                                                                                      \
        if                                                                                                   \
        :: to < from -> to = from                                                                            \
        :: else                                                                                              \
        fi

/* A thread's views: of now, kept aside for an acquire fence, as of its last release fence. */
#define VIEWS                                                                                                \
        byte now[N_WORDS];                                                                                   \
        byte aside[N_WORDS];                                                                                 \
        byte fenced[N_WORDS]

#define see(view, m)                                                                                         \
        raise(view[LOCK], carried_lock[m]);                                                                  \
        raise(view[X], carried_x[m]);                                                                        \
        raise(view[Y], carried_y[m])

#define carry(view, m)                                                                                       \
        raise(carried_lock[m], view[LOCK]);                                                                  \
        raise(carried_x[m], view[X]);                                                                        \
        raise(carried_y[m], view[Y])

/* Reads any message that the thread may still see. */
inline load(word, is_acquire, ret)
{
        atomic {
                pick = now[word];
                do
                :: pick < newest[word] -> pick++
                :: break
                od;
                now[word] = pick;
                see(aside, message(word, pick));
                if
                :: is_acquire -> see(now, message(word, pick))
                :: else
                fi;
                ret = value[message(word, pick)];
                pick = 0
        }
}

/* Appends a message. old is the one it swaps with, whose view it carries on; message 0 carries nothing. */
inline append(word, v, is_release, old)
{
        newest[word]++;
        assert(newest[word] < N_MESSAGES);
        value[message(word, newest[word])] = v;
        now[word] = newest[word];
        carry(fenced, message(word, newest[word]));
        if
        :: is_release -> carry(now, message(word, newest[word]))
        :: else
        fi;
        raise(carried_lock[message(word, newest[word])], carried_lock[message(word, old)]);
        raise(carried_x[message(word, newest[word])], carried_x[message(word, old)]);
        raise(carried_y[message(word, newest[word])], carried_y[message(word, old)]);
        if
        :: word == LOCK -> raise(carried_lock[message(word, newest[word])], newest[word])
        :: word == X -> raise(carried_x[message(word, newest[word])], newest[word])
        :: word == Y -> raise(carried_y[message(word, newest[word])], newest[word])
        fi
}

inline store(word, v)
{
        atomic {
                append(word, v, false, 0)
        }
}

inline fence_release()
{
        atomic {
                fenced[LOCK] = now[LOCK];
                fenced[X] = now[X];
                fenced[Y] = now[Y]
        }
}

inline fence_acquire()
{
        atomic {
                raise(now[LOCK], aside[LOCK]);
                raise(now[X], aside[X]);
                raise(now[Y], aside[Y])
        }
}

#ifdef RELAXED_SWAP
#define SWAP_ACQUIRES false
#else
#define SWAP_ACQUIRES true
#endif

#ifdef RELAXED_UNLOCK
#define UNLOCK_RELEASES false
#else
#define UNLOCK_RELEASES true
#endif

#ifdef RELAXED_BEGIN
#define BEGIN_ACQUIRES false
#else
#define BEGIN_ACQUIRES true
#endif

/* try_take(): a swap reads the newest message; it only succeeds on a free word. */
inline lock_take(ret_version)
{
        atomic {
                value[message(LOCK, newest[LOCK])] % 2 == 0;
                ret_version = value[message(LOCK, newest[LOCK])] / 2;
                now[LOCK] = newest[LOCK];
                see(aside, message(LOCK, newest[LOCK]));
                if
                :: SWAP_ACQUIRES -> see(now, message(LOCK, newest[LOCK]))
                :: else
                fi;
                append(LOCK, 2 * ret_version + 1, false, newest[LOCK] - 1)
        }
#ifndef NO_RELEASE_FENCE
        fence_release()
#endif
}

inline lock_release(version)
{
        atomic {
                append(LOCK, 2 * (version + 1), UNLOCK_RELEASES, newest[LOCK] - 1)
        }
}

active [N_WRITERS] proctype writer()
{
        VIEWS;
        byte pick, version, x, y;

        lock_take(version);
        /* The lock is ours: we see all that the last writer wrote. */
        load(X, false, x);
        load(Y, false, y);
        assert(x == version && y == version);
        store(X, version + 1);
        store(Y, version + 1);
        lock_release(version)
}

active proctype reader()
{
        VIEWS;
        byte pick, first, second, x, y;

        load(LOCK, BEGIN_ACQUIRES, first);
        if
        :: first % 2 == 1 -> goto done /* somebody is writing */
        :: else
        fi;
        load(X, false, x);
        load(Y, false, y);
#ifndef NO_ACQUIRE_FENCE
        fence_acquire();
#endif
        load(LOCK, false, second);
        if
        :: second == first -> assert(x == first / 2 && y == first / 2)
        :: else
        fi;
done:   skip
}
