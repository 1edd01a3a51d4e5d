"""otelbridge runs dynamic workers in WebAssembly sandboxes and ships what they log, throw and do as OpenTelemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otelbridge.errors import BridgeError, WorkerCodeError, WorkerError, WorkerLoadError, WorkerNotFoundError
from otelbridge.model.code import INHERIT, Limits, WorkerCode
from otelbridge.model.http import Request, Response
from otelbridge.model.trace import TailWorker, TraceItem

if TYPE_CHECKING:
    from otelbridge.bridge import Bridge
    from otelbridge.planes.data import RunResult
    from otelbridge.sessions import LogSession, SessionLogs
    from otelbridge.settings import Settings
    from otelbridge.tail import BridgeTail

__all__ = [
    "INHERIT",
    "Bridge",
    "BridgeError",
    "BridgeTail",
    "Limits",
    "LogSession",
    "Request",
    "Response",
    "RunResult",
    "SessionLogs",
    "Settings",
    "TailWorker",
    "TraceItem",
    "WorkerCode",
    "WorkerCodeError",
    "WorkerError",
    "WorkerLoadError",
    "WorkerNotFoundError",
    "__version__",
]

__version__ = "0.1.0"

# The bridge brings wasmtime, aiohttp and OpenTelemetry with it, half a second of imports that `otelbridge --help`
# and programs which only need the data types should not pay.
_LATE = {
    "Bridge": "otelbridge.bridge",
    "RunResult": "otelbridge.planes.data",
    "LogSession": "otelbridge.sessions",
    "SessionLogs": "otelbridge.sessions",
    "Settings": "otelbridge.settings",
    "BridgeTail": "otelbridge.tail",
}


def __getattr__(name: str) -> Any:
    if name not in _LATE:
        raise AttributeError(f"module 'otelbridge' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_LATE[name]), name)
