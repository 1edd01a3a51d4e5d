"""One attempt to hand a request to a destination, and what its answer means.

The rules: 429, 502, 503, 504, faults of the connection and timeouts are retried without end; answers that speak of the
way and not of the records (500 and other 5xx, 3xx, 401, 403, 404 and their like) for a bounded time; a 413 is split;
every other 4xx is a verdict on the records, and the batch is searched for the one that caused it.
"""

from __future__ import annotations

import datetime
import email.utils
from typing import Any, Protocol

import msgspec

from otelbridge.otel.request import Request

__all__ = ["Accepted", "Refused", "Retry", "Transport", "Verdict", "retry_after", "verdict_of_status"]

MAX_RETRY_AFTER_SECONDS = 3600.0
_TRANSIENT = frozenset({429, 502, 503, 504})
_OF_THE_WAY = frozenset({401, 402, 403, 404, 405, 406, 407, 408, 410, 415, 421, 423, 425, 426, 451})


class Accepted(msgspec.Struct, frozen=True):
    """The destination took the request, all but `rejected` records of it, which must not be sent again."""

    rejected: int = 0
    message: str = ""


class Retry(msgspec.Struct, frozen=True):
    """Try again, not before `after_s`. `bounded`: only for a while, this may well never work."""

    error: str
    after_s: float = 0.0
    bounded: bool = False


class Refused(msgspec.Struct, frozen=True):
    """The records are at fault, or at least one of them, or their size."""

    error: str


Verdict = Accepted | Retry | Refused


class Transport(Protocol):
    """A connection to one destination for one signal."""

    async def send(self, request: Request, timeout_s: float) -> Verdict:
        """One attempt. Raises nothing but cancellation."""

    async def aclose(self) -> None:
        """Close the connection. May be called twice."""


def verdict_of_status(status: int, reason: str, headers: Any) -> Retry | Refused:
    """What an HTTP status other than 2xx means."""
    if status in _TRANSIENT:
        return Retry(reason, retry_after(headers.get("retry-after")))
    if status >= 500 or 300 <= status < 400 or status in _OF_THE_WAY or status < 200:
        return Retry(reason, retry_after(headers.get("retry-after")), bounded=True)
    return Refused(reason)


def retry_after(value: str | None) -> float:
    """Seconds to wait, from a Retry-After header: a number of seconds or a date."""
    if value is None:
        return 0.0
    value = value.strip()
    if value.isascii() and value.isdigit():
        return min(float(value), MAX_RETRY_AFTER_SECONDS)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    at = at if at.tzinfo is not None else at.replace(tzinfo=datetime.UTC)
    wait = (at - datetime.datetime.now(datetime.UTC)).total_seconds()
    return min(max(wait, 0.0), MAX_RETRY_AFTER_SECONDS)
