"""OTLP over HTTP, protobuf or JSON, through aiohttp: no call of it blocks the event loop."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from typing import Any

import aiohttp
import msgspec
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from otelbridge.otel.environment import Endpoint, Signal
from otelbridge.otel.otlp_json import to_json
from otelbridge.otel.request import Request
from otelbridge.otel.resource import VERSION
from otelbridge.otel.transport import Accepted, Refused, Retry, Verdict, verdict_of_status

__all__ = ["ANSWERS", "MAX_HTTP_BYTES", "REJECTED", "HttpTransport"]

MAX_HTTP_BYTES = 64 << 20
_MAX_ANSWER_BYTES = 4 << 20
ANSWERS: dict[Signal, Any] = {
    "logs": ExportLogsServiceResponse,
    "spans": ExportTraceServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}
REJECTED = {"logs": "rejected_log_records", "spans": "rejected_spans", "metrics": "rejected_data_points"}
_REJECTED_JSON = {"logs": "rejectedLogRecords", "spans": "rejectedSpans", "metrics": "rejectedDataPoints"}


class HttpTransport:
    """See the module's text. Opened on its first use."""

    def __init__(self, endpoint: Endpoint, *, connections: int = 8) -> None:
        self._endpoint = endpoint
        self._connections = connections
        self._json = endpoint.protocol == "http/json"
        self._session: aiohttp.ClientSession | None = None

    async def send(self, request: Request, timeout_s: float) -> Verdict:
        endpoint = self._endpoint
        body = to_json(request.message) if self._json else request.payload()
        if len(body) > MAX_HTTP_BYTES:
            return Refused(f"the request has {len(body)} bytes; OTLP allows {MAX_HTTP_BYTES}")
        headers = {}
        if endpoint.gzip:
            # In a thread: level 3 takes about 15 ms per MB, and zlib lets go of the interpreter's lock.
            body = await asyncio.to_thread(gzip.compress, body, 3) if len(body) > 65_536 else gzip.compress(body, 3)
            headers["content-encoding"] = "gzip"
        try:
            session = self._open()
            timeout = aiohttp.ClientTimeout(total=timeout_s)
            # A redirect is not followed: it would send telemetry where nobody asked for it, or drop it as the stock exporter does.
            async with session.post(endpoint.url, data=body, headers=headers, allow_redirects=False, timeout=timeout) as response:
                answer = await _read(response)
                if 200 <= response.status < 300:
                    return self._accepted(request, response.content_type, answer)
                return verdict_of_status(response.status, _reason(endpoint.url, response, answer), response.headers)
        except TimeoutError:
            return Retry(f"{endpoint.url} did not answer within {timeout_s:g} s")
        except (aiohttp.ClientError, OSError, ValueError, ssl.SSLError) as e:
            return Retry(f"{endpoint.url}: {type(e).__name__}: {e}"[:500])

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            endpoint = self._endpoint
            secure = _tls(endpoint) if endpoint.url.startswith("https://") else False
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=self._connections, ssl=secure),
                headers={
                    "user-agent": f"otelbridge/{VERSION} OTel-OTLP-Exporter-Python",
                    "content-type": "application/json" if self._json else "application/x-protobuf",
                    **endpoint.headers,
                },
                auto_decompress=True,
            )
        return self._session

    @staticmethod
    def _accepted(request: Request, content_type: str, answer: bytes) -> Accepted:
        """Read partial_success. An answer that can't be read is a plain success: 2xx says that the records were taken."""
        signal = request.signal
        rejected, message = 0, ""
        try:
            if answer and content_type == "application/json":
                partial = msgspec.json.decode(answer).get("partialSuccess") or {}
                rejected, message = int(partial.get(_REJECTED_JSON[signal]) or 0), str(partial.get("errorMessage") or "")
            elif answer:
                partial = ANSWERS[signal].FromString(answer).partial_success
                rejected, message = int(getattr(partial, REJECTED[signal])), partial.error_message
        except (DecodeError, msgspec.DecodeError, ValueError, TypeError, AttributeError):
            return Accepted()
        return Accepted(min(max(rejected, 0), request.records), message)

    async def aclose(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """The whole answer. One that breaks off in the middle raises: what it would have said is not known, so it is no success."""
    chunks, size = [], 0
    async for chunk in response.content.iter_any():
        chunks.append(chunk)
        size += len(chunk)
        if size > _MAX_ANSWER_BYTES:
            raise ValueError("the answer is too long")
    return b"".join(chunks)


def _tls(endpoint: Endpoint) -> ssl.SSLContext:
    """The system's authorities or the given ones, and the client's own certificate."""
    context = ssl.create_default_context(cafile=str(endpoint.certificate) if endpoint.certificate else None)
    if endpoint.client_certificate is not None:
        context.load_cert_chain(endpoint.client_certificate, endpoint.client_key)
    return context


def _reason(url: str, response: aiohttp.ClientResponse, answer: bytes) -> str:
    """What the destination says, in one line."""
    location = response.headers.get("location")
    said = f"redirects to {location}" if location else _message(response.content_type, answer)
    return f"{url} answered {response.status} {response.reason or ''}: {said}".rstrip(": ")[:500]


def _message(content_type: str, answer: bytes) -> str:
    if content_type == "application/x-protobuf":  # google.rpc.Status: field 2 is its message
        try:
            return str(Status.FromString(answer).message)
        except DecodeError:
            return ""
    return " ".join(answer[:300].decode("utf-8", "replace").split())
