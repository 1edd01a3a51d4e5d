"""The stack's programs as processes on loopback, with the very files of collector/; only addresses and folders are set from here."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from stack.programs import build

__all__ = ["LEASH", "SERVICES", "NotReady", "Ports", "Stack"]

_CONFIG = Path(__file__).parent.parent / "collector"
# Where there is util-linux: whoever kills us kills what we started, and no store stays behind on its port.
LEASH = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
# In this order they are started, and in the other one stopped: a collector that stops first has all its stores for its last batches.
SERVICES = ("prometheus", "victorialogs", "jaeger", "collector")


class NotReady(Exception):
    """A program ended, or didn't answer in time; the message ends with what it said."""


@dataclass(frozen=True, kw_only=True)
class Ports:
    """Where everything listens, on 127.0.0.1: by default where the compose file publishes it."""

    otlp_grpc: int = 4317
    otlp_http: int = 4318
    collector_health: int = 13133
    victorialogs: int = 9428
    jaeger: int = 16686
    jaeger_grpc: int = 16685
    jaeger_otlp: int = 14317
    jaeger_health: int = 14133
    prometheus: int = 9090

    @classmethod
    def free(cls) -> Ports:
        """Ports that nobody uses now, each another one."""
        with contextlib.ExitStack() as held:
            sockets = {f.name: held.enter_context(socket.create_server(("127.0.0.1", 0))) for f in fields(cls)}
            return cls(**{name: s.getsockname()[1] for name, s in sockets.items()})

    def taken(self) -> list[str]:
        """Those that somebody listens on, as `name port`."""
        out = []
        for field in fields(self):
            port = getattr(self, field.name)
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    out.append(f"{field.name} {port}")
        return out


