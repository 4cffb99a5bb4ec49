/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fuzz_value.c -- encoded values with any bytes: either refused, or a value that lies inside them and survives being encoded
 */

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "arena/word.h"
#include "object/value.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool condition)
{
        if (!condition)
                abort();
}

static void encode_again(const objd_value *value)
{
        uint64_t size = value_encoded_size(value);
        void *bytes = calloc(1, round8(size) + 8);
        objd_value again;

        must(bytes != NULL);
        value_encode(value, bytes);
        must(value_decode(value->type, bytes, size, &again) == OBJD_OK);
        must(objd_value_equal(value, &again) && value_compare(value, &again) == 0);
        free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        objd_value value;
        uint8_t *bytes;

        if (!size)
                return 0;
        bytes = malloc(size); /* aligned, and with the sanitizer's redzone right behind the last byte */
        must(bytes != NULL);
        memcpy(bytes, data + 1, size - 1);
        if (value_decode((objd_type)(data[0] % 12), bytes, size - 1, &value) == OBJD_OK) {
                if (value.size) {
                        const uint8_t *from = value.data;

                        must(from >= bytes && from + value.size <= bytes + size);
                }
                /* NaN payloads compare as equal numbers, and are kept bit for bit. */
                encode_again(&value);
        }
        free(bytes);
        return 0;
}
