"""OTLP/JSON: protobuf's JSON with the differences OTLP asks for (ids in hex, enums as numbers)."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
from google.protobuf import json_format

from otelbridge.otel.environment import Signal
from otelbridge.otel.request import MESSAGES

__all__ = ["from_json", "to_json", "to_tree"]

_IDS = ("traceId", "spanId", "parentSpanId")
# Below these, names and values are a guest's: a member that happens to be called traceId is not an id.
_VALUES = ("attributes", "body")


def to_json(message: Any) -> bytes:
    """A request, or a service's answer, as OTLP/JSON."""
    return msgspec.json.encode(to_tree(message))


def to_tree(message: Any) -> dict[str, Any]:
    """The same as plain data."""
    tree: dict[str, Any] = json_format.MessageToDict(message, use_integers_for_enums=True)
    _turn(tree, lambda text: base64.b64decode(text).hex())
    return tree


def from_json(signal: Signal, tree: dict[str, Any]) -> Any:
    """The request that to_tree() made plain data of; ValueError when it is none."""
    _turn(tree, lambda text: base64.b64encode(bytes.fromhex(text)).decode())
    try:
        return json_format.ParseDict(tree, MESSAGES[signal](), ignore_unknown_fields=True)
    except json_format.ParseError as e:
        raise ValueError(str(e)) from e


def _turn(tree: Any, turn: Any) -> None:
    if isinstance(tree, list):
        for item in tree:
            _turn(item, turn)
    elif isinstance(tree, dict):
        for key, value in tree.items():
            if key in _IDS and isinstance(value, str):
                tree[key] = turn(value)
            elif key not in _VALUES:
                _turn(value, turn)
