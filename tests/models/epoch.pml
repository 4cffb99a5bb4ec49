/* SPDX-License-Identifier: Apache-2.0 */

/*
 * epoch.pml -- giving memory back to the system while others read (lane_resume(), lane_rest(),
 * blocks_grace())
 *
 * Readers raise their epoch to odd, look whether the memory can still be found, touch it, and raise the epoch
 * to even. Whoever gives the memory back makes it unfindable, runs membarrier, waits until every odd epoch
 * has changed, and punches. Nobody may touch punched memory.
 *
 * A reader has no fence between raising its epoch and looking: the store may wait in the processor while the
 * loads behind it are done already. So each thread has a buffer for the stores to each word, and a process
 * that empties it some time. membarrier empties the caller's own buffers and then, one after the other, those
 * of all readers; it does so for processes that have registered, which is what a client does before its first
 * call.
 *
 * The second reader claims its lane while all this goes on.
 *
 * Variants that must fail:
 *
 *      NO_MEMBARRIER      nothing between making the memory unfindable and looking at the epochs
 *      OWN_FENCE_ONLY     a fence, but only on the puncher's side
 *      NO_WAIT            odd epochs are not waited for
 *      BARRIER_FIRST      the memory becomes unfindable only after the barrier
 *      LANES_FIRST        which lanes there are is looked up before the barrier
 *      RELAXED_LEAVE      the epoch becomes even before the last touch is done
 */

#define N_READERS 2
#define N_CALLS 2

bool gone;                /* retire_count has been raised: the memory cannot be found any more */
bool punched;
byte epoch[N_READERS];
bool claimed[N_READERS] = { true, false };

/* Stores that are not in memory yet. Those to one word keep their order. */
chan epoch_buffer[N_READERS] = [2 * N_CALLS] of { byte };
chan claimed_buffer[N_READERS] = [1] of { bool };
chan gone_buffer = [1] of { bool };

active [N_READERS] proctype empty_buffers()
{
        byte i = _pid;

end:    do
        :: epoch_buffer[i]?epoch[i]
        :: claimed_buffer[i]?claimed[i]
        :: atomic { i == 0 && nempty(gone_buffer) -> gone_buffer?gone }
        od
}

/* What a barrier does on one reader's processor: all its stores up to here are in memory. */
inline drain(i)
{
        atomic {
                do
                :: nempty(epoch_buffer[i]) -> epoch_buffer[i]?epoch[i]
                :: nempty(claimed_buffer[i]) -> claimed_buffer[i]?claimed[i]
                :: empty(epoch_buffer[i]) && empty(claimed_buffer[i]) -> break
                od
        }
}

inline membarrier()
{
        skip;
#ifndef NO_MEMBARRIER
        atomic {
                if
                :: nempty(gone_buffer) -> gone_buffer?gone
                :: empty(gone_buffer)
                fi
        };
#ifndef OWN_FENCE_ONLY
        drain(0);
        drain(1);
#endif
#endif
}

inline touch()
{
        assert(!punched)
}

proctype reader(byte i)
{
        byte calls;
        bool found;

        if
        :: i == 1 -> claimed_buffer[i]!true
        :: else
        fi;
        do
        :: calls < N_CALLS ->
                epoch_buffer[i]!(2 * calls + 1); /* lane_resume() */
                found = !gone;
#ifdef RELAXED_LEAVE
                epoch_buffer[i]!(2 * calls + 2);
#endif
                if
                :: found -> touch()
                :: else
                fi;
#ifndef RELAXED_LEAVE
                epoch_buffer[i]!(2 * calls + 2); /* lane_rest(): a release, so the touch is done */
#endif
                found = false;
                calls++
        :: else -> break
        od
}

/* Looks at one lane; after some turns it may give up, and the memory stays. */
inline wait_for(i, is_claimed)
{
        if
        :: is_claimed ->
                seen = epoch[i];
#ifndef NO_WAIT
                if
                :: seen % 2 == 1 ->
                        if
                        :: epoch[i] != seen
                        :: goto give_up
                        fi
                :: else
                fi
#endif
        :: else
        fi
}

proctype puncher()
{
        byte seen;
        bool lane[N_READERS];

#ifdef BARRIER_FIRST
        membarrier();
#endif
#ifdef LANES_FIRST
        lane[0] = claimed[0];
        lane[1] = claimed[1];
#endif
        gone_buffer!true;
#ifndef BARRIER_FIRST
        membarrier();
#endif
#ifdef LANES_FIRST
        wait_for(0, lane[0]);
        wait_for(1, lane[1]);
#else
        wait_for(0, claimed[0]);
        wait_for(1, claimed[1]);
#endif
        punched = true;
give_up:
        skip
}

init
{
        atomic {
                run reader(0);
                run reader(1);
                run puncher()
        }
}
