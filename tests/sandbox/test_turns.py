"""Slices: short guests run at once, long ones share the loop, limits and cancellation hold anywhere."""

from __future__ import annotations

import asyncio
import threading

import pytest

from otelbridge.sandbox import Engine, Meter, Stop, wasm
from otelbridge.sandbox import turns as turns_room
from otelbridge.sandbox.core.program import Program
from otelbridge.sandbox.ticker import Ticker
from otelbridge.sandbox.turns import INLINE_NS, SHORT_NS, Turns
from tests.sandbox.guests import OK, SECOND, Start, fetch, worker

# Counts to a number that takes some tens of milliseconds.
BUSY = worker("(loop $l (local.set $j (i64.add (local.get $j) (i64.const 1))) (br_if $l (i64.lt_u (local.get $j) (i64.const 20000000))))")


async def test_short_guest_needs_no_turn_of_the_loop(start: Start) -> None:
    """A request that is done in its first slice returns without ever giving up the loop."""
    guest = await start(worker())
    turned: list[bool] = []
    asyncio.get_running_loop().call_soon(turned.append, True)
    for _ in range(5):  # a tick can cut any single slice short
        assert (await fetch(guest))[0] == 200
        if not turned:
            return
    pytest.fail("every request was interrupted")


async def test_others_run_while_guests_compute(start: Start) -> None:
    """Twenty busy guests that start in the same turn all finish, and the loop turns many times meanwhile."""
    guests = [await start(BUSY) for _ in range(20)]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    counter = asyncio.create_task(count())
    meters = [Meter(10 * SECOND) for _ in guests]
    answers = await asyncio.gather(*(fetch(guest, meter=meter) for guest, meter in zip(guests, meters, strict=True)))
    counter.cancel()
    assert {body for _, _, body in answers} == {b"ok"}
    slices = sum(meter.slices for meter in meters)
    # Never two long slices in one turn: what follows the first slices of a turn is one slice a turn.
    assert turns >= slices // 2
    assert slices > 20


async def test_who_is_woken_goes_before_the_next_slice(start: Start) -> None:
    """A task that waits for a callback, as for a timer or a socket, runs after one slice of a busy guest at most."""
    guest, meter = await start(worker("(loop $l (br $l))")), Meter(10 * SECOND)
    busy = asyncio.create_task(fetch(guest, meter=meter))
    while meter.slices < 3:
        await asyncio.sleep(0)
    loop = asyncio.get_running_loop()
    for _ in range(20):
        before = meter.slices
        woken = loop.create_future()
        loop.call_soon(woken.set_result, None)
        await woken
        assert meter.slices - before <= 1
    busy.cancel()
    await asyncio.gather(busy, return_exceptions=True)


class NoTicker(Ticker):
    """A clock that never ticks by itself."""

    def wake(self) -> None:
        self.asleep = False


@pytest.mark.parametrize(
    ("slice_ns", "used_ns", "at_once"), [(SHORT_NS - 1, 0, True), (SHORT_NS - 1, INLINE_NS, True), (SHORT_NS, 0, False)]
)
async def test_a_first_slice_that_a_tick_cut_short_goes_on_at_once(
    start: Start, engine: Engine, monkeypatch: pytest.MonkeyPatch, slice_ns: int, used_ns: int, at_once: bool
) -> None:
    """A guest that meets a tick right after it began gets its second slice in the same turn of the loop, also when it had to wait
    for its first one; a guest that used up its first slice has to queue up."""
    guest, meter = await start(worker()), Meter(SECOND)
    monkeypatch.setattr(engine, "turns", Turns(NoTicker(engine.address, tick_ms=2)))
    while not engine._ticker.asleep:  # the clock of the tests before
        await asyncio.sleep(0.001)
    cpu_ns = turn = 0
    slices: list[int] = []  # in which turn of the loop each one ran

    def clock() -> int:
        nonlocal cpu_ns
        cpu_ns += slice_ns
        return cpu_ns

    def count() -> None:
        nonlocal turn
        turn += 1
        asyncio.get_running_loop().call_soon(count)

    def before_slice(self: Program) -> None:
        real(self)
        slices.append(turn)
        if len(slices) % 2:  # the first one of alloc, and of fetch
            wasm.increment_epoch(engine.address)

    real = Program.before_slice
    monkeypatch.setattr(turns_room, "_cpu_ns", clock)
    monkeypatch.setattr(Program, "before_slice", before_slice)
    engine.turns._used_ns = used_ns
    counting = asyncio.get_running_loop().call_soon(count)
    assert (await fetch(guest, meter=meter))[0] == 200
    counting.cancel()
    assert (len(slices), meter.slices) == (4, 4)
    assert [slices[0] == slices[1], slices[2] == slices[3]] == [at_once, at_once]
    assert (slices[0] > 0) == (used_ns > 0)


