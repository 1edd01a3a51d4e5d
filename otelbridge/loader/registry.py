"""Workers registered by PUT: their code, content-addressed on disk, and which version each id stands for.

Every look-up stats the id's file, about 1 us: what one process registers is in force for the next request of all.
Changes and lists take milliseconds of file I/O: call them in a thread.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import hashlib
import logging
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from otelbridge.errors import BridgeError
from otelbridge.loader.values import pack, unpack
from otelbridge.model.code import INHERIT, Limits, Module, WorkerCode, check_code, check_worker_id, version_of

__all__ = ["Registered", "Registry"]

_log = logging.getLogger("otelbridge.loader")

_SWEEP_EVERY = 500  # code left without an id before it is looked for, which reads every worker's file (20 us each)


class Registered(msgspec.Struct, frozen=True, rename="camel"):
    """What is known of a registered worker; times in ns since 1970. `created`: whether the last put() was its first."""

    worker_id: str
    version: str
    created_ns: int
    updated_ns: int
    main_module: str
    isolation: str
    tags: dict[str, str]
    limits: Limits
    modules: dict[str, str]  # name to type
    created: bool = False
    warnings: list[str] = []  # what was doubtful when it was loaded


class _Code(msgspec.Struct, frozen=True, array_like=True):
    """A WorkerCode as it lies on disk."""

    main_module: str
    modules: dict[str, Module]
    compatibility_date: str | None
    compatibility_flags: list[str]
    env: Any
    blocked: bool
    limits: Limits | None
    isolation: str
    tags: dict[str, str]


class _Seen(msgspec.Struct, frozen=True):
    """A worker's file as it was read. `mark`: its number and time, which is that of the registration and so differs from the
    one before; the system's own clock ticks every few ms only, and the number of a removed file is given out again."""

    mark: tuple[int, int]
    address: str
    entry: Registered


