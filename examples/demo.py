"""The main job, end to end: a service, a real collector (rotel) and what arrives behind it. Run by `make demo`.

otelbridge serve ──OTLP──▶ rotel (a real collector) ──OTLP──▶ a sink in this process, which prints
"""

from __future__ import annotations

import glob
import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

WORKER = """export default {
  async fetch(request) {
    console.log({ user: 'u-42', path: new URL(request.url).pathname });
    console.error('about to fail');
    throw new Error('the seed worker throws');
  },
};
"""


class Sink(ThreadingHTTPServer):
    """Receives OTLP over HTTP and keeps it: `logs` as (resource, record), `spans` as (resource, span)."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.logs: list[tuple[dict[str, Any], Any]] = []
        self.spans: list[tuple[dict[str, Any], Any]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Sink

    def log_message(self, *_: object) -> None:
        """Silent: the demo prints what matters."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("/logs"):
            for group in ExportLogsServiceRequest.FromString(body).resource_logs:
                resource = attributes(group.resource.attributes)
                self.server.logs += [(resource, record) for scope in group.scope_logs for record in scope.log_records]
        elif self.path.endswith("/traces"):
            for spans in ExportTraceServiceRequest.FromString(body).resource_spans:
                resource = attributes(spans.resource.attributes)
                self.server.spans += [(resource, span) for scope in spans.scope_spans for span in scope.spans]
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()


def value_of(value: Any) -> Any:
    """An OTLP AnyValue as a Python value."""
    kind = value.WhichOneof("value")
    if kind == "kvlist_value":
        return attributes(value.kvlist_value.values)
    if kind == "array_value":
        return [value_of(v) for v in value.array_value.values]
    return getattr(value, kind) if kind else None


def attributes(pairs: Any) -> dict[str, Any]:
    """OTLP attributes as a dict."""
    return {pair.key: value_of(pair.value) for pair in pairs}


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    """Until something listens on the port; RuntimeError when the process ends first."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"the program ended with {process.returncode}")
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the program does not listen after 60 s")


@contextmanager
def running(command: list[str], port: int, log: Path, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    """A program that listens on a port, stopped with SIGTERM at the end."""
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out, env={**os.environ, **env})
    try:
        wait_for(port, process)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def collector(sink: Sink, folder: Path) -> Iterator[str]:
    """rotel, relaying to the sink; its OTLP/HTTP endpoint."""
    import rotel

    program = glob.glob(os.path.join(os.path.dirname(rotel.__file__), "**", "rotel-agent"), recursive=True)[0]
    port, grpc = free_port(), free_port()
    command = [program, "start", "--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}"]
    command += ["--pid-file", str(folder / "rotel.pid"), "--log-file", str(folder / "rotel.log"), "--batch-timeout", "200ms"]
    command += ["--exporter", "otlp", "--otlp-exporter-endpoint", sink.url, "--otlp-exporter-protocol", "http"]
    with running(command, port, folder / "rotel.out"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def service(endpoint: str | None, folder: Path, *options: str) -> Iterator[str]:
    """`otelbridge serve`, exporting to the endpoint; its URL."""
    port = free_port()
    program = str(Path(sys.executable).parent / "otelbridge")
    env = {"OTELBRIDGE_DATA_DIR": str(folder / "data"), "OTELBRIDGE_SERVER_PORT": str(port)}
    if endpoint is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    with running([program, "serve", *options], port, folder / "serve.out", **env):
        yield f"http://127.0.0.1:{port}"


def ask(method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """One HTTP exchange: status, headers (lower-case), body."""
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data=body, method=method, headers=named)) as answer:
            return answer.status, {k.lower(): v for k, v in answer.headers.items()}, answer.read()
    except urllib.error.HTTPError as e:
        return e.code, {k.lower(): v for k, v in e.headers.items()}, e.read()


def until(condition: Any, seconds: float = 20) -> bool:
    """Whether the condition came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def main() -> int:
    """Deploy a worker, call it, and print what the collector passed on."""
    with tempfile.TemporaryDirectory(prefix="otelbridge-demo-") as name, Sink() as sink:
        folder = Path(name)
        threading.Thread(target=sink.serve_forever, daemon=True).start()
        with collector(sink, folder) as endpoint, service(endpoint, folder, "--samples") as url:
            print(f"collector (rotel) on {endpoint}, otelbridge on {url}")
            print("PUT demo:", ask("PUT", f"{url}/v1/workers/demo", WORKER.encode(), content_type="application/javascript")[0])
            for path in ("/w/demo/first", "/w/hello/there", "/w/shaky/loop"):
                status, headers, _ = ask("GET", url + path)
                print(f"GET {path}: {status}, trace {headers['otelbridge-trace-id']}")
            arrived = until(lambda: len(sink.logs) >= 6 and len(sink.spans) >= 3)
        sink.shutdown()
        print(f"\narrived behind the collector: {len(sink.logs)} log records, {len(sink.spans)} spans")
        for resource, record in sink.logs:
            print(
                f"  log   workerId={resource['workerId']} {record.severity_text:5} {json.dumps(value_of(record.body))} trace={record.trace_id.hex()}"
            )
        for resource, span in sink.spans:
            print(f"  span  workerId={resource['workerId']} {span.name!r} {attributes(span.attributes).get('otelbridge.outcome', '')}")
        return 0 if arrived else 1


if __name__ == "__main__":
    sys.exit(main())
