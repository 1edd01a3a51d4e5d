"""What all tests here look at: the traffic that was, and the server that workers fetch from."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from tests.stack.live.service import Answer, Service

__all__ = ["Target", "World"]


class Target:
    """An HTTP server that workers fetch from; remembers the traceparent of each request."""

    def __init__(self) -> None:
        self.traceparents: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                outer.traceparents.append(self.headers.get("traceparent", ""))
                self.send_response(200)
                self.send_header("content-length", "4")
                self.end_headers()
                self.wfile.write(b"pong")

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/target"

    def __enter__(self) -> Target:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()


class World(NamedTuple):
    """What the traffic left: answers by worker, since when, and the Unix time when all of it had arrived."""

    service: Service
    target: Target
    answers: dict[str, list[Answer]]
    started_ns: int
    settled: float
