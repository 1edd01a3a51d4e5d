/* JSON as AnyValue, in one pass: each of these reads at `at`, writes at `out` and returns the end of what it wrote, or NULL for what is
 * left to Python: JSON that is none, and what Python reads in its own way (lone surrogates, equal names, very large numbers). */

#pragma once

#include <stdbool.h>
#include <stdlib.h>
#include <wasm_simd128.h>

#include "protobuf.h"

#define MOST_DEPTH 24    /* of values; values.MAX_DEPTH is 32, from where on they become text */
#define MOST_MEMBERS 64  /* of an object: each name is compared with all before it */
#define MOST_DIGITS 18   /* of an integer, so that it has 64 bits */
#define MOST_NUMBER 64   /* characters of a number that the C library reads */

static const uint8_t *at, *end; /* of the JSON that is being read */

static uint8_t *value(uint8_t *out, int depth);

static void space(void) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
}

static bool skip(uint8_t wanted) {
    if (at < end && *at <= ' ') space();
    if (at < end && *at == wanted) {
        at++;
        return true;
    }
    return false;
}

static bool word(const char *text, size_t size) {
    if ((size_t)(end - at) < size || memcmp(at, text, size)) return false;
    at += size;
    return true;
}

/* One character of more than one byte; strict, as Python reads UTF-8. */
static uint8_t *wide_character(uint8_t *out) {
    uint8_t first = at[0];
    int size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
    if (first < 0xC2 || first > 0xF4 || end - at < size) return NULL;
    uint8_t second = at[1];
    if (first == 0xE0 ? second < 0xA0 : first == 0xED ? second > 0x9F : first == 0xF0 ? second < 0x90 : first == 0xF4 && second > 0x8F) return NULL;
    for (int i = 1; i < size; i++)
        if ((at[i] & 0xC0) != 0x80) return NULL;
    out = put(out, at, (size_t)size);
    at += size;
    return out;
}

static int digit_of(uint8_t c) {
    return c >= '0' && c <= '9' ? c - '0' : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10 : -1;
}

static int hex4(void) {
    if (end - at < 4) return -1;
    int number = 0;
    for (int i = 0; i < 4; i++) {
        int digit = digit_of(*at++);
        if (digit < 0) return -1;
        number = number << 4 | digit;
    }
    return number;
}

static uint8_t *escape(uint8_t *out) {
    if (at >= end) return NULL;
    uint8_t c = *at++;
    switch (c) {
    case '"': case '\\': case '/': *out++ = c; return out;
    case 'b': *out++ = '\b'; return out;
    case 'f': *out++ = '\f'; return out;
    case 'n': *out++ = '\n'; return out;
    case 'r': *out++ = '\r'; return out;
    case 't': *out++ = '\t'; return out;
    case 'u': break;
    default: return NULL;
    }
    int code = hex4();
    if (code < 0 || (code >= 0xDC00 && code <= 0xDFFF)) return NULL;
    if (code >= 0xD800 && code <= 0xDBFF) {
        if (end - at < 6 || at[0] != '\\' || at[1] != 'u') return NULL;
        at += 2;
        int low = hex4();
        if (low < 0xDC00 || low > 0xDFFF) return NULL;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    if (code < 0x80) {
        *out++ = (uint8_t)code;
    } else if (code < 0x800) {
        *out++ = (uint8_t)(0xC0 | code >> 6);
        *out++ = (uint8_t)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        *out++ = (uint8_t)(0xE0 | code >> 12);
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (code & 0x3F));
    } else {
        *out++ = (uint8_t)(0xF0 | code >> 18);
        *out++ = (uint8_t)(0x80 | (code >> 12 & 0x3F));
        *out++ = (uint8_t)(0x80 | (code >> 6 & 0x3F));
        *out++ = (uint8_t)(0x80 | (code & 0x3F));
    }
    return out;
}

/* The characters of a string, from behind its first quote to behind its last. */
static uint8_t *characters(uint8_t *out) {
    for (;;) {
        /* With local pointers: what is written at `out` might be `at` itself for all the compiler knows. */
        const uint8_t *from = at, *stop = end;
        uint32_t odd = 0;
        while (!odd && stop - from >= 16) {
            v128_t some = wasm_v128_load(from);
            wasm_v128_store(out, some);
            v128_t low = wasm_i8x16_lt(some, wasm_i8x16_splat(0x20)); /* and, as negative numbers, what is no ASCII */
            v128_t ends = wasm_v128_or(wasm_i8x16_eq(some, wasm_i8x16_splat('"')), wasm_i8x16_eq(some, wasm_i8x16_splat('\\')));
            odd = wasm_i8x16_bitmask(wasm_v128_or(low, ends));
            int usual = odd ? __builtin_ctz(odd) : 16;
            from += usual;
            out += usual;
        }
        if (!odd)
            while (from < stop && *from >= 0x20 && *from < 0x80 && *from != '"' && *from != '\\') *out++ = *from++;
        at = from;
        if (at >= end) return NULL;
        if (*at == '"') {
            at++;
            return out;
        }
        if (*at == '\\') {
            at++;
            out = escape(out);
        } else {
            out = *at < 0x20 ? NULL : wide_character(out);
        }
        if (!out) return NULL;
    }
}

