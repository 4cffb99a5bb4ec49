/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * starter.h -- the first client that needs a daemon starts it
 */

#include "client/attach.h"

/*
 * attach_to_daemon(), but if no daemon answers, one is started: by this process, or by another that comes to the same
 * idea at the same time. It ends when nobody has used its store for a while.
 * @return what attach_to_daemon() returns; OBJD_E_NODAEMON if it cannot be started
 */
objd_status starter_attach(const char *text, const struct url *url, enum control_access access,
                           struct attachment *ret_attachment);
