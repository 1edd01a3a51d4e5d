"""What callers are told when the host ends an invocation; workerd's words, where it has some."""

from __future__ import annotations

__all__ = ["HUNG", "LIMIT_TEXTS", "STOPPED"]

HUNG = (
    "The Workers runtime canceled this request because it detected that your Worker's code had hung and would never"
    " generate a response. Refer to: https://developers.cloudflare.com/workers/observability/errors/"
)
STOPPED = "The bridge was stopped."
LIMIT_TEXTS = {
    "exceededCpu": "Worker exceeded CPU time limit.",
    "exceededMemory": "Worker exceeded memory limit.",
    "exceededWallTime": "Worker exceeded wall time limit.",
}