class Registry:
    """See the module's text. All methods do blocking file I/O, and may be called in threads."""

    def __init__(self, directory: Path) -> None:
        self._workers = directory / "workers"
        self._code = directory / "code"
        self._workers.mkdir(parents=True, exist_ok=True)
        self._code.mkdir(parents=True, exist_ok=True)
        self._seen: dict[str, _Seen] = {}  # by path
        self._orphans = 0
        with self._alone():
            self._sweep()

    def put(self, worker_id: str, code: WorkerCode, warnings: Sequence[str] = ()) -> Registered:
        """Register, durably; the caller has made sure that the code loads, and knows what is doubtful about it."""
        modules = check_code(code)
        env = pack(dict(code.env))
        version = version_of(code, modules, msgspec.json.encode(env))
        stored = _Code(
            code.main_module,
            modules,
            code.compatibility_date,
            list(code.compatibility_flags),
            env,
            code.global_outbound is None,
            code.limits,
            code.isolation,
            dict(code.tags),
        )
        data = msgspec.msgpack.encode(stored)
        address = hashlib.sha256(data).hexdigest()
        check_worker_id(worker_id)
        with self._alone():
            if not (self._code / address).exists():
                _write(self._code / address, data)
            path = self._path(worker_id)
            before = self._get(path)
            # Later than what it replaces, whatever the clock says: the time tells versions apart.
            now = max(time.time_ns(), before.updated_ns + 1 if before else 0)
            entry = Registered(
                worker_id,
                version,
                before.created_ns if before else now,
                now,
                code.main_module,
                code.isolation,
                dict(code.tags),
                code.limits or Limits(),
                {name: m.type for name, m in modules.items()},
                before is None,
                [*warnings],
            )
            _write(path, msgspec.json.encode([address, entry]), modified_ns=now)
            if before is not None:
                self._orphaned()
        return entry

    def get(self, worker_id: str) -> Registered | None:
        """What is registered under this id now, or None."""
        return self._get(self._path(worker_id))

    def _get(self, path: str) -> Registered | None:
        seen = self._look(path)
        return seen.entry if seen is not None else None

    def _look(self, path: str) -> _Seen | None:
        try:
            stat = os.stat(path)
            mark = (stat.st_ino, stat.st_mtime_ns)
            seen = self._seen.get(path)
            if seen is None or seen.mark != mark:
                seen = self._seen[path] = _Seen(mark, *_read(path))
        except (FileNotFoundError, NotADirectoryError):  # also when it was removed between the two calls
            self._seen.pop(path, None)
            return None
        return seen

    def code_bytes(self, worker_id: str) -> int:
        """How large the file of a worker's code is; 0 when there is none."""
        seen = self._look(self._path(worker_id))
        try:
            return (self._code / seen.address).stat().st_size if seen is not None else 0
        except FileNotFoundError:
            return 0

    def code(self, worker_id: str) -> WorkerCode | None:
        """The code registered under this id, without tails."""
        path = self._path(worker_id)
        while (seen := self._look(path)) is not None:
            try:
                stored = msgspec.msgpack.decode((self._code / seen.address).read_bytes(), type=_Code)
                break
            except FileNotFoundError:  # replaced in this moment, and the old code swept away
                if self._look(path) is seen:
                    raise BridgeError(f"The code of worker {worker_id!r} is missing: {self._code / seen.address}.") from None
        else:
            return None
        return WorkerCode(
            main_module=stored.main_module,
            modules=stored.modules,
            compatibility_date=stored.compatibility_date,
            compatibility_flags=stored.compatibility_flags,
            env=unpack(stored.env),
            global_outbound=None if stored.blocked else INHERIT,
            limits=stored.limits,
            isolation=stored.isolation,
            tags=stored.tags,
        )

    def list(self) -> list[Registered]:
        """All registered workers, by id."""
        return sorted(self._entries(), key=lambda e: e.worker_id)

    def delete(self, worker_id: str) -> bool:
        """Remove a worker; whether there was one. Its code goes later, with the next sweep."""
        path = self._path(worker_id)
        with self._alone():
            try:
                os.unlink(path)
            except FileNotFoundError:
                return False
            _sync(self._workers)
            self._seen.pop(path, None)
            self._orphaned()
        return True

    def _orphaned(self) -> None:
        self._orphans += 1
        if self._orphans >= _SWEEP_EVERY:
            self._sweep()

    def _sweep(self) -> None:
        """Remove code that no id stands for, and drafts that a crash left behind. Nothing while it can't be told."""
        self._orphans = 0
        try:
            used = {_read(path)[0] for path in self._paths()}
        except BridgeError:
            return
        for path in [*self._code.iterdir(), *self._workers.glob("*.tmp")]:
            if path.name not in used:
                path.unlink(missing_ok=True)

    def _paths(self) -> Iterator[str]:
        with os.scandir(self._workers) as files:
            for file in files:
                if file.name.endswith(".json"):
                    yield file.path

    def _entries(self) -> Iterator[Registered]:
        for path in self._paths():
            try:
                if (entry := self._get(path)) is not None:
                    yield entry
            except BridgeError as e:  # the other workers are none the worse for it
                _log.error("%s", e)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """One process at a time changes the directory: code must not be swept away while another refers to it."""
        with open(self._workers.parent / "lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _path(self, worker_id: str) -> str:
        return f"{self._workers}/{_file_name(worker_id)}.json"


@functools.lru_cache(10_000)
def _file_name(worker_id: str) -> str:
    """The id is a tenant's text: its hash names its file. Kept, because each request asks."""
    return hashlib.sha256(worker_id.encode("utf-8", "replace")).hexdigest()


def _read(path: str) -> tuple[str, Registered]:
    """Address of the code, and what is known of the worker. FileNotFoundError; BridgeError for a damaged file."""
    try:
        return msgspec.json.decode(Path(path).read_bytes(), type=tuple[str, Registered])
    except msgspec.DecodeError as e:
        raise BridgeError(f"The registry's file {path} is damaged: {e}. Restore it or remove it.") from e


def _write(target: str | Path, data: bytes, *, modified_ns: int | None = None) -> None:
    """Durable and atomic: a crash leaves the old file or the new one. `modified_ns`: the time the file shall have."""
    path = Path(target)
    temporary = path.with_suffix(f".{os.getpid()}.{time.monotonic_ns()}.tmp")
    with open(temporary, "wb") as file:
        file.write(data)
        file.flush()
        if modified_ns is not None:
            os.utime(file.fileno(), ns=(modified_ns, modified_ns))
        os.fsync(file.fileno())
    os.replace(temporary, path)
    _sync(path.parent)


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
