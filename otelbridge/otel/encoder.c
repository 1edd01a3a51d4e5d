/* Log records as OTLP's protobuf, written straight from a part's ring, and spans from their rows: what wire.py makes of log_rows.py's
 * and span_rows.py's rows, byte for byte.
 *
 * It runs as WebAssembly, so that whatever a guest wrote can do no more than spoil this module's own memory, and it leaves to
 * Python what is rare: entries that are no plain console call, JSON that is odd. encoder.py calls it and says what goes in. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define INPUT_BYTES (1 << 19)
#define OUTPUT_BYTES (1 << 21) /* a value takes less than three times its JSON's bytes: [1e1] is 5, and 13 as an AnyValue */
#define MOST_LEFT (INPUT_BYTES / 24)
#define MOST_DEPTH 24    /* of values; values.MAX_DEPTH is 32, from where on they become text */
#define MOST_MEMBERS 64  /* of an object: each name is compared with all before it */
#define MOST_DIGITS 18   /* of an integer, so that it has 64 bits */
#define MOST_NUMBER 64   /* characters of a number that the C library reads */
#define SPARE_BYTES 1024 /* of a record besides its value and what the host gives: fixed fields and the lengths around each level */

typedef struct {
    uint64_t floor, ceiling, observed, sequence;
    uint32_t lowest;  /* severity */
    uint32_t longest; /* payload that no limit can concern */
    uint32_t flags, invocation, ring; /* of the trace; bytes of what stands at the end */
    char trace[32], span[16];
    uint8_t data[]; /* the invocation's id, the ring */
} Input;

#define COMMON_BYTES 128 /* what all records of a part have, besides the invocation's id */

/* Packed: where it stands depends on what the host wrote before it. */
typedef struct __attribute__((packed)) {
    uint32_t length;
    uint8_t kind, level;
    uint16_t zero;
    uint64_t time;
    uint32_t span, extra;
} Header;

_Static_assert(sizeof(Header) == 24, "as in model/ring.py");

enum { LOG, TEXT, EXCEPTION, DIAGNOSTIC, SPAN_OPEN, SPAN_CLOSE };

static const uint8_t SEVERITY[] = {5, 9, 9, 13, 17};
static const char *const LEVELS[] = {"debug", "log", "info", "warn", "error"};

static _Alignas(8) uint8_t input[INPUT_BYTES];
static uint8_t output[OUTPUT_BYTES];
static struct { uint32_t index, at; } left[MOST_LEFT]; /* entries that Python has to do, and where their records belong */

static const uint8_t *at, *end; /* of the JSON that is being read */
static uint8_t shared[INPUT_BYTES + COMMON_BYTES], *shared_end; /* what all records of a part have */
static uint8_t own_span[10] = {0x52, 8};

/* ------------------------------------------------------------------------------------------------------- writing */

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

/* ---------------------------------------------------------------------------------------------------------- JSON
 * Each of these reads at `at`, writes at `out` and returns the end of what it wrote, or NULL for what is left to Python. */

static uint8_t *value(uint8_t *out, int depth);

static void space(void) {
    while (at < end && (*at == ' ' || *at == '\n' || *at == '\t' || *at == '\r')) at++;
}

static bool skip(uint8_t wanted) {
    space();
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
        /* names and texts are short and plain: a run of plain bytes costs two steps for each */
        while (at < end && *at >= 0x20 && *at < 0x80 && *at != '"' && *at != '\\') *out++ = *at++;
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

/* -------------------------------------------------------------------------------------------------------- records */

/* The body of a console call: its only argument, or the array of all, or an empty text. */
static uint8_t *arguments(uint8_t *out) {
    if (!skip('[')) return NULL;
    bool empty = skip(']');
    uint8_t *body = empty ? put(out, "\x0A", 2) : value(out, 0);
    if (!body) return NULL;
    if (!empty && !skip(']')) {
        uint8_t head[12] = {0x2A, 0, 0x0A};
        size_t size = (size_t)(body - out);
        size_t before = (size_t)(put_varint(head + 3, size) - head);
        memmove(out + before, out, size);
        memcpy(out, head, before);
        body = out + before + size;
        while (skip(',')) {
            *body++ = 0x0A;
            uint8_t *item = value(body + 1, 1);
            if (!item) return NULL;
            body = close_field(body, item);
        }
        if (!skip(']')) return NULL;
        body = close_field(out + 1, body);
    }
    space();
    return at == end ? body : NULL;
}

/* A text that is not JSON's: another may be an object or an array. */
static uint8_t *plain(uint8_t *out) {
    if (at < end && (*at <= ' ' || *at == '[' || *at == '{')) return NULL;
    *out++ = 0x0A;
    uint8_t *content = out + 1;
    while (at < end) {
        if (*at < 0x80) *content++ = *at++;
        else if (!(content = wide_character(content))) return NULL;
    }
    return close_field(out, content);
}

/* Bytes from hex; NULL if it is none. */
static uint8_t *unhex(uint8_t *out, const char *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        int high = digit_of((uint8_t)text[2 * i]), low = digit_of((uint8_t)text[2 * i + 1]);
        if (high < 0 || low < 0) return NULL;
        *out++ = (uint8_t)(high << 4 | low);
    }
    return out;
}

