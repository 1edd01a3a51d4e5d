"""The commands together. Each imports what it needs when it runs: `otelbridge --help` must not pay for the engine."""

from __future__ import annotations

import sys

import click

import otelbridge
from otelbridge.cli.check import check
from otelbridge.cli.completion import completion
from otelbridge.cli.exports import exports
from otelbridge.cli.logs import logs
from otelbridge.cli.output import fail
from otelbridge.cli.query import query
from otelbridge.cli.run import run
from otelbridge.cli.serve import serve
from otelbridge.cli.tail import tail
from otelbridge.cli.workers import workers
from otelbridge.errors import BridgeError

__all__ = ["cli", "main"]

EXIT_INTERRUPTED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(otelbridge.__version__, prog_name="otelbridge")
def cli() -> None:
    """Run dynamic workers in WebAssembly sandboxes and see all they do, as OpenTelemetry.

    Exit codes: 0 success, 1 failure, 2 wrong usage or settings, 3 could not start, 130 interrupted.
    """


for command in (serve, run, workers, tail, logs, query, exports, check, completion):
    cli.add_command(command)


def main() -> None:
    """Run a command. An error of ours is one line and its exit code, never a traceback."""
    try:
        cli.main(prog_name="otelbridge", standalone_mode=False)
    except click.ClickException as e:
        e.show()
        sys.exit(e.exit_code)
    except (click.exceptions.Abort, KeyboardInterrupt):
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has seen enough, as `head` does; the interpreter must not try to flush into it.
        sys.stdout = None
        sys.exit(0)
    except BridgeError as e:
        fail(str(e), e.exit_code)
