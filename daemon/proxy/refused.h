/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * refused.h -- what is refused leaves a count in the arena (rpc/refusals.h) and a line in the log
 */

#include <stdint.h>

/*
 * The line says why (the sentence of the last failure), whose key it was and which session; either may be NULL. Until
 * something has been proven they are what the message said. A session of zeros is none.
 */
void refused_note(uint64_t *counts, const char *url, unsigned reason, const uint8_t *key,
                  const uint8_t *session);
