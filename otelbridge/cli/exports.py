"""`otelbridge exports`: the loss ledger. What was emitted is delivered, queued, rejected or dropped, to the last record."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import click

from otelbridge.cli.client import Client, service_options
from otelbridge.cli.output import is_pretty, jsonl, safe, say, table

__all__ = ["exports"]

COLUMNS = ["signal", "emitted", "delivered", "queued", "rejected", "dropped", "why"]


@click.command()
@click.option("--format", "form", type=click.Choice(["pretty", "json"]), help="[default: pretty on a terminal, else json]")
@service_options
def exports(form: str | None, url: str, token: str | None) -> None:
    """Show what was exported where, and what was lost."""
    ledger = Client(url, token).get("/v1/exports")
    if not is_pretty(form):
        jsonl(ledger)
        return
    destinations = ledger.get("destinations") or []
    if not destinations:
        say("Nothing is exported: set OTEL_EXPORTER_OTLP_ENDPOINT and restart the service.")
    for destination in destinations:
        lag = destination.get("lagSeconds")
        state = safe(str(destination.get("state", "")))
        behind = f", {lag:.1f} s behind" if isinstance(lag, int | float) and lag >= 0.1 else ""
        click.echo(safe(f"{destination.get('name')}: {destination.get('protocol')} {destination.get('endpoint')} - {state}{behind}"))
        if destination.get("lastError"):
            click.echo(f"  last error: {safe(str(destination['lastError']))}")
        table(_rows(destination.get("signals") or {}), COLUMNS)
        click.echo()
    workers = [{"worker": worker.get("workerId")} | row for worker in ledger.get("workers") or [] for row in _rows(worker)]
    total = [{"worker": "total"} | row for row in _rows(ledger.get("total") or {})]
    table([*workers, *total], ["worker", *COLUMNS])


def _rows(signals: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for signal, ledger in signals.items():
        if isinstance(ledger, dict):
            dropped = ledger.get("dropped") or {}
            why = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count)
            yield {"signal": signal, **ledger, "dropped": sum(dropped.values()), "why": why}
