/* The JavaScript engine of a worker: QuickJS-ng as a WebAssembly reactor without a single import.
 *
 * The host writes messages into an input buffer and calls ob_run(); the guest answers with messages in an output
 * buffer and with entries in the log ring (layout: otelbridge/model/ring.py). The state struct below is the whole
 * contract. This is one translation unit with quickjs.c, because evaluation must be refused to workers (eval_internal),
 * Math.random reseeded (random_state) and native errors told from look-alikes (class ids): all of it is internal there.
 */
/* QuickJS measures recursion by the stack in linear memory, which functions like JSON.stringify hardly use: they would
 * overflow WebAssembly's own stack first, which is a trap instead of a RangeError. A constant alloca is part of the frame
 * of whatever function the check is inlined into, so each of them now shows. */
#define FRAME_BYTES 256
#define STACK_BYTES (3584 * 1024) /* of the 4 MiB that the linker reserves */
#define __builtin_frame_address(level) __builtin_alloca(FRAME_BYTES)
#include "quickjs.c"
#undef __builtin_frame_address
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include "heap.h"
#include "prelude.h" /* ob_prelude, ob_prelude_len: made by the build from prelude/ */

#define EXPORT(name) __attribute__((export_name(name)))

/* ------------------------------------------------------------------------------------------------- host contract */

enum { FLAG_TRUNCATED = 1, FLAG_OUT_OF_MEMORY = 2 };

static struct {
  uint32_t abi, status, in_ptr, in_cap, out_ptr, out_len;
  uint32_t ring_ptr, ring_cap, ring_used, dropped_logs, dropped_exceptions, flags;
  uint64_t dropped_bytes, now_ns, mono_ns;
  uint8_t seed[32];
  uint32_t reseed, log_budget, memory_limit, heap_used, ring_reset;
} S = {.abi = 1, .log_budget = 262144};

_Static_assert(offsetof(__typeof__(S), now_ns) == 56, "the host writes the clock here");
_Static_assert(offsetof(__typeof__(S), reseed) == 104, "the host asks for a reseed here");
_Static_assert(offsetof(__typeof__(S), ring_reset) == 120, "the host empties the ring here");

/* libc would import these from WASI; nothing in the engine may reach the host. */
int32_t __imported_wasi_snapshot_preview1_fd_write(int32_t a, int32_t b, int32_t c, int32_t d) { return 8; }
int32_t __imported_wasi_snapshot_preview1_fd_fdstat_get(int32_t a, int32_t b) { return 8; }
int32_t __imported_wasi_snapshot_preview1_fd_seek(int32_t a, int64_t b, int32_t c, int32_t d) { return 8; }
int close(int fd) { return 0; }

int gettimeofday(struct timeval *restrict tv, void *restrict tz) {
  tv->tv_sec = S.now_ns / 1000000000;
  tv->tv_usec = S.now_ns % 1000000000 / 1000;
  return 0;
}
int clock_gettime(clockid_t clock, struct timespec *ts) {
  ts->tv_sec = S.now_ns / 1000000000;
  ts->tv_nsec = S.now_ns % 1000000000;
  return 0;
}

static JSRuntime *rt;
static JSContext *ctx;
static JSValue receive = JS_UNDEFINED, settle = JS_UNDEFINED, rejected = JS_UNDEFINED;

/* ------------------------------------------------------------------------------------------------------- memory */

int ob_may_fail; /* while a buffer is allocated (engine/patches.py) */

/* A worker at its memory limit is stopped, as workerd stops an isolate: carrying on with failed allocations would let
 * it catch the error and loop. A buffer that could never fit is a RangeError, as everywhere: it is asked for by its size. */
static int never_fits(size_t size) {
  if (ob_may_fail && size > S.memory_limit / 2) return 1;
  S.flags |= FLAG_OUT_OF_MEMORY;
  __builtin_trap();
}
static int over_limit(size_t size) {
  if (!S.memory_limit || S.heap_used + size <= S.memory_limit) return 0;
  return never_fits(size);
}
static void *took(void *p, size_t size) {
  if (p)
    S.heap_used += block_size(p);
  else
    never_fits(size); /* the store's limit came first */
  return p;
}
static void *heap_malloc(void *o, size_t n) { return over_limit(n) ? NULL : took(block_alloc(n), n); }
static void *heap_calloc(void *o, size_t count, size_t n) {
  if (n && count > SIZE_MAX / n) return NULL;
  return over_limit(count * n) ? NULL : took(block_calloc(count, n), count * n);
}
static int booting; /* what is freed then is zeroed: zero pages are no part of an image */
static void heap_free(void *o, void *p) {
  if (p) S.heap_used -= block_size(p);
  if (p && booting) memset(p, 0, block_size(p));
  block_free(p);
}
static void *heap_realloc(void *o, void *p, size_t n) {
  size_t before = p ? block_size(p) : 0;
  if (n > before && over_limit(n - before)) return NULL;
  void *q = block_realloc(p, n);
  if (!q) return n ? took(q, n - before) : q; /* what grows step by step has been fitting all the time */
  S.heap_used += block_size(q) - before;
  return q;
}
static size_t heap_size(const void *p) { return block_size((void *)p); }
static const JSMallocFunctions heap = {heap_calloc, heap_malloc, heap_free, heap_realloc, heap_size};

/* ----------------------------------------------------------------------------------------------------- log ring */

enum { LOG = 0, EXCEPTION = 2, DIAGNOSTIC = 3, SPAN_OPEN = 4, SPAN_CLOSE = 5 };
enum { DEBUG, LOG_, INFO, WARN, ERROR };
#define HEADER 24
#define LINE_COST 80          /* what workerd charges for a line beside its text */
#define EXCEPTION_BUDGET 262144
#define OTHER_BUDGET 131072   /* spans and diagnostics events */
#define RESERVE 65536         /* the exception that ends an invocation, and the warnings about limits */
#define CUT_LINE 4096         /* what is kept of a line too long for the rest of the budget */
#define CUT_ROOM (LINE_COST + 2 * CUT_LINE + 8) /* what that costs at most: escapes double it */

#define span ob_span /* the number of the worker's span that runs now, 0 for none; kept across await by engine/patches.py */
static uint32_t log_left, exception_left, other_left, log_full, exception_full;

static const char log_limit_text[] =
    "[\"Log size limit exceeded: More than 256KB of data (across console.log statements, exception, request metadata "
    "and headers) was logged during a single request. Subsequent data for this request will not be recorded in logs, "
    "appear when tailing this Worker's logs, or in Tail Workers.\"]";
static const char exception_limit_text[] =
    "{\"name\":\"Error\",\"message\":\"Trace resource limit exceeded; subsequent exceptions not recorded.\"}";

static void ring_empty(void) {
  uint32_t cap = S.log_budget + EXCEPTION_BUDGET + OTHER_BUDGET + RESERVE;
  if (cap > S.ring_cap) {
    void *p = block_alloc(cap);
    if (p) {
      block_free((void *)(uintptr_t)S.ring_ptr);
      S.ring_ptr = (uint32_t)(uintptr_t)p;
      S.ring_cap = cap;
    } else {
      S.log_budget = S.ring_cap - EXCEPTION_BUDGET - OTHER_BUDGET - RESERVE;
    }
  }
  S.ring_used = S.dropped_logs = S.dropped_exceptions = S.ring_reset = 0;
  S.flags &= ~FLAG_TRUNCATED;
  S.dropped_bytes = 0;
  log_left = S.log_budget;
  exception_left = EXCEPTION_BUDGET;
  other_left = OTHER_BUDGET;
  log_full = exception_full = 0;
}

