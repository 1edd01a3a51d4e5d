"""Log sessions over a real bridge: whose logs they are, when they are complete, and that they never fail a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from otelbridge import Bridge, Request, Settings, WorkerCode, WorkerError
from otelbridge.model.part import Part, entries

SOURCE = """export default { async fetch(request, env, ctx) {
  const { pathname, searchParams } = new URL(request.url);
  const who = searchParams.get('who');
  console.log('begin', who);
  if (pathname === '/throw') throw new TypeError('boom ' + who);
  if (pathname === '/later') ctx.waitUntil(scheduler.wait(Number(searchParams.get('ms'))).then(() => console.warn('later', who)));
  await scheduler.wait(Number(searchParams.get('wait') || 0));
  console.log({ end: who });
  return new Response('for ' + who);
} }"""


def code(source: str = SOURCE) -> WorkerCode:
    """One module."""
    return WorkerCode(main_module="index.js", modules={"index.js": source})


def ask(path: str) -> Request:
    """A request for a path."""
    return Request("GET", f"http://worker{path}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled code, shared by the tests of this file."""
    return tmp_path_factory.mktemp("cache")


@pytest_asyncio.fixture
async def bridge(data_dir: Path, cache: Path) -> AsyncIterator[Bridge]:
    """A running bridge."""
    settings = Settings(environ={}, flags={"data_dir": data_dir, "sandbox.cache_dir": cache})
    async with Bridge(settings) as running:
        yield running


async def test_the_order_of_the_seed(bridge: Bridge) -> None:
    """Run, wait for the logs, and only then read the body: the logs are all there."""
    session = await bridge.log_session(bridge.loader.get("w", code).get_entrypoint())
    response = await session.fetch(ask("/?who=me"))
    logs = await session.get_logs(timeout=10)
    assert [(log["level"], log["message"]) for log in logs.items] == [("log", ["begin", "me"]), ("log", [{"end": "me"}])]
    assert logs.state == "complete"
    assert await response.text() == "for me"
    assert logs.invocation_id == response.invocation_id
    assert logs.item is not None
    assert logs.item.outcome == "ok"


async def test_two_callers_of_the_same_code_200_times(bridge: Bridge) -> None:
    """Two runs of the same code at once, 200 times: each caller has its own logs, all of them, and nobody else's."""
    for number in range(200):
        one, two = await asyncio.gather(*(bridge.run(code(), ask(f"/?who={number}-{who}&wait=1"), timeout=30) for who in "ab"))
        for result, who in ((one, "a"), (two, "b")):
            name = f"{number}-{who}"
            assert result.body == f"for {name}".encode()
            assert [log["message"] for log in result.logs.items] == [["begin", name], [{"end": name}]]
            assert result.logs.state == "complete"
        assert one.logs.invocation_id != two.logs.invocation_id


async def test_many_sessions_of_one_worker(bridge: Bridge) -> None:
    """Forty sessions of one entrypoint at once, with work that outlives the response: none takes a line of another."""
    entrypoint = bridge.loader.get("w", code).get_entrypoint()

    async def one(who: int) -> None:
        session = await bridge.log_session(entrypoint)
        response = await session.fetch(ask(f"/later?who={who}&ms={who % 7}&wait={who % 3}"))
        logs = await session.get_logs(timeout=30)
        messages = [log["message"] for log in logs.items]
        wanted = [["begin", str(who)], [{"end": str(who)}], ["later", str(who)]]
        assert sorted(messages, key=str) == sorted(wanted, key=str)
        assert logs.state == "complete"
        await response.aclose()

    await asyncio.gather(*(one(who) for who in range(40)))


async def test_logs_of_wait_until_are_waited_for(bridge: Bridge) -> None:
    """What is logged after the response belongs to the session, when it comes within the timeout."""
    result = await bridge.run(code(), ask("/later?who=x&ms=50"), timeout=30)
    assert [log["message"] for log in result.logs.items][-1] == ["later", "x"]
    assert result.logs.state == "complete"


async def test_a_timeout_is_partial_and_fails_nothing(bridge: Bridge) -> None:
    """When the work goes on for longer than the caller waits, it gets what there is, marked as partial; more can be asked for."""
    session = await bridge.log_session(bridge.loader.get("w", code).get_entrypoint())
    response = await session.fetch(ask("/later?who=x&ms=400"))
    early = await session.get_logs(timeout=0)
    assert (early.state, early.item, len(early.items)) == ("partial", None, 2)
    assert await response.text() == "for x"
    assert early.invocation_id == response.invocation_id
    late = await session.get_logs(timeout=30)
    assert (late.state, [log["message"] for log in late.items][-1]) == ("complete", ["later", "x"])


async def test_without_a_call_there_are_none(bridge: Bridge) -> None:
    """A session that was not used answers at once."""
    session = await bridge.log_session(bridge.loader.get("w", code).get_entrypoint())
    logs = await session.get_logs(timeout=30)
    assert (logs.items, logs.exceptions, logs.state, logs.invocation_id) == ([], [], "none", None)


async def test_what_is_thrown_comes_with_its_logs(bridge: Bridge) -> None:
    """A call that throws leaves its logs and its exception in the session."""
    session = await bridge.log_session(bridge.loader.get("w", code).get_entrypoint())
    with pytest.raises(WorkerError, match="boom me"):
        await session.fetch(ask("/throw?who=me"))
    logs = await session.get_logs(timeout=30)
    assert [log["message"] for log in logs.items] == [["begin", "me"]]
    assert [(e["name"], e["message"]) for e in logs.exceptions] == [("TypeError", "boom me")]
    assert logs.state == "complete"


async def test_code_that_does_not_load_is_told_too(bridge: Bridge) -> None:
    """A failed load is the error of the run, with its exception among the logs."""
    result = await bridge.run(code("export default { fetch() { thro"), ask("/"), timeout=30)
    assert result.response is None
    assert result.error is not None
    assert [e["name"] for e in result.logs.exceptions] == ["SyntaxError"]


async def test_a_session_can_be_used_again(bridge: Bridge) -> None:
    """The next call begins anew: what an earlier one still logs does not come into it."""
    session = await bridge.log_session(bridge.loader.get("w", code).get_entrypoint())
    first = await session.fetch(ask("/later?who=1&ms=100"))
    second = await session.fetch(ask("/?who=2&wait=200"))
    logs = await session.get_logs(timeout=30)
    assert [log["message"] for log in logs.items] == [["begin", "2"], [{"end": "2"}]]
    for response in (first, second):
        await response.aclose()


async def test_a_listener_hears_of_lines_while_the_code_runs(bridge: Bridge) -> None:
    """Lines are told before the call ends, each part once and in order."""
    heard: list[object] = []
    first = asyncio.Event()

    def listen(part: Part) -> None:
        heard.extend(getattr(entry, "message", None) for entry in entries(part))
        first.set()

    task = asyncio.create_task(bridge.run(code(), ask("/?who=x&wait=500"), timeout=30, listener=listen))
    await first.wait()
    assert heard == [["begin", "x"]]
    assert not task.done()
    result = await task
    assert heard == [log["message"] for log in result.logs.items] == [["begin", "x"], [{"end": "x"}]]
