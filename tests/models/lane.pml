/* SPDX-License-Identifier: Apache-2.0 */

/*
 * lane.pml -- a lane, its undo log, and recovery, with deaths anywhere (libclient/txn)
 *
 * An owner claims the lane, takes the locks of two lines, changes a word under each, moves two chunks,
 * commits or undoes, gives the locks back. It may die between any two steps. Two recoverers look for a dead
 * lane; one of them may die between any two steps as well. A second owner then claims the lane, so that a
 * recoverer that came late meets a lane that has changed hands. Meanwhile a client that never recovers
 * anybody takes both locks whenever it gets them and changes what they guard: it is the one that notices a
 * lock that was given too early.
 *
 * What must hold: whoever has both locks finds a whole state. Both words name the same chunk, this chunk is
 * the object's and the other one is free. Nobody rolls anything back meanwhile. And in the end the locks are
 * free, whoever died: otherwise the client would wait for ever, which spin calls an invalid end state.
 *
 * A step is what one store, swap or pool transaction does. Memory is simple here, each store seen at once:
 * the dead are only ever judged by what reached memory before the kernel's mark, and lock words order the
 * rest (seqlock.pml).
 *
 * Variants that must fail:
 *
 *      STORE_BEFORE_NOTE       the word is changed before its old value stands in the log
 *      COUNT_BEFORE_RECORD     the log's length covers a record that is not there yet
 *      DROP_BEFORE_RESTORE     a rollback drops the record before the word is put back
 *      SWAP_BEFORE_INTENT      the lock is taken before the lane says so
 *      RELEASE_BEFORE_ROLLBACK recovery gives the locks first
 *      COMMIT_BEFORE_LAST      the commit stands before the last change
 *      NO_RECOVERER            recoverers do not win the lane first
 *      NO_SECOND_LOOK          who wins a lane does not look again whether it is dead still
 *      CLAIM_CLEARS_RECOVERER  a new owner clears the word that names the recoverer
 */

#define NOBODY 0
#define LANE 1   /* the owner's lane; recoverers have the lanes 2 and 3 */
#define CLIENT 4 /* the client's */

#define IDLE 0
#define ACTIVE 1
#define COMMITTED 2

#define FREE 0
#define TAKEN 1
#define DOOMED 2
#define OF_OBJECT 3

/* What the locks guard. */
byte word[2]; /* whose lock */
byte x[2];    /* which chunk */
byte chunk[2] = { OF_OBJECT, FREE };

/* The lane. */
bool claimed;
byte recoverer;
byte state;
byte used;
byte log_of[2];
byte log_old[2];
byte n_locks;
byte locks[2];

/* Who lives, as the kernel says, by lane. */
bool alive[5] = { false, false, true, true, true };

byte n_owners = 2;       /* that are still to come or still there */
byte recoverer_deaths;   /* at most one, so that somebody is left */
byte rolling;            /* ghost: threads that are putting words back right now */

#define lane_is_dead (claimed && !alive[LANE])

/*
 * One step of thread `me`, which may die in its place. alive[] is all that others learn; where a thread dies
 * while it rolls back, the ghost forgets it.
 */
#define STEP(what)                                                                                           \
        if                                                                                                   \
        :: atomic { what }                                                                                   \
        :: atomic { me == LANE || recoverer_deaths == 0 -> end_of(me); goto done }                           \
        fi

inline end_of(who)
{
        alive[who] = false;
        if
        :: is_rolling -> rolling--; is_rolling = false
        :: else
        fi;
        if
        :: who == LANE -> n_owners--
        :: else -> recoverer_deaths++
        fi
}

inline take_lock(n)
{
#ifdef SWAP_BEFORE_INTENT
        STEP(word[n] == NOBODY -> word[n] = LANE);
        STEP(locks[n_locks] = n);
        STEP(n_locks++)
#else
        STEP(locks[n_locks] = n);
        STEP(n_locks++);
        STEP(word[n] == NOBODY -> word[n] = LANE)
#endif
}

/* txn_set(): the old value, the log's length, the new value. */
inline change(n, to)
{
#ifdef STORE_BEFORE_NOTE
        STEP(log_of[used] = n; log_old[used] = x[n]; x[n] = to);
        STEP(used++)
#else
#ifdef COUNT_BEFORE_RECORD
        STEP(used++);
        STEP(log_of[used - 1] = n; log_old[used - 1] = x[n]);
#else
        STEP(log_of[used] = n; log_old[used] = x[n]);
        STEP(used++);
#endif
        STEP(x[n] = to)
#endif
}

/* One pool transaction: a chunk goes from one list to another, if there is one. */
inline move(from, to)
{
        STEP(if
             :: chunk[0] == from -> chunk[0] = to
             :: else ->
                     if
                     :: chunk[1] == from -> chunk[1] = to
                     :: else
                     fi
             fi)
}