/* ring_used moves last: the host may read between two slices, in the middle of this function. */
static int ring_put(int kind, int level, uint32_t in_span, const char *a, size_t an, const char *b, size_t bn) {
  size_t end = (S.ring_used + HEADER + an + bn + 7) & ~(size_t)7;
  if (end > S.ring_cap) return 0;
  char *at = (char *)(uintptr_t)S.ring_ptr + S.ring_used;
  *(uint32_t *)at = an + bn;
  at[4] = kind;
  at[5] = level;
  *(uint16_t *)(at + 6) = 0;
  memcpy(at + 8, &S.now_ns, 8);
  memcpy(at + 16, &in_span, 4);
  *(uint32_t *)(at + 20) = bn;
  memcpy(at + HEADER, a, an);
  if (bn) memcpy(at + HEADER + an, b, bn);
  memset(at + HEADER + an + bn, 0, end - (S.ring_used + HEADER + an + bn));
  __atomic_store_n(&S.ring_used, end, __ATOMIC_RELEASE);
  return 1;
}

/* ------------------------------------------------------------------------------------------------ JSON building */

/* `limit`, unless 0: what comes when the text is that long is only counted, in `lost`. Nobody keeps the whole of a giant
 * log line, and the copies on the way to it would end a worker at its memory limit. */
typedef struct {
  char *p;
  size_t n, cap, limit, lost;
} Text;

static void text_room(Text *t, size_t more) {
  if (more <= t->cap - t->n) return;
  uint64_t cap = (uint64_t)t->n + more; /* 64 bits: a sum that wraps around would give less room than is written */
  cap += cap / 2;
  char *p = cap < INT32_MAX ? block_realloc(t->p, cap) : NULL;
  if (!p) {
    S.flags |= FLAG_OUT_OF_MEMORY;
    __builtin_trap();
  }
  t->p = p;
  t->cap = cap;
}
static int text_full(Text *t, size_t n) {
  if (!t->limit || t->n < t->limit) return 0;
  t->lost += n;
  return 1;
}
static void text_add(Text *t, const char *s, size_t n) {
  if (text_full(t, n)) return;
  text_room(t, n);
  memcpy(t->p + t->n, s, n);
  t->n += n;
}
static void text_char(Text *t, char c) { text_add(t, &c, 1); }
static void text_int(Text *t, int32_t n) {
  char digits[12], *p = digits + sizeof digits;
  uint32_t left = n < 0 ? -(uint32_t)n : (uint32_t)n;
  do *--p = '0' + left % 10;
  while (left /= 10);
  if (n < 0) *--p = '-';
  text_add(t, p, digits + sizeof digits - p);
}

/* A JSON string of UTF-8 text. QuickJS writes lone surrogates as three bytes ED A0..BF xx: they become U+FFFD here,
 * because nothing behind the sandbox can carry them. */
static void text_string(Text *t, const char *s, size_t n) {
  static const char hex[] = "0123456789abcdef";
  enum { STRETCH = 4096 }; /* room for six times the text at once would be a memory bomb of our own */
  text_char(t, '"');
  for (size_t i = 0, end; i < n; i = end) {
    if (text_full(t, n - i)) return;
    end = n - i > STRETCH ? i + STRETCH : n;
    text_room(t, (end - i) * 6);
    char *p = t->p + t->n;
    for (; i < end; i++) {
      unsigned char c = s[i];
      if (c == '"' || c == '\\') {
        *p++ = '\\';
        *p++ = c;
      } else if (c < 32) {
        memcpy(p, "\\u00", 4);
        p[4] = hex[c >> 4];
        p[5] = hex[c & 15];
        p += 6;
      } else if (c == 0xED && i + 2 < n && (unsigned char)s[i + 1] >= 0xA0) {
        memcpy(p, "\xEF\xBF\xBD", 3);
        p += 3;
        i += 2;
      } else {
        *p++ = c;
      }
    }
    end = i; /* a surrogate may reach over the stretch's end */
    t->n = p - t->p;
  }
  text_char(t, '"');
}
/* A string that is the same as JSON: ASCII, nothing to be escaped; 0 for any other. Without the copy as UTF-8, and eight
 * characters at a time, a short line costs half. */
static int text_simple(Text *t, JSString *s) {
  const uint64_t ones = 0x0101010101010101, high = 0x8080808080808080;
  size_t n = s->len, i = 0;
  if (s->is_wide_char) return 0;
  const uint8_t *p = str8(s);
  for (uint64_t x; i + 8 <= n; i += 8) {
    memcpy(&x, p + i, 8);
    uint64_t quote = x ^ ones * '"', slash = x ^ ones * '\\';
    if ((x | (x - ones * 32) | (quote - ones) | (slash - ones)) & high) return 0; /* may be wrong, but only this way */
  }
  for (; i < n; i++)
    if (p[i] < 32 || p[i] == '"' || p[i] == '\\' || p[i] >= 128) return 0;
  if (text_full(t, n + 2)) return 1;
  text_room(t, n + 2);
  char *to = t->p + t->n;
  to[0] = to[n + 1] = '"';
  memcpy(to + 1, p, n);
  t->n += n + 2;
  return 1;
}
/* String(v), or NULL when that throws: JS_ToCString by itself would make do with the message of an Error. */
static const char *text_of_value(JSContext *c, size_t *n, JSValueConst v) {
  JSValue text = JS_ToString(c, v);
  const char *s = JS_IsException(text) ? NULL : JS_ToCStringLen(c, n, text);
  JS_FreeValue(c, text);
  return s;
}
static int text_value(JSContext *c, Text *t, JSValueConst v) { /* String(v) as a JSON string; 0 when that throws */
  size_t n;
  if (JS_VALUE_GET_TAG(v) == JS_TAG_STRING && text_simple(t, JS_VALUE_GET_STRING(v))) return 1;
  const char *s = text_of_value(c, &n, v);
  if (!s) return 0;
  text_string(t, s, n);
  JS_FreeCString(c, s);
  return 1;
}
static void forget(JSContext *c) { JS_FreeValue(c, JS_GetException(c)); }

static int has_to_json(JSContext *c, JSValueConst v) {
  JSValue f = JS_GetPropertyStr(c, v, "toJSON");
  if (JS_IsException(f)) return -1;
  int yes = JS_IsFunction(c, f);
  JS_FreeValue(c, f);
  return yes;
}
static JSValue stub_handler = JS_UNDEFINED; /* of the proxies that stand for service bindings: no worker's own proxies */
static int is_proxy(JSContext *c, JSValueConst v) {
  return JS_GetClassID(v) == JS_CLASS_PROXY && !js_same_value(c, JS_VALUE_GET_OBJ(v)->u.proxy_data->handler, stub_handler);
}
static int is_plain(JSContext *c, JSValueConst v) { /* what JSON.stringify() is asked for; -1 when that throws */
  if (JS_IsArray(v) || is_proxy(c, v)) return 1;
  JSValue proto = JS_GetPrototype(c, v);
  if (JS_IsException(proto)) return -1;
  int yes = JS_IsNull(proto) || js_same_value(c, proto, c->class_proto[JS_CLASS_OBJECT]);
  JS_FreeValue(c, proto);
  return yes;
}
static int text_json(JSContext *c, Text *t, JSValueConst v) { /* JSON.stringify(v); undefined is null; 0 when it throws */
  JSValue s = JS_JSONStringify(c, v, JS_UNDEFINED, JS_UNDEFINED);
  if (JS_IsException(s)) return 0;
  if (JS_IsUndefined(s)) {
    text_add(t, "null", 4);
    return 1;
  }
  size_t n;
  const char *p = JS_ToCStringLen(c, &n, s);
  JS_FreeValue(c, s);
  if (!p) return 0;
  text_add(t, p, n);
  JS_FreeCString(c, p);
  return 1;
}

