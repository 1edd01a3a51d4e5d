"""One stack for all tests here, a service in front of it, and the traffic whose telemetry they look for."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.processes import Ports, Stack
from stack.programs import PROGRAMS
from tests.stack.live.service import WORKERS, Answer, Service
from tests.stack.live.stores import Stores, eventually
from tests.stack.live.world import Target, World

VERSIONS: dict[str, str] = {}


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The collector and the stores, ready."""
    with Stack(directory=tmp_path_factory.mktemp("stack"), ports=Ports.free()) as stack:
        stack.start()
        stack.wait()
        yield stack


@pytest.fixture(scope="session")
def stores(stack: Stack) -> Stores:
    """Their HTTP APIs; what each says its version is goes into the test log."""
    stores = Stores(**stack.urls)
    VERSIONS["VictoriaLogs"] = stores.get("victorialogs", "/select/buildinfo")["data"]["version"]
    VERSIONS["Prometheus"] = stores.get("prometheus", "/api/v1/status/buildinfo")["data"]["version"]
    VERSIONS["Jaeger"] = PROGRAMS["jaeger"].version
    VERSIONS["OpenTelemetry Collector"] = PROGRAMS["collector"].version
    return stores


@pytest.fixture(scope="session")
def world(stack: Stack, stores: Stores, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Workers of every kind, called; everything they left has been taken by the collector and seen in the stores."""
    started = time.time_ns()
    with Target() as target, Service(directory=tmp_path_factory.mktemp("service"), endpoint=stack.endpoint) as service:
        answers: dict[str, list[Answer]] = {name: [] for name in WORKERS}
        for name, source in WORKERS.items():
            service.put(name, source, **({"limits": {"cpuMs": 50}} if name == "looper" else {}))
        paths = {"caller": f"/?target={target.url}"}
        # Two rounds with a pause: rate() of a counter needs two exports with something between them.
        for turn in range(2):
            for n in range(10):
                answers["greeter"].append(service.call("greeter", f"/hello/{n}?n={turn * 10 + n}"))
            for name in [other for other in WORKERS if other != "greeter"]:
                answers[name] += [service.call(name, paths.get(name, "/")) for _ in range(2)]
            time.sleep(3)
        assert eventually(service.delivered), service.exports()
        last = answers["teapot"][-1].trace_id
        assert eventually(lambda: stores.trace(last)), stack.output("collector")
        eventually(lambda: stores.prometheus('{__name__=~"faas_invo.*"}'))
        yield World(service, target, answers, started, time.time())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which real programs the tests have run against."""
    if VERSIONS:
        terminalreporter.write_line("real programs: " + ", ".join(f"{name} {version}" for name, version in sorted(VERSIONS.items())))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the working tree."""
    return Path(__file__).parents[3]
