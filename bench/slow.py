"""A slow consumer: a destination that takes two seconds for each request must slow no invocation."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from bench import peers
from bench.client import load
from bench.peers import SOURCES
from bench.table import OURS, Table

__all__ = ["measure"]

PROMPT = "(prompt collector)"
DELAY = 2.0


class _Sink(ThreadingHTTPServer):
    """Takes everything, each request after `delay` seconds, which may be changed at any time."""

    daemon_threads = True
    delay = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Sink

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(self.server.delay)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()


@contextlib.contextmanager
def _sink() -> Iterator[_Sink]:
    with _Sink(("127.0.0.1", 0), _Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def measure(table: Table) -> None:
    """Rate and p99 with the slow destination against those with a prompt one."""
    seconds = 1.0 if table.quick else 3.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            _sink() as slow,
            _sink() as prompt,
            peers.otelbridge(folder / "a", slow.url) as a,
            peers.otelbridge(folder / "b", prompt.url) as b,
        ):
            for server in (a, b):
                peers.put(server.port, "seed", SOURCES["seed"])
            for _ in table.rounds():
                for who, server, sink, delay in ((OURS, a, slow, DELAY), (PROMPT, b, prompt, 0.0)):
                    sink.delay = delay
                    load(server.port, "/w/seed/x", connections=16, seconds=0.3)
                    got = load(server.port, "/w/seed/x", connections=16, seconds=seconds)
                    sink.delay = 0.0  # what has piled up is not for the next server's core, and need not take minutes
                    peers.drained(server)
                    table.note(f"destination that takes {DELAY:g} s, 10 logs", who, got.rate, unit="requests/s", goal="about 1")
                    table.note(f"destination that takes {DELAY:g} s, 10 logs: p99", who, got.p99, unit="us", goal="about 1")