/* JSON.stringify(v) of ordinary data, for which nothing of the worker's can run: plain objects and arrays without toJSON,
 * getters or gaps, of simple strings, numbers, booleans and null. 0 for everything else, and when it is nested deeply or
 * in a circle: then what was written is to be taken back. Four times as fast as text_json(). */
static int text_plain(JSContext *c, Text *t, JSValueConst v, int depth) {
  switch (JS_VALUE_GET_NORM_TAG(v)) {
  case JS_TAG_STRING: return text_simple(t, JS_VALUE_GET_STRING(v));
  case JS_TAG_INT: text_int(t, JS_VALUE_GET_INT(v)); return 1;
  case JS_TAG_BOOL:
    if (JS_VALUE_GET_BOOL(v))
      text_add(t, "true", 4);
    else
      text_add(t, "false", 5);
    return 1;
  case JS_TAG_NULL: text_add(t, "null", 4); return 1;
  case JS_TAG_FLOAT64: {
    size_t n;
    const char *s = isfinite(JS_VALUE_GET_FLOAT64(v)) ? JS_ToCStringLen(c, &n, v) : NULL;
    if (!s) return 0;
    text_add(t, s, n);
    JS_FreeCString(c, s);
    return 1;
  }
  case JS_TAG_OBJECT: break;
  default: return 0;
  }
  JSObject *o = JS_VALUE_GET_OBJ(v);
  JSShape *shape = o->shape;
  JSProperty *unused;
  int array = o->class_id == JS_CLASS_ARRAY;
  if (depth > 16 || (!array && (o->class_id != JS_CLASS_OBJECT || o->is_exotic))) return 0;
  JSObject *base = JS_VALUE_GET_OBJ(c->class_proto[JS_CLASS_OBJECT]), *list = JS_VALUE_GET_OBJ(c->class_proto[JS_CLASS_ARRAY]);
  if (shape->proto != (array ? list : base) || find_own_property(&unused, base, JS_ATOM_toJSON)) return 0;
  if (array) {
    if (!o->fast_array || shape->prop_count != 1 || list->shape->proto != base || find_own_property(&unused, list, JS_ATOM_toJSON)) return 0;
    JSValue length = o->prop[0].u.value; /* more than it holds after `new Array(3)` or a shorter `length` */
    if (JS_VALUE_GET_TAG(length) != JS_TAG_INT || (uint32_t)JS_VALUE_GET_INT(length) != o->u.array.count) return 0;
    text_char(t, '[');
    for (uint32_t i = 0; i < o->u.array.count; i++) {
      if (i) text_char(t, ',');
      if (!text_plain(c, t, o->u.array.u.values[i], depth + 1)) return 0;
    }
    text_char(t, ']');
    return 1;
  }
  JSShapeProperty *properties = get_shape_prop(shape);
  int some = 0;
  text_char(t, '{');
  for (int i = 0; i < shape->prop_count; i++) {
    JSShapeProperty *p = &properties[i];
    if (p->atom == JS_ATOM_NULL) continue;
    if (p->flags & JS_PROP_TMASK || __JS_AtomIsTaggedInt(p->atom) || p->atom == JS_ATOM_toJSON) return 0;
    if (!(p->flags & JS_PROP_ENUMERABLE)) continue;
    JSString *name = c->rt->atom_array[p->atom];
    if (name->atom_type != JS_ATOM_TYPE_STRING) continue; /* a symbol */
    if (JS_IsUndefined(o->prop[i].u.value)) continue;
    if (some++) text_char(t, ',');
    if (!text_simple(t, name)) return 0;
    text_char(t, ':');
    if (!text_plain(c, t, o->prop[i].u.value, depth + 1)) return 0;
  }
  text_char(t, '}');
  return 1;
}

/* One argument of console.*, by workerd's rules (docs/compatibility.md, "Console"). */
static void text_argument(JSContext *c, Text *t, JSValueConst v) {
  size_t start = t->n;
  switch (JS_VALUE_GET_NORM_TAG(v)) {
  case JS_TAG_STRING:
  case JS_TAG_STRING_ROPE:
    if (text_value(c, t, v)) return;
    break;
  case JS_TAG_INT:
    text_int(t, JS_VALUE_GET_INT(v));
    return;
  case JS_TAG_BOOL:
    if (JS_VALUE_GET_BOOL(v))
      text_add(t, "true", 4);
    else
      text_add(t, "false", 5);
    return;
  case JS_TAG_NULL:
  case JS_TAG_UNDEFINED:
    text_add(t, "null", 4);
    return;
  case JS_TAG_FLOAT64:
    if (text_json(c, t, v)) return;
    break;
  case JS_TAG_BIG_INT:
  case JS_TAG_SHORT_BIG_INT:
    if (text_value(c, t, v)) return;
    break;
  case JS_TAG_OBJECT: {
    size_t lost = t->lost;
    if (text_plain(c, t, v, 0)) return;
    t->n = start;
    t->lost = lost;
    int json = is_proxy(c, v) ? 1 : has_to_json(c, v);
    if (json == 0) json = is_plain(c, v);
    if (json > 0 ? text_json(c, t, v) : json == 0 && text_value(c, t, v)) return;
    break;
  }
  default: /* symbols */
    text_add(t, "{}", 2);
    return;
  }
  forget(c);
  t->n = start;
  text_add(t, "{}", 2);
}

/* How long the first line of an error's stack is, "Name: message" and the line break; 0 when it has none. */
static size_t stack_head(const char *s, size_t n, const char *message, size_t length) {
  if (!length) {
    const char *end = memchr(s, '\n', n);
    size_t first = end ? (size_t)(end - s) : n;
    return memchr(s, ' ', first) ? 0 : end ? first + 1 : n;
  }
  const char *at = memmem(s, n < length + 256 ? n : length + 256, message, length);
  if (!at || memchr(s, '\n', at - s) || (at != s && (at - s < 2 || memcmp(at - 2, ": ", 2)))) return 0;
  size_t end = at - s + length;
  return end == n ? n : s[end] == '\n' ? end + 1 : 0;
}

/* The worker's frames of a stack: without ours, and without the native ones that ours called or were called through. */
static void worker_frames(const char *s, size_t n, Text *to) {
  size_t kept = 0; /* how much of `to` is sure to stay: native frames above one of ours go with it */
  to->n = 0;
  for (const char *end, *last = s + n; s < last; s = end + 1) {
    end = memchr(s, '\n', last - s);
    if (!end) end = last;
    size_t length = end - s;
    if (length > 19 && memmem(s, length, "otelbridge:prelude:", 19)) {
      to->n = kept;
      continue;
    }
    if (to->n) text_char(to, '\n');
    text_add(to, s, length);
    if (length < 8 || memcmp(end - 8, "(native)", 8)) kept = to->n;
  }
}

