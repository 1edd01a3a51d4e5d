"""Compiled modules and images on disk: one directory per entry, private, checked before use, written in one step.

Rule "deserialize of bit-flipped bytes aborts the process: load only our own cache, with checksum, from a directory
only we can write": open() refuses a directory of somebody else, get() verifies every byte.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path

import msgspec

from otelbridge.errors import SandboxError

__all__ = ["Cache", "Entry"]

_META = "entry.json"
_PRUNE_SHARE = 64  # of the bound may be put before the directory is looked through, at 25 us an entry


class _Sheet(msgspec.Struct, frozen=True):
    meta: dict[str, str]
    sha256: dict[str, str]


class Entry(msgspec.Struct, frozen=True):
    """A verified entry: `meta` as it was put, `files` by name."""

    meta: dict[str, str]
    files: dict[str, Path]


class Cache:
    """A directory of compiled modules, at most `max_bytes` large and a little. Faults of the disk cost time, never correctness."""

    def __init__(self, directory: Path, *, max_bytes: int = 1 << 30) -> None:
        self._directory = directory
        self._max_bytes = max_bytes
        self._unseen_bytes = max_bytes  # what may have come since the last prune()
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = os.lstat(directory)
            if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
                raise SandboxError(f"The cache directory {directory} is not a directory of this user.")
            if status.st_mode & 0o077:
                os.chmod(directory, 0o700)
        except OSError as error:
            raise SandboxError(f"The cache directory {directory} can't be used: {error.strerror}.") from None

    def get(self, key: str) -> Entry | None:
        """The entry of a key, or None. A damaged entry is removed."""
        place = self._directory / key
        if not place.exists():  # asked first: what another process stores from now on is whole, and must not be taken for damaged
            return None
        try:
            sheet = msgspec.json.decode((place / _META).read_bytes(), type=_Sheet)
            files = {name: place / name for name in sheet.sha256}
            for name, path in files.items():
                if hashlib.sha256(path.read_bytes()).hexdigest() != sheet.sha256[name]:
                    raise ValueError(name)
        except (OSError, ValueError, msgspec.MsgspecError):
            shutil.rmtree(place, ignore_errors=True)
            return None
        with contextlib.suppress(OSError):
            os.utime(place)  # prune() removes what was used longest ago
        return Entry(sheet.meta, files)

    def put(self, key: str, meta: dict[str, str], files: Mapping[str, bytes | bytearray], *, replace: bool = True) -> Entry | None:
        """Store an entry and return it as get() would. None when the disk refuses: the caller goes on without.

        Without `replace`, an entry that another process has stored in the meantime stays, and is returned.
        """
        draft = None
        try:
            draft = Path(tempfile.mkdtemp(prefix=".new-", dir=self._directory))
            for name, data in files.items():
                (draft / name).write_bytes(data)
            sheet = _Sheet(meta, {name: hashlib.sha256(data).hexdigest() for name, data in files.items()})
            (draft / _META).write_bytes(msgspec.json.encode(sheet))
            place = self._directory / key
            if replace:
                shutil.rmtree(place, ignore_errors=True)
            ours = False
            with contextlib.suppress(OSError):  # another process was faster
                draft.rename(place)
                ours = True
            self._unseen_bytes += sum(map(len, files.values()))
            if self._unseen_bytes * _PRUNE_SHARE > self._max_bytes:
                self.prune()
            if ours:
                return Entry(meta, {name: place / name for name in files})
        except OSError:
            return None
        finally:
            if draft is not None:
                shutil.rmtree(draft, ignore_errors=True)
        return self.get(key)

    def drop(self, key: str) -> None:
        """Remove an entry."""
        shutil.rmtree(self._directory / key, ignore_errors=True)

    def prune(self) -> None:
        """Remove what was used longest ago until the directory is within its bound."""
        self._unseen_bytes = 0
        entries = []
        for place in self._directory.iterdir():
            with contextlib.suppress(OSError):
                size = sum(file.stat().st_size for file in place.iterdir())
                entries.append((place.stat().st_mtime, size, place))
        total = sum(size for _, size, _ in entries)
        for _, size, place in sorted(entries)[:-1]:  # the newest stays, whatever its size
            if total <= self._max_bytes:
                return
            shutil.rmtree(place, ignore_errors=True)
            total -= size
