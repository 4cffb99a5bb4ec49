/* SPDX-License-Identifier: Apache-2.0 */
/*
 * proxy_report.c -- reports that the daemon makes on the store, fetched piece by piece
 */

#include <stdatomic.h>

#include "base/status.h"
#include "client/proxy.h"

/* How long a piece is waited for at once; then it is asked for again, so that a daemon that is gone is noticed. */
#define PIECE_TIMEOUT_NS 5000000000LL

/* Rises, and does not begin again in a child, whose session is a new one. */
static atomic_uint_fast64_t n_reports;

static objd_status get_piece(objd_conn *conn, struct call *call, struct call_report *report, bool *ret_end,
                             proxy_report_fn fn, void *context)
{
        struct proxied p;
        objd_status r = proxy_run(conn, call, &p);

        if (r == OBJD_OK) {
                const objd_value *piece = &p.answer->value;

                *ret_end = p.answer->truth;
                if (piece->type == OBJD_BYTES && piece->size) {
                        report->position += piece->size;
                        r = fn(context, piece->data, piece->size);
                } else if (!*ret_end) {
                        r = fail(OBJD_E_PROTO, "a piece of the report is empty");
                }
        }
        proxied_end(&p);
        return r;
}

objd_status proxy_report(objd_conn *conn, const struct call_report *asked, const char *object,
                         proxy_report_fn fn, void *context)
{
        struct call_report report = *asked;
        struct call call = {
                .code = CALL_STORE_REPORT,
                .name = object,
                .report = &report,
                .timeout_ns = PIECE_TIMEOUT_NS,
        };
        bool end = false;
        objd_status r;

        report.number = atomic_fetch_add(&n_reports, 1) + 1;
        report.position = 0;
        do
                r = get_piece(conn, &call, &report, &end, fn, context);
        while ((r == OBJD_OK && !end) || r == OBJD_E_EMPTY);
        return r;
}
