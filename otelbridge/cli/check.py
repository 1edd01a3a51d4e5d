"""`otelbridge check`: every setting and where it came from, what is sent where, and whether anybody is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otelbridge.cli.output import colours, is_pretty, jsonl, safe, say, style, table

if TYPE_CHECKING:
    from otelbridge.settings import Settings

__all__ = ["check"]

SIGNALS = {"logs": "/v1/logs", "traces": "/v1/traces", "metrics": "/v1/metrics"}


@click.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings file. [default: otelbridge.toml]")
@click.option("--probe/--no-probe", default=True, help="Ask each destination whether it takes telemetry.")
@click.option("--format", "form", type=click.Choice(["pretty", "json"]), help="[default: pretty on a terminal, else json]")
def check(config: Path | None, probe: bool, form: str | None) -> None:
    """Show every setting with its source, what is sent where, and whether it arrives.

    Exit code 1 when a destination can't be reached.
    """
    from otelbridge.settings import Settings

    settings = Settings(file=config)
    rows = [{"setting": key, "value": value, "source": source} for key, value, source in settings.shown()]
    rows += _standard_variables()
    destinations = [d | ({"answer": _probe(d)} if probe else {}) for d in _destinations(settings)]
    if is_pretty(form):
        _print(rows, destinations)
    else:
        for row in [*rows, *destinations]:
            jsonl({name: value for name, value in row.items() if name != "headers"})
    if any(str(d.get("answer", "ok")) != "ok" for d in destinations):
        sys.exit(1)


def _print(rows: list[dict[str, Any]], destinations: list[dict[str, Any]]) -> None:
    table(rows, ["setting", "value", "source"])
    click.echo()
    if not destinations:
        say("Nothing is exported: set OTEL_EXPORTER_OTLP_ENDPOINT. Search, queries and live tail work without.")
    for d in destinations:
        answer = d.get("answer")
        told = "" if answer is None else f": {style(safe(answer), 'green' if answer == 'ok' else 'red')}"
        click.echo(f"{d['signal']} to {safe(d['endpoint'])} ({d['protocol']}, {d['destination']}){told}", color=colours())


def _standard_variables() -> list[dict[str, Any]]:
    """The OTEL_* variables that are set; the others have the defaults of the specification."""
    from otelbridge.otel.environment import Environment

    environment = Environment()
    for warning in environment.warnings:
        say(style(f"warning: {safe(warning)}", "yellow", sys.stderr))
    return [{"setting": s.name, "value": s.value, "source": s.source} for s in environment.shown if s.source != "default"]


def _destinations(settings: Settings) -> list[dict[str, Any]]:
    """What goes where: a row per destination and signal."""
    from otelbridge.otel.environment import SIGNALS as STANDARD
    from otelbridge.otel.environment import Environment

    environment = Environment()
    names = {"logs": "logs", "spans": "traces", "metrics": "metrics"}
    rows: list[dict[str, Any]] = []
    for signal in STANDARD:
        if environment.exports(signal):
            e = environment.endpoints[signal]
            rows.append(
                {
                    "destination": "OTEL_* variables",
                    "signal": names[signal],
                    "protocol": e.protocol,
                    "endpoint": e.url,
                    "headers": e.headers,
                }
            )
    for d in settings.export.destinations:
        for name in d.signals:
            url = d.endpoint if d.protocol == "grpc" else d.endpoint.rstrip("/") + SIGNALS[name]
            rows.append({"destination": d.name, "signal": name, "protocol": d.protocol, "endpoint": url, "headers": d.headers})
    return rows


def _probe(destination: dict[str, Any]) -> str:
    """What a destination says to an empty export; "ok" when it takes it. Over gRPC only whether it listens."""
    import socket
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.parse import urlsplit
    from urllib.request import Request, urlopen

    parts = urlsplit(destination["endpoint"])
    try:
        if destination["protocol"] == "grpc":
            with socket.create_connection((parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 4317)), timeout=5):
                return "ok"
        is_json = destination["protocol"] == "http/json"
        headers = {"content-type": "application/json" if is_json else "application/x-protobuf", **destination["headers"]}
        with urlopen(Request(destination["endpoint"], b"{}" if is_json else b"", headers, method="POST"), timeout=5):
            return "ok"
    except HTTPError as e:
        with e:
            return f"it answers {e.code} {e.reason}; check the endpoint and its headers"
    except (OSError, HTTPException, ValueError) as e:
        reason = e.reason if isinstance(e, URLError) else e
        return f"not reachable ({reason}); is the collector running?"
