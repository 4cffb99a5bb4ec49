/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * rights.h -- what somebody may do through the daemon: only read or also change, and which names
 *
 * A plain value without pointers, that may be copied. A key has one (keyfile.h), and so has a token
 * (token.h), or a uid that the daemon has a rule for. All zeros: everything is allowed.
 *
 * A pattern is a name, or the beginning of names with a star behind it: "jobs", "team-*". A star elsewhere is
 * refused, since nothing would match what it seems to say.
 */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <objd.h>

/* All patterns together, each with a NUL behind it. A token carries them, so they are not many. */
#define RIGHTS_NAMES_MAX 1024

struct rights {
        bool read_only;
        uint16_t names_size; /* 0: all names, also objects that have none */
        char names[RIGHTS_NAMES_MAX];
};

/* @return OBJD_OK, OBJD_E_INVAL (no such pattern), OBJD_E_TOOBIG (longer than any name), OBJD_E_LIMIT */
objd_status rights_add_name(struct rights *rights, const char *pattern, size_t size);

/*
 * Whether an object of this name may be used. For one without a name (NULL), whether all may be: what else
 * somebody with patterns may use, such as anonymous objects of its own, is the daemon's to say.
 */
bool rights_allow_name(const struct rights *rights, const char *name);

/* Whether both say the same, in the same order. */
bool rights_are_equal(const struct rights *a, const struct rights *b);

static inline bool rights_allow_all_names(const struct rights *rights)
{
        return rights->names_size == 0;
}

static inline bool rights_allow_change(const struct rights *rights)
{
        return !rights->read_only;
}

/*
 * The words of a rule, with one blank or more between them: "rw" or "ro", then patterns. In a pattern "%20" is
 * a blank, and any byte may be written so; a star at the end stands for any end, also if it is written so.
 * Nothing of the text is in the sentences: it may come from a file of secrets.
 *
 * @return OBJD_OK, OBJD_E_INVAL, OBJD_E_TOOBIG, OBJD_E_LIMIT
 */
objd_status rights_parse(const char *text, size_t size, struct rights *ret);

/* Longest text of rights_write(): each byte as %HH, and the NUL. */
#define RIGHTS_TEXT_MAX (3 * RIGHTS_NAMES_MAX + 4)

/* The text that rights_parse() makes the same rights of. Gives text back. */
const char *rights_write(const struct rights *rights, char text[RIGHTS_TEXT_MAX]);
