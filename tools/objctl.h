/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * objctl.h -- what the frame and the verbs of objctl have in common
 *
 * A verb is one file, cmd_NAME.c, with one struct verb; objctl.c has the table of them, options.c reads the
 * command line into a struct request.
 */

#include <stdbool.h>
#include <stdint.h>

#include <objd.h>

#include "rpc/rights.h"

/* How objctl ends. Scripts rely on the numbers. */
enum exit_code {
        EXIT_OK = 0,
        EXIT_NO = 1,        /* the store's answer is no: not found, empty, a fault found, ... */
        EXIT_USAGE = 2,     /* the command line makes no sense */
        EXIT_UNREACHED = 3, /* there is no store to ask */
        EXIT_LOST = 4,      /* check --repair: the store is sound, and something of it is lost */
};

/* The command line, read. Text points into argv. */
struct request {
        const struct verb *verb;
        const char *url; /* NULL: not given */
        bool json;
        int n_args;
        char **args;

        /* Options of single verbs; what was not given has the value that options_parse() starts from. */
        const char *type;       /* --type */
        const char *key_type;   /* --key-type */
        const char *value_type; /* --value-type */
        const char *order;      /* --order */
        uint64_t bound;
        uint64_t limit;     /* UINT64_MAX: all */
        int64_t timeout_ns; /* OBJD_NOWAIT */
        int64_t priority;
        bool has_priority;
        bool front;
        bool raw;
        bool recursive;
        bool ownerless;
        bool atomic;
        bool replace;
        bool skip_existing;
        bool repair;
        struct rights rights; /* --read-only, --prefix */
};

struct verb {
        const char *name;
        const char *args;    /* for the usage line */
        const char *summary; /* one line of objctl --help */
        const char *help;    /* what --help of the verb says beyond it; ends with a newline */
        const char *example; /* lines, each with its newline */
        const char *options; /* enum option_letter of the options it takes beyond the global ones */
        int min_args, max_args;
        bool without_store;                                         /* run() gets no connection */
        int (*run)(const struct request *request, objd_conn *conn); /* gives an enum exit_code */
};

extern const struct verb verb_ls, verb_dump, verb_get, verb_set, verb_del, verb_push, verb_pop, verb_put,
        verb_take, verb_create, verb_rm, verb_stats, verb_clients, verb_locks, verb_check, verb_load,
        verb_keygen;

/* What has been mended in the header before there is a connection; context is the request. */
void check_say_header(void *context, const char *sentence);

/* All of them, in the order of the help; ends with NULL. */
extern const struct verb *const verbs[];

/* Says "objctl: ..." on stderr, one line. */
void complain(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* EXIT_OK for OBJD_OK; else says the library's sentence and gives EXIT_NO. */
int answer(objd_status status);

/* Says what is wrong with the command line, and where to read more. Gives EXIT_USAGE. */
int bad_usage(const struct request *request, const char *format, ...) __attribute__((format(printf, 2, 3)));

static inline void release_handle(objd_object **object)
{
        objd_release(*object);
}

/* Handles and buffers of a verb end with its block. */
#define AUTO_HANDLE __attribute__((cleanup(release_handle))) objd_object
#define AUTO_BUF __attribute__((cleanup(objd_buf_free))) objd_buf
