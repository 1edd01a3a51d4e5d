"""A real service in a process of its own, and what tests need to fill it."""

from __future__ import annotations

import http.server
import json
import os
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAM = (sys.executable, "-c", "from otelbridge.cli import main; main()")


class Site:
    """`otelbridge serve` on a free port of this machine. close() ends it; start() brings it back on the same port."""

    def __init__(self, folder: Path, cache: Path, *arguments: str, **settings: str) -> None:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OTELBRIDGE_", "OTEL_", "NO_COLOR", "FORCE_COLOR"))}
        mine = {"OTELBRIDGE_DATA_DIR": str(folder / "data"), "OTELBRIDGE_SANDBOX_CACHE_DIR": str(cache), "PYTHONPATH": str(ROOT)}
        self._environ = clean | mine | {"PYTHONUNBUFFERED": "1"} | settings
        self._folder = folder
        self._arguments = arguments
        self.token = settings.get("OTELBRIDGE_AUTH_TOKEN")
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.start()

    def start(self) -> None:
        """Start it and wait until it listens."""
        port = self.url.rpartition(":")[2] or "0"
        command = [*PROGRAM, "serve", "--port", port, "--processes", "1", *self._arguments]
        self._process = subprocess.Popen(command, env=self._environ, cwd=self._folder, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        said = ""
        while "listens on" not in said:
            line = self._process.stderr.readline()
            assert line, f"it ended: {said}"
            said += line
        self.url = next(word for word in said.split() if word.startswith("http://")).rstrip(".,/")

    def close(self, *, kill: bool = False) -> None:
        """End it; with `kill` as a crash would."""
        process, self._process = self._process, None
        if process is None:
            return
        if kill:
            process.kill()
        else:
            process.terminate()
        assert process.stderr is not None
        process.stderr.read()
        process.wait()
        process.stderr.close()

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> tuple[int, Any]:
        """Status and body, decoded when it is JSON."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        headers = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        if self.token:
            headers["authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                status, kind, content = answer.status, answer.headers["content-type"] or "", answer.read()
        except urllib.error.HTTPError as answer:
            with answer:
                status, kind, content = answer.code, answer.headers["content-type"] or "", answer.read()
        return status, json.loads(content) if "json" in kind and content else content.decode()

    def put(self, worker_id: str, source: str, **code: Any) -> None:
        """Register a worker. `worker_id` as it stands in a path."""
        status, body = self.ask("PUT", f"/v1/workers/{worker_id}", {"mainModule": "index.js", "modules": {"index.js": source}, **code})
        assert status in (200, 201), body

    def wait_for_logs(self, query: str, count: int = 1) -> list[dict[str, Any]]:
        """Records that answer a query, as soon as there are so many."""
        for _ in range(200):
            _, page = self.ask("GET", f"/v1/logs?limit=1000&q={urllib.parse.quote(query)}")
            if len(page["logs"]) >= count:
                return list(page["logs"])
            time.sleep(0.05)
        raise AssertionError(f"{query}: {len(page['logs'])} records instead of {count}")


class Collector:
    """An OTLP endpoint over HTTP that takes everything, or answers with `status`. Use as `with`."""

    def __init__(self) -> None:
        self.status = 200
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self.send_response(outer.status)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:
                """Nothing: a test's output is its own."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Collector:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