/* wire.common(), wire.own_span(). */
static bool share(const Input *in) {
    uint8_t *out = shared;
    *out++ = 0x59;
    out = put(out, &in->observed, 8);
    out = put(out, "\x4A\x10", 2);
    if (!unhex(out, in->trace, 16) || !unhex(own_span + 2, in->span, 8)) return false;
    out += 16;
    *out++ = 0x45;
    out = put(out, &in->flags, 4);
    *out++ = 0x32;
    uint8_t *attribute = out++;
    out = put(out, "\x0A\x12" "faas.invocation_id\x12", 21);
    uint8_t *value_at = out++;
    out = close_field(value_at, put_field(out, 0x0A, in->data, in->invocation));
    out = close_field(attribute, out);
    shared_end = put(out, "\x32\x2A\x0A\x11otelbridge.source\x12\x15\x0A\x13" "dynamic-worker-tail", 44);
    return true;
}

static uint8_t *record(uint8_t *out, const Input *in, const Header *entry, uint64_t time, uint64_t sequence) {
    const char *level = LEVELS[entry->level];
    *out++ = 0x12;
    uint8_t *start = out++;
    *out++ = 0x09;
    out = put(out, &time, 8);
    *out++ = 0x10;
    *out++ = SEVERITY[entry->level];
    out = put_field(out, 0x1A, level, strlen(level));
    *out++ = 0x2A;
    at = (const uint8_t *)(entry + 1);
    end = at + entry->length;
    uint8_t *body = entry->kind == LOG ? arguments(out + 1) : plain(out + 1);
    if (!body) return NULL;
    out = close_field(out, body);
    out = put(out, shared, (size_t)(shared_end - shared));

    uint8_t digits[24], *digit = digits + sizeof digits;
    uint64_t rest = sequence;
    do *--digit = (uint8_t)('0' + rest % 10); while (rest /= 10);
    size_t size = (size_t)(digits + sizeof digits - digit);
    *out++ = 0x32;
    uint8_t *attribute = out++;
    out = put(out, "\x0A\x13otelbridge.sequence\x12", 22);
    uint8_t *number_at = out++;
    *out++ = 0x18;
    out = close_field(number_at, put_varint(out, sequence));
    out = close_field(attribute, out);
    *out++ = 0x32;
    attribute = out++;
    out = put(out, "\x0A\x0Elog.record.uid\x12", 17);
    uint8_t *value_at = out++;
    *out++ = 0x0A;
    uint8_t *text_at = out++;
    out = put(out, in->data, in->invocation);
    *out++ = '-';
    out = put(out, digit, size);
    out = close_field(text_at, out);
    out = close_field(value_at, out);
    out = close_field(attribute, out);
    out = put(out, own_span, sizeof own_span);
    return close_field(start, out);
}

/* ---------------------------------------------------------------------------------------------------------- spans
 * Rows of span_rows.py as JSON: arrays, so that every member has its place. The host writes them, of what guests gave. */

/* An id in hex as a field of so many bytes, or of none. */
static uint8_t *id_field(uint8_t *out, uint8_t tag) {
    if (!skip('"')) return NULL;
    *out++ = tag;
    uint8_t *start = out++;
    while (at < end && *at != '"') {
        int number = 0;
        for (int i = 0; i < 2; i++, at++) {
            int digit = at < end ? digit_of(*at) : -1;
            if (digit < 0) return NULL;
            number = number << 4 | digit;
        }
        *out++ = (uint8_t)number;
    }
    return skip('"') && skip(',') ? close_field(start, out) : NULL;
}

/* A number that is not negative and has 64 bits. */
static bool natural(uint64_t *read) {
    space();
    const uint8_t *start = at;
    uint64_t digits = 0;
    while (at < end && *at >= '0' && *at <= '9' && at - start < 19) digits = digits * 10 + (*at++ - '0');
    *read = digits;
    return at != start && skip(',');
}

