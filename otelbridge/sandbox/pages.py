"""Which pages of a memory a guest has written to, as the kernel knows it: for giving a used instance its image back."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
from collections.abc import Callable, Mapping

from otelbridge.sandbox import binary

__all__ = ["PAGE_BYTES", "ZERO_PAGE", "WrittenPages", "differing"]

PAGE_BYTES = 4096
ZERO_PAGE = bytes(PAGE_BYTES)
_PAGEMAP_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
_ARGUMENT = struct.Struct("<12Q")
_FILE, _PRESENT, _SWAPPED, _ZERO = 1 << 2, 1 << 3, 1 << 4, 1 << 5
_REGIONS = 512
_REGION_WORDS = 3  # start, end, categories


class WrittenPages:
    """PAGEMAP_SCAN, which Linux has since 6.7. `works` is False where it is not to be had; then nothing else is called.

    An image is mapped copy-on-write from a file, so a page that is there and is not of that file, nor the kernel's one
    page of zeros, was written to.
    """

    def __init__(self) -> None:
        self._regions = (ctypes.c_uint64 * (_REGION_WORDS * _REGIONS))()
        self._fd = -1
        self.works = False
        try:
            self._fd = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
            at = ctypes.addressof(self._regions) & -PAGE_BYTES
            self.ranges(at, PAGE_BYTES)
            self.works = True
        except OSError:  # an older kernel, or one that another program imitates
            self.close()

    def ranges(self, start: int, size: int) -> list[tuple[int, int]] | None:
        """The addresses of what was written between start and start + size, as (start, end); None when it is in more than
        512 places. OSError when the kernel will not tell."""
        argument = bytearray(
            _ARGUMENT.pack(
                _ARGUMENT.size, 0, start, start + size, 0, ctypes.addressof(self._regions), _REGIONS, 0,
                _FILE | _ZERO, _FILE | _ZERO, _PRESENT | _SWAPPED, _PRESENT,
            )
        )  # fmt: skip
        count = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument, True)
        if count >= _REGIONS:
            return None
        words = self._regions[: count * _REGION_WORDS]
        return list(zip(words[::_REGION_WORDS], words[1::_REGION_WORDS], strict=True))

    def close(self) -> None:
        """Let go of the kernel's file. Idempotent."""
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = -1
        self.works = False


def differing(size: int, read: Callable[[int, int], bytes], base: Mapping[int, bytes]) -> dict[int, bytes]:
    """The pages of a memory, by offset, that are not as in `base`, where what is missing is zero."""
    out = {}
    for start in range(0, size, binary.PAGE):
        block = read(start, binary.PAGE)
        for at in range(0, binary.PAGE, PAGE_BYTES):
            page = block[at : at + PAGE_BYTES]
            if page != base.get(start + at, ZERO_PAGE):
                out[start + at] = page
    return out