def test_a_clock_that_is_closed_as_it_goes_to_sleep_ends(engine: Engine) -> None:
    """close() that comes between the thread's last look and its sleep does not wait for ever, as a stop of the service would."""
    ticker = Ticker(engine.address, tick_ms=0.1)
    fell_asleep, closed = threading.Event(), threading.Event()

    class Bell(threading.Event):
        def clear(self) -> None:
            fell_asleep.set()
            closed.wait()
            super().clear()

        def set(self) -> None:
            super().set()
            if ticker._closed:
                closed.set()

    ticker._event = Bell()
    ticker.wake()
    fell_asleep.wait()
    ending = threading.Thread(target=ticker.close, daemon=True)
    ending.start()
    ending.join(30)
    assert not ending.is_alive()


async def test_slices_are_shared_in_turn(start: Start) -> None:
    """Of two guests that never end, neither gets ahead of the other by more than some slices."""
    endless = worker("(loop $l (br $l))")
    meters = [Meter(50_000_000), Meter(50_000_000)]
    guests = [await start(endless) for _ in meters]
    results = await asyncio.gather(*(fetch(g, meter=m) for g, m in zip(guests, meters, strict=True)), return_exceptions=True)
    assert [result.outcome for result in results if isinstance(result, Stop)] == ["exceededCpu"] * 2
    assert all(50_000_000 < meter.cpu_ns < 500_000_000 for meter in meters)


async def test_no_limit(start: Start) -> None:
    """A meter without a limit only counts."""
    meter = Meter()
    await fetch(await start(BUSY), meter=meter)
    assert meter.cpu_ns > 0
    assert not meter.exhausted


async def test_one_meter_for_several_calls(start: Start) -> None:
    """The CPU limit is of the invocation: what alloc used up is not there for fetch."""
    guest = await start(worker(alloc="(call $spin) (i32.const 32768)", more=SPIN))
    meter = Meter(30_000_000)
    outcome = ""
    while not outcome:
        try:
            await fetch(guest, meter=meter)
        except Stop as stop:
            outcome = stop.outcome
    assert outcome == "exceededCpu"


SPIN = """(func $spin (local $j i64)
  (loop $l (local.set $j (i64.add (local.get $j) (i64.const 1))) (br_if $l (i64.lt_u (local.get $j) (i64.const 5000000)))))"""


async def test_cancelled_guests_leave_the_queue(start: Start) -> None:
    """When busy guests are cancelled, those behind them in the queue go on and finish."""
    doomed = [await start(worker("(loop $l (br $l))")) for _ in range(5)]
    fine = await start(BUSY)
    tasks = [asyncio.create_task(fetch(guest, meter=Meter())) for guest in doomed]
    survivor = asyncio.create_task(fetch(fine, meter=Meter(10 * SECOND)))
    await asyncio.sleep(0.01)
    for task in tasks:
        task.cancel()
    assert (await survivor)[2] == b"ok"
    assert all(isinstance(result, asyncio.CancelledError) for result in await asyncio.gather(*tasks, return_exceptions=True))


async def test_closing_a_guest_that_runs(start: Start) -> None:
    """close() during a request waits for its end instead of pulling the memory away."""
    guest = await start(BUSY)
    task = asyncio.create_task(fetch(guest, meter=Meter(10 * SECOND)))
    await asyncio.sleep(0)
    guest.close()
    result = (await asyncio.gather(task, return_exceptions=True))[0]
    assert isinstance(result, tuple | Exception)
    assert guest.dead


async def test_busy_guest_refuses_a_second_request(start: Start) -> None:
    """One invocation at a time per instance: a second one is refused, the first is not disturbed."""
    guest = await start(BUSY)
    first = asyncio.create_task(fetch(guest, meter=Meter(10 * SECOND)))
    await asyncio.sleep(0)
    if not first.done():
        with pytest.raises(Exception, match="busy"):
            await fetch(guest)
    assert (await first)[2] == OK[OK.index("ok") :][:2].encode()


async def test_wall_clock_from_outside(start: Start) -> None:
    """A timeout around a request ends a guest that would compute for ever."""
    guest = await start(worker("(loop $l (br $l))"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await fetch(guest, meter=Meter())
    assert guest.dead
