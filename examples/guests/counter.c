// A worker of ABI 1 in C, without libc: counts its requests, logs a structured line, answers in text.
//
// Build it with the compiler inside the PyPI package ziglang:
//
//   python -m ziglang cc --target=wasm32-freestanding -Os -nostdlib -Wl,--no-entry -o counter.wasm counter.c
//
// The counter survives from request to request under isolation "reuse" only, and each instance has its own.

typedef unsigned int u32;
typedef unsigned long long u64;

__attribute__((import_module("otelbridge"), import_name("log"))) void host_log(u32 level, const char *text, u32 length);

enum { DEBUG, LOG, INFO, WARN, ERROR };

static u32 requests;
static char request[1 << 20]; // one request at a time, so one buffer is enough
static char response[256];

// No host of this page may forget: 0 means that the request does not fit.
__attribute__((export_name("otelbridge_alloc"))) char *alloc(u32 length) { return length <= sizeof request ? request : 0; }

static char *put(char *to, const char *text) {
  while (*text) *to++ = *text++;
  return to;
}

static char *put_number(char *to, u32 number) {
  char digits[10];
  int n = 0;
  do digits[n++] = '0' + number % 10;
  while (number /= 10);
  while (n) *to++ = digits[--n];
  return to;
}

__attribute__((export_name("otelbridge_fetch"))) u64 fetch(const char *json, u32 length) {
  static char line[64];
  requests++;

  // Text that is a JSON object is one structured argument: its fields can be searched.
  char *end = put(put_number(put(line, "{\"requests\":"), requests), ",\"bytes\":");
  end = put(put_number(end, length), "}");
  host_log(INFO, line, end - line);
  if (length > 65536) host_log(WARN, "a large request", 15);

  end = put(response, "{\"status\":200,\"headers\":[[\"content-type\",\"text/plain\"]],\"body\":\"request ");
  end = put(put_number(end, requests), "\\n\"}");
  return (u64)(u32)response << 32 | (u32)(end - response);
}
