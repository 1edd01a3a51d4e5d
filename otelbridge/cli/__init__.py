"""The command line. `main` is the console script."""

from __future__ import annotations

__all__ = ["main"]


def main() -> None:
    """Run a command. The processes of a service are in this wing too, and must not pay for the commands: 1.5 MiB each."""
    from otelbridge.cli.commands import main as run

    run()
