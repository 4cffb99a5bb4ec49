/* SPDX-License-Identifier: Apache-2.0 */

/*
 * utf8.c -- strict UTF-8
 *
 * Most text is ASCII, so eight bytes at a time are looked at for a high bit before anything is decoded.
 */

#include "base/utf8.h"

#include <stdint.h>
#include <string.h>

#define HIGH_BITS 0x8080808080808080ULL

static bool is_tail(uint8_t byte)
{
        return (byte & 0xc0) == 0x80;
}

/* Length of the character at p that begins with a byte over 0x7f; 0 if it is none. `left` is at least 1. */
static size_t character_size(const uint8_t *p, size_t left)
{
        uint8_t first = p[0];
        size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

        /*
         * 0x80..0xbf are tails, 0xc0 and 0xc1 could only begin forms that are too long, 0xf5 is above
         * U+10FFFF.
         */
        if (first < 0xc2 || first > 0xf4 || left < size)
                return 0;
        for (size_t i = 1; i < size; i++)
                if (!is_tail(p[i]))
                        return 0;

        switch (first) {
        case 0xe0:
                return p[1] >= 0xa0 ? size : 0; /* else too long a form */
        case 0xed:
                return p[1] < 0xa0 ? size : 0; /* else a surrogate */
        case 0xf0:
                return p[1] >= 0x90 ? size : 0; /* else too long a form */
        case 0xf4:
                return p[1] < 0x90 ? size : 0; /* else above U+10FFFF */
        default:
                return size;
        }
}

bool utf8_is_valid(const void *data, size_t size)
{
        const uint8_t *p = data;
        size_t i = 0;

        while (i < size) {
                uint64_t eight;
                size_t n = 1;

                if (size - i >= 8) {
                        memcpy(&eight, p + i, 8);
                        if (!(eight & HIGH_BITS)) {
                                i += 8;
                                continue;
                        }
                }
                if (p[i] >= 0x80)
                        n = character_size(p + i, size - i);
                if (!n)
                        return false;
                i += n;
        }
        return true;
}
