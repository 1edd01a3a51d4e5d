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


class _Sink(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    delay = 0.0

    def log_message(self, *_: object) -> None:
        """Silent."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        time.sleep(self.delay)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()


@contextlib.contextmanager
def _sink(delay: float) -> Iterator[str]:
    handler = type("Sink", (_Sink,), {"delay": delay})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def measure(table: Table) -> None:
    """Rate and p99 with the slow destination against those with a prompt one."""
    seconds = 1.0 if table.quick else 3.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with (
            _sink(DELAY) as slow,
            _sink(0) as prompt,
            peers.otelbridge(folder / "a", slow) as a,
            peers.otelbridge(folder / "b", prompt) as b,
        ):
            for server in (a, b):
                peers.put(server.port, "seed", SOURCES["seed"])
            for _ in table.rounds():
                for who, server in ((OURS, a), (PROMPT, b)):
                    load(server.port, "/w/seed/x", connections=16, seconds=0.3)
                    got = load(server.port, "/w/seed/x", connections=16, seconds=seconds)
                    table.note(f"destination that takes {DELAY:g} s, 10 logs", who, got.rate, unit="requests/s", goal="about 1")
                    table.note(f"destination that takes {DELAY:g} s, 10 logs: p99", who, got.p99, unit="us", goal="about 1")