/* txn_unlock(): a word that does not name the lane is left alone; looking and giving are two steps. */
inline unlock()
{
        n = n_locks;
        do
        :: n > 0 ->
                n--;
                STEP(mine = (word[locks[n]] == LANE));
                if
                :: mine -> STEP(word[locks[n]] = NOBODY)
                :: else
                fi;
                STEP(n_locks = n)
        :: else -> break
        od;
        mine = false
}

/* log_roll_back(): newest first. */
inline roll_back()
{
        atomic {
                n = used;
                if
                :: n > 0 -> rolling++; is_rolling = true
                :: else
                fi
        };
        do
        :: n > 0 ->
                n--;
#ifdef DROP_BEFORE_RESTORE
                STEP(used = n);
                STEP(x[log_of[n]] = log_old[n])
#else
                STEP(x[log_of[n]] = log_old[n]);
                STEP(used = n)
#endif
        :: else -> break
        od;
        atomic {
                if
                :: is_rolling -> rolling--; is_rolling = false
                :: else
                fi
        }
}

inline undo()
{
        roll_back();
        move(TAKEN, FREE);
        move(DOOMED, OF_OBJECT);
        unlock();
        STEP(state = IDLE)
}

inline complete()
{
        move(TAKEN, OF_OBJECT);
        move(DOOMED, FREE);
        unlock();
        STEP(used = 0);
        STEP(state = IDLE)
}

proctype owner()
{
        byte me = LANE, old, n;
        bool mine, is_rolling;

        /* lane_claim(), inside the gate */
        atomic {
                !claimed && !alive[LANE] -> claimed = true;
                alive[LANE] = true;
#ifdef CLAIM_CLEARS_RECOVERER
                recoverer = NOBODY;
#endif
        }
        STEP(used = 0);
        STEP(state = ACTIVE);
        take_lock(0);
        take_lock(1);
        atomic { old = x[0]; assert(chunk[old] == OF_OBJECT) }
        change(0, 1 - old);
        move(FREE, TAKEN);
        move(OF_OBJECT, DOOMED);
#ifdef COMMIT_BEFORE_LAST
        STEP(state = COMMITTED);
        change(1, 1 - old);
        complete();
#else
        change(1, 1 - old);
        if
        :: STEP(state = COMMITTED);
           complete()
        :: undo()
        fi;
#endif
        /* The lane is given back: first it is nobody's, then the thread's mutex is unlocked. */
        STEP(claimed = false);
        atomic { end_of(LANE) };
done:   skip
}

/* recover_lane(), called by whoever finds the lane dead. */
proctype recover(byte me)
{
        byte seen, n;
        bool won, mine, is_rolling;

again:  do
        :: n_owners == 0 && !claimed -> goto done
        :: lane_is_dead ->
#ifndef NO_RECOVERER
                STEP(seen = recoverer);
                if
                :: seen != NOBODY && alive[seen] ->
                        /* Somebody living is at it: come again when that has changed. */
                        (!lane_is_dead || recoverer == NOBODY || !alive[recoverer]);
                        goto again
                :: else
                fi;
                STEP(won = (recoverer == seen);
                     if
                     :: won -> recoverer = me
                     :: else
                     fi);
                if
                :: !won -> goto again
                :: else
                fi;
#endif
#ifndef NO_SECOND_LOOK
                if
                :: !lane_is_dead -> goto lose
                :: else
                fi;
#endif
#ifdef RELEASE_BEFORE_ROLLBACK
                unlock();
#endif
                if
                :: state == ACTIVE -> undo()
                :: state == COMMITTED -> complete()
                :: state == IDLE -> unlock()
                fi;
                STEP(claimed = false);
lose:
                STEP(if
                     :: recoverer == me -> recoverer = NOBODY
                     :: else
                     fi)
        od;
done:   skip
}

inline check()
{
        assert(rolling == 0);
        assert(x[0] == x[1]);
        assert(chunk[x[0]] == OF_OBJECT && chunk[1 - x[0]] == FREE)
}

/* Takes both locks, looks, changes everything, gives them back. */
inline use()
{
        atomic { word[0] == NOBODY -> word[0] = CLIENT };
        atomic {
                word[1] == NOBODY -> word[1] = CLIENT;
                check();
                chunk[x[0]] = FREE;
                x[0] = 1 - x[0];
                x[1] = x[0];
                chunk[x[0]] = OF_OBJECT
        };
        atomic {
                check();
                word[1] = NOBODY
        };
        word[0] = NOBODY
}

proctype client()
{
        use();
        atomic { n_owners == 0 && !claimed };
        use()
}

init
{
        atomic {
                run owner();
                run owner();
                run recover(2);
                run recover(3);
                run client()
        }
}
