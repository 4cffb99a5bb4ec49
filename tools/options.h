/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * options.h -- objctl's command line
 */

#include <stdio.h>

#include "objctl.h"

/* The options, each by the letter that struct verb names it with. */
enum option_letter {
        OPT_URL = 'u',
        OPT_JSON = 'j',
        OPT_HELP = 'h',
        OPT_VERSION = 'V',
        OPT_TYPE = 't',
        OPT_KEY_TYPE = 'k',
        OPT_VALUE_TYPE = 'v',
        OPT_ORDER = 'o',
        OPT_BOUND = 'b',
        OPT_LIMIT = 'l',
        OPT_TIMEOUT = 'w',
        OPT_PRIORITY = 'p',
        OPT_FRONT = 'f',
        OPT_RAW = 'r',
        OPT_RECURSIVE = 'R',
        OPT_OWNERLESS = 'O',
        OPT_ATOMIC = 'A',
        OPT_REPLACE = 'X',
        OPT_SKIP_EXISTING = 'S',
        OPT_REPAIR = 'P',
        OPT_READ_ONLY = 'L',
        OPT_PREFIX = 'N',
};

/*
 * Reads the command line. Answers --help and --version itself. Returns -1 if there is a request to run,
 * else the exit code. args of the request are moved to the front of argv.
 */
int options_parse(int argc, char **argv, struct request *ret_request);
