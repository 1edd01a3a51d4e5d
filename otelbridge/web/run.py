"""POST /v1/run: run code once, and give back its response together with what it logged."""

from __future__ import annotations

import asyncio
import base64
import binascii
import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
from msgspec import Meta

from otelbridge.errors import WorkerError
from otelbridge.logs.events import event_of
from otelbridge.model.code import WorkerCode
from otelbridge.model.http import Request, Response
from otelbridge.model.part import Part
from otelbridge.model.record import records
from otelbridge.web.code import CODE_BYTES, CodeBody, checked_worker_id, worker_code
from otelbridge.web.problem import clean, invalid
from otelbridge.web.reply import Reply, event_stream, json_reply
from otelbridge.web.route import Call, decode

if TYPE_CHECKING:
    from otelbridge.planes.data import RunResult

__all__ = ["RunBody", "RunResultBody", "error_members", "response_members", "run"]


_log = logging.getLogger("otelbridge.web")


class RunRequest(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """The request that the code answers. `url` may be a path."""

    method: Annotated[str, Meta(pattern="^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}$")] = "GET"
    url: str = "/"
    headers: dict[str, str] | list[tuple[str, str]] = {}
    body: str | None = None
    body_base64: Annotated[str | None, Meta(description="The body, when it is not text; not together with `body`.")] = None


class RunBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What to run."""

    code: Annotated[CodeBody | str, Meta(description="Worker code, or the source text of one JavaScript module.")]
    request: RunRequest = RunRequest()
    worker_id: Annotated[str | None, Meta(description="Whose telemetry it is; by default an id made from the code.")] = None
    timeout_ms: Annotated[int, Meta(ge=0, le=60_000, description="How long to wait for logs after the response.")] = 1_000


class RunResponse(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """What the code answered; `body` when it is UTF-8, else `bodyBase64`."""

    status: int
    headers: list[tuple[str, str]]
    body: str | None = None
    body_base64: str | None = None


class RunError(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the code threw, or what ended it."""

    name: str
    message: str
    outcome: str
    stack: str | None = None


class RunTiming(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Where the time went, in milliseconds."""

    compile_ms: float
    start_ms: float
    run_ms: float
    total_ms: float
    cold_start: bool


class RunResultBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What one run gave. `error` instead of a response when the code failed; `trace` is null while the run has not ended."""

    response: RunResponse | None
    error: RunError | None
    logs: list[dict[str, Any]]
    exceptions: list[dict[str, Any]]
    logs_state: Annotated[str, Meta(description="complete, partial (the run goes on) or none (it never began).")]
    trace: dict[str, Any] | None
    timing: RunTiming
    invocation_id: Annotated[str | None, Meta(description="Null when the run never began.")]
    trace_id: str | None


async def run(call: Call) -> Reply:
    """POST /v1/run."""
    body = decode(await call.body(CODE_BYTES), RunBody)
    source = body.code
    code = WorkerCode(main_module="index.js", modules={"index.js": source}) if isinstance(source, str) else worker_code(source)
    worker_id = checked_worker_id(body.worker_id) if body.worker_id is not None else None
    start = functools.partial(call.data.run, code, _request(body.request), worker_id=worker_id, timeout=body.timeout_ms / 1000)
    if "text/event-stream" in call.request.headers.get("accept", ""):
        return await _run_live(call, start)
    return json_reply(_result(await start()))


async def _run_live(call: Call, start: Callable[..., Coroutine[Any, Any, RunResult]]) -> Reply:
    """The records of a run as they happen, then its result. A run that can't begin is a problem, as without a stream."""
    parts: asyncio.Queue[Part | None] = asyncio.Queue()
    task = asyncio.create_task(start(listener=parts.put_nowait))
    task.add_done_callback(lambda _: parts.put_nowait(None))
    try:
        first = await parts.get()
        if first is None:
            task.result()
        return await event_stream(call.request, _events(first, parts, task))
    finally:
        task.cancel()  # the client left
        await asyncio.wait([task])


async def _events(part: Part | None, parts: asyncio.Queue[Part | None], task: asyncio.Task[RunResult]) -> AsyncIterator[bytes]:
    while part is not None:
        yield b"".join([event_of(record) + b"\n" for record in records(part)])
        part = await parts.get()
    try:
        body = _result(task.result())
    except Exception as e:  # the status has been sent: a client that waits for the result must get one all the same
        _log.error("a run failed by a fault of otelbridge", exc_info=e)
        body = _failed()
    yield b"event: result\ndata: %s\n\n" % msgspec.json.encode(body)


def _failed() -> RunResultBody:
    error = RunError(name="Error", message="The bridge failed to run it; its own log says why.", outcome="internalError")
    timing = RunTiming(compile_ms=0, start_ms=0, run_ms=0, total_ms=0, cold_start=False)
    return RunResultBody(
        response=None,
        error=error,
        logs=[],
        exceptions=[],
        logs_state="partial",
        trace=None,
        timing=timing,
        invocation_id=None,
        trace_id=None,
    )


def _result(result: RunResult) -> RunResultBody:
    return RunResultBody(
        response=response_members(result.response, result.body) if result.response is not None else None,
        error=error_members(result.error) if result.error is not None else None,
        logs=result.logs.items,
        exceptions=result.logs.exceptions,
        logs_state=result.logs.state,
        trace=result.item.to_json() if result.item is not None else None,
        timing=RunTiming(**msgspec.structs.asdict(result.timing)),
        invocation_id=result.logs.invocation_id,
        trace_id=result.logs.trace_id,
    )


def response_members(response: Response, body: bytes) -> RunResponse:
    """A response and its body as JSON."""
    try:
        return RunResponse(status=response.status, headers=response.headers, body=body.decode())
    except UnicodeDecodeError:
        return RunResponse(status=response.status, headers=response.headers, body_base64=base64.b64encode(body).decode())


def error_members(error: WorkerError) -> RunError:
    """What a worker threw, as JSON."""
    stack = clean(error.stack) if error.stack else None
    return RunError(name=clean(error.name), message=clean(error.message), outcome=error.outcome, stack=stack)


def _request(body: RunRequest) -> Request:
    if body.body is not None and body.body_base64 is not None:
        raise invalid("request: give body or bodyBase64, not both.")
    try:
        content = base64.b64decode(body.body_base64, validate=True) if body.body_base64 is not None else None
    except (binascii.Error, ValueError) as e:
        raise invalid(f"request.bodyBase64: not base64: {e}.") from None
    if body.body is not None:
        content = body.body.encode()
    url = body.url if body.url.startswith(("http://", "https://")) else "http://worker/" + body.url.removeprefix("/")
    try:
        return Request(body.method, url, body.headers, content)
    except ValueError as e:
        raise invalid(f"request.headers: {e}.") from None
