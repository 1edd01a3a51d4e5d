/* Protobuf's wire format: numbers, and fields whose length is known only behind them. */

#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static uint8_t *put_varint(uint8_t *out, uint64_t number) {
    while (number > 0x7F) {
        *out++ = (uint8_t)(number | 0x80);
        number >>= 7;
    }
    *out++ = (uint8_t)number;
    return out;
}

static uint8_t *put(uint8_t *out, const void *data, size_t size) {
    memcpy(out, data, size);
    return out + size;
}

static uint8_t *put_field(uint8_t *out, uint8_t tag, const void *data, size_t size) {
    *out++ = tag;
    return put(put_varint(out, size), data, size);
}

/* The length of what stands from `start` + 1 to `out`, for which one byte was left free at `start`. */
static uint8_t *close_field(uint8_t *start, uint8_t *out) {
    size_t size = (size_t)(out - start - 1);
    if (size < 0x80) {
        *start = (uint8_t)size;
        return out;
    }
    uint8_t digits[8];
    size_t count = (size_t)(put_varint(digits, size) - digits);
    memmove(start + count, start + 1, size);
    memcpy(start, digits, count);
    return start + count + size;
}
