"""The loader: gives a worker for an id, or for code without one."""

from __future__ import annotations

import asyncio
import functools
import inspect
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

from otelbridge.errors import BridgeError, WorkerLoadError
from otelbridge.loader.version import Version
from otelbridge.loader.worker import Host, Worker
from otelbridge.model.code import WorkerCode, check_worker_id

__all__ = ["LARGE_CODE_BYTES", "MAX_WORKERS", "Loader", "code_size"]

MAX_WORKERS = 100_000
LARGE_CODE_BYTES = 256 << 10  # read, checked and hashed in a thread: the event loop would stand still for more than a millisecond


class Loader:
    """Workers by id: the most recently used `max_workers` of them, with `max_code_bytes` of code. Not to be put into a
    worker's env."""

    is_worker_loader = True

    def __init__(self, *, host: Host, max_workers: int = MAX_WORKERS, max_code_bytes: int = 1 << 30) -> None:
        self.host = host
        self._workers: OrderedDict[str, Worker] = OrderedDict()
        self._max_workers = max_workers
        self._code_bytes: dict[str, int] = {}  # of the workers above that are prepared
        self._code_total = 0
        self._max_code_bytes = max_code_bytes

    def get(
        self, worker_id: str | None, make_code: Callable[[], Any], *, key: str | None = None, registration: str | None = None
    ) -> Worker:
        """The worker with this id. `make_code` (may be async) is called when its code is needed and not yet loaded;
        for one id it must always give the same code. Without an id the worker is fresh. `key` tells apart workers
        that go by one id: runs of code that differs from what is registered. `registration`: the name, in all processes of
        the service, of the registration that the code is from."""
        if worker_id is None:
            return self._fresh(make_code)
        key = key or worker_id
        worker = self._workers.get(key)
        if worker is None:
            worker = self._workers[key] = self._new(check_worker_id(worker_id), make_code, key, registration)
            if len(self._workers) > self._max_workers:
                self.forget(next(iter(self._workers)))
        else:
            self._workers.move_to_end(key)
        return worker

    def load(self, code: WorkerCode) -> Worker:
        """A fresh worker from this code, with an id of its own."""
        return self._fresh(lambda: code)

    async def try_out(self, worker_id: str, code: WorkerCode) -> list[str]:
        """Load the code once, without calling it; what is doubtful about it, in words. WorkerCodeError or WorkerLoadError, and a
        record, when that fails."""
        worker = self._new(check_worker_id(worker_id), lambda: code)
        try:
            return await worker.load()
        finally:
            worker.retire()

    def forget(self, key: str) -> None:
        """Drop a worker; the next get() asks for its code again."""
        worker = self._workers.pop(key, None)
        if worker is not None:
            self._code_total -= self._code_bytes.pop(key, 0)
            worker.retire()

    def _prepared(self, key: str, version: Version) -> None:
        """Code is held for as long as its worker is: bound that too, or distinct code by the thousand fills the memory."""
        if key not in self._workers:
            return
        self._code_total += version.code_bytes - self._code_bytes.pop(key, 0)
        self._code_bytes[key] = version.code_bytes
        while self._code_total > self._max_code_bytes and (oldest := next(iter(self._workers))) != key:
            self.forget(oldest)

    def _fresh(self, make_code: Callable[[], Any]) -> Worker:
        return self._new(f"fresh-{uuid.uuid4().hex}", make_code)

    def _new(self, worker_id: str, make_code: Callable[[], Any], key: str | None = None, registration: str | None = None) -> Worker:
        async def prepare() -> Version:
            try:
                code = make_code()
                if inspect.isawaitable(code):
                    code = await code
            except BridgeError:
                raise
            except Exception as e:
                raise WorkerLoadError("Error", str(e)) from e
            host = self.host
            make = functools.partial(
                Version,
                worker_id,
                code,
                defaults=host.defaults,
                maxima=host.maxima,
                max_live=host.max_per_worker,
                registration=registration,
            )
            version = await asyncio.to_thread(make) if code_size(code) > LARGE_CODE_BYTES else make()
            if key is not None:
                self._prepared(key, version)
            return version

        return Worker(worker_id, prepare, self.host)


def code_size(code: Any) -> int:
    """About how large code is that nobody has checked yet."""
    modules = code.modules if isinstance(code, WorkerCode) and isinstance(code.modules, Mapping) else {}
    contents = [content for m in modules.values() for content in (m.values() if isinstance(m, Mapping) else [getattr(m, "content", m)])]
    return sum(len(content) for content in contents if isinstance(content, str | bytes))
