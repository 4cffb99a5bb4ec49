/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * next_timeout.h -- what objd_next_timeout() has said, until the call that it is for is over
 */

#include <stdbool.h>
#include <stdint.h>

/*
 * What objd_next_timeout() has said about this thread's next call. It ends with that call: with its first step that may wait (object.h,
 * conn_timeout()), with its end if it has several, or with its failure before that.
 */
struct next_timeout {
        bool set;
        const void *holder; /* the frame of a call with several steps, all of which it is for; NULL: none */
        int64_t timeout_ns;
};
extern _Thread_local struct next_timeout next_timeout;
