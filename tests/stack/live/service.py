"""`otelbridge serve` as a process, what it is asked, and workers that give every kind of telemetry."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

__all__ = ["WORKERS", "Answer", "Service"]

WORKERS = {
    # Four levels, a logged object, a user span where the runtime has them, and a line after the response.
    "greeter": """
export default {
  async fetch(request, env, ctx) {
    const url = new URL(request.url);
    const n = url.searchParams.get("n") ?? "0";
    console.debug(`greeter debug ${n}`);
    console.log({ event: "greeted", n: Number(n), nested: { list: [1, "two", null] } });
    console.info(`greeter info ${n}`, { second: true });
    console.warn(`greeter warn ${n}`);
    console.error(`greeter error ${n}`);
    ctx.waitUntil(Promise.resolve().then(() => console.log(`greeter late ${n}`)));
    return new Response("hello");
  },
};""",
    "thrower": "export default { async fetch() { console.log('about to throw'); throw new RangeError('this one always throws'); } };",
    "caller": """
export default {
  async fetch(request) {
    const target = new URL(request.url).searchParams.get("target");
    const answer = await fetch(target, { method: "POST", body: "ping" });
    console.log("target said", answer.status);
    return new Response(await answer.text());
  },
};""",
    "looper": "export default { fetch() { console.log('looping'); for (;;); } };",
    # Names its own line's fields as the host does.
    "forger": """
export default {
  fetch() {
    console.log({
      workerId: "victim", trace_id: "0".repeat(32), "service.name": "victim", "log.record.uid": "1", severity_text: "fatal", _msg: "m", _time: "0",
    });
    return new Response("done");
  },
};""",
    "teapot": "export default { fetch() { return new Response('no', { status: 503 }); } };",
}


class Answer(NamedTuple):
    """A reply and where its telemetry is found."""

    status: int
    body: bytes
    invocation_id: str
    trace_id: str


class Service:
    """The service on a free port, with its data in a folder that outlives it. `with Service(...) as service`."""

    def __init__(self, *, directory: Path, endpoint: str, name: str = "dynamic-workers", environ: dict[str, str] | None = None) -> None:
        self.directory = directory
        self.name = name
        self._environ = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_SERVICE_NAME": name,
            "OTEL_METRIC_EXPORT_INTERVAL": "1000",
            "OTELBRIDGE_DATA_DIR": str(directory),
            "OTELBRIDGE_OUTBOUND_ALLOW_PRIVATE": "1",  # the server that workers fetch from is on this machine
            **(environ or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Start it and wait until it is ready."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.directory.mkdir(parents=True, exist_ok=True)
        command = [str(Path(sys.executable).with_name("otelbridge")), "serve", "--port", str(self.port), "--processes", "2"]
        with (self.directory / "service.log").open("ab") as output:
            environ = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "OTELBRIDGE_"))} | self._environ
            self._process = subprocess.Popen(command, env=environ, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        until = time.monotonic() + 120
        while True:
            try:
                if self.ask("GET", "/readyz")[0] == 200:
                    return
            except OSError:
                pass
            assert self._process.poll() is None, self.output()
            assert time.monotonic() < until, self.output()
            time.sleep(0.1)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it and wait until it is gone."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(how)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def output(self) -> str:
        """What it printed last."""
        return "\n".join((self.directory / "service.log").read_text(errors="replace").splitlines()[-40:])

    def put(self, worker_id: str, source: str, **code: Any) -> None:
        """Register a worker."""
        document = {"mainModule": "index.js", "modules": {"index.js": source}, **code}
        status, body, _ = self.ask("PUT", f"/v1/workers/{worker_id}", json.dumps(document).encode(), {"content-type": "application/json"})
        assert status in (200, 201), body

    def call(self, worker_id: str, path: str = "/", *, method: str = "GET", headers: dict[str, str] | None = None) -> Answer:
        """Invoke a worker."""
        status, body, fields = self.ask(method, f"/w/{worker_id}{path}", headers=headers)
        return Answer(status, body, fields.get("otelbridge-invocation-id", ""), fields.get("otelbridge-trace-id", ""))

    def exports(self) -> dict[str, Any]:
        """The loss ledger."""
        ledger: dict[str, Any] = json.loads(self.ask("GET", "/v1/exports")[1])
        return ledger

    def delivered(self) -> bool:
        """Whether nothing waits any more to be exported."""
        return all(part["queued"] == 0 and part["emitted"] > 0 for part in self.exports()["total"].values())

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Status, body and headers (lower case) of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, headers or {})
            reply = connection.getresponse()
            return reply.status, reply.read(), {k.lower(): v for k, v in reply.getheaders()}
        finally:
            connection.close()
