/* The heap: two-level segregated fit, with neighbours joined when they come free. libc's allocator rounds up to powers of
 * two and keeps a part of the memory for each: a worker touched twice as many pages, and an instance pays for each page
 * that it writes (3 us and 4 KiB).
 *
 * A block is a header of 8 bytes and a multiple of 8 bytes; bins hold the free ones, 8 for each power of two.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef struct Block {
  struct Block *before; /* the neighbour at the lower address, NULL for the first one */
  uint32_t size;        /* of what follows; bit 0: it is free */
  struct Block *next, *last; /* of its bin, while it is free */
} Block;

enum { BLOCK_HEADER = 8, BLOCK_FREE = 1, BLOCK_GROWTH = 131072 };

static Block *bins[32][8], *heap_first, *heap_end; /* the end: a used block of size 0 */
static uint32_t bin_rows;
static uint8_t bin_columns[32];

static uint32_t block_size(const void *p) { return ((const Block *)((const char *)p - BLOCK_HEADER))->size & ~7u; }
static Block *block_after(Block *b) { return (Block *)((char *)b + BLOCK_HEADER + (b->size & ~7u)); }

static void bin_add(Block *b) {
  uint32_t size = b->size & ~7u, row = 31 - __builtin_clz(size), column = size >> (row - 3) & 7;
  b->size = size | BLOCK_FREE;
  b->last = NULL;
  b->next = bins[row][column];
  if (b->next) b->next->last = b;
  bins[row][column] = b;
  bin_rows |= 1u << row;
  bin_columns[row] |= 1u << column;
}
static void bin_remove(Block *b) {
  uint32_t size = b->size &= ~7u, row = 31 - __builtin_clz(size), column = size >> (row - 3) & 7;
  if (b->next) b->next->last = b->last;
  if (b->last) {
    b->last->next = b->next;
  } else if (!(bins[row][column] = b->next)) {
    bin_columns[row] &= ~(1u << column);
    if (!bin_columns[row]) bin_rows &= ~(1u << row);
  }
}
/* A free block of at least this size: from the first bin whose blocks are all large enough. */
static Block *bin_find(uint32_t size) {
  uint32_t row = 31 - __builtin_clz(size), wanted = size + (1u << (row - 3)) - 1, column, left;
  row = 31 - __builtin_clz(wanted);
  column = wanted >> (row - 3) & 7;
  left = bin_columns[row] & (~0u << column);
  if (!left) {
    uint32_t rows = row < 31 ? bin_rows & (~0u << (row + 1)) : 0;
    if (!rows) return NULL;
    row = __builtin_ctz(rows);
    left = bin_columns[row];
  }
  return bins[row][__builtin_ctz(left)];
}

static void block_free(void *p) {
  if (!p) return;
  Block *b = (Block *)((char *)p - BLOCK_HEADER), *after = block_after(b);
  if (after->size & BLOCK_FREE) {
    bin_remove(after);
    b->size += BLOCK_HEADER + after->size;
  }
  if (b->before && b->before->size & BLOCK_FREE) {
    bin_remove(b->before);
    b->before->size += BLOCK_HEADER + b->size;
    b = b->before;
  }
  block_after(b)->before = b;
  bin_add(b);
}
/* Keep `size` bytes of a used block; the rest becomes free. */
static void block_split(Block *b, uint32_t size) {
  if (b->size - size < 2 * BLOCK_HEADER) return;
  Block *rest = (Block *)((char *)b + BLOCK_HEADER + size);
  rest->before = b;
  rest->size = b->size - size - BLOCK_HEADER;
  b->size = size;
  block_after(rest)->before = rest;
  block_free((char *)rest + BLOCK_HEADER);
}
static int heap_grow(uint32_t size) {
  size_t bytes = ((size_t)size + size / 8 + 3 * BLOCK_HEADER + BLOCK_GROWTH - 1) & ~(size_t)(BLOCK_GROWTH - 1);
  size_t at = __builtin_wasm_memory_grow(0, bytes / 65536);
  if (at == SIZE_MAX) {
    bytes = ((size_t)size + size / 8 + 3 * BLOCK_HEADER + 65535) & ~(size_t)65535; /* the limit may be near */
    at = __builtin_wasm_memory_grow(0, bytes / 65536);
    if (at == SIZE_MAX) return 0;
  }
  char *start = (char *)(at * 65536), *end = start + bytes;
  Block *b = (Block *)start;
  if (heap_end && (char *)heap_end + BLOCK_HEADER == start)
    b = heap_end;
  else
    b->before = NULL;
  if (!heap_first) heap_first = b;
  b->size = end - (char *)b - 2 * BLOCK_HEADER;
  heap_end = block_after(b);
  heap_end->before = b;
  heap_end->size = 0;
  block_free((char *)b + BLOCK_HEADER);
  return 1;
}
static void *block_alloc(size_t n) {
  if (n > INT32_MAX / 2) return NULL;
  uint32_t size = n < 8 ? 8 : (n + 7) & ~7u;
  Block *b = bin_find(size);
  if (!b && (!heap_grow(size) || !(b = bin_find(size)))) return NULL;
  bin_remove(b);
  block_split(b, size);
  return (char *)b + BLOCK_HEADER;
}
static void *block_calloc(size_t count, size_t n) {
  if (n && count > SIZE_MAX / n) return NULL;
  void *p = block_alloc(count * n);
  return p ? memset(p, 0, count * n) : p;
}
static void *block_realloc(void *p, size_t n) {
  if (!p) return block_alloc(n);
  if (!n) {
    block_free(p);
    return NULL;
  }
  if (n > INT32_MAX / 2) return NULL;
  Block *b = (Block *)((char *)p - BLOCK_HEADER), *after = block_after(b);
  uint32_t size = n < 8 ? 8 : (n + 7) & ~7u;
  if (size > b->size && after->size & BLOCK_FREE && b->size + BLOCK_HEADER + (after->size & ~7u) >= size) {
    bin_remove(after);
    b->size += BLOCK_HEADER + after->size;
    block_after(b)->before = b;
  }
  if (size <= b->size) {
    block_split(b, size);
    return p;
  }
  void *q = block_alloc(n);
  if (!q) return NULL;
  memcpy(q, p, b->size);
  block_free(p);
  return q;
}

/* What is allocated from here on shall lie side by side, not in the holes that the start left all over the heap: they count
 * as used, but for the largest. What of the start is freed later can be used again as ever. */
static void heap_seal(void) {
  Block *largest = NULL;
  for (int row = 0; row < 32; row++)
    for (int column = 0; column < 8; column++)
      for (Block *b = bins[row][column]; b; b = b->next)
        if (!largest || b->size > largest->size) largest = b;
  for (int row = 0; row < 32; row++)
    for (int column = 0; column < 8; column++)
      for (Block *b; (b = bins[row][column]);) {
        bin_remove(b);
        memset((char *)b + BLOCK_HEADER, 0, b->size); /* zero pages are no part of an image */
      }
  if (largest) bin_add(largest);
}
