"""Reads single OTEL_* variables as the specification says: empty is unset, what can't be read is ignored with a warning."""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

__all__ = ["Shown", "Variables"]

_SECRET = re.compile(r"HEADERS|KEY")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")


class Shown(msgspec.Struct, frozen=True):
    """One effective value, for people: `source` is the variable it came from, or "default"."""

    name: str
    value: str
    source: str


class Variables:
    """The environment; remembers each value that was asked for, where it came from, and what could not be read."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.shown: dict[str, Shown] = {}
        self.warnings: list[str] = []

    def text(self, *names: str, default: str | None = None) -> str | None:
        """The first of these variables that is set; the first one names the value."""
        for name in names:
            value = self._environ.get(name, "").strip()
            if value:
                return self._found(names[0], value, name)
        return self._found(names[0], default, "default")

    def choice(self, *names: str, allowed: Sequence[str], default: str) -> str:
        """One of some words, whatever their case."""
        for name in names:
            value = self._environ.get(name, "").strip().lower()
            if value in allowed:
                self._found(names[0], value, name)
                return value
            if value:
                self._warn(name, value, f"allowed: {', '.join(allowed)}")
        self._found(names[0], default, "default")
        return default

    def words(self, name: str, *, allowed: Sequence[str], default: str) -> tuple[str, ...]:
        """A list of words between commas; "none" is the empty list."""
        value = self._environ.get(name, "").strip().lower()
        words = [word.strip() for word in (value or default).split(",") if word.strip()]
        for word in words:
            if word not in allowed and word != "none":
                self._warn(name, word, f"known: {', '.join(allowed)}, none")
        kept = tuple(dict.fromkeys(w for w in words if w in allowed)) if "none" not in words else ()
        self._found(name, ",".join(kept) or "none", name if value else "default")
        return kept

    def flag(self, *names: str) -> bool:
        """True only for "true", whatever its case."""
        for name in names:
            value = self._environ.get(name, "").strip().lower()
            if value:
                if value not in ("true", "false"):
                    self._warn(name, value, "only true and false are known; it counts as false")
                self._found(names[0], "true" if value == "true" else "false", name)
                return value == "true"
        self._found(names[0], "false", "default")
        return False

    def number(self, *names: str, default: int | None, at_least: int = 0) -> int | None:
        """A whole number."""
        for name in names:
            value = self._environ.get(name, "").strip()
            if value.isascii() and value.isdigit() and int(value) >= at_least:
                self._found(names[0], value, name)
                return int(value)
            if value:
                self._warn(name, value, f"it must be a whole number from {at_least}")
        self._found(names[0], "no limit" if default is None else str(default), "default")
        return default

    def rate(self, name: str) -> float:
        """A number from 0 to 1."""
        value = self._environ.get(name, "").strip()
        try:
            rate = float(value or 1)
        except ValueError:
            rate = -1
        if not 0 <= rate <= 1:
            self._warn(name, value, "it must be a number from 0 to 1")
            value, rate = "", 1.0
        self._found(name, str(rate), name if value else "default")
        return rate

    def path(self, *names: str) -> Path | None:
        """A file."""
        value = self.text(*names)
        return Path(value) if value else None

    def pairs(self, *names: str, header: bool) -> dict[str, str]:
        """key=value,key=value with percent-encoded values; of headers the names are lower-cased."""
        for name in names:
            value = self._environ.get(name, "").strip()
            if not value:
                continue
            found: dict[str, str] = {}
            for member in value.split(","):
                if not member.strip():
                    continue
                key, equals, text = member.partition("=")
                key = urllib.parse.unquote(key.strip()) if not header else key.strip().lower()
                text = urllib.parse.unquote(text.strip().partition(";")[0] if header else text.strip())
                if not equals or not key or (header and (not _TOKEN.fullmatch(key) or "\n" in text or "\r" in text)):
                    self._warn(name, member if not _SECRET.search(name) else key, "it must be key=value")
                    continue
                found[key] = text
            self._found(names[0], ",".join(f"{k}={v}" for k, v in found.items()), name)
            return found
        self._found(names[0], None, "default")
        return {}

    def _found(self, name: str, value: str | None, source: str) -> str | None:
        shown = "unset" if value is None else "********" if _SECRET.search(name) and name.endswith("HEADERS") else value
        self.shown[name] = Shown(name, shown, source if source == "default" else f"environment {source}")
        return value

    def _warn(self, name: str, value: str, why: str) -> None:
        self.warnings.append(f"{name}: {value!r:.200} is ignored; {why}.")