/* The stack of a new error, as V8 writes it (engine/patches.py): its first line, then the worker's frames. */
JSValue ob_stack(JSContext *c, JSValueConst error, const char *frames, size_t n) {
  Text all = {0}, own = {0};
  JSValue pending = JS_GetException(c), head = js_error_toString(c, error, 0, NULL);
  size_t length;
  const char *s = JS_IsException(head) ? NULL : JS_ToCStringLen(c, &length, head);
  if (s) text_add(&all, s, length);
  if (!s) forget(c);
  JS_FreeCString(c, s);
  JS_FreeValue(c, head);
  JS_Throw(c, pending);
  worker_frames(frames, n, &own);
  if (all.n && own.n) text_char(&all, '\n');
  if (own.n) text_add(&all, own.p, own.n);
  JSValue v = JS_NewStringLen(c, all.p ? all.p : "", all.n);
  block_free(all.p);
  block_free(own.p);
  return v;
}

/* {name, message, stack} of a native Error, as a member of errorInfo; 0 when a getter throws, or a text is a symbol. What
 * is undefined reads as String(error) would have it. */
static int text_error(JSContext *c, Text *t, JSValueConst e) {
  size_t n, length = 0;
  const char *s, *message = NULL;
  JSValue v = JS_GetPropertyStr(c, e, "name");
  text_add(t, "{\"name\":", 8);
  int good = !JS_IsException(v);
  if (good && JS_IsUndefined(v))
    text_add(t, "\"Error\"", 7);
  else
    good = good && text_value(c, t, v);
  JS_FreeValue(c, v);
  if (!good) return 0;
  v = JS_GetPropertyStr(c, e, "message");
  text_add(t, ",\"message\":", 11);
  if (JS_IsException(v) || !(message = text_of_value(c, &length, JS_IsUndefined(v) ? e : v))) {
    JS_FreeValue(c, v);
    return 0;
  }
  JS_FreeValue(c, v);
  text_string(t, message, length);
  v = JS_GetPropertyStr(c, e, "stack");
  good = !JS_IsException(v);
  if (good && !JS_IsUndefined(v) && (s = text_of_value(c, &n, v))) {
    Text frames = {.limit = t->limit};
    size_t head = stack_head(s, n, message, length);
    worker_frames(s + head, n - head, &frames);
    if (frames.n) {
      text_add(t, ",\"stack\":", 9);
      text_string(t, frames.p, frames.n);
    }
    block_free(frames.p);
    JS_FreeCString(c, s);
  } else {
    good = good && JS_IsUndefined(v);
  }
  JS_FreeCString(c, message);
  JS_FreeValue(c, v);
  text_char(t, '}');
  return good;
}

static void warn_once(const char *json, size_t n) {
  S.flags |= FLAG_TRUNCATED;
  ring_put(LOG, WARN, span, json, n, NULL, 0);
}

/* The start of a line that does not fit, without its errorInfo, and a warning about it. */
static void cut_line(int level, Text *line, size_t size) {
  Text cut = {0};
  char note[128];
  size_t n = line->n;
  if (n > CUT_LINE) {
    n = CUT_LINE;
    while (n && ((unsigned char)line->p[n] & 0xC0) == 0x80) n--;
    text_char(&cut, '[');
    text_string(&cut, line->p, n);
    text_char(&cut, ']');
  } else { /* only the errorInfo was too long */
    text_add(&cut, line->p, n);
  }
  if (ring_put(LOG, level, span, cut.p, cut.n, NULL, 0)) log_left -= LINE_COST + cut.n;
  block_free(cut.p);
  S.dropped_bytes -= n;
  warn_once(note, snprintf(note, sizeof note, "[\"Log line limit exceeded: a line of %u bytes was cut to %u.\"]",
                           (unsigned)size, (unsigned)n));
}

/* The budget: a flood ends with one warning and the rest is counted; a single giant line is cut on its own, so that
 * what follows it is still recorded. */
static void log_line(int level, Text *line, Text *info) {
  size_t cost = LINE_COST + line->n + line->lost + info->n + info->lost;
  if (log_full) {
    S.dropped_logs++;
    S.dropped_bytes += cost;
    return;
  }
  if (cost <= log_left && ring_put(LOG, level, span, line->p, line->n, info->p, info->n)) {
    log_left -= cost;
    return;
  }
  S.dropped_bytes += cost;
  if (cost > S.log_budget / 4 && log_left > CUT_ROOM) {
    cut_line(level, line, cost - LINE_COST);
    return;
  }
  S.dropped_logs++;
  log_full = 1;
  warn_once(log_limit_text, sizeof log_limit_text - 1);
}

static JSValue js_console(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv, int level) {
  static Text kept; /* reused: an allocation per line would be a third of its cost */
  static int depth; /* toJSON, toString and getters may log in their turn: they get a buffer of their own */
  Text inner = {0}, info = {0}, *line = depth++ ? &inner : &kept;
  int errors = 0;
  line->n = line->lost = 0;
  line->limit = info.limit = S.log_budget + CUT_LINE; /* more than ever fits, so that what is kept is whole */
  text_char(line, '[');
  for (int i = 0; i < argc; i++) {
    if (i) text_char(line, ',');
    text_argument(c, line, argv[i]);
    if (JS_IsError(argv[i])) errors++;
  }
  text_char(line, ']');
  if (errors) {
    text_char(&info, '[');
    int good = 1;
    for (int i = 0; i < argc && good; i++) {
      if (i) text_char(&info, ',');
      if (JS_IsError(argv[i]))
        good = text_error(c, &info, argv[i]);
      else
        text_add(&info, "null", 4);
    }
    text_char(&info, ']');
    if (!good) { /* as in workerd: of all arguments, or of none */
      forget(c);
      info.n = info.lost = 0;
    }
  }
  log_line(level, line, &info);
  depth--;
  if (kept.cap > 65536 && !depth) {
    block_free(kept.p);
    kept = (Text){0};
  }
  block_free(inner.p);
  block_free(info.p);
  return JS_UNDEFINED;
}

/* record(kind, json, span, last): an exception, span or diagnostics event. `last`: the exception that ends the
 * invocation, for which room is reserved. Returns whether it was kept. */
static JSValue js_record(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  int32_t kind, in_span;
  size_t n;
  if (JS_ToInt32(c, &kind, argv[0]) || JS_ToInt32(c, &in_span, argv[2])) return JS_EXCEPTION;
  int last = JS_ToBool(c, argv[3]);
  const char *s = JS_ToCStringLen(c, &n, argv[1]);
  if (!s) return JS_EXCEPTION;
  uint32_t *left = kind == EXCEPTION ? &exception_left : &other_left;
  size_t cost = LINE_COST + n;
  int kept = 0;
  if (last || (cost <= *left && !(kind == EXCEPTION && exception_full))) {
    kept = ring_put(kind, ERROR, in_span, s, n, NULL, 0);
    if (kept && !last) *left -= cost;
  }
  if (!kept) {
    S.flags |= FLAG_TRUNCATED;
    S.dropped_bytes += cost;
    if (kind == EXCEPTION) {
      S.dropped_exceptions++;
      if (!exception_full) ring_put(EXCEPTION, ERROR, in_span, exception_limit_text, sizeof exception_limit_text - 1, NULL, 0);
      exception_full = 1;
    }
  }
  JS_FreeCString(c, s);
  return JS_NewBool(c, kept);
}

/* ------------------------------------------------------------------------------------------------------ messages */

static Text out;

