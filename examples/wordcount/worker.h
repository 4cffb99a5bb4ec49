/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * worker.h -- the work of one process
 */

#include "store.h"

/*
 * Takes files from the queue and counts their words until none is left. Each file is taken under a lease
 * and given back by nobody but objd: if this process dies, the file is in the queue again. Its counts and
 * the end of its lease are one batch.
 */
objd_status worker_run(struct store *store);
