"""Values that cross between Python and a worker: env, props, RPC arguments and results.

JSON with {"$": kind, "v": ...} for what JSON lacks; the other side is prelude/55-values.js. Python objects that are no
values become service bindings: the worker gets a stub, the object stays here.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from otelbridge.errors import WorkerCodeError, WorkerError
from otelbridge.model.tolerant import read_json

__all__ = ["DEPTH", "decode", "pack", "unpack"]

DEPTH = 200  # as VALUE_DEPTH in the prelude
MAX_BYTES = 32 << 20
MAX_PARTS = 500_000

_MAX_SAFE = 2**53


def pack(value: Any, bind: Callable[[Any], str] | None = None, depth: int = 0) -> Any:
    """A value as a tree for JSON. `bind` gives a name to an object that is no value; without it that is an error."""
    if depth > DEPTH:
        raise WorkerCodeError("A value is circular or nested too deeply.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, int):
        return value if -_MAX_SAFE <= value <= _MAX_SAFE else {"$": "i", "v": str(value)}
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        return {"$": "n", "v": "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"}
    if isinstance(value, bytes | bytearray | memoryview):
        return {"$": "b", "v": base64.b64encode(bytes(value)).decode()}
    if isinstance(value, datetime):
        return {"$": "d", "v": value.timestamp() * 1000}
    if isinstance(value, Mapping):
        if all(isinstance(k, str) for k in value):
            members = {str(pack(k)): pack(v, bind, depth + 1) for k, v in value.items()}
            return {"$": "o", "v": [[k, v] for k, v in members.items()]} if "$" in members else members
        return {"$": "m", "v": [[pack(k, bind, depth + 1), pack(v, bind, depth + 1)] for k, v in value.items()]}
    if isinstance(value, list | tuple):
        return [pack(v, bind, depth + 1) for v in value]
    if isinstance(value, set | frozenset):
        return {"$": "s", "v": [pack(v, bind, depth + 1) for v in value]}
    if isinstance(value, WorkerError):  # the worker's own error, as it threw it
        return {"$": "e", "v": [value.name, value.message, value.stack]}
    if isinstance(value, BaseException):
        return {"$": "e", "v": [type(value).__name__, str(value), None]}
    if bind is None:
        raise WorkerError(
            "DataCloneError", f'Could not serialize object of type "{type(value).__name__}". This type does not support serialization.'
        )
    return {"$": "f", "v": bind(value)}


def decode(text: bytes) -> Any:
    """The value of a tree's JSON, which a guest wrote. WorkerError for what is no JSON, or would not fit in here."""
    # An empty list takes three bytes of a message and 150 in Python, here and in its unpacked copy.
    if len(text) > MAX_BYTES or text.count(b"[") + text.count(b"{") > MAX_PARTS:
        raise WorkerError("DataCloneError", f"A value is too large: the limits are {MAX_BYTES} bytes and {MAX_PARTS} objects.")
    try:
        return unpack(read_json(text))
    except (RecursionError, ValueError) as e:
        raise WorkerError("DataCloneError", "A value could not be read.") from e


def unpack(tree: Any) -> Any:
    """The Python value of a tree. A guest wrote it: unknown kinds and wrong shapes are read as None."""
    if isinstance(tree, list):
        return [unpack(v) for v in tree]
    if not isinstance(tree, dict):
        return tree
    if "$" not in tree:
        return {k: unpack(v) for k, v in tree.items()}
    try:
        return _unpack_tagged(tree["$"], tree.get("v"))
    except (TypeError, ValueError, LookupError, OverflowError, OSError):
        return None


def _unpack_tagged(kind: Any, value: Any) -> Any:
    if kind == "n":
        return float(value.replace("Infinity", "inf")) if isinstance(value, str) else None
    if kind == "i":
        return int(value) if isinstance(value, str) and len(value) < 4300 else None
    if kind == "d":
        return datetime.fromtimestamp(value / 1000, UTC)
    if kind == "b":
        return base64.b64decode(value)
    if kind == "m":
        return {_hashable(unpack(k)): unpack(v) for k, v in value}
    if kind == "s":
        return {_hashable(unpack(v)) for v in value}
    if kind == "o":
        return {str(k): unpack(v) for k, v in value}
    if kind == "e":
        return WorkerError(str(value[0]), str(value[1]), stack=value[2] if isinstance(value[2], str) else None)
    return None


def _hashable(value: Any) -> Any:
    return value if value.__hash__ is not None else repr(value)
