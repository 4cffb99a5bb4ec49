/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * show.h -- the answer of verbs that give one value
 */

#include "objctl.h"

/* Prints the value as the request wants it: plain, --json or --raw. Gives EXIT_OK. */
int show_value(const struct request *request, const objd_value *value);
