/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * threads.h -- which threads may hold locks through a session, so that the daemon is told when one of them ends
 *
 * A lock belongs to the thread that took it, and is free when the thread ends. By handle the kernel sees to that; here a destructor
 * of the thread's does.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct rpc_client;

struct rpc_threads {
        struct rpc_threads *next, **link; /* among all of the process's */
        struct rpc_client *client;
        uint64_t fork_generation; /* of the process whose threads they are */
        uint32_t *tags;
        size_t n, room;
        uint32_t n_telling; /* threads that are ending, and say so through this session just now */
};

void rpc_threads_init(struct rpc_threads *threads);
void rpc_threads_deinit(struct rpc_threads *threads);
void rpc_threads_enlist(struct rpc_threads *threads, struct rpc_client *client);

/* Waits for those that are telling; in a child there are none of its parent's. */
void rpc_threads_delist(struct rpc_threads *threads);

/* Without memory a thread is not remembered: what it holds goes with the session. */
void rpc_threads_add(struct rpc_threads *threads, uint32_t tag);
