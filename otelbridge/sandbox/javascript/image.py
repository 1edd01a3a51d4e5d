"""What JavaScript instances start from: the memory that the engine's start has left, or that of a worker after its module scope."""

from __future__ import annotations

from otelbridge.sandbox.engine import Template
from otelbridge.sandbox.pages import Pages

__all__ = ["MOST_PATCHED_PAGES", "Image"]

# A page that is written into each new instance costs 4 us, unless the request would have written to it anyway, which holds for
# some twenty. Small workers differ from the base in 16 to 33 pages: patched, a request in a new instance takes 211 to 231 us of
# CPU time, against 235 to 239 from an image of its own, which takes 10 ms to compile and 5.6 MiB of memory. At 59 pages it takes
# 313 against 246; and one that gets its image back 116 against 85, as all patched pages are copied (at 33: 88 against 84).
MOST_PATCHED_PAGES = 40


class Image:
    """A memory of `size` bytes with the engine's state struct at `state`. `pages`: those in which it differs from the base.

    `patched`: they are written into an instance of the base's template; otherwise the image has a template of its own. The
    base itself has no pages.
    """

    __slots__ = ("pages", "patched", "size", "state", "template")

    def __init__(self, template: Template, size: int, state: int, pages: Pages | None = None, *, patched: bool = False) -> None:
        self.template = template
        self.size = size
        self.state = state
        self.pages = pages
        self.patched = patched
