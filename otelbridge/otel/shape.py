"""Keeps records within what a backend takes, so that it does not refuse them for good; what is cut is marked.

Loki, for example, refuses lines above 256 KB and more than 64 KB or 128 entries of structured metadata with a status
that forbids trying again. All limits are off (0 or None) unless a setting or a standard variable sets them.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from otelbridge.otel.values import clean

__all__ = ["TRUNCATED", "Shape", "cut_text"]

TRUNCATED = "otelbridge.truncated"


class Shape(msgspec.Struct, frozen=True):
    """Limits: bytes of a body, number of attributes, bytes and characters of one attribute. 0 is no limit."""

    body_bytes: int = 0
    attributes: int = 0
    attribute_bytes: int = 0
    attribute_chars: int = 0

    @property
    def limits_attributes(self) -> bool:
        return bool(self.attributes or self.attribute_bytes or self.attribute_chars)

    def body(self, value: Any) -> tuple[Any, bool]:
        """A body within its limit, and whether it was cut. What is no text and too long becomes JSON text first."""
        limit = self.body_bytes
        if not limit:
            return value, False
        if isinstance(value, str):
            cut = cut_text(value, limit)
            return cut, cut is not value
        if isinstance(value, dict | list):
            text = json.dumps(clean(value), ensure_ascii=False, default=str)
            if len(text) * 4 > limit and len(text.encode()) > limit:
                return cut_text(text, limit), True
        return value, False

    def fit(self, attributes: dict[str, Any], present: int = 0) -> tuple[dict[str, Any], int, bool]:
        """Attributes within the limits (the same object when all are), how many were left out, and whether a value was cut.

        `present`: how many the record has besides these. Earlier ones win over later ones.
        """
        room = max(self.attributes - present, 0) if self.attributes else len(attributes)
        if len(attributes) <= room and not self.attribute_bytes and not self.attribute_chars:
            return attributes, 0, False
        out: dict[str, Any] = {}
        was_cut = False
        for key, value in attributes.items():
            if len(out) >= room:
                break
            out[key] = kept = self._value(value)
            was_cut = was_cut or kept is not value
        return out, len(attributes) - len(out), was_cut

    def _value(self, value: Any) -> Any:
        if isinstance(value, str):
            if self.attribute_chars and len(value) > self.attribute_chars:
                value = value[: self.attribute_chars]
            return cut_text(value, self.attribute_bytes) if self.attribute_bytes else value
        if isinstance(value, dict | list) and self.attribute_bytes:
            text = json.dumps(clean(value), ensure_ascii=False, default=str)
            return cut_text(text, self.attribute_bytes) if len(text.encode()) > self.attribute_bytes else value
        return value


def cut_text(text: str, limit: int) -> str:
    """The longest beginning of a text that has at most `limit` bytes of UTF-8; the same object when all of it has."""
    if len(text) * 4 <= limit:
        return text
    data = text.encode("utf-8", "replace")
    return text if len(data) <= limit else data[:limit].decode("utf-8", "ignore")
