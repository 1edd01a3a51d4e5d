"""Work that has to go on: a failure is told, counted and shown, and never its silent end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from otelbridge.lasting import LastingTask


async def test_what_fails_is_begun_anew(caplog: pytest.LogCaptureFixture) -> None:
    """After an error, and after somebody else's cancellation, the work begins anew; each is logged, counted and shown."""
    begun: list[int] = []
    runs = asyncio.Event()

    async def work() -> None:
        begun.append(len(begun))
        if len(begun) == 1:
            raise AssertionError("a defect")
        if len(begun) == 2:
            raise asyncio.CancelledError("of a future that it waited for")
        runs.set()
        await asyncio.Event().wait()

    with caplog.at_level(logging.ERROR):
        task = LastingTask("the work", work)
        await runs.wait()
    assert (begun, task.failures) == ([0, 1, 2], 2)
    assert [record.message for record in caplog.records] == [
        "the work failed and is tried again in 0.5 s",
        "the work failed and is tried again in 1.0 s",
    ]
    assert task.trouble == "the work failed and is tried again (2 failures): CancelledError: of a future that it waited for"
    await task.aclose()
    await task.aclose()
    assert len(begun) == 3


async def test_what_returns_has_ended() -> None:
    """Work that is done is not begun again, and nothing is wrong with it."""
    begun: list[int] = []

    async def work() -> None:
        begun.append(1)

    task = LastingTask("the work", work)
    await asyncio.wait([task._task])
    await task.aclose()
    assert (begun, task.trouble) == ([1], None)
