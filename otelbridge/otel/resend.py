"""Sends dead letters again, once their cause is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from otelbridge.otel.deadletter import DeadLetters
from otelbridge.otel.ledger import Ledger
from otelbridge.otel.sender import Fate, Sender

__all__ = ["resend"]


async def resend(letters: DeadLetters, sender: Sender, ledger: Ledger, note: Callable[[], None], out: dict[str, int]) -> None:
    """Counts in `out` the records that were delivered now, and that failed: those are dead letters again. The ledger follows.

    It waits for a destination that is away: cancel it to stop, nothing is lost.
    """
    while (letter := await asyncio.to_thread(letters.take)) is not None:
        fates: list[Fate] = []
        await sender.deliver(letter.request, fates.extend)
        for fate in fates:
            for worker_id, records in fate.counts.items():
                ledger.move(worker_id, letter.reason, fate.reason, records)
                out["delivered" if fate.reason is None else "failed"] += records
        note()
        await asyncio.to_thread(letters.done, letter)
