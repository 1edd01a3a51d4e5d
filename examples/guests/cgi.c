// A WASI command in C, run like a CGI script: the request is the environment and stdin, the response is stdout,
// every line on stderr is a log line. Each request gets a fresh program, so nothing is left over from the last one.
//
// Build it with the compiler inside the PyPI package ziglang (the first time it builds the C library, too):
//
//   python -m ziglang cc --target=wasm32-wasi -Os -o cgi.wasm cgi.c

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *variable(const char *name) {
  const char *value = getenv(name);
  return value ? value : "";
}

int main(void) {
  static char body[65536];
  size_t length = fread(body, 1, sizeof body, stdin);
  fprintf(stderr, "%s %s with %zu bytes\n", variable("REQUEST_METHOD"), variable("PATH_INFO"), length);

  if (!strcmp(variable("PATH_INFO"), "/fail")) {
    fprintf(stderr, "asked to fail");
    return 3; // an exit status other than 0 is a failed invocation
  }
  printf("Status: 200 OK\r\nContent-Type: text/plain\r\n\r\n");
  printf("%s, %s?%s\n", *variable("GREETING") ? variable("GREETING") : "hello", variable("PATH_INFO"), variable("QUERY_STRING"));
  fwrite(body, 1, length, stdout);
  return 0;
}
