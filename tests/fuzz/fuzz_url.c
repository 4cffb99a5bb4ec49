/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_url.c -- any text as an address: refused with a sentence, or taken apart within its buffers
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "client/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        char *text = malloc(size + 1);
        struct url url;

        if (!text)
                abort();
        memcpy(text, data, size);
        text[size] = 0;
        if (url_parse(text, &url) != OBJD_OK && !*objd_last_error())
                abort();
        free(text);
        return 0;
}
