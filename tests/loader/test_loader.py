"""The loader: which code runs for an id, how often it is asked for, and who shares an instance."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest

from otelbridge import Limits, Request, Response, TailWorker, TraceItem, WorkerCode, WorkerCodeError, WorkerError, WorkerLoadError
from otelbridge.loader import version as version_room
from otelbridge.loader.loader import Loader
from otelbridge.loader.operations import Bindings, OperationError, Operations
from otelbridge.model.code import check_code
from otelbridge.model.trace import FetchEvent
from otelbridge.planes import data as data_room
from otelbridge.sandbox import Meter, wasm
from tests.sandbox.guests import worker as guest

COUNTER = "let n = 0; export default { fetch() { return new Response(String(++n)) } }"
WAITS = """export default { async fetch(request) {
  await scheduler.wait(Number(new URL(request.url).searchParams.get('ms')));
  return new Response('done');
} }"""


NESTED: list[Any] = []
NESTED.append(NESTED)


class Kept(TailWorker):
    """A tail that keeps what it is given."""

    def __init__(self) -> None:
        super().__init__(props={})
        self.items: list[TraceItem] = []

    async def tail(self, events: Sequence[TraceItem]) -> None:
        self.items += events


def code(source: str, **more: Any) -> WorkerCode:
    return WorkerCode(main_module="index.js", modules={"index.js": source}, **more)


async def ask(worker: Any, query: str = "", **entry: Any) -> str:
    response: Response = await worker.get_entrypoint(**entry).fetch(Request("GET", f"http://worker/{query}"))
    return await response.text()


class Source:
    """Gives code, and counts how often it was asked for."""

    def __init__(self, *sources: str, **more: Any) -> None:
        self.sources = list(sources)
        self.more = more
        self.asked = 0

    async def __call__(self) -> WorkerCode:
        self.asked += 1
        await asyncio.sleep(0.01)
        return code(self.sources[min(self.asked, len(self.sources)) - 1], **self.more)


async def test_first_calls_at_once_ask_for_the_code_once(bridged: Any) -> None:
    """Twenty first calls of one id wait for one make_code()."""
    bridge = await bridged()
    source = Source(WAITS)
    workers = [bridge.loader.get("w", source) for _ in range(20)]
    assert source.asked == 0
    assert await asyncio.gather(*(ask(worker, "?ms=1") for worker in workers)) == ["done"] * 20
    assert source.asked == 1


async def test_a_failed_load_is_not_remembered(bridged: Any) -> None:
    """After code that does not load, or a make_code() that raises, the next call asks again."""
    bridge = await bridged()
    source = Source("export default {", "throw new RangeError('not today')", COUNTER)
    worker = bridge.loader.get("w", source)
    with pytest.raises(WorkerLoadError) as syntax:
        await ask(worker)
    with pytest.raises(WorkerLoadError) as thrown:
        await ask(bridge.loader.get("w", source))
    assert "SyntaxError" in syntax.value.message
    assert "RangeError: not today" in thrown.value.message
    assert await ask(worker) == "1"
    assert source.asked == 3

    async def fails() -> WorkerCode:
        raise LookupError("the store of code is away")

    with pytest.raises(WorkerLoadError, match="the store of code is away"):
        await ask(bridge.loader.get("v", fails))


async def test_a_failed_load_reaches_the_tails(bridged: Any) -> None:
    """A load that fails is a trace item with its exception, under the worker's id."""
    bridge = await bridged()
    tail = Kept()
    worker = bridge.loader.get("w", lambda: code("console.log('before'); throw new Error('at module scope')", tails=[tail]))
    with pytest.raises(WorkerLoadError) as error:
        await ask(worker)
    await bridge.drain()
    (item,) = tail.items
    shown = item.to_json()
    assert (shown["workerId"], shown["outcome"], shown["invocationId"]) == ("w", "exception", error.value.invocation_id)
    assert [log["message"] for log in shown["logs"]] == [["before"]]
    assert [thrown["message"] for thrown in shown["exceptions"]] == ["at module scope"]


async def test_warm_calls_share_module_state_and_fresh_ones_do_not(bridged: Any) -> None:
    """Isolation "reuse" keeps module state, "invocation" begins anew, and load() is always another worker."""
    bridge = await bridged()
    warm = bridge.loader.get("warm", lambda: code(COUNTER))
    fresh = bridge.loader.get("fresh", lambda: code(COUNTER, isolation="invocation"))
    assert [await ask(warm) for _ in range(3)] == ["1", "2", "3"]
    assert [await ask(fresh) for _ in range(3)] == ["1", "1", "1"]
    assert [await ask(bridge.loader.load(code(COUNTER))) for _ in range(2)] == ["1", "1"]
    assert await ask(bridge.loader.get(None, lambda: code(COUNTER))) == "1"


