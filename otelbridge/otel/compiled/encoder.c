/* Log records as OTLP's protobuf, written straight from a part's ring, and spans from their rows: what wire.py makes of log_rows.py's
 * and span_rows.py's rows, byte for byte.
 *
 * It runs as WebAssembly, so that whatever a guest wrote can do no more than spoil this module's own memory, and it leaves to
 * Python what is rare: entries that are no plain console call, JSON that is odd. encoder.py calls it and says what goes in. */

#include "json.h"
#include "protobuf.h"

#define INPUT_BYTES (1 << 19)
#define OUTPUT_BYTES (1 << 21) /* a value takes less than three times its JSON's bytes: [1e1] is 5, and 13 as an AnyValue */
#define MOST_LEFT (INPUT_BYTES / 24)
#define MOST_PARTS 1024 /* of one call */
#define SPARE_BYTES 1024 /* of a record besides its value and what the host gives: fixed fields and the lengths around each level */

/* Packed: where it stands depends on what the host wrote before it. */
typedef struct __attribute__((packed)) {
    uint64_t floor, time, sequence;
    uint32_t flags, ids, ring; /* of the trace; bytes of what stands at the end */
    uint8_t data[]; /* trace id/span id/invocation id; the ring */
} Part;

#define TRACE 32 /* characters of ids */
#define SPAN 16

#define COMMON_BYTES 128 /* what all records of a part have, besides the invocation's id */

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
static uint32_t results[MOST_PARTS][2]; /* of each part */

static uint8_t shared[INPUT_BYTES + COMMON_BYTES], *shared_end; /* what all records of a part have */
static const uint8_t *invocation;
static size_t invocation_bytes;
static uint8_t own_span[10] = {0x52, 8};

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
        const uint8_t *from = at, *stop = end;
        while (from < stop && *from < 0x80) *content++ = *from++;
        at = from;
        if (at < end && !(content = wide_character(content))) return NULL;
    }
    return close_field(out, content);
}

/* Bytes from hex; NULL if it is none. */
static uint8_t *unhex(uint8_t *out, const uint8_t *text, size_t size) {
    for (size_t i = 0; i < size; i++) {
        int high = digit_of(text[2 * i]), low = digit_of(text[2 * i + 1]);
        if (high < 0 || low < 0) return NULL;
        *out++ = (uint8_t)(high << 4 | low);
    }
    return out;
}

/* What the records of a part share: wire.py's _common(), and the span of those that were made in no span of the guest's. */
static bool share(const Part *part) {
    const uint8_t *ids = part->data;
    if ((int64_t)(part->floor | part->time | part->sequence) < 0) return false; /* negative */
    if (part->ids < TRACE + SPAN + 2 || ids[TRACE] != '/' || ids[TRACE + 1 + SPAN] != '/') return false;
    invocation = ids + TRACE + SPAN + 2;
    invocation_bytes = part->ids - (TRACE + SPAN + 2);
    uint8_t *out = shared;
    *out++ = 0x59;
    out = put(out, &part->time, 8); /* observed */
    out = put(out, "\x4A\x10", 2);
    if (!unhex(out, ids, TRACE / 2) || !unhex(own_span + 2, ids + TRACE + 1, SPAN / 2)) return false;
    out += TRACE / 2;
    *out++ = 0x45;
    out = put(out, &part->flags, 4);
    *out++ = 0x32;
    uint8_t *attribute = out++;
    out = put(out, "\x0A\x12" "faas.invocation_id\x12", 21);
    uint8_t *value_at = out++;
    out = close_field(value_at, put_field(out, 0x0A, invocation, invocation_bytes));
    out = close_field(attribute, out);
    shared_end = put(out, "\x32\x2A\x0A\x11otelbridge.source\x12\x15\x0A\x13" "dynamic-worker-tail", 44);
    return true;
}