class Stack:
    """Processes by service name; data and output of each below `directory`. Close it: it ends what it started."""

    def __init__(self, *, directory: Path, ports: Ports, environ: Mapping[str, str] | None = None) -> None:
        self.ports = ports
        self.directory = directory
        self._environ = dict(environ or {})
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def endpoint(self) -> str:
        """For OTEL_EXPORTER_OTLP_ENDPOINT (http/protobuf)."""
        return f"http://127.0.0.1:{self.ports.otlp_http}"

    @property
    def urls(self) -> dict[str, str]:
        """The HTTP APIs of the stores."""
        return {name: f"http://127.0.0.1:{getattr(self.ports, name)}" for name in ("victorialogs", "jaeger", "prometheus")}

    @property
    def pages(self) -> dict[str, str]:
        """Where a person looks. The pages of Jaeger and Prometheus are not in their Go modules, so theirs are answers in JSON."""
        urls = self.urls
        return {
            "OTLP, HTTP": self.endpoint,
            "OTLP, gRPC": f"http://127.0.0.1:{self.ports.otlp_grpc}",
            "logs": f"{urls['victorialogs']}/select/vmui/",
            "traces": f"{urls['jaeger']}/api/traces?service=dynamic-workers",
            "metrics": f"{urls['prometheus']}/api/v1/query?query=faas_invocations_total",
        }

    def __enter__(self) -> Stack:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, *names: str) -> None:
        """Start services (all when none is named) without waiting for them."""
        for name in names or SERVICES:
            folder = self.directory / name
            folder.mkdir(parents=True, exist_ok=True)
            command, environ = self._command(name, folder)
            with (self.directory / f"{name}.log").open("ab") as output:
                # A session of its own: Ctrl-C reaches only us, and close() stops everything in order.
                self._processes[name] = subprocess.Popen(
                    [*LEASH, *command],
                    cwd=folder,
                    env=os.environ | environ | self._environ,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    start_new_session=True,
                )

    def wait(self, *names: str, seconds: float = 120) -> None:
        """Until services (all when none is named) answer that they are ready. Raises NotReady."""
        until = time.monotonic() + seconds
        for name in names or SERVICES:
            while not self._answers(name):
                if self._processes[name].poll() is not None:
                    raise NotReady(f"{name} ended with {self._processes[name].returncode}:\n{self.output(name)}")
                if time.monotonic() > until:
                    raise NotReady(f"{name} is not ready after {seconds:.0f} s:\n{self.output(name)}")
                time.sleep(0.1)

    def ended(self) -> str | None:
        """The name of a service that has ended by itself, if there is one."""
        return next((name for name, process in self._processes.items() if process.poll() is not None), None)

    def stop(self, name: str, *, how: signal.Signals = signal.SIGTERM, seconds: float = 20) -> None:
        """End a service and wait until it is gone; SIGKILL when it doesn't go by itself."""
        process = self._processes.pop(name, None)
        if process is None:
            return
        process.send_signal(how)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def close(self) -> None:
        """End everything."""
        for name in reversed(SERVICES):
            self.stop(name)

    def output(self, name: str, lines: int = 30) -> str:
        """The last lines a service has printed."""
        file = self.directory / f"{name}.log"
        return "\n".join(file.read_text(errors="replace").splitlines()[-lines:]) if file.exists() else ""

    def _answers(self, name: str) -> bool:
        ports = self.ports
        url = {
            "prometheus": f"http://127.0.0.1:{ports.prometheus}/-/ready",
            "victorialogs": f"http://127.0.0.1:{ports.victorialogs}/health",
            "jaeger": f"http://127.0.0.1:{ports.jaeger_health}/status",
            "collector": f"http://127.0.0.1:{ports.collector_health}/",
        }[name]
        try:
            with urllib.request.urlopen(url, timeout=2) as reply:
                return bool(reply.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def _command(self, name: str, folder: Path) -> tuple[list[str], dict[str, str]]:
        """The command line of a service and its environment; the flags are those of docker-compose.yml (a test compares them)."""
        program, ports, urls = str(build(name)), self.ports, self.urls
        if name == "prometheus":
            arguments = [
                f"--config.file={_CONFIG / 'prometheus.yaml'}",
                f"--storage.tsdb.path={folder}",
                f"--web.listen-address=127.0.0.1:{ports.prometheus}",
                *PROMETHEUS_FLAGS,
            ]
            return [program, *arguments], {}
        if name == "victorialogs":
            arguments = [
                f"-httpListenAddr=127.0.0.1:{ports.victorialogs}",
                f"-storageDataPath={folder}",
                *VICTORIALOGS_FLAGS,
            ]
            return [program, *arguments], {}
        if name == "jaeger":
            environ = {
                "JAEGER_OTLP_LISTEN": f"127.0.0.1:{ports.jaeger_otlp}",
                "JAEGER_QUERY_ADDRESS": f"127.0.0.1:{ports.jaeger}",
                "JAEGER_QUERY_GRPC_ADDRESS": f"127.0.0.1:{ports.jaeger_grpc}",
                "JAEGER_HEALTH_ADDRESS": f"127.0.0.1:{ports.jaeger_health}",
                "JAEGER_DATA_DIRECTORY": str(folder),
                "PROMETHEUS_URL": urls["prometheus"],
            }
            return [program, f"--config={_CONFIG / 'jaeger.yaml'}"], environ
        environ = {
            "OTELCOL_GRPC_ADDRESS": f"127.0.0.1:{ports.otlp_grpc}",
            "OTELCOL_HTTP_ADDRESS": f"127.0.0.1:{ports.otlp_http}",
            "OTELCOL_HEALTH_ADDRESS": f"127.0.0.1:{ports.collector_health}",
            "OTELCOL_QUEUE_DIRECTORY": str(folder / "queue"),
            "LOGS_URL": f"{urls['victorialogs']}/insert/opentelemetry",
            "JAEGER_OTLP_ADDRESS": f"127.0.0.1:{ports.jaeger_otlp}",
            "PROMETHEUS_URL": urls["prometheus"],
        }
        return [program, f"--config={_CONFIG / 'otel-collector.yaml'}"], environ


PROMETHEUS_FLAGS: Iterable[str] = (
    "--web.enable-otlp-receiver",
    "--enable-feature=exemplar-storage",
    "--storage.tsdb.retention.time=15d",
)
VICTORIALOGS_FLAGS: Iterable[str] = (
    "-retentionPeriod=7d",
    # It has no write-ahead log: what it acknowledged within this time is lost when it is killed. Shorter costs small files.
    "-inmemoryDataFlushInterval=1s",
    "-loggerLevel=WARN",
)
