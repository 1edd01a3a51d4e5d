"""The servers that are compared, each pinned to one core: otelbridge in several settings, workerd from npm, plain aiohttp,
and a real collector behind them."""

from __future__ import annotations

import contextlib
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

import msgspec

from bench.client import CLIENT_CORE

__all__ = [
    "SERVER_CORE",
    "SOURCES",
    "Server",
    "collector",
    "drained",
    "otelbridge",
    "plain",
    "put",
    "running",
    "untailed",
    "workerd",
    "workerd_program",
]

WORKERD = "1.20261117.1"
SERVER_CORE = 0
BOTH = frozenset({SERVER_CORE, CLIENT_CORE})
START_SECONDS = 60
DRAIN_SECONDS = 600
QUIET_SECONDS, QUIET_SHARE = 0.3, 0.05
BATCH_RECORDS = 512
CACHE = Path.home() / ".cache" / "otelbridge" / "bench"

_LOGS = 'for (let i = 0; i < 10; i++) console.log("request handled", { i, user: "u-42", path: request.url });'
# A worker's id is one of these names, or begins with one and a dash.
SOURCES = {
    "plain": 'export default { async fetch(request, env, ctx) { return new Response("ok\\n"); } };',
    "seed": f'export default {{ async fetch(request, env, ctx) {{ {_LOGS} return new Response("ok\\n"); }} }};',
    "throw": 'export default { async fetch(request) { console.log("one line"); throw new Error("bench"); } };',
    "cold": 'export default { async fetch(request, env, ctx) { return new Response("cold\\n"); } };',
    "kept": 'export default { async fetch(request) { console.log("one line", 1); return new Response("ok\\n"); } };',
}

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


class Server(msgspec.Struct, frozen=True):
    """A running server: the process that was started, and where it listens."""

    pid: int
    port: int

    def processes(self) -> list[int]:
        """It and all that it has started."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    todo += [int(child) for child in (task / "children").read_text().split()]
        return found

    def cpu_seconds(self, role: str | None = None) -> float:
        """CPU time of all its threads so far; other programs on the machine change it far less than they change rates. With
        `role`: of its processes that are loaders, or the hub."""
        total = 0
        for pid in self.processes():
            if role is not None and role not in _arguments(pid):
                continue
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    total += int((task / "schedstat").read_text().split()[0])
        return total / 1e9

    def pin(self, role: str, core: int) -> None:
        """Move the processes of one role to a core."""
        for pid in self.processes():
            if role in _arguments(pid):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(task.name), {core})

    def own_bytes(self) -> int:
        """Memory that is its own: what would be freed if it ended."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith(("Private_Clean", "Private_Dirty")):
                        total += int(line.split()[1]) * 1024
        return total

    def rss_bytes(self) -> int:
        """All memory it sees, shared pages included."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
        return total


def _arguments(pid: int) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")
    return []


def free_port() -> int:
    """A port that was free a moment ago, for programs that can't take port 0."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port: int = s.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], port: int, env: dict[str, str] | None = None, *, cores: frozenset[int] = frozenset({SERVER_CORE})
) -> Iterator[Server]:
    """A program on one core, or several, from when it accepts connections on; ended politely, and killed if it will not."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, **(env or {})})
    try:
        os.sched_setaffinity(process.pid, cores)
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 0.2).close()
                break
            except OSError:
                if process.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"{command[0]} did not start") from None
                time.sleep(0.002)
        yield Server(process.pid, port)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def workerd_program() -> Path | None:
    """workerd's binary, installed by name from npm at first; None without npm."""
    folder = CACHE / f"workerd-{WORKERD}"
    program = folder / "node_modules" / "@cloudflare" / "workerd-linux-64" / "bin" / "workerd"
    if not program.exists():
        npm = shutil.which("npm")
        if npm is None:
            return None
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run([npm, "install", "--no-save", "--prefix", str(folder), f"workerd@{WORKERD}"], check=True, capture_output=True)
    return program if program.exists() else None


