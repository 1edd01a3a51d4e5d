"""Conformance adapter for otelbridge, on its public Python API. See README.md, "Adapters".

Where the API turns out different from what is assumed here, correct this file; lines marked ASSUMED are guesses.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import tempfile
import time
from typing import Any

from compare import body_of, plain

from otelbridge import INHERIT, Bridge, Limits, Request, Response, Settings, TailWorker, WorkerCode

BORING = {"content-length", "transfer-encoding", "connection", "date"}
LIMIT_NAMES = {"cpuMs": "cpu_ms", "subRequests": "subrequests", "memoryMb": "memory_mb", "wallMs": "wall_ms"}

stack = contextlib.AsyncExitStack()
bridge: Bridge


async def setup() -> None:
    global bridge
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    os.environ.setdefault("OTELBRIDGE_DATA_DIR", folder)
    # The cases' origin server listens on loopback, which the egress policy refuses by default.
    os.environ.setdefault("OTELBRIDGE_OUTBOUND_ALLOW_PRIVATE", "1")
    bridge = await stack.enter_async_context(Bridge(Settings()))


async def teardown() -> None:
    await stack.aclose()


# ------------------------------------------------------------------------------------- what a case may ask for


class Echo:
    """The service binding env.ECHO."""

    async def fetch(self, request: Request) -> Response:
        path = "/" + request.url.split("://", 1)[1].partition("/")[2].partition("?")[0]
        return Response(f"echo {request.method} {path}")  # ASSUMED: Response(body, status=200, headers=())

    async def add(self, a, b):
        return a + b


async def gateway(request: Request) -> Response:
    return Response(f"gateway saw {request.url}", status=203)


def tails_for(case: dict, calls: list, notes: list) -> list:
    class Recorder(TailWorker):
        async def tail(self, events):
            calls.append({"props": dict(self.props), "events": [e.to_json() for e in events]})

    class Throwing(TailWorker):
        async def tail(self, events):
            notes.append(f"ThrowingTail called with {len(events)}")
            raise RuntimeError("tail threw")

    class Slow(TailWorker):
        async def tail(self, events):
            await asyncio.sleep(2)
            notes.append("SlowTail finished")

    props = {"workerId": case["worker_id"]}
    recorder = Recorder(props=props)
    return {
        "none": [],
        "empty": [],
        "two": [recorder, Recorder(props={**props, "second": True})],
        "throwing": [Throwing(props=props), recorder],
        "slow": [Slow(props=props), recorder],
        "notail": [Echo(), recorder],
    }.get(case.get("tailsMode"), [recorder])


def limits_of(given: dict | None) -> Limits | None:
    return Limits(**{LIMIT_NAMES[k]: v for k, v in given.items()}) if given else None


def code_of(case: dict, tails: list) -> WorkerCode:
    env = dict(case.get("env", {}))
    if case.get("bindEcho"):
        env["ECHO"] = Echo()
    if case.get("bindLoader"):
        env["LOADER"] = bridge.loader
    outbound = INHERIT
    if "globalOutbound" in case:
        outbound = None if case["globalOutbound"] is None else gateway
    options: dict[str, Any] = {}
    if case.get("limits"):
        options["limits"] = limits_of(case["limits"])
    return WorkerCode(
        main_module=case.get("mainModule", "index.js"),
        modules={"index.js": case["source"], **case.get("modules", {})},
        compatibility_date=case.get("compatibilityDate", "2026-01-01"),
        compatibility_flags=case.get("compatibilityFlags", []),
        env=env,
        global_outbound=outbound,
        tails=tails,
        **options,
    )


def error_of(e: BaseException) -> dict:
    # ASSUMED: an error raised by a worker carries the JavaScript name and message as .name and .message.
    return {"error": {"name": getattr(e, "name", None) or type(e).__name__, "message": getattr(e, "message", None) or str(e)}}


# ------------------------------------------------------------------------------------- one case


async def read(response, spec: dict) -> dict:
    # ASSUMED: response.headers yields (name, value) pairs, or is a mapping with .items().
    pairs = response.headers.items() if hasattr(response.headers, "items") else response.headers
    out = {"status": response.status, "headers": {k.lower(): v for k, v in pairs if k.lower() not in BORING}}
    try:
        if "read_bytes" in spec:  # the caller leaves in the middle of the body
            data = b""
            async for chunk in response.body:  # ASSUMED
                data += chunk
                if len(data) >= spec["read_bytes"]:
                    break
            await response.aclose()  # ASSUMED
            return {"response": {**out, "body": body_of(data[: spec["read_bytes"]])}, "left": True}
        return {"response": {**out, "body": body_of(await response.bytes())}}
    except Exception:
        return {"response": {**out, "body": None, "body_error": True}}


async def one_request(case: dict, entry, spec: dict) -> dict:
    await asyncio.sleep(spec.get("sleep_ms", 0) / 1000)
    host = case["worker_id"] + ".dyn.example"
    body = spec["body"].encode() if "body" in spec else None
    headers = [("host", host), *map(tuple, spec.get("headers", []))]
    if body is not None:
        headers.append(("content-length", str(len(body))))
    request = Request(spec.get("method", "GET"), f"http://{host}{spec.get('path', '/')}", headers, body, cf=case.get("cf"))
    started = time.monotonic()

    async def go() -> dict:
        response = await entry.fetch(request)
        if case.get("dropBody"):
            if hasattr(response, "aclose"):
                await response.aclose()
            return {"dropped": response.status}
        return await read(response, spec)

    try:
        if case.get("abortMs"):
            out = await asyncio.wait_for(go(), case["abortMs"] / 1000)
        elif "read_bytes" in spec:
            out = await go()
        else:
            try:
                out = await asyncio.wait_for(go(), spec.get("timeout_ms", 10_000) / 1000)
            except TimeoutError:
                return {"left": True}
    except Exception as e:
        out = error_of(e)
    return {**out, "ms": round((time.monotonic() - started) * 1000)}


async def run_requests(case: dict, entry) -> list[dict]:
    try:
        if rpc := case.get("rpc"):
            if rpc.get("stub"):
                session = await entry.call(rpc["method"])
                return [{"result": [await session.call("hit", 1), await session.call("hit", 2)]}]
            return [{"result": plain(await entry.call(rpc["method"], *rpc.get("args", [])))}]
        if scheduled := case.get("scheduled"):
            return [{"result": to_dict(await entry.scheduled(cron=scheduled["cron"], scheduled_time=scheduled["time"]))}]
        if queue := case.get("queue"):
            return [{"result": to_dict(await entry.queue(queue["name"], queue["messages"]))}]
    except Exception as e:
        return [error_of(e)]
    requests = case.get("requests", [{}])
    if case.get("parallel"):
        return list(await asyncio.gather(*(one_request(case, entry, r) for r in requests)))
    return [await one_request(case, entry, r) for r in requests]


def to_dict(result) -> dict:
    """ASSUMED: what scheduled() and queue() return has the fields outcome, explicitAcks ... (or their snake_case)."""
    if isinstance(result, dict):
        return plain(result)
    fields = getattr(result, "__struct_fields__", None) or vars(result)
    return plain({"".join(w.title() if i else w for i, w in enumerate(f.split("_"))): getattr(result, f) for f in fields})


async def run(case: dict) -> dict:
    if case.get("websocket"):
        return {"unsupported": "WebSocket"}
    calls: list = []
    notes: list = []
    loads = 0

    async def make_code() -> WorkerCode:
        nonlocal loads
        loads += 1
        return code_of(case, tails_for(case, calls, notes))

    worker = bridge.loader.get(case["worker_id"], make_code)
    try:
        entry = worker.get_entrypoint(name=case.get("entrypoint"), props=case.get("props"), limits=limits_of(case.get("entryLimits")))
        results = await run_requests(case, entry)
    except Exception as e:  # get_entrypoint() itself refused
        results = [error_of(e) for _ in case.get("requests", [{}])]
    drained = bridge.drain()
    if inspect.isawaitable(drained):
        await drained
    # ASSUMED: a failed load reaches the worker's tails as a TraceItem. If it is recorded elsewhere, put it into
    # "load_records".
    return {"results": results, "tail_calls": calls, "tail_notes": notes, "loads": loads, "load_records": [], "alive": True}
