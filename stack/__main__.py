"""`python -m stack`: the stack on this machine without Docker. Commands: up (default), build, env, dashboards."""

from __future__ import annotations

import argparse
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

from stack import dashboards
from stack.processes import LEASH, SERVICES, NotReady, Ports, Stack
from stack.programs import PROGRAMS, MissingTool, build

_ROOT = Path(__file__).parent.parent


def main() -> int:
    """The exit code: 0, or 1 with what went wrong on stderr."""
    parser = argparse.ArgumentParser(prog="python -m stack", description=__doc__)
    parser.add_argument("command", nargs="?", choices=["up", "build", "env", "dashboards"], default="up")
    parser.add_argument(
        "--data", type=Path, default=_ROOT / ".otelbridge" / "stack", help="where the stores keep their data (default: %(default)s)"
    )
    parser.add_argument("--no-bridge", action="store_true", help="up: the collector and the stores only")
    arguments = parser.parse_args()
    try:
        if arguments.command == "env":
            return write_env(_ROOT / ".env")
        if arguments.command == "dashboards":
            dashboards.write()
            return 0
        if arguments.command == "build":
            for name in PROGRAMS:
                print(f"{PROGRAMS[name].title} {PROGRAMS[name].version}: {build(name)}")
            return 0
        return up(arguments.data, bridge=not arguments.no_bridge)
    except (MissingTool, NotReady) as e:
        print(f"stack: {e}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # while something is built; `up` has its own way to stop
        return 130


def write_env(target: Path) -> int:
    """`.env` for docker compose: .env.example with a random value behind each name that has none."""
    if target.exists():
        print(f"{target.name} exists already; nothing changed", file=sys.stderr)
        return 0
    lines = (_ROOT / ".env.example").read_text().splitlines()
    filled = [line + secrets.token_hex(24) if line.endswith("=") and not line.startswith("#") else line for line in lines]
    # Readable for its owner only from the first moment on: it holds the secrets.
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write("\n".join(filled) + "\n")
    print(f"wrote {target.name} with new secrets", file=sys.stderr)
    return 0


def up(directory: Path, *, bridge: bool) -> int:
    """Run everything until Ctrl-C, SIGTERM, or until one of the programs ends."""
    ports = Ports()
    if taken := ports.taken():
        raise NotReady(f"already in use on 127.0.0.1: {', '.join(taken)}")
    for name in SERVICES:
        build(name)
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with Stack(directory=directory, ports=ports) as stack:
        stack.start()
        stack.wait()
        for name, url in stack.pages.items():
            print(f"  {name:<16}{url}", file=sys.stderr)
        print(f"  {'data, output':<16}{directory}", file=sys.stderr)
        print("  Loki and Grafana are not part of this, docs/stack.md says why\n", file=sys.stderr, flush=True)
        if not bridge:
            return _until(stop, stack.ended)
        environ = os.environ | {"OTEL_EXPORTER_OTLP_ENDPOINT": stack.endpoint, "OTEL_METRIC_EXPORT_INTERVAL": "5000"}
        command = [str(Path(sys.executable).with_name("otelbridge")), "serve", "--samples"]
        # A session of its own: Ctrl-C would reach it too, and our SIGTERM would be its second signal, which kills instead of
        # draining. It drains while the collector still runs.
        service = subprocess.Popen([*LEASH, *command], env=environ, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            ended = _until(stop, lambda: "otelbridge" if service.poll() is not None else stack.ended())
        finally:
            service.terminate()
            try:
                service.wait(30)
            except subprocess.TimeoutExpired:
                service.kill()
    return ended


def _until(stop: threading.Event, ended: Callable[[], str | None]) -> int:
    """0 when told to stop, 1 with a line on stderr when something ends by itself."""
    while not stop.wait(0.5):
        if name := ended():
            print(f"stack: {name} has ended by itself; stopping the rest", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
