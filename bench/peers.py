"""The two servers that are compared, each pinned to one core: otelbridge, and workerd from npm when Node is there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["SERVER_CORE", "otelbridge", "rss_bytes", "workerd", "workerd_program"]

WORKERD = "1.20261117.1"
SERVER_CORE = 0

_CONFIG = """using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (
  services = [ ( name = "loader", worker = .loader ) ],
  sockets = [ ( name = "http", address = "127.0.0.1:%d", http = (), service = "loader" ) ] );
const loader :Workerd.Worker = (
  modules = [ ( name = "loader.js", esModule = embed "loader.js" ) ],
  compatibilityDate = "2026-01-01",
  bindings = [ ( name = "LOADER", workerLoader = () ) ] );
"""

# The seed's loader: each worker has a tail that logs every line again, with the worker's id.
_LOADER = """import { WorkerEntrypoint } from "cloudflare:workers";
const SOURCES = %s;
export class DynamicWorkerTail extends WorkerEntrypoint {
  async tail(events) {
    for (const event of events) for (const log of event.logs)
      console.log({ source: "dynamic-worker-tail", workerId: this.ctx.props.workerId, level: log.level, message: log.message });
  }
}
export default {
  async fetch(request, env, ctx) {
    const [, , id] = new URL(request.url).pathname.split("/");
    const kind = id.split("-")[0];
    const worker = env.LOADER.get(id, () => ({
      compatibilityDate: "2026-01-01", mainModule: "index.js", modules: { "index.js": SOURCES[kind] },
      ...(kind === "plain" || kind === "cold" ? {} : { tails: [ctx.exports.DynamicWorkerTail({ props: { workerId: id } })] }),
    }));
    try { return await worker.getEntrypoint().fetch(request); } catch (e) { return new Response("failed\\n", { status: 500 }); }
  },
};
"""


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


def rss_bytes(pid: int) -> int:
    """Memory that is the process's own: what would be freed if it ended."""
    total = 0
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(("Private_Clean", "Private_Dirty")):
            total += int(line.split()[1]) * 1024
    return total


def workerd_program(cache: Path) -> Path | None:
    """workerd's binary, installed by name from npm at first; None without npm."""
    program = cache / f"workerd-{WORKERD}" / "node_modules" / "@cloudflare" / "workerd-linux-64" / "bin" / "workerd"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            return None
        folder = cache / f"workerd-{WORKERD}"
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--no-save", "--prefix", str(folder), f"workerd@{WORKERD}"], check=True, capture_output=True)
    return program if program.exists() else None


@contextmanager
def _running(command: list[str], port: int, **env: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **env})
    try:
        os.sched_setaffinity(process.pid, {SERVER_CORE})
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start") from None
                time.sleep(0.02)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def workerd(program: Path, folder: Path, sources: dict[str, str]) -> Iterator[tuple[int, int]]:
    """The peer: its pid and port. A worker's id begins with the name of its source."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.capnp").write_text(_CONFIG % port)
    (folder / "loader.js").write_text(_LOADER % json.dumps(sources))
    with _running([str(program), "serve", "--experimental", str(folder / "config.capnp"), "config"], port) as process:
        yield process.pid, port


@contextmanager
def otelbridge(folder: Path, endpoint: str | None = None) -> Iterator[tuple[int, int]]:
    """Ours, in one process: its pid and port. Workers are registered with put()."""
    port = free_port()
    env = {"OTELBRIDGE_DATA_DIR": str(folder / "data"), "OTELBRIDGE_SERVER_PORT": str(port)}
    if endpoint is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    with _running([str(Path(sys.executable).parent / "otelbridge"), "serve", "--processes", "1"], port, **env) as process:
        yield process.pid, port


def put(port: int, worker_id: str, source: str, isolation: str = "reuse") -> None:
    """Register a worker with ours."""
    code = {"mainModule": "index.js", "modules": {"index.js": source}, "isolation": isolation}
    url = f"http://127.0.0.1:{port}/v1/workers/{worker_id}"
    request = urllib.request.Request(url, data=json.dumps(code).encode(), method="PUT", headers={"content-type": "application/json"})
    urllib.request.urlopen(request).read()
