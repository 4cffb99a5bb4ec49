/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * queues.h -- what the long runs on queues share
 */

#include <objd.h>

#define VALUE_WORDS 1200

void assert_sound(objd_conn *conn);
objd_object *make_queue(objd_conn *conn, objd_order order, uint64_t bound);

/* An item's number as a value of random length whose every byte follows from it, in words of the caller's; and back. */
objd_value value_of(uint64_t id, uint64_t *words);
uint64_t id_of(const objd_value *value);
