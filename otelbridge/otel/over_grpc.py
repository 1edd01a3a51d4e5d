"""OTLP over gRPC, through grpcio's own event-loop interface. Imported only when a destination asks for it: it is large."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import urlsplit

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped]
from google.rpc.status_pb2 import Status  # type: ignore[import-untyped]

from otelbridge.otel.environment import Endpoint, Signal
from otelbridge.otel.over_http import ANSWERS, REJECTED
from otelbridge.otel.request import Request
from otelbridge.otel.resource import VERSION
from otelbridge.otel.transport import MAX_RETRY_AFTER_SECONDS, Accepted, Refused, Retry, Verdict

__all__ = ["GrpcTransport"]

_METHODS: dict[Signal, str] = {
    "logs": "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
    "spans": "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
    "metrics": "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
}
_CODES = grpc.StatusCode
_TRANSIENT = {_CODES.CANCELLED, _CODES.DEADLINE_EXCEEDED, _CODES.ABORTED, _CODES.OUT_OF_RANGE, _CODES.UNAVAILABLE, _CODES.DATA_LOSS}
_OF_THE_RECORDS = {_CODES.INVALID_ARGUMENT, _CODES.ALREADY_EXISTS}


class GrpcTransport:
    """See the module's text. Connected on its first use."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._channel: Any = None
        self._calls: dict[str, Any] = {}

    async def send(self, request: Request, timeout_s: float) -> Verdict:
        try:
            call = self._open(request.signal)
            answer = await call(
                request.payload(),
                timeout=timeout_s,
                metadata=tuple(self._endpoint.headers.items()),
                compression=grpc.Compression.Gzip if self._endpoint.gzip else grpc.Compression.NoCompression,
            )
        except grpc.aio.AioRpcError as e:
            return _verdict(self._endpoint.url, e)
        except (OSError, ValueError, grpc.RpcError) as e:
            return Retry(f"{self._endpoint.url}: {type(e).__name__}: {e}"[:500])
        try:
            partial = ANSWERS[request.signal].FromString(answer).partial_success
        except DecodeError:
            return Accepted()
        return Accepted(min(max(int(getattr(partial, REJECTED[request.signal])), 0), request.records), partial.error_message)

    def _open(self, signal: Signal) -> Any:
        if self._channel is None:
            target = urlsplit(self._endpoint.url)
            options = [("grpc.primary_user_agent", f"otelbridge/{VERSION} OTel-OTLP-Exporter-Python"), ("grpc.enable_retries", 0)]
            if target.scheme == "https":
                self._channel = grpc.aio.secure_channel(target.netloc, _credentials(self._endpoint), options=options)
            else:
                self._channel = grpc.aio.insecure_channel(target.netloc, options=options)
        if signal not in self._calls:
            self._calls[signal] = self._channel.unary_unary(_METHODS[signal])
        return self._calls[signal]

    async def aclose(self) -> None:
        channel, self._channel = self._channel, None
        self._calls.clear()
        if channel is not None:
            await channel.close()


def _verdict(url: str, error: Any) -> Retry | Refused:
    code, details = error.code(), error.details() or ""
    text = f"{url} answered {code.name}: {details}"[:500]
    wait = _retry_info(error)
    if code in _TRANSIENT or wait is not None:
        return Retry(text, wait or 0.0)
    if code in _OF_THE_RECORDS or (code is _CODES.RESOURCE_EXHAUSTED and "larger than max" in details):
        return Refused(text)
    return Retry(text, bounded=True)


def _retry_info(error: Any) -> float | None:
    """The delay that a server asks for in the status details."""
    for key, value in error.trailing_metadata() or ():
        if key == "grpc-status-details-bin":
            with contextlib.suppress(DecodeError):
                for detail in Status.FromString(value).details:
                    info = RetryInfo()
                    if detail.Unpack(info):
                        delay: float = info.retry_delay.seconds + info.retry_delay.nanos / 1e9
                        return min(max(delay, 0.0), MAX_RETRY_AFTER_SECONDS)
    return None


def _credentials(endpoint: Endpoint) -> Any:
    def read(path: Any) -> bytes | None:
        return path.read_bytes() if path is not None else None

    return grpc.ssl_channel_credentials(read(endpoint.certificate), read(endpoint.client_key), read(endpoint.client_certificate))
