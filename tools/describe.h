/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * describe.h -- what an object is, in words and in JSON
 */

#include "table.h"

/* "dict", or "dict (poisoned)". */
const char *describe_kind(const objd_info *info);

/*
 * How it was made, as far as that is not the default: "str -> int", "priority, at most 10"; a cell of a
 * table.
 */
void describe_config_cell(struct table *table, const objd_info *info);

/*
 * Begins an object's line of JSON: {"name":...,"ref":...,"kind":...,"config":{...},"len":...,"memory":...;
 * what follows, and the closing brace, is the caller's. name is null for an anonymous object.
 */
void describe_json(FILE *f, const objd_info *info);
