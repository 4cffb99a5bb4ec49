/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * text.h -- what is printed for people: values, sizes, times
 *
 * Whatever comes out of a store may be damaged or meant to fool a terminal, so control characters are never
 * printed as they are, except by --raw and into a pipe.
 */

#include <stdio.h>
#include <sys/types.h>

#include <objd.h>

/*
 * Writes a value as in "dump": a str in quotes, bytes as hex. At most max bytes of content are shown, and
 * then how many there are.
 */
void text_write_value(FILE *f, const objd_value *value, size_t max);

/* Writes a value as the answer to "get": a str as it is, everything else as above, whole. */
void text_write_plain(FILE *f, const objd_value *value);

/* Writes text with \-escapes for control characters and for bytes that are no UTF-8. */
void text_write_escaped(FILE *f, const char *text, size_t size);

#define TEXT_SHORT 32

/* "1.2 MiB", "2026-08-01 12:34:56", "3 h 12 min", "#4096.7"; they give their buffer back. */
const char *text_size(char buf[TEXT_SHORT], uint64_t bytes);
const char *text_time(char buf[TEXT_SHORT], int64_t wall_ns);
const char *text_duration(char buf[TEXT_SHORT], int64_t ns);
const char *text_ref(char buf[TEXT_SHORT + 16], objd_ref ref);