static uint8_t *record(uint8_t *out, const Header *entry, uint64_t time, uint64_t sequence) {
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
    out = put(out, invocation, invocation_bytes);
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
__attribute__((export_name("results"))) void *results_at(void) { return results; }

/* The next entry of a ring, or NULL at its end or at what is none: as in model/ring.py. */
static const Header *next_entry(const uint8_t **ring, const uint8_t *stop) {
    if ((size_t)(stop - *ring) < sizeof(Header)) return NULL;
    const Header *entry = (const Header *)*ring;
    size_t room = (size_t)(stop - *ring) - sizeof(Header), padded = ((size_t)entry->length + 7) & ~(size_t)7;
    if (entry->length > room || padded > room || entry->extra > entry->length || entry->kind > SPAN_CLOSE || entry->level > 4) return NULL;
    *ring += sizeof(Header) + padded;
    return entry;
}

/* How many log records and opened spans each ring stands for. The host wrote at `input` how many rings there are, how long each is,
 * and the rings. */
__attribute__((export_name("counts"))) uint32_t counts(void) {
    const uint32_t *sizes = (const uint32_t *)input, many = *sizes++;
    const uint8_t *ring = (const uint8_t *)(sizes + many);
    for (uint32_t i = 0; i < many; i++) {
        const uint8_t *stop = ring + sizes[i];
        uint32_t logs = 0, opened = 0;
        for (const Header *entry; (entry = next_entry(&ring, stop));) {
            logs += entry->kind <= DIAGNOSTIC;
            opened += entry->kind == SPAN_OPEN;
        }
        results[i][0] = logs;
        results[i][1] = opened;
        ring = stop;
    }
    return 0; /* bytes at `output` */
}

static uint32_t left_count; /* of all parts */

/* The records of a part as fields of a ScopeLogs; how many there are (16 bits), and how many entries are left to Python (16 bits). */
static uint8_t *part_logs(uint8_t *out, const Part *part, uint32_t lowest, uint32_t longest, uint32_t *records) {
    const uint8_t *ring = part->data + part->ids, *stop = ring + part->ring;
    uint64_t next = part->floor, ceiling = part->time > next ? part->time : next;
    uint32_t index = 0, made = 0, before = left_count;
    for (const Header *entry; (entry = next_entry(&ring, stop)); index++) {
        uint64_t time = entry->time < ceiling ? entry->time : ceiling;
        time = time >= next ? time : next;
        next = time + 1;
        uint8_t *written = NULL;
        if (entry->kind <= TEXT) {
            if (SEVERITY[entry->level] < lowest) continue;
            size_t most = 3 * (size_t)entry->length + 2 * invocation_bytes + SPARE_BYTES;
            bool usual = !entry->extra && !entry->span && entry->length <= longest && most <= (size_t)(output + OUTPUT_BYTES - out);
            if (usual) written = record(out, entry, time, part->sequence + index);
        } else if (entry->kind > DIAGNOSTIC) {
            continue;
        }
        if (written) {
            out = written;
            made++;
        } else {
            left[left_count].index = index;
            left[left_count++].at = (uint32_t)(out - output);
        }
    }
    *records = made | (left_count - before) << 16;
    return out;
}

/* The records of the parts that the host wrote at `input` behind how many there are and two limits: the lowest severity, and the
 * longest payload that no limit can concern. Bytes at `output`. Of each part: where its records end, and see part_logs(); all ones
 * when all of it is left to Python. All lengths are the host's, and fit. */
__attribute__((export_name("logs"))) uint32_t logs(void) {
    const uint32_t *limits = (const uint32_t *)input;
    const uint8_t *next = (const uint8_t *)(limits + 3);
    uint8_t *out = output;
    left_count = 0;
    for (uint32_t i = 0; i < limits[0]; i++) {
        const Part *part = (const Part *)next;
        uint32_t records = UINT32_MAX;
        if (share(part)) out = part_logs(out, part, limits[1], limits[2], &records);
        results[i][0] = (uint32_t)(out - output);
        results[i][1] = records;
        next = part->data + part->ids + part->ring;
    }
    return (uint32_t)(out - output);
}

/* The spans of the JSON array of invocations, of so many bytes, that the host wrote at `input`, as fields of a ScopeSpans: bytes at
 * `output`, or 0 for what is left to Python. Of each invocation: where its spans end. */
__attribute__((export_name("spans"))) uint32_t spans(void) {
    const uint32_t *size = (const uint32_t *)input;
    at = input + sizeof *size;
    if (*size > INPUT_BYTES - sizeof *size) return 0;
    end = at + *size;
    uint8_t *out = output;
    uint32_t count = 0;
    if (!skip('[')) return 0;
    do {
        if (count == MOST_PARTS || !skip('[')) return 0;
        do {
            if (!(out = span(out))) return 0;
        } while (skip(','));
        if (!skip(']')) return 0;
        results[count++][0] = (uint32_t)(out - output);
    } while (skip(','));
    return skip(']') && at == end ? (uint32_t)(out - output) : 0;
}
