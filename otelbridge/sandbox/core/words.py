"""The layout of the shim's own memory (shim.wat, `$h`), which only the shim and the host can reach.

Numbers below are indexes of u32 words, those under WIDE of u64 words.
"""

from __future__ import annotations

__all__: list[str] = []

STATE_BYTES = 256

RING_PTR, RING_CAP, RING_USED, DROPPED_LOGS = 0, 1, 2, 3
FLAGS, BUDGET = 6, 7
EXITED, EXIT_CODE = 14, 15
OUT_PTR, OUT_USED, OUT_CAP = 16, 17, 18  # stdout as one text; OUT_PTR 0: stdout is lines
IN_PTR, IN_LEN, IN_POS = 19, 20, 21
ENV_PTR, ENV_COUNT, ENV_SIZE = 22, 23, 24
LINE = 24  # + descriptor: bytes of its unfinished line, which is at descriptor << 16
FULL = 27  # the log budget is used up
RANDOM_LEFT = 30

# WIDE
DROPPED_BYTES = 2
NOW, MONOTONIC, WAKE, TICKS = 4, 5, 6, 14

CHACHA = 128  # byte address of the 64 bytes of ChaCha20's state
FREE = 196_608  # byte address of what the host lays out: environment, ring, request, response

TRUNCATED, TOO_LONG = 1, 4  # of FLAGS
