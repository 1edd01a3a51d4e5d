"""`otelbridge completion`: a script for the shell; and what it completes: worker ids, names and values of queries."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable
from typing import Any

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ZshComplete, split_arg_string

from otelbridge.cli.client import Absent, Refused, client_of, with_query

__all__ = ["FIELDS", "OPERATORS", "complete_calculation", "complete_key", "complete_query", "complete_worker", "completion"]

# Spelled out here, and compared with the real ones by a test: a key press must not pay for the log store's imports.
FIELDS = (
    *("kind", "level", "text", "worker", "version", "invocation", "trace", "outcome", "method", "path", "url", "status", "exception"),
    *("wallMs", "cpuMs", "memoryBytes"),
)
OPERATORS = (
    *("count", "countDistinct", "min", "max", "sum", "avg", "stddev", "variance", "median"),
    *("p001", "p01", "p05", "p10", "p25", "p50", "p75", "p90", "p95", "p99", "p999"),
)
_LEVELS = ("debug", "log", "info", "warn", "error")
_OUTCOMES = ("ok", "exception", "exceededCpu", "exceededMemory", "exceededWallTime", "canceled", "loadShed", "internalError")
_TIMES = ("15m", "1h", "6h", "1d", "7d")
_VALUES = {
    "level": _LEVELS,
    "outcome": _OUTCOMES,
    "kind": ("log", "exception", "invocation", "bridge"),
    "status": ("2xx", "3xx", "4xx", "5xx"),
    "since": _TIMES,
    "until": _TIMES,
}
_TERM = re.compile(r"([-(]*)([^:=<>!]*)(:|!?=|[<>]=?)?(.*)", re.DOTALL)
_PLAIN = re.compile(r"[\w.:=@%+,/-]*")  # what neither a shell nor the query language reads as more than itself
_HOW = {
    "bash": 'Put into ~/.bashrc:  eval "$(otelbridge completion bash)"',
    "zsh": 'Put into ~/.zshrc:  eval "$(otelbridge completion zsh)"',
    "fish": "Run once:  otelbridge completion fish > ~/.config/fish/completions/otelbridge.fish",
}


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> None:
    """Print a completion script for the shell.

    It knows commands and options, and asks the service for worker ids and for names and values of queries.
    """
    from otelbridge.cli.commands import cli

    made = {"bash": Bash, "zsh": Zsh, "fish": FishComplete}[shell]
    click.echo(f"# {_HOW[shell]}")
    click.echo(made(cli, {}, "otelbridge", "_OTELBRIDGE_COMPLETE").source())


class Bash(BashComplete):
    """Bash cuts words at : and =, which stand inside the terms of a query: it hands over the line, and gets back what
    follows its last cut."""

    source_template = r"""%(complete_func)s() {
    local IFS=$'\n' line="${COMP_LINE:0:COMP_POINT}" response completion type value
    local word="${line##*[[:space:]]}" breaks="${COMP_WORDBREAKS//[^:=<>]/}" cut=""
    [[ -n $breaks ]] && cut="${word%%"${word##*[$breaks]}"}"
    response=$(env COMP_WORDS="$line" %(complete_var)s=bash_complete "$1")
    COMPREPLY=()
    while IFS=',' read -r type value; do
        if [[ $type == dir ]]; then
            compopt -o dirnames
        elif [[ $type == file ]]; then
            compopt -o default
        elif [[ $type == plain ]]; then
            [[ $value == *[:=] ]] && compopt -o nospace
            COMPREPLY+=("${value#"$cut"}")
        fi
    done <<< "$response"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    @staticmethod
    def _check_version() -> None:
        """The script runs in every bash from 4.4 on; whoever prints it need not have one."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the one that is being typed, and that one."""
        line = os.environ["COMP_WORDS"]
        words = split_arg_string(line)
        incomplete = "" if not line or line[-1].isspace() else words.pop()
        return words[1:], incomplete


class Zsh(ZshComplete):
    """Zsh sets a space behind each completion; behind `level:` the value follows."""

    source_template = ZshComplete.source_template.replace(
        """            if [[ "$descr" == "_" ]]; then
                completions+=("$key")
""",
        """            if [[ "$key" == *[:=] ]]; then
                compadd -U -S '' -- "$key"
            elif [[ "$descr" == "_" ]]; then
                completions+=("$key")
""",
    )


click.shell_completion.add_completion_class(Bash, "bash")
click.shell_completion.add_completion_class(Zsh, "zsh")


# ------------------------------------------------------------------------------------------------------ what completes


def complete_worker(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of registered workers; nothing when no service answers."""
    return _items(_worker_ids(context), incomplete)


def complete_query(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Terms of the query language: fields and names of members, then their values."""
    found = _TERM.fullmatch(incomplete)
    assert found is not None
    before, name, operator, value = found.groups()
    if operator is None:
        terms = [f"{before}{field}:" for field in (*FIELDS, "since", "until")] + [
            f"{before}{member}=" for member in _members(context, name)
        ]
        return _items(terms, incomplete)
    head = f"{before}{name}{operator}"
    known = _VALUES.get(name) if operator == ":" else None
    values = list(known or _ask_values(context, name, operator == ":", value))
    if (name, operator) == ("worker", ":"):
        values = list(dict.fromkeys([*_worker_ids(context), *values]))
    return _items([f"{head}{one}" for one in values], incomplete)


def complete_key(context: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Keys of the query builder: fields and names of members."""
    return _items([*FIELDS, *_members(context, incomplete)], incomplete)


def complete_calculation(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """OPERATOR or OPERATOR:KEY."""
    operator, colon, key = incomplete.partition(":")
    if not colon:
        return _items([one if one == "count" else f"{one}:" for one in OPERATORS], incomplete)
    return [CompletionItem(f"{operator}:{item.value}") for item in complete_key(context, parameter, key)]


def _items(values: Iterable[str], incomplete: str) -> list[CompletionItem]:
    # Names and values are what guests logged, and a shell puts them on the command line as they are: `;reboot` must not get there.
    return [CompletionItem(one) for one in values if one.startswith(incomplete) and _PLAIN.fullmatch(one, len(incomplete))]


def _worker_ids(context: click.Context) -> list[str]:
    return [worker["workerId"] for worker in _ask(context, "/v1/workers", "workers")]


def _members(context: click.Context, prefix: str) -> list[str]:
    found = _ask(context, with_query("/v1/keys", [("prefix", prefix), ("limit", 200)]), "keys")
    return [key["key"] for key in found if key.get("structured")]


def _ask_values(context: click.Context, name: str, known: bool, prefix: str) -> list[str]:
    key = name if known else f"fields.{name}"
    found = _ask(context, with_query("/v1/values", [("key", key), ("prefix", prefix)]), "values")
    return [one["value"] if isinstance(one["value"], str) else json.dumps(one["value"]) for one in found]


def _ask(context: click.Context, path: str, member: str) -> Any:
    """A list of the service; nothing when none answers."""
    try:
        with client_of(context).open("GET", path) as answer:
            return json.loads(answer.read())[member]
    except (Refused, Absent, OSError, ValueError, KeyError):
        return []