/* A field whose content is the string at `at`. */
static uint8_t *string(uint8_t *out, uint8_t tag) {
    *out++ = tag;
    uint8_t *content = characters(out + 1);
    return content ? close_field(out, content) : NULL;
}

static double power(int exponent) {
    static const double POWERS[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                    1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    return POWERS[exponent];
}

static uint8_t *number(uint8_t *out) {
    const uint8_t *start = at;
    bool negative = *at == '-', whole = true;
    if (negative) at++;
    uint64_t digits = 0;
    int count = 0, exponent = 0;
    const uint8_t *first = at;
    while (at < end && *at >= '0' && *at <= '9' && count <= MOST_DIGITS) {
        digits = digits * 10 + (*at++ - '0');
        count++;
    }
    if (!count || count > MOST_DIGITS || (*first == '0' && count > 1)) return NULL;
    if (at < end && *at == '.') {
        whole = false;
        const uint8_t *point = ++at;
        while (at < end && *at >= '0' && *at <= '9') {
            if (count <= MOST_DIGITS) digits = digits * 10 + (*at - '0');
            count++;
            exponent--;
            at++;
        }
        if (at == point) return NULL;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        whole = false;
        at++;
        bool down = at < end && *at == '-';
        if (at < end && (*at == '-' || *at == '+')) at++;
        int power_of = 0;
        const uint8_t *point = at;
        while (at < end && *at >= '0' && *at <= '9' && power_of < 1000) power_of = power_of * 10 + (*at++ - '0');
        if (at == point || (at < end && *at >= '0' && *at <= '9')) return NULL;
        exponent += down ? -power_of : power_of;
    }
    if (whole) {
        if (negative && !digits) return NULL;
        *out++ = 0x18;
        return put_varint(out, negative ? (uint64_t)-(int64_t)digits : digits);
    }
    double read;
    if (count <= MOST_DIGITS && digits <= 1ull << 53 && exponent >= -22 && exponent <= 22) {
        /* both are exact, so their product or quotient is rounded once */
        read = exponent < 0 ? (double)digits / power(-exponent) : (double)digits * power(exponent);
        if (negative) read = -read;
    } else {
        char text[MOST_NUMBER + 1];
        size_t size = (size_t)(at - start);
        if (size > MOST_NUMBER) return NULL;
        memcpy(text, start, size);
        text[size] = 0;
        read = strtod(text, NULL);
        if (read - read != 0) return NULL; /* infinite */
    }
    *out++ = 0x21;
    return put(out, &read, 8);
}

static uint8_t *array(uint8_t *out, int depth) {
    *out++ = 0x2A;
    uint8_t *content = out + 1;
    if (!skip(']')) {
        do {
            *content++ = 0x0A;
            uint8_t *item = value(content + 1, depth + 1);
            if (!item) return NULL;
            content = close_field(content, item);
        } while (skip(','));
        if (!skip(']')) return NULL;
    }
    return close_field(out, content);
}

/* The members of an object, each as a KeyValue in a field with this tag, from behind its first brace to behind its last. */
static uint8_t *members(uint8_t *out, uint8_t tag, int depth) {
    struct { const uint8_t *text; size_t size; } names[MOST_MEMBERS];
    int count = 0;
    uint8_t *content = out;
    if (!skip('}')) {
        do {
            if (count == MOST_MEMBERS || !skip('"')) return NULL;
            *content++ = tag;
            uint8_t *pair = content;
            uint8_t *name = pair + 1;
            uint8_t *rest = string(name, 0x0A);
            if (!rest || !skip(':')) return NULL;
            size_t size = (size_t)(rest - name);
            *rest++ = 0x12;
            uint8_t *inner = value(rest + 1, depth + 1);
            if (!inner) return NULL;
            inner = close_field(rest, inner);
            content = close_field(pair, inner);
            name += content - inner; /* moved along with the pair */
            for (int i = 0; i < count; i++) /* Python keeps the last of equal names, in the place of the first */
                if (names[i].size == size && !memcmp(names[i].text, name, size)) return NULL;
            names[count].text = name;
            names[count++].size = size;
        } while (skip(','));
        if (!skip('}')) return NULL;
    }
    return content;
}

static uint8_t *object(uint8_t *out, int depth) {
    *out++ = 0x32;
    uint8_t *content = members(out + 1, 0x0A, depth);
    return content ? close_field(out, content) : NULL;
}

/* The AnyValue of the JSON value at `at`. */
static uint8_t *value(uint8_t *out, int depth) {
    if (depth > MOST_DEPTH) return NULL;
    if (skip('"')) return string(out, 0x0A);
    if (skip('{')) return object(out, depth);
    if (skip('[')) return array(out, depth);
    if (at >= end) return NULL;
    switch (*at) {
    case 'n': return word("null", 4) ? out : NULL;
    case 't': return word("true", 4) ? put(out, "\x10\x01", 2) : NULL;
    case 'f': return word("false", 5) ? put(out, "\x10", 2) : NULL;
    default: return *at == '-' || (*at >= '0' && *at <= '9') ? number(out) : NULL;
    }
}
