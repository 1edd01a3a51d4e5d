"""Collectors for tests: an in-process one that decodes real OTLP and injects faults, and rotel, a real one, before it.

async with FakeCollector() as collector:
    collector.faults = [Status(503, retry_after="1"), CloseEarly()]      # one per request, then all is well
    ... point an exporter at collector.url (HTTP) or collector.grpc_url ...
    assert collector.bodies() == ["hello"]
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import msgspec
from aiohttp import web

from otelbridge.otel.otlp_json import from_json, to_json
from otelbridge.otel.over_http import ANSWERS, REJECTED
from otelbridge.otel.request import MESSAGES

_PATHS = {"/v1/logs": "logs", "/v1/traces": "spans", "/v1/metrics": "metrics"}


class Status(msgspec.Struct, frozen=True):
    """Answer with a status and take nothing."""

    code: int
    retry_after: str | None = None
    location: str | None = None


class Slow(msgspec.Struct, frozen=True):
    """Take the records after a while."""

    seconds: float


class Partial(msgspec.Struct, frozen=True):
    """Take all but the last `rejected` records, and say so."""

    rejected: int


class CloseEarly(msgspec.Struct, frozen=True):
    """Close the connection without an answer, and take nothing."""


class CloseMidBody(msgspec.Struct, frozen=True):
    """Take nothing, begin an answer of 200 bytes and close in the middle of it."""


Fault = Status | Slow | Partial | CloseEarly | CloseMidBody


class Record(msgspec.Struct, frozen=True):
    """A log record, span or metric as it arrived."""

    resource: dict[str, Any]
    scope: str
    proto: Any
    attributes: dict[str, Any]

    @property
    def body(self) -> Any:
        return plain(self.proto.body)


class Seen(msgspec.Struct, frozen=True):
    """A request, whatever was made of it."""

    path: str
    headers: dict[str, str]
    records: int
    size: int


class FakeCollector:
    """See the module's text. `poison`: records for which it is true make their whole request a 400."""

    def __init__(self, *, port: int = 0, tls: Any = None, max_grpc_bytes: int = 4 << 20) -> None:
        self.logs: list[Record] = []
        self.spans: list[Record] = []
        self.metrics: list[Record] = []
        self.seen: list[Seen] = []
        self.faults: list[Fault | None] = []
        self.always: Fault | None = None
        self.poison: Callable[[Any], bool] | None = None
        self.max_running = 0
        self.refused: Counter[str] = Counter()  # records that it said it rejected, by signal
        self.url = ""
        self.grpc_url = ""
        self._port = port
        self._tls = tls
        self._max_grpc = max_grpc_bytes
        self._running = 0
        self._runner: web.AppRunner | None = None
        self._grpc: Any = None

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_post("/v1/{signal}", self._post)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port, ssl_context=self._tls)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()
        if self._grpc is not None:
            await self._grpc.stop(None)

    async def stop(self) -> None:
        """Stop to listen; start again with `async with` on a new one with the same port."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    # --------------------------------------------------------------------------------------------------------- looking

    def bodies(self) -> list[Any]:
        """The bodies of all log records."""
        return [record.body for record in self.logs]

    def uids(self) -> list[str]:
        """log.record.uid of all log records, in the order of their arrival."""
        return [record.attributes["log.record.uid"] for record in self.logs]

    # -------------------------------------------------------------------------------------------------------- receiving

    def unpack(self, signal: str, message: Any) -> list[Any]:
        """The records of a request, as store() and poison want them."""
        return unpack(signal, message)

    def store(self, signal: str, records: list[Any]) -> None:
        """Keep what was taken."""
        getattr(self, signal).extend(records)

    def _next(self) -> Fault | None:
        return self.faults.pop(0) if self.faults else self.always

    async def _post(self, request: web.Request) -> web.StreamResponse:
        signal = _PATHS[request.path]
        try:
            body = await request.read()
        except (web.HTTPException, ConnectionError):
            raise web.HTTPBadRequest from None
        size = len(body)
        as_json = request.content_type == "application/json"
        message: Any = from_json(signal, json.loads(body)) if as_json else MESSAGES[signal].FromString(body)  # type: ignore[arg-type, index]
        records = self.unpack(signal, message)
        self.seen.append(Seen(request.path, {k.lower(): v for k, v in request.headers.items()}, len(records), size))
        fault = self._next()
        if isinstance(fault, Status):
            headers = {"retry-after": fault.retry_after} if fault.retry_after else {}
            headers |= {"location": fault.location} if fault.location else {}
            return web.Response(status=fault.code, headers=headers, text="no")
        if isinstance(fault, CloseEarly):
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if isinstance(fault, CloseMidBody):
            response = web.StreamResponse(headers={"content-length": "200"})
            await response.prepare(request)
            await response.write(b"half")
            assert request.transport is not None
            request.transport.close()
            return response
        if self.poison is not None and any(map(self.poison, records)):
            return web.Response(status=400, text="poison")
        rejected = await self._take(signal, records, fault)
        answer = ANSWERS[signal]()  # type: ignore[index]
        if rejected:
            setattr(answer.partial_success, REJECTED[signal], rejected)
            answer.partial_success.error_message = "some were too old"
        if as_json:
            return web.Response(body=to_json(answer), content_type="application/json")
        return web.Response(body=answer.SerializeToString(), content_type="application/x-protobuf")

    def refuse(self, signal: str, records: list[Any]) -> None:
        """Count the records that a partial success leaves out."""
        self.refused[signal] += len(records)

    async def _take(self, signal: str, records: list[Any], fault: Fault | None) -> int:
        self._running += 1
        self.max_running = max(self.max_running, self._running)
        try:
            if isinstance(fault, Slow):
                await asyncio.sleep(fault.seconds)
            rejected = min(fault.rejected, len(records)) if isinstance(fault, Partial) else 0
            taken = len(records) - rejected
            self.store(signal, records[:taken])
            self.refuse(signal, records[taken:])
            return rejected
        finally:
            self._running -= 1

    # ------------------------------------------------------------------------------------------------------------ gRPC

    async def listen_grpc(self, key: bytes = b"", certificate: bytes = b"", authority: bytes = b"") -> None:
        """Listen for gRPC too, with TLS when there is a key: clients need a certificate of the authority then. Faults: Status codes there are the numbers of gRPC's codes; retry_after is in its details."""
        import grpc.aio  # type: ignore[import-untyped]

        self._grpc = grpc.aio.server(options=[("grpc.max_receive_message_length", self._max_grpc)])
        self._grpc.add_generic_rpc_handlers([self._handler(grpc)])
        if key:
            secure = grpc.ssl_server_credentials([(key, certificate)], authority, require_client_auth=True)
            port = self._grpc.add_secure_port("127.0.0.1:0", secure)
        else:
            port = self._grpc.add_insecure_port("127.0.0.1:0")
        await self._grpc.start()
        self.grpc_url = f"{'https' if key else 'http'}://127.0.0.1:{port}"

    def _handler(self, grpc: Any) -> Any:
        methods = {"LogsService": "logs", "TraceService": "spans", "MetricsService": "metrics"}
        collector = self

        class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
            def service(self, details: Any) -> Any:
                signal = methods[details.method.split("/")[1].rsplit(".", 1)[1]]

                async def export(body: bytes, context: Any) -> bytes:
                    return await collector._export(grpc, signal, body, context)

                return grpc.unary_unary_rpc_method_handler(export)

        return Handler()

    async def _export(self, grpc: Any, signal: str, body: bytes, context: Any) -> bytes:
        records = self.unpack(signal, MESSAGES[signal].FromString(body))  # type: ignore[index]
        metadata = {k: v for k, v in context.invocation_metadata() if isinstance(v, str)}
        self.seen.append(Seen(signal, metadata, len(records), len(body)))
        fault = self._next()
        if isinstance(fault, Status):
            if fault.retry_after is not None:
                context.set_trailing_metadata((("grpc-status-details-bin", _retry_info(fault)),))
            await context.abort(next(c for c in grpc.StatusCode if c.value[0] == fault.code), "no")
        if self.poison is not None and any(map(self.poison, records)):
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "poison")
        answer = ANSWERS[signal]()  # type: ignore[index]
        setattr(answer.partial_success, REJECTED[signal], await self._take(signal, records, fault))
        return bytes(answer.SerializeToString())