async def test_calls_at_once_wait_for_one_image(bridged: Any) -> None:
    """Module scope of isolation "invocation" runs once, however many calls come while it does: all were cold, one has its lines."""
    bridge = await bridged()
    source = """const end = performance.now() + 40; while (performance.now() < end); console.log('module scope');
      const loaded = Date.now(); export default { fetch() { return new Response(`${loaded}`) } }"""
    tail = Kept()
    fresh = bridge.loader.get("fresh", lambda: code(source, isolation="invocation", tails=[tail]))
    assert len(set(await asyncio.gather(*(ask(fresh) for _ in range(6))))) == 1
    await ask(fresh)
    await bridge.drain()
    assert [item.cold_start for item in tail.items] == [True] * 6 + [False]
    assert sum(len(item.logs) for item in tail.items) == 1


async def test_a_failed_image_is_nobody_elses(bridged: Any) -> None:
    """Calls that waited for an image that could not be made try for themselves, and get their own error."""
    bridge = await bridged()
    source = "const end = performance.now() + 20; while (performance.now() < end); throw new Error('no')"
    fresh = bridge.loader.get("fresh", lambda: code(source, isolation="invocation"))
    errors = await asyncio.gather(*(ask(fresh) for _ in range(3)), return_exceptions=True)
    assert [type(error) for error in errors] == [WorkerLoadError] * 3
    assert len({error.invocation_id for error in errors}) == 3  # type: ignore[union-attr]


async def test_instances_of_one_image_do_not_repeat_their_randomness(bridged: Any) -> None:
    """Fresh instances of one worker draw different numbers, also at module scope of the copies."""
    bridge = await bridged()
    source = "export default { fetch() { return new Response([Math.random(), crypto.randomUUID()].join()) } }"
    fresh = bridge.loader.get("fresh", lambda: code(source, isolation="invocation"))
    drawn = ",".join([await ask(fresh) for _ in range(20)]).split(",")
    assert len(set(drawn)) == 40


async def test_concurrent_calls_take_instances_of_their_own(bridged: Any) -> None:
    """An instance serves one invocation at a time: calls that overlap see different module state."""
    bridge = await bridged()
    source = """let busy = 0; export default { async fetch() {
      busy++; await scheduler.wait(30); const seen = busy; busy--; return new Response(String(seen));
    } }"""
    worker = bridge.loader.get("w", lambda: code(source))
    assert set(await asyncio.gather(*(ask(worker) for _ in range(8)))) == {"1"}


async def test_calls_beyond_the_instances_wait_their_turn(bridged: Any) -> None:
    """With one instance allowed, calls at once are served one after the other, and none fails."""
    bridge = await bridged(sandbox__max_per_worker=1)
    worker = bridge.loader.get("w", lambda: code(COUNTER))
    assert sorted(await asyncio.gather(*(ask(worker) for _ in range(5)))) == ["1", "2", "3", "4", "5"]


async def test_who_waits_too_long_is_shed_and_recorded(bridged: Any) -> None:
    """A call that finds no instance within queue_seconds fails with loadShed, which the tails see too."""
    bridge = await bridged(sandbox__max_per_worker=1, sandbox__queue_seconds=0.05)
    tail = Kept()
    worker = bridge.loader.get("w", lambda: code(WAITS, tails=[tail]))
    slow = asyncio.create_task(ask(worker, "?ms=1500"))
    while bridge.data.instances.in_use == 0:
        await asyncio.sleep(0.01)
    with pytest.raises(WorkerError) as shed:
        await ask(worker, "?ms=1")
    assert (shed.value.outcome, shed.value.status) == ("loadShed", 503)
    assert await slow == "done"
    await bridge.drain()
    assert sorted(item.to_json()["outcome"] for item in tail.items) == ["loadShed", "ok"]


async def test_a_full_queue_sheds_at_once(bridged: Any) -> None:
    """More calls than instances and queue hold are refused without waiting."""
    bridge = await bridged(sandbox__max_per_worker=1, sandbox__queue_limit=2)
    worker = bridge.loader.get("w", lambda: code(WAITS))
    answers = await asyncio.gather(*(ask(worker, "?ms=50") for _ in range(6)), return_exceptions=True)
    shed = [answer for answer in answers if isinstance(answer, WorkerError)]
    assert (answers.count("done"), len(shed)) == (3, 3)
    assert {error.outcome for error in shed} == {"loadShed"}


