/* SPDX-License-Identifier: Apache-2.0 */

/*
 * refused.c -- what is refused leaves a count in the arena and a line in the log
 */

#include "proxy/refused.h"

#include <string.h>

#include <sodium.h>

#include "base/status.h"
#include "log.h"
#include "rpc/keyring.h"
#include "rpc/refusals.h"
#include "rpc/wire.h"

void refused_note(uint64_t *counts, const char *url, unsigned reason, const uint8_t *key,
                  const uint8_t *session)
{
        char key_text[KEY_ID_TEXT_SIZE] = "none", session_text[2 * WIRE_SESSION_SIZE + 1] = "none";
        const char *sentence = objd_last_error();
        bool names_key = strncmp(sentence, "key ", 4) == 0; /* then it need not be said twice */

        refusal_count(counts, reason);
        if (key)
                (void)key_id_text(key, key_text);
        if (session && !sodium_is_zero(session, WIRE_SESSION_SIZE))
                (void)sodium_bin2hex(session_text, sizeof(session_text), session, WIRE_SESSION_SIZE);
        log_limited("%s: refused (%s): session %s, %s%s%s%s", url, refusal_name(reason), session_text,
                    names_key ? "" : "key ", names_key ? "" : key_text, names_key ? "" : ": ", sentence);
}
