"""Pages of memories: those in which an image differs from another, and those that a guest has written to, as the kernel knows it."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
import weakref
from collections.abc import Callable
from pathlib import Path

from otelbridge.sandbox import binary

__all__ = ["PAGE_BYTES", "ZERO_PAGE", "Pages", "WrittenPages", "differing"]

PAGE_BYTES = 4096
ZERO_PAGE = bytes(PAGE_BYTES)
_OFFSET_BYTES = 4
_PAGEMAP_SCAN = 0xC0606610  # _IOWR('f', 16, struct pm_scan_arg)
_ARGUMENT = struct.Struct("<12Q")
_FILE, _PRESENT, _SWAPPED, _ZERO = 1 << 2, 1 << 3, 1 << 4, 1 << 5
_REGIONS = 512
_REGION_WORDS = 3  # start, end, categories


# Not Python's own mmap, which keeps a file open for each mapping: ten thousand workers would need as many.
_libc = ctypes.CDLL(None, use_errno=True)
_map = _libc["mmap"]
_map.restype = ctypes.c_void_p
_map.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
_unmap = _libc["munmap"]
_unmap.restype = ctypes.c_int
_unmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
_MAP_FAILED = ctypes.c_void_p(-1).value or 0


class Pages:
    """Pages of a memory, never to be written to: `at` has the address of each one, by its offset.

    Packed, in memory or in a file, they lie one after the other, and then their offsets as u32.
    """

    __slots__ = ("__weakref__", "_address", "_hold", "_size", "at")

    def __init__(self, address: int, size: int, hold: bytes = b"") -> None:
        """Packed pages at an address, where they stay; `hold` is what keeps them there."""
        count = size // (PAGE_BYTES + _OFFSET_BYTES)
        offsets = memoryview(ctypes.string_at(address + count * PAGE_BYTES, count * _OFFSET_BYTES)).cast("I")
        self.at = {offset: address + i * PAGE_BYTES for i, offset in enumerate(offsets)}
        self._address = address
        self._size = size
        self._hold = hold

    @classmethod
    def of(cls, packed: bytes) -> Pages:
        """Pages of this process."""
        return cls(ctypes.cast(ctypes.c_char_p(packed), ctypes.c_void_p).value or 0, len(packed), packed)

    @classmethod
    def mapped(cls, path: Path) -> Pages:
        """Pages of a file, which all processes that map it have in memory once. OSError when it can't be read."""
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            address: int = _map(None, size, mmap.PROT_READ, mmap.MAP_SHARED, file.fileno(), 0) if size else _MAP_FAILED
            if address == _MAP_FAILED:  # the kernel has a limit for how many mappings a process may have
                return cls.of(file.read())
        pages = cls(address, size)
        weakref.finalize(pages, _unmap, address, size).atexit = False
        return pages

    def packed(self) -> bytes:
        """Themselves, as of() and mapped() take them."""
        return self._hold or ctypes.string_at(self._address, self._size)

    def copies(self) -> dict[int, bytes]:
        """Copies of the pages, by offset."""
        return {offset: ctypes.string_at(address, PAGE_BYTES) for offset, address in self.at.items()}


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


def differing(size: int, read: Callable[[int, int], bytes], base: Pages | None, ranges: list[tuple[int, int]] | None = None) -> bytes:
    """The pages of a memory, packed, that are not as in `base`, where what is missing is zero. `ranges`: only these parts of it can differ.

    Read in blocks of 64 KiB: a copy of the whole memory at once is fresh memory from the system, at 5 us a page.
    """
    pages, offsets = [], []
    before = base.at if base is not None else {}
    for first, last in [(0, size)] if ranges is None else ranges:
        for start in range(first, last, binary.PAGE):
            block = read(start, min(binary.PAGE, last - start))
            for at in range(0, len(block), PAGE_BYTES):
                page = block[at : at + PAGE_BYTES]
                address = before.get(start + at)
                if page != (ZERO_PAGE if address is None else ctypes.string_at(address, PAGE_BYTES)):
                    pages.append(page)
                    offsets.append(start + at)
    return b"".join([*pages, struct.pack(f"={len(offsets)}I", *offsets)])
