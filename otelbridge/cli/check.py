"""`otelbridge check`: every setting and where it came from, what is sent where, and whether anybody is there."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otelbridge.cli.output import colours, is_pretty, jsonl, safe, say, style, table

if TYPE_CHECKING:
    from otelbridge.otel import Environment, Probed
    from otelbridge.settings import Settings

__all__ = ["check"]


@click.command()
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings file. [default: otelbridge.toml]")
@click.option("--probe/--no-probe", default=True, help="Ask each destination whether it takes telemetry.")
@click.option("--format", "form", type=click.Choice(["pretty", "json"]), help="[default: pretty on a terminal, else json]")
def check(config: Path | None, probe: bool, form: str | None) -> None:
    """Show every setting and OTEL_* variable with its source, what is sent where, and whether it arrives.

    Each destination is asked with its own protocol, headers and certificates, by an export without records. Exit code 1 when a destination can't be reached.
    """
    import asyncio

    import msgspec

    from otelbridge.otel import Environment
    from otelbridge.settings import Settings

    settings, environment = Settings(file=config), Environment()
    for warning in environment.warnings:
        say(style(f"warning: {safe(warning)}", "yellow", sys.stderr))
    rows = [{"setting": key, "value": value, "source": source} for key, value, source in settings.shown()]
    rows += [{"setting": s.name, "value": s.value, "source": s.source} for s in environment.shown]
    found = asyncio.run(_destinations(settings, environment, ask=probe))
    if is_pretty(form):
        _print(rows, found)
    else:
        for row in [*rows, *(msgspec.to_builtins(one) for one in found)]:
            jsonl(row)
    if any(one.answer not in (None, "ok") for one in found):
        sys.exit(1)


def _print(rows: list[dict[str, Any]], found: list[Probed]) -> None:
    table(rows, ["setting", "value", "source"])
    click.echo()
    if not found:
        say("Nothing is exported: set OTEL_EXPORTER_OTLP_ENDPOINT. Search, queries and live tail work without.")
    for one in found:
        told = "" if one.answer is None else f": {style(safe(one.answer), 'green' if one.answer == 'ok' else 'red')}"
        click.echo(f"{one.signal} to {safe(one.endpoint)} ({one.protocol}, {one.destination}){told}", color=colours())


async def _destinations(settings: Settings, environment: Environment, *, ask: bool) -> list[Probed]:
    import msgspec

    from otelbridge.otel import destinations, probe

    found = []
    for destination in destinations(settings, environment):
        for one in await probe(destination, ask=ask):
            hint = "; is the collector running?" if one.answer is not None and "Connect" in one.answer else ""
            found.append(msgspec.structs.replace(one, answer=f"{one.answer}{hint}") if hint else one)
    return found
