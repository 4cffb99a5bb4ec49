/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * life.h -- who is alive, as the kernel says
 *
 * A thread's life is a robust mutex in its lane that it locks when it claims the lane and holds until it gives
 * the lane back: the kernel marks the word when the thread dies, at once, also for a process with much memory to tear
 * down. Nobody else ever locks it; others look at the word.
 *
 * A process's life is a POSIX record lock on one byte of the arena file: it belongs to the process and to no
 * thread, is not inherited by fork, knows no pid namespaces, and is dropped by the kernel at the process's
 * end. The same kind of lock on another byte is the gate, which one process at a time passes to claim or clear
 * lanes and clients. Record locks are dropped when the process closes any descriptor of the file, so a
 * process has one descriptor an arena (arena.h) and closes it last.
 */

#include <objd.h>

#include "arena/arena.h"

/* ids that are never used twice: table index and generation in one word */
static inline uint64_t id_make(uint32_t number, uint64_t generation)
{
        return generation << 12 | number;
}

static inline uint32_t id_number(uint64_t id)
{
        return (uint32_t)(id & 0xfff);
}

static inline uint64_t id_generation(uint64_t id)
{
        return id >> 12;
}

/*
 * Passes the gate, or gives OBJD_E_BUSY at the deadline (monotonic). Keeps other threads of this process out too, and signal
 * handlers away until gate_leave().
 */
objd_status gate_enter(struct arena *arena, int64_t deadline_ns);
void gate_leave(struct arena *arena);

/* A client of this process: its slot, with the record lock that says that it lives. Inside the gate. */
objd_status client_claim(struct arena *arena, uint64_t *ret_client);
void client_release(struct arena *arena, uint64_t client);

/*
 * Read-only mappings. Whoever has one cannot be seen in the arena, since it can write nothing there, and yet nothing may be
 * punched under it. So its descriptor comes with a read lock that belongs to the open file description, and that the kernel
 * drops when the last mapping and the last copy of the descriptor are gone: readers_mark() puts it there before the
 * descriptor is given away.
 */
bool readers_mark(int fd);
bool readers_are_there(const struct arena *arena);

/* The same, whatever the header says: the daemon, before it says that there are none any more. */
bool readers_are_known_to_kernel(const struct arena *arena);

/*
 * To have the arena for this process alone: nobody else who maps it lives, and nobody gets a lane, a client or a place to
 * read from until the end, or this process's. Before this process has a client in it. @return OBJD_OK, OBJD_E_BUSY, OBJD_E_SYS
 */
objd_status life_begin_alone(struct arena *arena);
void life_end_alone(struct arena *arena);

/* Whether that very client lives: same generation, and the kernel holds its lock. */
bool client_is_alive(struct arena *arena, uint64_t client);

/*
 * The thread's life begins inside the gate, and ends when the lane is given back. Where the kernel would not tell of the
 * thread's death, the lane becomes one that lives and dies with its process.
 */
objd_status life_begin(struct arena *arena, struct lane_shm *lane);
void life_end(struct lane_shm *lane);

/* Whether the lane is claimed by somebody who is dead. */
bool lane_is_dead(struct arena *arena, const struct lane_shm *lane);