static int bytes_of(JSContext *c, JSValueConst v, const uint8_t **p, size_t *n) { /* of an ArrayBuffer or a view */
  JSObject *o = JS_VALUE_GET_TAG(v) == JS_TAG_OBJECT ? JS_VALUE_GET_OBJ(v) : NULL;
  if (!o) return 0;
  if (o->class_id == JS_CLASS_ARRAY_BUFFER) {
    JSArrayBuffer *b = o->u.array_buffer;
    *p = b->data;
    *n = b->detached ? 0 : b->byte_length;
    return 1;
  }
  if (!is_typed_array(o->class_id) && o->class_id != JS_CLASS_DATAVIEW) return 0;
  JSTypedArray *view = o->u.typed_array;
  JSArrayBuffer *b = view->buffer->u.array_buffer;
  size_t size = b->detached ? 0 : b->byte_length, offset = view->offset;
  size_t length = view->track_rab ? (size > offset ? size - offset : 0) : view->length;
  if (offset + length > size) length = 0; /* the buffer was resized or detached under the view */
  *p = b->data + (length ? offset : 0);
  *n = length;
  return 1;
}

/* A message to the host. blob: string (sent as UTF-8), ArrayBuffer, view or undefined. */
static JSValue send(JSContext *c, const char *json, size_t json_len, JSValueConst given) {
  static const char zeros[8];
  size_t blob_len = 0;
  const uint8_t *blob = NULL;
  const char *text = NULL;
  if (!JS_IsUndefined(given) && !bytes_of(c, given, &blob, &blob_len)) {
    text = JS_ToCStringLen(c, &blob_len, given);
    if (!text) return JS_EXCEPTION;
    blob = (const uint8_t *)text;
  }
  uint32_t head[2] = {json_len, blob_len};
  text_add(&out, (const char *)head, 8);
  text_add(&out, json, json_len);
  if (blob_len) text_add(&out, (const char *)blob, blob_len);
  text_add(&out, zeros, -(json_len + blob_len) & 7);
  if (text) JS_FreeCString(c, text);
  return JS_UNDEFINED;
}
/* send(json, blob) */
static JSValue js_send(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  size_t n;
  const char *json = JS_ToCStringLen(c, &n, argv[0]);
  if (!json) return JS_EXCEPTION;
  JSValue r = send(c, json, n, argc > 1 ? argv[1] : JS_UNDEFINED);
  JS_FreeCString(c, json);
  return r;
}
static int text_of(JSContext *c, Text *t, JSValueConst list, uint32_t i) { /* list[i] as a JSON string */
  JSValue v = JS_GetPropertyUint32(c, list, i);
  int done = !JS_IsException(v) && text_value(c, t, v);
  JS_FreeValue(c, v);
  return done;
}
/* respond(status, statusText, pairs, kind, done, blob): send(["response", ...]) without JSON.stringify, which is a
 * sixth of what an ordinary invocation costs. `pairs` is a hostList() of such. */
static JSValue js_respond(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  static Text t; /* reused; nothing of the worker's runs in here */
  int32_t status, kind;
  int64_t count = 0;
  if (JS_ToInt32(c, &status, argv[0]) || JS_ToInt32(c, &kind, argv[3]) || JS_GetLength(c, argv[2], &count)) return JS_EXCEPTION;
  t.n = 0;
  text_add(&t, "[\"response\",", 12);
  text_int(&t, status);
  text_char(&t, ',');
  int good = text_value(c, &t, argv[1]);
  text_add(&t, ",[", 2);
  for (int64_t i = 0; good && i < count; i++) {
    JSValue pair = JS_GetPropertyUint32(c, argv[2], i);
    text_add(&t, i ? ",[" : "[", i ? 2 : 1);
    good = !JS_IsException(pair) && text_of(c, &t, pair, 0);
    text_char(&t, ',');
    good = good && text_of(c, &t, pair, 1);
    text_char(&t, ']');
    JS_FreeValue(c, pair);
  }
  text_add(&t, "],", 2);
  text_int(&t, kind);
  text_add(&t, JS_ToBool(c, argv[4]) ? ",true]" : ",false]", JS_ToBool(c, argv[4]) ? 6 : 7);
  return good ? send(c, t.p, t.n, argv[5]) : JS_EXCEPTION;
}

/* -------------------------------------------------------------------------------------------------------- UTF-8 */

static JSValue js_utf8_encode(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  size_t n;
  const char *s = JS_ToCStringLen(c, &n, argv[0]);
  if (!s) return JS_EXCEPTION;
  JSValue bytes = JS_NewUint8ArrayCopy(c, (const uint8_t *)s, n);
  JS_FreeCString(c, s);
  if (JS_IsException(bytes)) return bytes;
  size_t size;
  uint8_t *p = JS_GetUint8Array(c, &size, bytes);
  for (size_t i = 0; p && i + 2 < size; i++) /* lone surrogates */
    if (p[i] == 0xED && p[i + 1] >= 0xA0) memcpy(p + i, "\xEF\xBF\xBD", 3), i += 2;
  return bytes;
}

/* The length of the valid UTF-8 sequence at p, or 0; *bad gets how many bytes the maximal invalid part has. */
static int utf8_sequence(const uint8_t *p, size_t n, int *bad) {
  uint8_t c = p[0], low = 0x80, high = 0xBF;
  int need = c < 0x80 ? 0 : c >= 0xC2 && c <= 0xDF ? 1 : c >= 0xE0 && c <= 0xEF ? 2 : c >= 0xF0 && c <= 0xF4 ? 3 : -1;
  *bad = 1;
  if (need < 0) return 0;
  if (c == 0xE0) low = 0xA0;
  if (c == 0xED) high = 0x9F;
  if (c == 0xF0) low = 0x90;
  if (c == 0xF4) high = 0x8F;
  for (int i = 1; i <= need; i++) {
    if ((size_t)i >= n || p[i] < low || p[i] > high) {
      *bad = i;
      return 0;
    }
    low = 0x80;
    high = 0xBF;
  }
  return need + 1;
}

/* utf8Decode(bytes, fatal, ignoreBOM) */
static JSValue js_utf8_decode(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  const uint8_t *p;
  size_t n;
  if (!bytes_of(c, argv[0], &p, &n)) return JS_ThrowTypeError(c, "not an ArrayBuffer or a view of one");
  int fatal = argc > 1 && JS_ToBool(c, argv[1]), keep_bom = argc > 2 && JS_ToBool(c, argv[2]);
  if (!keep_bom && n >= 3 && !memcmp(p, "\xEF\xBB\xBF", 3)) p += 3, n -= 3;
  size_t good = 0;
  int bad;
  while (good < n) {
    int length = utf8_sequence(p + good, n - good, &bad);
    if (!length) break;
    good += length;
  }
  if (good == n) return JS_NewStringLen(c, (const char *)p, n);
  if (fatal) return JS_ThrowTypeError(c, "Failed to decode input.");
  Text t = {0};
  text_add(&t, (const char *)p, good);
  for (size_t i = good; i < n;) {
    int length = utf8_sequence(p + i, n - i, &bad);
    if (length)
      text_add(&t, (const char *)p + i, length), i += length;
    else
      text_add(&t, "\xEF\xBF\xBD", 3), i += bad;
  }
  JSValue s = JS_NewStringLen(c, t.p, t.n);
  block_free(t.p);
  return s;
}

/* --------------------------------------------------------------------------------------------------- randomness */

/* ChaCha20 keyed by the host for each invocation: instances of one image would repeat each other's numbers. */
static uint32_t chacha_key[8];
static uint64_t chacha_block;

