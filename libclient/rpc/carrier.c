/* SPDX-License-Identifier: Apache-2.0 */
/*
 * carrier.c -- which carrier a url means
 */

#include "rpc/carrier.h"

#include <string.h>

#include "base/status.h"

static const struct {
        const char *scheme;
        objd_status (*open)(const char *url, struct carrier **ret_carrier);
} kinds[] = {
        { "ipc://", carrier_sp_open },
        { "tcp://", carrier_tcp_open },
        { "local:", carrier_local_open },
};

objd_status carrier_open(const char *url, struct carrier **ret_carrier)
{
        for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
                if (strncmp(url, kinds[i].scheme, strlen(kinds[i].scheme)) == 0)
                        return kinds[i].open(url, ret_carrier);
        return fail(OBJD_E_INVAL, "no frames can be sent to \"%s\": its scheme is not known", url);
}
