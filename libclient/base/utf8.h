/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * utf8.h -- strict UTF-8
 */

#include <stdbool.h>
#include <stddef.h>

/*
 * Whether these bytes are UTF-8: shortest forms only, no surrogates, nothing above U+10FFFF. NUL is a
 * character.
 */
bool utf8_is_valid(const void *data, size_t size);