async def test_the_least_used_worker_is_dropped_and_asked_for_again(bridged: Any) -> None:
    """Beyond max_workers the longest unused id is forgotten: its next call asks for its code."""
    bridge = await bridged()
    loader = Loader(host=bridge.loader.host, max_workers=2)
    sources = {name: Source(COUNTER) for name in "abc"}
    for name in "abab":
        await ask(loader.get(name, sources[name]))
    await ask(loader.get("c", sources["c"]))
    assert await ask(loader.get("b", sources["b"])) == "3"
    assert await ask(loader.get("a", sources["a"])) == "1"
    assert {name: source.asked for name, source in sources.items()} == {"a": 2, "b": 1, "c": 1}


async def test_the_lower_limit_of_code_and_call_holds(bridged: Any) -> None:
    """Code that allows much and a call that allows little, and the other way round: both stop early."""
    bridge = await bridged()
    source = "export default { fetch() { for (;;); } }"
    for own, called in ((Limits(cpu_ms=60_000), Limits(cpu_ms=20)), (Limits(cpu_ms=20), Limits(cpu_ms=60_000))):
        worker = bridge.loader.load(code(source, limits=own))
        with pytest.raises(WorkerError) as stopped:
            await ask(worker, limits=called)
        assert stopped.value.outcome == "exceededCpu"


async def test_tails_hold_up_neither_the_response_nor_each_other(bridged: Any) -> None:
    """A tail that never ends and one that throws: the response comes, and the third tail is called."""
    bridge = await bridged()
    never = asyncio.Event()

    class Hangs(TailWorker):
        async def tail(self, events: Sequence[TraceItem]) -> None:
            await never.wait()

    class Throws(TailWorker):
        async def tail(self, events: Sequence[TraceItem]) -> None:
            raise ValueError("a tail that throws")

    kept = Kept()
    worker = bridge.loader.get("w", lambda: code(COUNTER, tails=[Hangs(props={}), Throws(props={}), kept]))
    assert await ask(worker) == "1"
    while not kept.items:
        await asyncio.sleep(0.01)
    assert await ask(worker) == "2"
    never.set()


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"main_module": "gone.js", "modules": {"index.js": COUNTER}}, "gone.js"),
        ({"main_module": "index.js", "modules": {}}, "at least one module"),
        ({"main_module": "index.js", "modules": {"index.js": {"ruby": "puts 1"}}}, "ruby"),
        ({"main_module": "index.js", "modules": {"index.js": COUNTER}, "isolation": "none"}, "isolation"),
        ({"main_module": "index.js", "modules": {"index.js": COUNTER}, "env": {"x": NESTED}}, "env.x"),
        ({"main_module": "index.js", "modules": {"index.js": COUNTER}, "env": {"x": "y" * (1 << 20)}}, "exceeds the maximum"),
        ({"main_module": "index.js", "modules": {"index.js": "//" + "x" * (64 << 20)}}, "exceeds the maximum"),
        ({"main_module": "m.wasm", "modules": {"m.wasm": {"wasm": b"not wasm"}}}, "not WebAssembly"),
        ({"main_module": "m.wasm", "modules": {"m.wasm": {"wasm": b"\0asm\x01\0\0\0"}}}, "otelbridge_fetch"),
    ],
    ids=["main-missing", "no-modules", "module-type", "isolation", "env-value", "env-size", "code-size", "not-wasm", "no-exports"],
)
async def test_bad_code_says_what_is_wrong(bridged: Any, wrong: dict[str, Any], says: str) -> None:
    """Code that can't be accepted is a typed error that names the fault."""
    bridge = await bridged()
    with pytest.raises((WorkerCodeError, WorkerLoadError)) as error:
        await ask(bridge.loader.load(WorkerCode(**wrong)))
    assert says in str(error.value)


@pytest.mark.parametrize("worker_id", ["", "a/b", "a\nb", "x" * 257, "\x7f"], ids=repr)
async def test_a_wrong_worker_id_is_refused(bridged: Any, worker_id: str) -> None:
    """Ids are 1 to 256 characters without control characters and slashes."""
    bridge = await bridged()
    with pytest.raises(WorkerCodeError, match=r"[Ww]orker id"):
        bridge.loader.get(worker_id, lambda: code(COUNTER))


async def test_a_core_module_gets_a_streamed_body(bridged: Any) -> None:
    """A body that comes in pieces reaches a core module whole; one that breaks ends the call and gives its instance back."""
    bridge = await bridged(sandbox__max_instances=1)
    source = wasm.wat(guest("(if (i32.lt_u (local.get $n) (i32.const 5000)) (then (unreachable)))"))
    entrypoint = bridge.loader.load(WorkerCode(main_module="a.wasm", modules={"a.wasm": source})).get_entrypoint()

    async def pieces(*, breaks: bool) -> AsyncIterator[bytes]:
        for _ in range(5):
            yield b"x" * 1000
        if breaks:
            raise OSError("the client left")

    for breaks in (False, True, False):
        request = Request("POST", "http://w/", body=pieces(breaks=breaks))
        if breaks:
            with pytest.raises(WorkerError, match="the client left"):
                await entrypoint.fetch(request)
        else:
            assert await (await entrypoint.fetch(request)).text() == "ok"


