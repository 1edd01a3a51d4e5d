"""`otelbridge check`: settings with their sources, destinations, and whether somebody is there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from otelbridge.settings import entries
from tests.cli.peer import Peer
from tests.collector import FakeCollector

Invoke = Callable[..., click.testing.Result]


def rows(result: click.testing.Result) -> list[dict[str, Any]]:
    """What it printed."""
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_every_setting_is_shown_with_its_source(invoke: Invoke, tmp_path: Path) -> None:
    """Each setting has a line that tells its value and where it came from; secrets are masked."""
    (tmp_path / "otelbridge.toml").write_text("[server]\nport = 1234\n[auth]\ntoken = 'hunter2'\n")
    result = invoke("check", env={"OTELBRIDGE_LIMITS_CPU_MS": "7", "OTEL_SERVICE_NAME": "mine"})
    assert result.exit_code == 0
    shown = {row["setting"]: (row["value"], row["source"]) for row in rows(result)}
    assert set(entries()) <= set(shown)
    assert shown["server.port"] == ("1234", "file otelbridge.toml")
    assert shown["limits.cpu_ms"] == ("7", "environment OTELBRIDGE_LIMITS_CPU_MS")
    assert shown["OTEL_SERVICE_NAME"] == ("mine", "environment OTEL_SERVICE_NAME")
    assert shown["OTEL_BLRP_MAX_EXPORT_BATCH_SIZE"] == ("512", "default")
    assert shown["OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"] == ("10000", "default")
    assert shown["server.host"] == ("127.0.0.1", "default")
    assert "hunter2" not in result.output


def test_destinations_are_asked(invoke: Invoke, peer: Callable[..., Peer], tmp_path: Path) -> None:
    """Each signal of each destination is probed with its headers; one that says no makes the exit code 1."""
    collector = peer({}, (403, {}))
    (tmp_path / "otelbridge.toml").write_text(
        f"[[export.destinations]]\nname = 'own'\nendpoint = '{collector.url}/otlp'\nheaders = {{ x-key = 'k' }}\nsignals = ['logs', 'traces']\n"
    )
    result = invoke("check")
    assert result.exit_code == 1
    found = [row for row in rows(result) if "destination" in row]
    assert [(d["destination"], d["signal"], d["endpoint"].removeprefix(collector.url)) for d in found] == [
        ("own", "logs", "/otlp/v1/logs"),
        ("own", "traces", "/otlp/v1/traces"),
    ]
    assert found[0]["answer"] == "ok"
    assert "403" in found[1]["answer"]
    assert collector.requests[0].headers["x-key"] == "k"
    assert collector.requests[0].headers["content-type"] == "application/x-protobuf"
    assert '"k"' not in result.stdout


def test_an_absent_collector_is_told(invoke: Invoke) -> None:
    """A collector that is not there is named, with what to look at; --no-probe asks nobody."""
    environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    result = invoke("check", env=environ)
    assert result.exit_code == 1
    assert "is the collector running?" in result.stdout
    assert invoke("check", "--no-probe", env=environ).exit_code == 0


def test_a_collector_is_asked_over_grpc(invoke: Invoke) -> None:
    """gRPC is spoken, not only connected to: a server of another kind is no collector."""

    async def ask(port: int) -> click.testing.Result:
        environ = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}
        return await asyncio.to_thread(invoke, "check", env=environ)

    async def both() -> tuple[click.testing.Result, click.testing.Result]:
        async with FakeCollector() as collector:
            await collector.listen_grpc()
            return await ask(int(collector.grpc_url.rpartition(":")[2])), await ask(int(collector.url.rpartition(":")[2]))

    spoken, other = asyncio.run(both())
    assert spoken.exit_code == 0, spoken.output
    assert [row["answer"] for row in rows(spoken) if "destination" in row] == ["ok", "ok", "ok"]
    assert other.exit_code == 1


@pytest.mark.parametrize("text", ["[server]\nport = 'x'\n", "[nonsense]\n", "nonsense"])
def test_wrong_settings_are_an_error_of_settings(invoke: Invoke, tmp_path: Path, text: str) -> None:
    """What is wrong with the settings is what check is for."""
    from otelbridge.errors import SettingsError

    (tmp_path / "otelbridge.toml").write_text(text)
    assert isinstance(invoke("check").exception, SettingsError)
