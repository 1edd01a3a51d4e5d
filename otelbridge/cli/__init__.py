"""The command line. `main` is the console script."""

from __future__ import annotations

from otelbridge.cli.main import main

__all__ = ["main"]
