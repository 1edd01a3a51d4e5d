"""JSON as a guest writes it: read like any other, but lone surrogates become U+FFFD and infinities None."""

from __future__ import annotations

import json
import math
from typing import Any

import msgspec

__all__ = ["read_json"]

_decode = msgspec.json.Decoder().decode


def read_json(data: bytes) -> Any:
    """The value. ValueError for what is no JSON, or nested too deeply."""
    try:
        return _decode(data)
    except (msgspec.DecodeError, RecursionError, ValueError):
        pass
    # msgspec refuses \\ud800 and integers that the standard library reads; no transport carries the former.
    try:
        return _clean(json.loads(data.decode("utf-8", "replace"), parse_constant=lambda _: None))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if not value.isascii() else value
    if isinstance(value, list):
        return [_clean(v) for v in value]
    if isinstance(value, dict):
        return {_clean(k): _clean(v) for k, v in value.items()}
    if isinstance(value, float) and not math.isfinite(value):  # 1e999: no JSON can be written of it
        return None
    return value