def _retry_info(fault: Status) -> bytes:
    from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
    from google.rpc.status_pb2 import Status as RpcStatus  # type: ignore[import-untyped]

    info, status = RetryInfo(), RpcStatus(code=fault.code, message="no")
    info.retry_delay.FromMilliseconds(round(float(fault.retry_after or 0) * 1000))
    status.details.add().Pack(info)
    return bytes(status.SerializeToString())


def unpack(signal: str, message: Any) -> list[Record]:
    """The records of a request."""
    groups, scopes, records = {
        "logs": ("resource_logs", "scope_logs", "log_records"),
        "spans": ("resource_spans", "scope_spans", "spans"),
        "metrics": ("resource_metrics", "scope_metrics", "metrics"),
    }[signal]
    return [
        Record(attributes(group.resource), scope.scope.name, record, {} if signal == "metrics" else attributes(record))
        for group in getattr(message, groups)
        for scope in getattr(group, scopes)
        for record in getattr(scope, records)
    ]


def attributes(owner: Any) -> dict[str, Any]:
    """Attributes of a resource, record or data point as plain data."""
    return {pair.key: plain(pair.value) for pair in owner.attributes}


def plain(value: Any) -> Any:
    """An AnyValue as plain data."""
    kind = value.WhichOneof("value")
    if kind is None:
        return None
    if kind == "array_value":
        return [plain(v) for v in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: plain(pair.value) for pair in value.kvlist_value.values}
    return getattr(value, kind)


# ------------------------------------------------------------------------------------------------------------- rotel


class Rotel(msgspec.Struct, frozen=True):
    """A running rotel: its OTLP receivers."""

    url: str
    grpc_url: str
    process: Any


@contextlib.asynccontextmanager
async def rotel(sink: str, folder: Path) -> AsyncIterator[Rotel]:
    """rotel as a real collector between an exporter and a FakeCollector at `sink`."""
    import rotel as package

    http, grpc = free_port(), free_port()
    command = [
        str(Path(package.__file__).parent / "rotel-agent"), "start",
        "--otlp-http-endpoint", f"127.0.0.1:{http}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
        "--exporter", "otlp", "--otlp-exporter-endpoint", sink, "--otlp-exporter-protocol", "http",
        "--batch-timeout", "50ms", "--pid-file", str(folder / "rotel.pid"), "--log-file", str(folder / "rotel.log"),
    ]  # fmt: skip
    with open(folder / "rotel.out", "wb") as out, subprocess.Popen(command, stdout=out, stderr=out) as process:  # noqa: ASYNC220, ASYNC230
        try:
            while True:
                assert process.poll() is None, (folder / "rotel.out").read_text()
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", http), 0.2):
                    break
                await asyncio.sleep(0.02)
            yield Rotel(f"http://127.0.0.1:{http}", f"http://127.0.0.1:{grpc}", process)
        finally:
            process.kill()


def free_port() -> int:
    """A port that was free a moment ago, for programs that can't take port 0."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])
