"""Values as OTLP carries them. Total: any value a guest can make becomes a valid AnyValue.

put() writes straight into protobuf and is the fast path; clean() gives the same value as plain Python, for the console
and for the SDK's types. Both agree on every value (tests/otel/test_values.py).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue

__all__ = ["MAX_DEPTH", "clean", "clean_text", "put", "put_all"]

MAX_DEPTH = 32
_LOWEST, _HIGHEST = -(1 << 63), (1 << 63) - 1


def clean_text(text: str) -> str:
    """Lone surrogates become U+FFFD, pairs of them the character they mean."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def clean(value: Any, depth: int = 0) -> Any:
    """None, bool, str, int of 64 bits, float, bytes, list or dict with text keys; larger ints and other types as text."""
    if isinstance(value, str):
        return clean_text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if _LOWEST <= value <= _HIGHEST else _int_text(value)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if isinstance(value, list | tuple | Mapping):
        if depth >= MAX_DEPTH:
            return _json_text(value)
        if isinstance(value, Mapping):
            return {clean_text(str(k)): clean(v, depth + 1) for k, v in value.items()}
        return [clean(v, depth + 1) for v in value]
    return clean_text(str(value))


def put(target: AnyValue, value: Any, depth: int = 0) -> None:
    """Set an AnyValue to clean(value)."""
    kind = type(value)
    if kind is str:
        try:
            target.string_value = value
        except UnicodeEncodeError:
            target.string_value = clean_text(value)
    elif kind is bool:
        target.bool_value = value
    elif kind is int:
        if _LOWEST <= value <= _HIGHEST:
            target.int_value = value
        else:
            target.string_value = _int_text(value)
    elif kind is float:
        target.double_value = value
    elif kind is dict and depth < MAX_DEPTH:
        map_value = target.kvlist_value
        map_value.SetInParent()  # an empty map is a map, not nothing
        put_all(map_value.values, value, depth + 1)
    elif kind is list and depth < MAX_DEPTH:
        array = target.array_value
        array.SetInParent()
        add = array.values.add
        for item in value:
            put(add(), item, depth + 1)
    elif value is None:
        target.SetInParent()  # nothing, but there
    else:
        cleaned = clean(value, depth)
        if isinstance(cleaned, bytes):
            target.bytes_value = cleaned
        else:
            put(target, cleaned, depth)


def put_all(target: Any, values: Mapping[str, Any], depth: int = 0) -> None:
    """Append each member of a mapping to a repeated KeyValue."""
    add = target.add
    for key, value in values.items():
        pair = add()
        try:
            pair.key = key
        except (UnicodeEncodeError, TypeError):
            pair.key = clean_text(str(key))
        put(pair.value, value, depth)


def _int_text(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to print more than 4300 digits, for the time it takes
        return hex(value)


def _json_text(value: Any) -> str:
    try:
        return clean_text(json.dumps(_plain(value), ensure_ascii=False, default=str))
    except (RecursionError, ValueError, TypeError):
        return "[nested too deeply]"


def _plain(value: Any) -> Any:
    """json.dumps with `default` still refuses keys that are no text."""
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    return value