static void chacha(uint8_t *to) {
  uint32_t x[16], s[16] = {0x61707865, 0x3320646e, 0x79622d32, 0x6b206574};
  memcpy(s + 4, chacha_key, 32);
  s[12] = chacha_block;
  s[13] = chacha_block >> 32;
  s[14] = s[15] = 0;
  chacha_block++;
  memcpy(x, s, sizeof x);
#define ROTATE(v, n) (((v) << (n)) | ((v) >> (32 - (n))))
#define QUARTER(a, b, c, d)                                            \
  x[a] += x[b], x[d] = ROTATE(x[d] ^ x[a], 16), x[c] += x[d], x[b] = ROTATE(x[b] ^ x[c], 12), \
  x[a] += x[b], x[d] = ROTATE(x[d] ^ x[a], 8), x[c] += x[d], x[b] = ROTATE(x[b] ^ x[c], 7)
  for (int i = 0; i < 10; i++) {
    QUARTER(0, 4, 8, 12);
    QUARTER(1, 5, 9, 13);
    QUARTER(2, 6, 10, 14);
    QUARTER(3, 7, 11, 15);
    QUARTER(0, 5, 10, 15);
    QUARTER(1, 6, 11, 12);
    QUARTER(2, 7, 8, 13);
    QUARTER(3, 4, 9, 14);
  }
  for (int i = 0; i < 16; i++) x[i] += s[i];
  memcpy(to, x, 64);
}
static void reseed(void) {
  uint8_t block[64];
  memcpy(chacha_key, S.seed, 32);
  chacha_block = 0;
  chacha(block);
  memcpy(&ctx->random_state, block, 8);
  if (!ctx->random_state) ctx->random_state = 1;
  memcpy(chacha_key, block + 32, 32); /* the seed itself is not kept */
  memset(S.seed, 0, 32);
  S.reseed = 0;
}
static JSValue js_random(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  const uint8_t *p;
  size_t n;
  uint8_t block[64];
  if (!bytes_of(c, argv[0], &p, &n)) return JS_ThrowTypeError(c, "not a view");
  for (size_t i = 0; i < n; i += 64) {
    chacha(block);
    memcpy((uint8_t *)p + i, block, n - i < 64 ? n - i : 64);
  }
  return js_dup(argv[0]);
}

/* ---------------------------------------------------------------------------------------------- small questions */

static JSValue js_now(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv, int monotonic) {
  return JS_NewFloat64(c, (monotonic ? S.mono_ns : S.now_ns) / 1e6);
}
static JSValue js_is_error(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  return JS_NewBool(c, JS_IsError(argv[0]));
}
static JSValue js_class_of(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  JSClassID id = JS_VALUE_GET_TAG(argv[0]) == JS_TAG_OBJECT ? JS_GetClassID(argv[0]) : 0;
  return id ? JS_AtomToString(c, c->rt->class_array[id].class_name) : JS_UNDEFINED;
}
/* workerFrames(stack, message): the worker's part of a stack, without the first line of an error of this message. */
static JSValue js_worker_frames(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  size_t n, length;
  const char *s = JS_ToCStringLen(c, &n, argv[0]), *message = s ? JS_ToCStringLen(c, &length, argv[1]) : NULL;
  if (!message) {
    JS_FreeCString(c, s);
    return JS_EXCEPTION;
  }
  Text frames = {0};
  size_t head = stack_head(s, n, message, length);
  worker_frames(s + head, n - head, &frames);
  JS_FreeCString(c, message);
  JS_FreeCString(c, s);
  JSValue v = JS_NewStringLen(c, frames.p ? frames.p : "", frames.n);
  block_free(frames.p);
  return v;
}
/* stubHandler(handler): how the proxies of service bindings are known. */
static JSValue js_stub_handler(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  stub_handler = js_dup(argv[0]);
  return JS_UNDEFINED;
}
static JSValue js_span(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) { return JS_NewInt32(c, span); }
/* setSpan(number): the number before. */
static JSValue js_set_span(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  int32_t n;
  if (JS_ToInt32(c, &n, argv[0])) return JS_EXCEPTION;
  JSValue before = JS_NewInt32(c, span);
  span = n;
  return before;
}

/* ------------------------------------------------------------------------------------------------------ modules */

/* Workers may not make code from strings; the engine itself must while it loads their modules. */
static __typeof__(((JSContext *)0)->eval_internal) eval_allowed;

static JSValue throw_eval_error(JSContext *c, const char *text, ...) {
  va_list ap;
  va_start(ap, text);
  JSValue e = JS_ThrowError(c, JS_EVAL_ERROR, text, ap);
  va_end(ap);
  return e;
}
static JSValue eval_refused(JSContext *c, JSValueConst this_obj, const char *input, size_t n, const char *filename,
                            int line, int flags, int scope) {
  return throw_eval_error(c, "Code generation from strings disallowed for this context");
}
static JSValue compile(JSContext *c, const char *source, size_t n, const char *name, int flags) {
  c->eval_internal = eval_allowed;
  JSValue v = JS_Eval(c, source, n, name, flags);
  c->eval_internal = eval_refused;
  return v;
}

typedef struct Module {
  char *name, *source;
  size_t length;
  int type; /* 'j' JavaScript, 'v' a value: cjs, json, text, data and built-in modules */
  JSValue value;
  struct Module *next;
} Module;
static Module *modules;

static Module *find_module(const char *name) {
  for (Module *m = modules; m; m = m->next)
    if (!strcmp(m->name, name)) return m;
  return NULL;
}
static Module *new_module(JSContext *c, JSValueConst name) {
  const char *s = JS_ToCString(c, name);
  if (!s) return NULL;
  Module *m = block_calloc(1, sizeof *m);
  if (m) {
    size_t n = strlen(s) + 1;
    m->name = block_alloc(n);
    if (m->name) memcpy(m->name, s, n);
    m->value = JS_UNDEFINED;
    m->next = modules;
    modules = m;
  }
  JS_FreeCString(c, s);
  return m;
}