async def test_a_body_is_read_once_at_a_time(bridged: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A guest that asks twice at once for the next piece of a body gets a TypeError, the body is whole, and no traceback is logged."""

    async def pieces() -> AsyncIterator[bytes]:
        for piece in (b"a", b"b"):
            await asyncio.sleep(0.01)
            yield piece

    operations = Operations(
        bindings=Bindings(outbound=None, slots=asyncio.Semaphore(1), global_outbound=None, services={}, own_entrypoint=None),  # type: ignore[arg-type]
        limit=1,
        trace_id="0" * 32,
        trace_flags=0,
        meter=Meter(cpu_limit_ns=1),
    )
    operations.open_stream(pieces(), stream=0)
    first = asyncio.create_task(operations.perform("read", {"stream": 0}, 0, b""))
    await asyncio.sleep(0)
    with pytest.raises(OperationError, match="read already") as refused:
        await operations.perform("read", {"stream": 0}, 0, b"")
    assert refused.value.name == "TypeError"
    assert await first == (False, b"a")
    assert await operations.perform("read", {"stream": 0}, 0, b"") == (False, b"b")
    assert await operations.perform("read", {"stream": 0}, 0, b"") == (True, b"")
    assert await operations.perform("read", {"stream": [0]}, 0, b"") == (True, b"")
    assert caplog.records == []


async def test_large_code_is_read_in_a_thread(bridged: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code of a megabyte is read, checked and hashed beside the event loop at a worker's first call, small code on it."""
    bridge = await bridged()
    threads: dict[str, bool] = {}

    def noting(name: str, real: Any) -> Any:
        def note(*args: Any) -> Any:
            threads[name] = threading.current_thread() is not threading.main_thread()
            return real(*args)

        return note

    for worker_id, padding in (("small", 0), ("large", 1 << 20)):
        await bridge.put(worker_id, code(COUNTER + "//" + "x" * padding))
        threads.clear()
        with monkeypatch.context() as noted:
            noted.setattr(bridge.registry, "code", noting("read", bridge.registry.code))
            noted.setattr(version_room, "check_code", noting("check", check_code))
            assert await ask(bridge.worker(worker_id)) == "1"
        assert threads == {"read": padding > 0, "check": padding > 0}
        threads.clear()
        with monkeypatch.context() as noted:
            noted.setattr(data_room, "check_code", noting("run", check_code))
            ran = await bridge.run(code(COUNTER + "//" + "y" * padding), Request("GET", "http://worker/"))
            assert ran.body == b"1"
        assert threads == {"run": padding > 0}


async def test_a_tail_may_look_at_what_is_redacted(bridged: Any) -> None:
    """What a tail and its JSON show of a request has no secrets; only get_unredacted() has the request as it came."""
    bridge, kept = await bridged(), Kept()
    worker = bridge.loader.get("secrets", lambda: code(COUNTER, tails=[kept]))
    url = "http://worker/?id=0123456789abcdef0123456789abcdef"
    await worker.get_entrypoint().fetch(Request("GET", url, [("Authorization", "Bearer s3cret"), ("Accept", "*/*")]))
    await bridge.drain()
    (item,) = kept.items
    raw = item.get_unredacted()
    assert isinstance(item.event, FetchEvent)
    assert isinstance(raw, FetchEvent)
    assert (item.event.url, item.event.headers["authorization"]) == ("http://worker/?id=REDACTED", "REDACTED")
    assert "s3cret" not in json.dumps(item.to_json())
    assert (raw.url, raw.headers) == (url, {"authorization": "Bearer s3cret", "accept": "*/*"})


async def test_a_module_without_handlers_ends_as_its_outbound_answers(bridged: Any) -> None:
    """Its request goes to the outbound: an answer is the invocation's, a failure is outcome "exception" in the trace too."""

    async def gateway(request: Request) -> Response:
        if "fails" in request.url:
            raise OSError("the gateway is down")
        return Response(b"from the gateway", 203)

    bridge, kept = await bridged(), Kept()
    worker = bridge.loader.get("none", lambda: code("export const named = {}", global_outbound=gateway, tails=[kept]))
    assert await ask(worker) == "from the gateway"
    with pytest.raises(WorkerError, match="Network connection lost") as thrown:
        await ask(worker, "fails")
    await bridge.drain()
    assert thrown.value.outcome == "exception"
    assert [(item.outcome, item.exceptions) for item in kept.items] == [("ok", []), ("exception", [])]
    assert thrown.value.invocation_id == kept.items[1].invocation_id
