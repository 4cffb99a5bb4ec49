/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * format.h -- numbers of the dump format; docs/dump-format.md has the rest
 */

#define FORMAT_VERSION 1

/* Bytes of a value from which on it is written in parts, of as many bytes each; a whole number of base64's groups. */
#define FORMAT_PART (48u << 10)

/* Bytes in a line. The longest that is written: six for each byte of a text, a part's, a key's, a name's. */
#define FORMAT_LINE_MAX (4u << 20)

/* Bytes in a message's name; FORMAT_LINE_MAX has room for it. */
#define FORMAT_MESSAGE_NAME_MAX (512u << 10)
