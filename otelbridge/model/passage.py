"""What became of an invocation's records after its end, as the API shows it: tail and export. Times ns since 1970 as text."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["ExportPassage", "ExportState", "Place", "TailCall", "TailPassage"]


class Place(msgspec.Struct, frozen=True, array_like=True):
    """Where the last part of an invocation stands: behind its frame in a spool; and when it was appended there."""

    spool: str
    boot: int
    segment: int
    offset: int
    time_ns: int


class TailCall(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """One of the worker's tails, called with the trace item. `name`: its class; without an end it still runs."""

    name: str
    start_time_unix_nano: str
    end_time_unix_nano: str | None = None
    error: str | None = None


class TailPassage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """When the last record of an invocation was in the spool, where no death of a process takes it away, and when it was
    readable in the log store; a time that is no longer known is left out."""

    spooled_time_unix_nano: str | None = None
    stored_time_unix_nano: str | None = None
    calls: list[TailCall] = []


ExportState = Literal["delivered", "queued", "rejected", "dropped", "nothing", "unknown"]


class ExportPassage(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """An invocation's way to one destination, of its logs or its spans, in records.

    `read`: taken from the spool by the exporter; `settled`: answered for the last of them. `state`: of the worst of them; "queued"
    while one waits, "nothing" when it had none, "unknown" when it was settled too long ago to be remembered. `error`: what the
    destination said last, of records that wait.
    """

    destination: str
    signal: Literal["logs", "spans"]
    state: ExportState
    read_time_unix_nano: str | None = None
    settled_time_unix_nano: str | None = None
    delivered: int = 0
    rejected: int = 0
    dropped: dict[str, int] = {}
    error: str | None = None
