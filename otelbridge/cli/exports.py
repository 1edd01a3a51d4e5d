"""`otelbridge exports`: the loss ledger. What was emitted is delivered, queued, rejected or dropped, to the last record.
What a destination refused for good can be looked at and sent again."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import click

from otelbridge.cli.client import Client, service_options, with_query
from otelbridge.cli.output import is_pretty, jsonl, safe, say, table

__all__ = ["exports"]

COLUMNS = ["signal", "emitted", "delivered", "queued", "rejected", "dropped", "why"]


_form = click.option("--format", "form", type=click.Choice(["pretty", "json"]), help="[default: pretty on a terminal, else json]")


@click.group(invoke_without_command=True)
@_form
@service_options
@click.pass_context
def exports(context: click.Context, form: str | None, url: str, token: str | None) -> None:
    """Show what was exported where, and what was lost."""
    if context.invoked_subcommand is None:
        _show(form, url, token)


def _show(form: str | None, url: str, token: str | None) -> None:
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
    for one in ledger.get("damaged") or []:
        click.echo(safe(f"spool {one.get('spool')}: {one.get('bytes')} bytes can't be read, because they were torn or changed on disk"))


@exports.command("dead-letters")
@click.option("--destination", help="Only this destination.")
@click.option("--skip", type=click.IntRange(0), help="Letters to leave out at the beginning.")
@click.option("--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="Most letters to show.")
@_form
@service_options
def dead_letters(destination: str | None, skip: int | None, limit: int, form: str | None, url: str, token: str | None) -> None:
    """Show what destinations refused for good, oldest first. As JSON with the whole requests, in OTLP/JSON."""
    page = Client(url, token).get("/v1/exports/dead-letters", [("destination", destination), ("skip", skip), ("limit", limit)])
    letters = page["deadLetters"]
    if not is_pretty(form):
        for letter in letters:
            jsonl(letter)
    elif not letters:
        say("There are no dead letters.")
    else:
        table(
            [{**letter, "workers": _workers(letter)} for letter in letters],
            ["time", "destination", "signal", "records", "workers", "error"],
        )
    if page["more"]:
        say(f"There are more: --skip {(skip or 0) + len(letters)}.")


@exports.command("resend")
@click.option("--destination", help="Only to this destination.")
@click.option("--timeout", type=float, help="Seconds to wait for a destination that does not take them. [default: 30]")
@service_options
def resend(destination: str | None, timeout: float | None, url: str, token: str | None) -> None:
    """Send dead letters again, once their cause is gone. Exit code 1 when some were not delivered."""
    client = Client(url, token, timeout_s=None)
    sent = client.call("POST", with_query("/v1/exports/resend", [("destination", destination), ("timeout", timeout)]))
    if is_pretty():
        left = f", {sent['left']} not tried yet" if sent["left"] else ""
        say(f"{sent['delivered']} records delivered, {sent['failed']} refused again{left}.")
    else:
        jsonl(sent)
    if sent["failed"] or sent["left"]:
        sys.exit(1)


def _workers(letter: dict[str, Any]) -> str:
    return ", ".join(name or "(bridge)" for name in letter.get("workers") or {})


def _rows(signals: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for signal, ledger in signals.items():
        if isinstance(ledger, dict):
            dropped = ledger.get("dropped") or {}
            why = ", ".join(f"{reason} {count}" for reason, count in dropped.items() if count)
            yield {"signal": signal, **ledger, "dropped": sum(dropped.values()), "why": why}
