"""Points in time and spans of time as people write them: 15m, RFC 3339, unix numbers. All in ns since 1970."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime

from otelbridge.errors import QueryError

__all__ = ["MAX_TIME_NS", "duration_ns", "point_ns"]

# What still fits the store's 64-bit times, with room for the offsets that it adds.
MAX_TIME_NS = 9_000_000_000_000_000_000

_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9, "w": 604800 * 10**9}
_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(ns|us|ms|s|m|h|d|w)")
_NUMBER = re.compile(r"\d{1,20}(?:\.\d{1,9})?")
_RFC3339 = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:\.(\d{1,9})\d*)?)?\s?([Zz]|[+-]\d\d:?\d\d)?)?", re.ASCII)


def duration_ns(text: str) -> int | None:
    """1h, 15m, 2d, 1.5s, 1h30m in ns; None when it is not a duration."""
    at, total = 0, 0.0
    while found := _DURATION.match(text, at):
        total += float(found[1]) * _UNITS[found[2]]
        at = found.end()
    return int(total) if at == len(text) and at else None


def point_ns(value: str | int | float, now_ns: int, *, what: str = "time", column: int | None = None) -> int:
    """A point in time: a duration counts back from now; a unix number is in s, ms, µs or ns by its size; "now".

    RFC 3339 may leave out its time, seconds and zone (then UTC). QueryError for anything else.
    """
    if isinstance(value, str) and (duration := duration_ns(value.strip())) is not None:
        return max(0, now_ns - duration)
    if isinstance(value, str) and value.strip() == "now":
        return now_ns
    found = _unix(value) if not isinstance(value, str) or _NUMBER.fullmatch(value.strip()) else _calendar(value.strip())
    if found is None:
        known = "a duration (15m, 1h, 2d), a date and time (2026-01-31T12:00:00Z) or a unix time"
        raise QueryError(f"{what}: expected {known}, not {value!r:.100}", column)
    return max(0, min(found, MAX_TIME_NS))


def _unix(value: str | int | float) -> int | None:
    number = (float(value) if "." in value else int(value)) if isinstance(value, str) else value
    if isinstance(number, bool) or (isinstance(number, float) and not math.isfinite(number)) or number < 0:
        return None
    for limit, unit in ((10**11, 10**9), (10**14, 10**6), (10**17, 10**3)):
        if number < limit:
            whole, part = divmod(number, 1)
            return int(whole) * unit + int(part * unit)
    return int(number)


def _calendar(text: str) -> int | None:
    found = _RFC3339.fullmatch(text)
    if found is None:
        return None
    year, month, day, hour, minute, second = (int(part or 0) for part in found.groups()[:6])
    zone = found[8]
    try:
        point = datetime(year, month, day, hour, minute, min(second, 59), tzinfo=UTC)
    except ValueError:
        return None
    offset = 0
    if zone and zone not in "Zz":
        offset = (int(zone[1:3]) * 60 + int(zone[-2:])) * (-1 if zone[0] == "-" else 1)
    seconds = int(point.timestamp()) - offset * 60
    return seconds * 10**9 + int((found[7] or "0").ljust(9, "0"))
