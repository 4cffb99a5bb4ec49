/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * options.h -- the command line
 */

#include <limits.h>

#include <objd.h>

#include "client/url.h"
#include "log.h"
#include "policy.h"

#define RPC_URLS_MAX 16

struct options {
        const char *name;
        char directory[PATH_MAX];
        bool own_directory; /* no --dir: the user's own, made if it is not there */
        uint64_t size;
        bool memfd;
        bool remove_on_exit;
        const char *load; /* a dump for a new store; NULL: none */
        const char *save; /* where to dump the store at the end; NULL: nowhere */
        bool recover;     /* mend the header of a store that nobody uses */
        bool background;
        bool die_with_parent;
        uint32_t parent;      /* its pid, if it was told; else whoever is our parent */
        uint32_t idle_exit;   /* seconds; 0: never */
        const char *log_file; /* NULL: stderr */
        uint32_t max_clients;
        uint32_t max_per_uid; /* of users other than the daemon's own */
        enum log_level log_level;
        struct policy policy;
        const char *rpc[RPC_URLS_MAX]; /* addresses to listen on for those without a mapping */
        uint32_t n_rpc;
        const char *keys;        /* a file with those of the clients over TCP; NULL: none */
        bool insecure;           /* TCP without keys */
        uint32_t session_expiry; /* seconds */
        uint64_t client_memory;  /* bytes of the daemon's that one of those may take, */
        uint64_t proxy_memory;   /* and all together beyond 1 MiB each */
        const char *answer;      /* what --help or --version has to say; nothing else is to be done then */
};

/* @return OBJD_OK, OBJD_E_INVAL */
objd_status options_parse(int argc, char **argv, struct options *ret_options);
