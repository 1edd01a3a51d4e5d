"""`otelbridge completion`: a script for the shell; and what it completes: worker ids, fields of the query language."""

from __future__ import annotations

import json

import click
from click.shell_completion import CompletionItem, get_completion_class

from otelbridge.cli.client import Absent, Refused, client_of

__all__ = ["complete_query", "complete_worker", "completion"]

_LEVELS = ("debug", "log", "info", "warn", "error")
_OUTCOMES = ("ok", "exception", "exceededCpu", "exceededMemory", "exceededWallTime", "canceled", "loadShed", "internalError")
_VALUES = {"level": _LEVELS, "outcome": _OUTCOMES, "kind": ("log", "exception", "invocation", "bridge"), "status": ("2xx", "4xx", "5xx")}
_FIELDS = ("level", "worker", "outcome", "status", "method", "path", "invocation", "trace", "kind", "since", "until")
_HOW = {
    "bash": 'Put into ~/.bashrc:  eval "$(otelbridge completion bash)"',
    "zsh": 'Put into ~/.zshrc:  eval "$(otelbridge completion zsh)"',
    "fish": "Run once:  otelbridge completion fish > ~/.config/fish/completions/otelbridge.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for the shell.

    It knows commands, options, worker ids and the fields of the query language.
    """
    from otelbridge.cli.main import cli

    made = get_completion_class(shell)
    assert made is not None
    click.echo(f"# {_HOW[shell]}")
    click.echo(made(cli, {}, "otelbridge", "_OTELBRIDGE_COMPLETE").source())


def complete_worker(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of registered workers; nothing when no service answers."""
    return [CompletionItem(name) for name in _worker_ids(context) if name.startswith(incomplete)]


def complete_query(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Fields of the query language, then their values."""
    head, colon, value = incomplete.partition(":")
    if not colon:
        return [CompletionItem(f"{field}:") for field in _FIELDS if field.startswith(head)]
    values = _worker_ids(context) if head == "worker" else _VALUES.get(head, ())
    return [CompletionItem(f"{head}:{v}") for v in values if v.startswith(value)]


def _worker_ids(context: click.Context) -> list[str]:
    client = client_of(context)
    try:
        with client.open("GET", "/v1/workers") as answer:
            return [worker["workerId"] for worker in json.loads(answer.read())["workers"]]
    except (Refused, Absent, OSError, ValueError, KeyError):
        return []