@contextmanager
def workerd(program: Path, folder: Path, cores: frozenset[int] = frozenset({SERVER_CORE})) -> Iterator[Server]:
    """The peer, with the seed's loader for all of SOURCES."""
    port = free_port()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.capnp").write_text(_CONFIG % port)
    (folder / "loader.js").write_text(_LOADER % json.dumps(SOURCES))
    with running([str(program), "serve", "--experimental", str(folder / "config.capnp"), "config"], port, cores=cores) as server:
        yield server


def _environment(folder: Path, port: int, endpoint: str | None, settings: dict[str, str]) -> dict[str, str]:
    env = {"OTELBRIDGE_DATA_DIR": str(folder / "data"), "OTELBRIDGE_SERVER_PORT": str(port)}
    if endpoint is not None:
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
    return env | {f"OTELBRIDGE_{name.upper()}": value for name, value in settings.items()}


@contextmanager
def otelbridge(
    folder: Path,
    endpoint: str | None = None,
    *,
    processes: int = 1,
    cores: frozenset[int] = frozenset({SERVER_CORE}),
    **settings: str,
) -> Iterator[Server]:
    """Ours; workers are registered with put(). `settings`: the rest of an OTELBRIDGE_ variable's name, and its value."""
    port = free_port()
    command = [str(Path(sys.executable).parent / "otelbridge"), "serve", "--processes", str(processes)]
    with running(command, port, _environment(folder, port, endpoint, settings), cores=cores) as server:
        _until_ready(server)
        yield server


def _until_ready(server: Server) -> None:
    """The socket is there before the processes that answer on it."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}/readyz", timeout=10).read()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("the service is not ready")


def drained(server: Server) -> None:
    """Wait until ours has sent and stored what it was left with, so that nobody else is measured beside that: less than a batch is
    queued for a destination, which waits for more to come, and it hardly uses its core."""
    deadline = time.monotonic() + DRAIN_SECONDS
    while time.monotonic() < deadline:
        used, began = server.cpu_seconds(), time.monotonic()
        time.sleep(QUIET_SECONDS)
        quiet = server.cpu_seconds() - used < QUIET_SHARE * (time.monotonic() - began)
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/v1/exports", timeout=60) as answer:
            ledger = json.load(answer)
        if quiet and all(line["queued"] < BATCH_RECORDS for line in ledger["total"].values()):
            return
    raise RuntimeError(f"the service still has something to send after {DRAIN_SECONDS} s")


@contextmanager
def untailed(folder: Path) -> Iterator[Server]:
    """Ours with `observability.enabled` off: workers have no tail, so nothing of theirs is recorded, stored or exported."""
    with otelbridge(folder, observability_enabled="0") as server:
        yield server


@contextmanager
def plain() -> Iterator[Server]:
    """The floor: an aiohttp server that answers at once (bench/plain.py)."""
    port = free_port()
    with running([sys.executable, "-m", "bench.plain", str(port)], port) as server:
        yield server


@contextmanager
def collector(folder: Path, port: int | None = None) -> Iterator[str]:
    """rotel, a real collector that throws away what it has taken; its OTLP/HTTP endpoint. It runs on the client's core."""
    import rotel

    port, grpc = port or free_port(), free_port()
    folder.mkdir(parents=True, exist_ok=True)
    command = [
        str(Path(rotel.__file__).parent / "rotel-agent"), "start",
        "--otlp-http-endpoint", f"127.0.0.1:{port}", "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
        "--exporter", "blackhole", "--pid-file", str(folder / "rotel.pid"), "--log-file", str(folder / "rotel.log"),
    ]  # fmt: skip
    with running(command, port, cores=frozenset({CLIENT_CORE})):
        yield f"http://127.0.0.1:{port}"


def put(port: int, worker_id: str, source: str, isolation: str = "reuse") -> None:
    """Register a worker with ours."""
    code = {"mainModule": "index.js", "modules": {"index.js": source}, "isolation": isolation}
    url = f"http://127.0.0.1:{port}/v1/workers/{worker_id}"
    request = urllib.request.Request(url, data=json.dumps(code).encode(), method="PUT", headers={"content-type": "application/json"})
    urllib.request.urlopen(request).read()
