/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * inspect.h -- reports on a store, by whatever way it is reached
 *
 * With a mapping objctl makes the report itself, else the daemon makes it and sends it: the lines are the same.
 */

#include <json-c/json.h>

#include "dumpload/report.h"
#include "objctl.h"

/*
 * Prints the report as it is. Of report, what it is of and its options are looked at. Complaints are said on stderr. Both give EXIT_OK, or
 * EXIT_NO if the store's answer is no.
 */
int inspect(objd_conn *conn, const struct report *report);

/* The same of a report whose lines are objects of JSON, each of which fn gets. */
typedef void (*inspect_fn)(void *context, struct json_object *line);
int inspect_each(objd_conn *conn, const struct report *report, inspect_fn fn, void *context);

/* Of such an object. What is not there, or of another type, is "", 0 and false: it may come from a stranger. */
const char *inspect_text(struct json_object *line, const char *name);
int64_t inspect_number(struct json_object *line, const char *name);
bool inspect_truth(struct json_object *line, const char *name);
