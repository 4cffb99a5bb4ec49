/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * server.h -- the daemon as a whole: it owns the store, the loop, the control socket and the reaper
 */

#include "control.h"
#include "loop.h"
#include "options.h"
#include "proxy/ring_link.h"
#include "proxy/server.h"
#include "proxy/sp_link.h"
#include "reaper.h"
#include "storefile.h"

struct server {
        struct loop loop;
        struct store store;
        struct control control;
        struct reaper reaper;
        struct proxy_server proxy;
        struct ring_link *rings;
        struct sp_link *links[RPC_URLS_MAX];
        uint32_t n_links;
        struct token_key tokens;
        char control_path[PATH_MAX + STORE_NAME_MAX + 8];
        char url[PATH_MAX + STORE_NAME_MAX + 8]; /* by which clients with a mapping reach the store */
        struct keyring *keys;                    /* of the clients over TCP */
        uint32_t ticks_left;       /* once nobody is there any more: for news of a death that comes late */
        int64_t idle_since_ns;     /* when somebody was last there */
        struct loop_source parent; /* --die-with-parent: a pidfd, else -1 */
};

/* From here on clients can connect. After a failure nothing is left behind. */
objd_status server_start(struct server *server, const struct options *options);

/* Until SIGTERM or SIGINT, or until nobody needs it any more (--idle-exit, --die-with-parent). */
objd_status server_run(struct server *server);

/* @return OBJD_OK, or why the store could not be saved */
objd_status server_stop(struct server *server);
