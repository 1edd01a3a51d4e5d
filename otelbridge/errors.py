"""The error tree. Every error a caller can meet is here, with what the HTTP API and the command line make of it.

BridgeError
├── SettingsError          a setting that can't be used                       exit 2
├── WorkerCodeError        worker code that can't be accepted                 422
├── WorkerNotFoundError    no worker has this id                              404
├── WorkerError            what a worker threw, or what ended its invocation  500, 503, 504
│   └── WorkerLoadError    the same while its code was loaded
├── QueryError             a query that can't be read, with its column        400
├── ClaimError             another service has the data directory             exit 3
├── SpoolError             the spool can't be opened or written
├── StoreError             the log store can't be opened
└── SandboxError           a fault of the sandbox itself, never of a guest
"""

from __future__ import annotations

__all__ = [
    "BridgeError",
    "ClaimError",
    "QueryError",
    "SandboxError",
    "SettingsError",
    "SpoolError",
    "StoreError",
    "WorkerCodeError",
    "WorkerError",
    "WorkerLoadError",
    "WorkerNotFoundError",
]


class BridgeError(Exception):
    """Base of all errors of otelbridge. `status`: HTTP status; `exit_code`: of the command line; `slug`: problem type."""

    status = 500
    exit_code = 1
    slug = "internal-error"
    title = "Internal error"


class SettingsError(BridgeError):
    """A setting has a value that can't be used; the message names the setting and where it came from."""

    exit_code = 2
    slug = "invalid-settings"
    title = "Invalid settings"


class WorkerCodeError(BridgeError):
    """Worker code that can't be accepted: wrong shape, too large, unknown module type, missing exports."""

    status = 422
    slug = "invalid-worker-code"
    title = "Invalid worker code"


class WorkerNotFoundError(BridgeError):
    """No worker is registered under this id."""

    status = 404
    slug = "worker-not-found"
    title = "Worker not found"

    def __init__(self, worker_id: str) -> None:
        super().__init__(f"No worker has the id {worker_id!r}.")
        self.worker_id = worker_id


# Statuses of design.md, "Failures of an invocation over HTTP"; whatever is not named here is 500.
_OUTCOME_STATUS = {"exceededCpu": 503, "exceededMemory": 503, "loadShed": 503, "exceededWallTime": 504}


class WorkerError(BridgeError):
    """What a worker threw, or what ended its invocation. `name`, `message` and `stack` are the worker's own."""

    slug = "worker-failed"
    title = "The worker failed"

    def __init__(
        self,
        name: str,
        message: str,
        *,
        stack: str | None = None,
        outcome: str = "exception",
        invocation_id: str | None = None,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(f"{name}: {message}" if message else name)
        self.name = name
        self.message = message
        self.stack = stack
        self.outcome = outcome
        self.invocation_id = invocation_id
        self.trace_id = trace_id

    @property
    def status(self) -> int:  # type: ignore[override]
        return _OUTCOME_STATUS.get(self.outcome, 500)


class WorkerLoadError(WorkerError):
    """A worker's code could not be loaded: syntax error, missing import, exception or limit at module scope."""

    slug = "worker-load-failed"
    title = "The worker could not be loaded"


class QueryError(BridgeError):
    """A query that can't be read. `column` is 1-based and points into the query text, or is None."""

    status = 400
    slug = "invalid-query"
    title = "Invalid query"

    def __init__(self, message: str, column: int | None = None) -> None:
        super().__init__(message)
        self.column = column


class ClaimError(BridgeError):
    """The data directory can't be used: another service has it, or it can't be written."""

    status = 503
    exit_code = 3
    slug = "data-dir-in-use"
    title = "The data directory is in use"


class SpoolError(BridgeError):
    """The spool can't be opened or written: locked by another process, no space, damaged directory."""

    status = 503
    exit_code = 3
    slug = "spool-unavailable"
    title = "The spool is unavailable"


class StoreError(BridgeError):
    """The log store can't be opened: another process has it, or its directory can't be written."""

    status = 503
    exit_code = 3
    slug = "store-unavailable"
    title = "The log store is unavailable"


class SandboxError(BridgeError):
    """A fault of the sandbox itself (engine missing, cache unusable), never of a guest."""

    exit_code = 3
    slug = "sandbox-error"
    title = "Sandbox error"