static uint8_t *span(uint8_t *out) {
    uint64_t kind, begin, stop, left_out, status;
    uint8_t *start, *message;
    *out++ = 0x12;
    start = out++;
    if (!skip('[') || !(out = id_field(out, 0x0A)) || !(out = id_field(out, 0x12)) || !(out = id_field(out, 0x22))) return NULL;
    if (!skip('"') || !(out = string(out, 0x2A)) || !skip(',')) return NULL;
    if (!natural(&kind) || !natural(&begin) || !natural(&stop) || !skip('{')) return NULL;
    *out++ = 0x30;
    out = put_varint(out, kind);
    *out++ = 0x39;
    out = put(out, &begin, 8);
    *out++ = 0x41;
    out = put(out, &stop, 8);
    if (!(out = members(out, 0x4A, 0)) || !skip(',') || !natural(&left_out) || !natural(&status) || !skip('"')) return NULL;
    if (left_out) {
        *out++ = 0x50;
        out = put_varint(out, left_out);
    }
    *out++ = 0x7A;
    message = out++;
    if (status) {
        *out++ = 0x18;
        out = put_varint(out, status);
        if (!(out = string(out, 0x12))) return NULL;
    } else if (!characters(out)) {
        return NULL;
    }
    out = close_field(message, out);
    if (!skip(',')) return NULL;
    space();
    bool remote = word("true", 4);
    if (!remote && !word("false", 5)) return NULL;
    uint32_t flags = remote ? 0x300 : 0x100; /* it is known whether the parent is remote; whether it is */
    out = put(put(out, "\x85\x01", 2), &flags, 4);
    return skip(']') ? close_field(start, out) : NULL;
}

/* ------------------------------------------------------------------------------------------------------- exports */

__attribute__((export_name("input"))) uint8_t *input_at(void) { return input; }
__attribute__((export_name("output"))) uint8_t *output_at(void) { return output; }
__attribute__((export_name("left"))) void *left_at(void) { return left; }

/* The next entry of a ring, or NULL at its end or at what is none: as in model/ring.py. */
static const Header *next_entry(const uint8_t **ring, const uint8_t *stop) {
    if ((size_t)(stop - *ring) < sizeof(Header)) return NULL;
    const Header *entry = (const Header *)*ring;
    size_t room = (size_t)(stop - *ring) - sizeof(Header), padded = ((size_t)entry->length + 7) & ~(size_t)7;
    if (entry->length > room || padded > room || entry->extra > entry->length || entry->kind > SPAN_CLOSE || entry->level > 4) return NULL;
    *ring += sizeof(Header) + padded;
    return entry;
}

/* How many log records (low 32 bits) and opened spans the ring of so many bytes stands for that the host wrote at `input`. */
__attribute__((export_name("count"))) uint64_t count(void) {
    const uint8_t *ring = input + sizeof(uint32_t), *stop = ring + *(const uint32_t *)input;
    uint64_t logs = 0, opened = 0;
    for (const Header *entry; (entry = next_entry(&ring, stop));) {
        logs += entry->kind <= DIAGNOSTIC;
        opened += entry->kind == SPAN_OPEN;
    }
    return logs | opened << 32;
}

/* The records of the part that the host wrote at `input`, as fields of a ScopeLogs at `output`; bytes (32 bits), records (16 bits)
 * and entries that are left to Python (16 bits), or all ones when everything is. All lengths in Input are the host's, and fit. */
__attribute__((export_name("logs"))) uint64_t logs(void) {
    const Input *in = (const Input *)input;
    const uint8_t *ring = in->data + in->invocation, *stop = ring + in->ring;
    if (!share(in)) return UINT64_MAX;
    uint8_t *out = output;
    uint64_t next = in->floor, records = 0, index = 0, count = 0;
    for (const Header *entry; (entry = next_entry(&ring, stop)); index++) {
        uint64_t time = entry->time < in->ceiling ? entry->time : in->ceiling;
        time = time >= next ? time : next;
        next = time + 1;
        if (entry->kind <= TEXT) {
            if (SEVERITY[entry->level] >= in->lowest) {
                size_t most = 3 * (size_t)entry->length + 2 * in->invocation + SPARE_BYTES;
                bool usual = !entry->extra && !entry->span && entry->length <= in->longest && most <= (size_t)(output + OUTPUT_BYTES - out);
                uint8_t *made = usual ? record(out, in, entry, time, in->sequence + index) : NULL;
                if (made) {
                    out = made;
                    records++;
                } else {
                    left[count].index = (uint32_t)index;
                    left[count++].at = (uint32_t)(out - output);
                }
            }
        } else if (entry->kind <= DIAGNOSTIC) {
            left[count].index = (uint32_t)index;
            left[count++].at = (uint32_t)(out - output);
        }
    }
    return (uint64_t)(out - output) | records << 32 | count << 48;
}

/* The spans of the JSON array of so many bytes that the host wrote at `input`, as fields of a ScopeSpans at `output`: bytes, or 0 for
 * what is left to Python. */
__attribute__((export_name("spans"))) uint32_t spans(void) {
    const uint32_t *size = (const uint32_t *)input;
    at = input + sizeof *size;
    if (*size > INPUT_BYTES - sizeof *size) return 0;
    end = at + *size;
    uint8_t *out = output;
    if (!skip('[')) return 0;
    do {
        if (!(out = span(out))) return 0;
    } while (skip(','));
    return skip(']') && at == end ? (uint32_t)(out - output) : 0;
}