/* addSource(name, bytes): an ES module. */
static JSValue js_add_source(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  const uint8_t *p;
  size_t n;
  if (!bytes_of(c, argv[1], &p, &n)) return JS_ThrowTypeError(c, "not bytes");
  Module *m = new_module(c, argv[0]);
  if (!m || !(m->source = block_alloc(n + 1))) return JS_ThrowOutOfMemory(c);
  memcpy(m->source, p, n);
  m->source[n] = 0; /* QuickJS's parser wants the terminator */
  m->length = n;
  m->type = 'j';
  return JS_UNDEFINED;
}
/* addValue(name, exports): a module whose exports are the own enumerable members of an object. */
static JSValue js_add_value(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  Module *m = new_module(c, argv[0]);
  if (!m) return JS_ThrowOutOfMemory(c);
  m->type = 'v';
  m->value = js_dup(argv[1]);
  return JS_UNDEFINED;
}
static int fill_value_module(JSContext *c, JSModuleDef *d) {
  JSPropertyEnum *members;
  uint32_t count;
  const char *name = JS_AtomToCString(c, d->module_name);
  Module *m = name ? find_module(name) : NULL;
  JS_FreeCString(c, name);
  if (!m || JS_GetOwnPropertyNames(c, &members, &count, m->value, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY)) return -1;
  int failed = 0;
  for (uint32_t i = 0; i < count && !failed; i++) {
    const char *key = JS_AtomToCString(c, members[i].atom);
    JSValue v = key ? JS_GetProperty(c, m->value, members[i].atom) : JS_EXCEPTION;
    failed = JS_IsException(v) || JS_SetModuleExport(c, d, key, v);
    JS_FreeCString(c, key);
  }
  JS_FreePropertyEnum(c, members, count);
  return failed ? -1 : 0;
}
static char importer[512]; /* the module whose import is looked up */
static char *resolve_module(JSContext *c, const char *base, const char *name, void *opaque) {
  snprintf(importer, sizeof importer, "%s", base);
  return js_default_module_normalize_name(c, base, name + (*name == '/')); /* all names are relative to one root */
}
static JSModuleDef *load_module(JSContext *c, const char *name, void *opaque) {
  Module *m = find_module(name);
  if (!m) {
    if (*importer)
      JS_ThrowPlainError(c, "No such module \"%s\".\n  imported from \"%s\"", name, importer);
    else
      JS_ThrowPlainError(c, "No such module \"%s\".", name);
    return NULL;
  }
  if (m->type == 'j') {
    JSValue f = compile(c, m->source, m->length, name, JS_EVAL_TYPE_MODULE | JS_EVAL_FLAG_COMPILE_ONLY);
    if (JS_IsException(f)) return NULL;
    JSModuleDef *d = JS_VALUE_GET_PTR(f);
    JS_FreeValue(c, f);
    return d;
  }
  JSPropertyEnum *members;
  uint32_t count;
  JSModuleDef *d = JS_NewCModule(c, name, fill_value_module);
  if (!d || JS_GetOwnPropertyNames(c, &members, &count, m->value, JS_GPN_STRING_MASK | JS_GPN_ENUM_ONLY)) return NULL;
  for (uint32_t i = 0; i < count; i++) {
    const char *key = JS_AtomToCString(c, members[i].atom);
    if (!key || JS_AddModuleExport(c, d, key)) d = NULL;
    JS_FreeCString(c, key);
    if (!d) break;
  }
  JS_FreePropertyEnum(c, members, count);
  return d;
}

/* compileFunction(source, name): evaluates the text of one function expression; for CommonJS. */
static JSValue js_compile_function(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  size_t n;
  const char *source = JS_ToCStringLen(c, &n, argv[0]), *name = JS_ToCString(c, argv[1]);
  JSValue v = source && name ? compile(c, source, n, name, JS_EVAL_TYPE_GLOBAL) : JS_EXCEPTION;
  JS_FreeCString(c, source);
  JS_FreeCString(c, name);
  return v;
}
/* loadMain(name): a promise of the module's namespace. */
static JSValue js_load_main(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  const char *name = JS_ToCString(c, argv[0]);
  if (!name) return JS_EXCEPTION;
  JSValue p = JS_LoadModule(c, "", name);
  JS_FreeCString(c, name);
  return p;
}
/* then(promise, resolved, rejected): Promise.prototype.then without a promise of its own, as await does it. It asks
 * nothing of the promise: a worker may have put its own class behind `constructor` or Symbol.species. */
static JSValue js_then(JSContext *c, JSValueConst this_, int argc, JSValueConst *argv) {
  JSValueConst none[2] = {JS_UNDEFINED, JS_UNDEFINED};
  if (JS_PromiseState(c, argv[0]) == JS_PROMISE_NOT_A_PROMISE) return JS_ThrowTypeError(c, "not a promise");
  return perform_promise_then(c, argv[0], argv + 1, none) ? JS_EXCEPTION : JS_UNDEFINED;
}

static void rejection(JSContext *c, JSValueConst promise, JSValueConst reason, bool handled, void *opaque) {
  JSValueConst args[3] = {promise, reason, handled ? JS_TRUE : JS_FALSE};
  JSValue r = JS_Call(c, rejected, JS_UNDEFINED, 3, args);
  if (JS_IsException(r)) forget(c);
  JS_FreeValue(c, r);
}

/* ------------------------------------------------------------------------------------------------------- exports */

static const JSCFunctionListEntry natives[] = {
    JS_CFUNC_DEF("send", 2, js_send),
    JS_CFUNC_DEF("respond", 6, js_respond),
    JS_CFUNC_DEF("record", 4, js_record),
    JS_CFUNC_DEF("utf8Encode", 1, js_utf8_encode),
    JS_CFUNC_DEF("utf8Decode", 3, js_utf8_decode),
    JS_CFUNC_DEF("random", 1, js_random),
    JS_CFUNC_MAGIC_DEF("now", 0, js_now, 0),
    JS_CFUNC_MAGIC_DEF("monotonic", 0, js_now, 1),
    JS_CFUNC_DEF("isError", 1, js_is_error),
    JS_CFUNC_DEF("classOf", 1, js_class_of),
    JS_CFUNC_DEF("workerFrames", 2, js_worker_frames),
    JS_CFUNC_DEF("stubHandler", 1, js_stub_handler),
    JS_CFUNC_DEF("span", 0, js_span),
    JS_CFUNC_DEF("setSpan", 1, js_set_span),
    JS_CFUNC_DEF("addSource", 2, js_add_source),
    JS_CFUNC_DEF("addValue", 2, js_add_value),
    JS_CFUNC_DEF("compileFunction", 2, js_compile_function),
    JS_CFUNC_DEF("loadMain", 1, js_load_main),
    JS_CFUNC_DEF("then", 3, js_then),
};

EXPORT("ob_state") void *ob_state(void) { return &S; }

EXPORT("ob_reserve") void *ob_reserve(uint32_t n) {
  if (n > S.in_cap) {
    void *p = block_realloc((void *)(uintptr_t)S.in_ptr, n);
    if (!p) {
      S.flags |= FLAG_OUT_OF_MEMORY;
      return NULL;
    }
    S.in_ptr = (uint32_t)(uintptr_t)p;
    S.in_cap = n;
  }
  return (void *)(uintptr_t)S.in_ptr;
}

/* The prelude is compiled in a runtime of its own, and only its bytecode is loaded into the worker's: what the parser
 * leaves behind would spread the heap over four times as many pages, and a fresh instance pays for each one it touches.
 * The functions lose their source text: they print as native code. */
static uint8_t *prelude_code(size_t *n) {
  JSRuntime *r = JS_NewRuntime2(&heap, NULL);
  JSContext *c = JS_NewContext(r);
  JSValue f = JS_Eval(c, ob_prelude, ob_prelude_len, "otelbridge:prelude", JS_EVAL_TYPE_GLOBAL | JS_EVAL_FLAG_COMPILE_ONLY);
  uint8_t *code = NULL, *made = JS_IsException(f) ? NULL : JS_WriteObject(c, n, f, JS_WRITE_OBJ_BYTECODE | JS_WRITE_OBJ_STRIP_SOURCE);
  if (made && (code = block_alloc(*n))) memcpy(code, made, *n);
  js_free(c, made);
  JS_FreeValue(c, f);
  JS_FreeContext(c);
  JS_FreeRuntime(r);
  return code;
}
static JSValue load_prelude(const uint8_t *code, size_t n) {
  if (!code) return JS_ThrowSyntaxError(ctx, "the prelude does not compile");
  JSValue f = JS_ReadObject(ctx, code, n, JS_READ_OBJ_BYTECODE);
  return JS_IsException(f) ? f : JS_EvalFunction(ctx, f);
}
/* Built-in functions are made when they are first looked at; here all of them, once for all instances. */
static int make_builtins(void) {
  struct list_head *el;
  list_for_each(el, &rt->gc_obj_list) { /* it grows meanwhile */
    JSObject *o = (JSObject *)list_entry(el, JSGCObjectHeader, link);
    if (JS_GC_TYPE(o) != JS_GC_OBJ_TYPE_JS_OBJECT) continue;
    for (int i = 0; i < o->shape->prop_count; i++) {
      JSShapeProperty *p = &get_shape_prop(o->shape)[i];
      if (p->atom != JS_ATOM_NULL && (p->flags & JS_PROP_TMASK) == JS_PROP_AUTOINIT)
        if (JS_AutoInitProperty(ctx, o, p->atom, &o->prop[i], p)) return -1;
    }
  }
  return 0;
}
/* What the start has made is immortal from here on (engine/patches.py), the collector has forgotten it, its arenas count as
 * full and the holes of its heap as used. So a worker writes to next to none of its pages. */
