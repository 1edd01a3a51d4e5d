"""What msgspec says of a value that does not fit, in words for whoever wrote it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import inspect

__all__ = ["readable"]


def readable(error: msgspec.ValidationError, kind: Any) -> str:
    """msgspec's message with the member's name in front: `limits.cpuMs: Expected int`. `kind`: the type that was expected, of
    which the words are told that a member may be."""
    text, _, place = str(error).replace("`", "").partition(" - at ")
    place = place.removeprefix("$").removeprefix(".").replace("key in ", "")
    words = _words(inspect.type_info(kind), re.sub(r"\[[^\]]*\]", "", place).split(".")) if "enum value" in text else []
    hint = f"; it is one of {', '.join(words)}" if words else ""
    return f"{place}: {text}{hint}." if place else f"{text}{hint}."


def _words(kind: Any, names: Sequence[str]) -> list[str]:
    """The words that are allowed at a place of a type."""
    if isinstance(kind, inspect.UnionType):
        return [word for one in kind.types for word in _words(one, names)]
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return _words(kind.item_type, names)
    if isinstance(kind, inspect.Metadata):
        return _words(kind.type, names)
    if isinstance(kind, inspect.LiteralType):
        return [] if names else [str(value) for value in kind.values]
    if isinstance(kind, inspect.StructType) and names:
        return [word for field in kind.fields if field.encode_name == names[0] for word in _words(field.type, names[1:])]
    return []
