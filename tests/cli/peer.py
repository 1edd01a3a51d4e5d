"""The other side of a client command: a small HTTP server that answers what a test wants and keeps what it was asked."""

from __future__ import annotations

import json
import threading
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec

__all__ = ["Peer", "Seen"]


class Seen(msgspec.Struct):
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Peer(ThreadingHTTPServer):
    """Answers requests in order: JSON documents, (status, document), or bytes of an event stream; the last one stays."""

    daemon_threads = True

    def __init__(self, answers: Sequence[Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers = list(answers)
        self.requests: list[Seen] = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        """Stop answering."""
        self.shutdown()
        self._thread.join()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Peer

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def _answer(self) -> None:
        peer = self.server
        size = int(self.headers.get("content-length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        peer.requests.append(Seen(self.command, self.path, headers, self.rfile.read(size)))
        answer = peer.answers.pop(0) if len(peer.answers) > 1 else peer.answers[0]
        status, document = answer if isinstance(answer, tuple) else (200, answer)
        body = document if isinstance(document, bytes) else b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "text/event-stream" if isinstance(document, bytes) else "application/json")
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PUT = do_POST = do_DELETE = _answer