static void forget_list(struct list_head *list, struct list_head *kept) {
  list_add(kept, list);
  list_del(list);
  init_list_head(list);
}
static void seal(void) {
  static struct list_head objects, arenas[JS_ARENA_BLOCK_SIZE_COUNT];
  forget_list(&rt->gc_obj_list, &objects);
  for (int i = 0; i < JS_ARENA_BLOCK_SIZE_COUNT; i++) {
    struct list_head *el;
    ob_arenas[i] = 0;
    forget_list(&rt->arena_state.arena_list[i], &arenas[i]);
    list_for_each(el, &arenas[i]) {
      JSArena *arena = list_entry(el, JSArena, link);
      for (int k = 0; k < arena->n_blocks; k++)
        ((JSMallocBlockHeader *)arena_get_block(arena, k, arena_block_sizes[i]))->ref_count = 2 * OB_IMMORTAL;
      if (arena->n_used_blocks == arena->n_blocks) continue;
      list_del(&arena->free_link);
      arena->n_blocks = arena->n_used_blocks;
      arena->first_free_block = JS_ARENA_FREE_NIL;
    }
  }
  for (Block *b = heap_first; b->size; b = block_after(b)) {
    JSMallocBlockHeader *large = (JSMallocBlockHeader *)((char *)b + BLOCK_HEADER);
    if (!(b->size & BLOCK_FREE) && large->u.block_idx == JS_ARENA_FREE_NIL && large->block_size_idx == 0xff)
      large->ref_count = 2 * OB_IMMORTAL;
  }
  heap_seal();
  ob_first_size = rt->malloc_state.malloc_size;
  JS_SetGCThreshold(rt, ob_first_size + OB_GC_STEP);
}
static int failed_start(void) { /* a defect of the prelude: the text goes where messages go */
  JSValue e = JS_GetException(ctx), stack = JS_GetPropertyStr(ctx, e, "stack");
  size_t n;
  const char *s = JS_ToCStringLen(ctx, &n, e);
  if (s) text_add(&out, s, n);
  JS_FreeCString(ctx, s);
  s = JS_ToCStringLen(ctx, &n, stack);
  text_char(&out, '\n');
  if (s) text_add(&out, s, n);
  S.out_ptr = (uint32_t)(uintptr_t)out.p;
  S.out_len = out.n;
  return -1;
}

EXPORT("ob_init") int ob_init(void) {
  static const char *const levels[] = {"debug", "log", "info", "warn", "error"};
  size_t code_len;
  booting = 1;
  uint8_t *code = prelude_code(&code_len);
  rt = JS_NewRuntime2(&heap, NULL);
  JS_SetMaxStackSize(rt, STACK_BYTES);
  ctx = JS_NewContext(rt);
  JS_SetModuleLoaderFunc(rt, resolve_module, load_module, NULL);
  eval_allowed = ctx->eval_internal;
  ctx->eval_internal = eval_refused;
  JSValue native = JS_NewObject(ctx), console = JS_NewObject(ctx), hooks = JS_NewObject(ctx);
  JS_SetPropertyFunctionList(ctx, native, natives, countof(natives));
  for (int i = 0; i < 5; i++)
    JS_SetPropertyStr(ctx, console, levels[i], JS_NewCFunctionMagic(ctx, js_console, "", 0, JS_CFUNC_generic_magic, i));
  JS_SetPropertyStr(ctx, native, "console", console);
  JS_SetPropertyStr(ctx, native, "hooks", js_dup(hooks));
  JSValue wrapper = load_prelude(code, code_len);
  if (JS_IsException(wrapper)) return failed_start();
  JSValue r = JS_Call(ctx, wrapper, JS_UNDEFINED, 1, (JSValueConst *)&native);
  if (JS_IsException(r)) return failed_start();
  JS_FreeValue(ctx, r);
  JS_FreeValue(ctx, wrapper);
  JS_FreeValue(ctx, native);
  receive = JS_GetPropertyStr(ctx, hooks, "receive");
  settle = JS_GetPropertyStr(ctx, hooks, "settle");
  rejected = JS_GetPropertyStr(ctx, hooks, "rejected");
  JS_FreeValue(ctx, hooks);
  JS_SetHostPromiseRejectionTracker(rt, rejection, NULL);
  for (JSContext *c; JS_ExecutePendingJob(rt, &c) > 0;) {
  }
  if (make_builtins()) return failed_start();
  JS_RunGC(rt);
  memset(code, 0, code_len);
  block_free(code);
  seal();
  booting = 0;
  /* Small, and side by side: most messages and logs fit into the first page. */
  ob_reserve(2048);
  text_room(&out, 680);
  ring_empty();
  return 0;
}

static void run_jobs(void) {
  JSContext *c;
  int r;
  /* An exception of a job is a throwing queueMicrotask callback: workerd records nothing of it. */
  while ((r = JS_ExecutePendingJob(rt, &c))) {
    if (r < 0) forget(c);
    span = 0;
  }
}

EXPORT("ob_run") int ob_run(uint32_t n) {
  uint32_t at = 0;
  JS_UpdateStackTop(rt);
  if (S.reseed) reseed();
  if (S.ring_reset) ring_empty();
  out.n = 0;
  while (at + 8 <= n && n <= S.in_cap) {
    const uint8_t *frame = (const uint8_t *)(uintptr_t)S.in_ptr + at;
    uint32_t json_len = *(const uint32_t *)frame, blob_len = *(const uint32_t *)(frame + 4);
    if ((uint64_t)at + 8 + json_len + blob_len > n) return -2;
    JSValue args[2] = {JS_NewStringLen(ctx, (const char *)frame + 8, json_len), JS_UNDEFINED};
    if (blob_len) args[1] = JS_NewArrayBufferCopy(ctx, frame + 8 + json_len, blob_len);
    at = (at + 8 + json_len + blob_len + 7) & ~7u;
    JSValue r = JS_Call(ctx, receive, JS_UNDEFINED, 2, (JSValueConst *)args);
    if (JS_IsException(r)) forget(ctx);
    JS_FreeValue(ctx, r);
    JS_FreeValue(ctx, args[0]);
    JS_FreeValue(ctx, args[1]);
    run_jobs();
  }
  /* settle() reports unhandled rejections, which may run code of the worker; it says how much the guest waits for. */
  int32_t waiting = 0, more = 1;
  for (int round = 0; more && round < 100; round++) {
    JSValue r = JS_Call(ctx, settle, JS_UNDEFINED, 0, NULL);
    if (JS_IsException(r) || JS_ToInt32(ctx, &waiting, r)) forget(ctx), waiting = 0;
    JS_FreeValue(ctx, r);
    more = JS_IsJobPending(rt);
    run_jobs();
  }
  S.out_ptr = (uint32_t)(uintptr_t)out.p;
  S.out_len = out.n;
  return S.status = waiting > 0;
}
