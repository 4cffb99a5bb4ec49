/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * document.h -- docs/protocol.md, and the bytes of the frames that are written out in it
 */

#include <stddef.h>
#include <stdint.h>

/* For a group of tests: before and after. */
int document_read(void **state);
int document_forget(void **state);

/* Its text. */
const char *document_text(void);

/*
 * The bytes of a block that begins with ```frame NAME, at most max of them. Fails the test if there is no
 * such block.
 */
size_t document_frame(const char *name, uint8_t *bytes, size_t max);
