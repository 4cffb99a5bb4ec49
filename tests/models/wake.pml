/* SPDX-License-Identifier: Apache-2.0 */

/*
 * wake.pml -- sleeping on a lock word, without losing a wake (libclient/sync/lock.c)
 *
 * Three threads take and give one lock, one of them only to freeze what it guards; a reader waits until
 * nobody writes. Whoever finds the lock taken sets the waiters bit and sleeps on the word, if it still is
 * what it was. Whoever gives a word with the bit wakes one sleeper. No sleep is bounded here, unlike in the
 * library, where nothing sleeps for longer than 20 ms since its waker may be dead: so a wake that is lost is
 * a thread that sleeps for ever, which spin calls an invalid end state.
 *
 * With GIVE_UP a thread that has slept may run out of time and leave.
 *
 * Variants that must fail:
 *
 *      NO_COMPARE     a sleeper does not compare the word (the kernel does) with what it saw
 *      BIT_AFTER_LOOK it sleeps on the word without the bit, and sets the bit later
 *      NO_VOUCH       who has slept takes the lock without the bit, though others may sleep on
 *      NO_HAND_ON     a reader that was woken does not wake the next one
 *      LEAVE_SILENTLY (with GIVE_UP) whoever gives up does not see to it that the others are woken
 */

#define N_TAKERS 3
#define N_READERS 1

#define NOBODY 255

/* The word. A taker that only freezes does not write, so readers do not wait for it, and the version stays. */
byte version;
byte holder = NOBODY;
bool writing;
bool waiters;

bool asleep[4]; /* N_TAKERS + N_READERS */
byte n_asleep;

/* FUTEX_WAKE for one: any sleeper. */
inline wake_one()
{
        atomic {
                if
                :: asleep[0] -> asleep[0] = false; n_asleep--
                :: asleep[1] -> asleep[1] = false; n_asleep--
                :: asleep[2] -> asleep[2] = false; n_asleep--
                :: asleep[3] -> asleep[3] = false; n_asleep--
                :: n_asleep == 0
                fi
        }
}

#define word_is_as_seen                                                                                      \
        (version == seen_version && holder == seen_holder && writing == seen_writing &&                      \
         waiters == seen_waiters)

#define SEEN                                                                                                 \
        byte seen_version, seen_holder;                                                                      \
        bool seen_writing, seen_waiters, slept, swapped

inline look()
{
        atomic {
                seen_version = version;
                seen_holder = holder;
                seen_writing = writing;
                seen_waiters = waiters
        }
}

/* Nothing that was seen is needed any more: fewer states. */
inline forget()
{
        atomic {
                seen_version = 0;
                seen_holder = 0;
                seen_writing = false;
                seen_waiters = false;
                swapped = false
        }
}

inline set_bit()
{
        atomic {
                swapped = word_is_as_seen;
                if
                :: swapped -> waiters = true; seen_waiters = true
                :: else
                fi
        }
}

inline futex_wait()
{
        atomic {
                if
#ifdef NO_COMPARE
                :: true -> asleep[me] = true; n_asleep++
#else
                :: word_is_as_seen -> asleep[me] = true; n_asleep++
                :: else
#endif
                fi
        };
        !asleep[me]
}

/* wait_for_holder(), of a holder that lives. Comes back at once if the word is another by now. */
inline wait_for_holder()
{
#ifdef GIVE_UP
        if
        :: slept ->
#ifndef LEAVE_SILENTLY
                /* A wake may have come to us; it must not end here while others sleep. */
                wake_one();
#endif
                goto gave_up
        :: true
        fi;
#endif
#ifdef BIT_AFTER_LOOK
        futex_wait();
        slept = true;
        set_bit()
#else
        if
        :: !seen_waiters -> set_bit()
        :: else -> swapped = true
        fi;
        if
        :: swapped -> futex_wait(); slept = true
        :: else
        fi
#endif
}

inline give()
{
        atomic {
                assert(holder == me);
                if
                :: writing -> version++
                :: else
                fi;
                seen_waiters = waiters;
                holder = NOBODY;
                writing = false;
                waiters = false
        };
        if
        :: seen_waiters -> wake_one()
        :: else
        fi
}

proctype taker(byte me; byte n_takes; bool freezes)
{
        SEEN;

        do
        :: n_takes > 0 ->
                do
                :: true ->
                        look();
                        if
                        :: seen_holder == NOBODY ->
                                atomic {
                                        swapped = word_is_as_seen;
                                        if
                                        :: swapped ->
                                                holder = me;
                                                writing = !freezes;
#ifndef NO_VOUCH
                                                waiters = slept
#endif
                                        :: else
                                        fi
                                };
                                if
                                :: swapped -> break
                                :: else
                                fi
                        :: else -> wait_for_holder()
                        fi;
                        forget()
                od;
                forget();
                give();
gave_up:
                forget();
                atomic { slept = false; n_takes-- }
        :: else -> break
        od
}

/* lock_wait_stable() */
proctype reader(byte me)
{
        SEEN;

        do
        :: true ->
                look();
                if
                :: !seen_writing ->
                        if
#ifndef NO_HAND_ON
                        :: slept -> wake_one()
#endif
                        :: else
                        fi;
                        break
                :: else -> wait_for_holder()
                fi;
                forget()
        od;
gave_up:
        skip
}

init
{
        atomic {
                run taker(0, 2, false);
                run taker(1, 1, false);
                run taker(2, 1, true);
                run reader(3)
        }
}
