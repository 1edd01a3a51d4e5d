"""`otelbridge logs`: search the log store."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from otelbridge.cli.client import Absent, Client, Refused, service_options, with_query
from otelbridge.cli.completion import FIELDS, complete_query
from otelbridge.cli.output import fail, is_pretty, jsonl, say, waiting
from otelbridge.cli.records import print_record

__all__ = ["ask", "logs"]

PAGE = 1_000
# A field of every record, spelled as a member of a logged object.
_MEMBER = re.compile(rf"(?<!\S)({'|'.join(FIELDS)})([<>]=?|=)(\S+)")


# `-word` excludes a word: it must reach the query, so this command has no short options, not even -h.
@click.command(context_settings={"ignore_unknown_options": True, "help_option_names": ["--help"]})
@click.argument("query", nargs=-1, shell_complete=complete_query)
@click.option("--since", default="1h", show_default=True, help="How far back: 90s, 1h, 7d, or a time.")
@click.option("--until", help="Until when; like --since.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="Most records to show.")
@click.option("--format", "form", type=click.Choice(["pretty", "json"]), help="[default: pretty on a terminal, else json]")
@service_options
def logs(query: tuple[str, ...], since: str, until: str | None, limit: int, form: str | None, url: str, token: str | None) -> None:
    """Search stored logs; the newest that match, oldest first.

    QUERY, for example:  level:error worker:abc* status:5xx user_id>=100 "free text" -word
    """
    client = Client(url, token)
    text = " ".join(query)
    found: list[dict[str, Any]] = []
    cursor = None
    while len(found) < limit:
        page = _page(client, text, [("since", since), ("until", until), ("limit", min(limit - len(found), PAGE)), ("cursor", cursor)])
        found += page["logs"]
        cursor = page["nextCursor"]
        if cursor is None:
            break
        if len(found) < limit:
            say(f"{len(found)} records so far, back to {found[-1]['time']}")
    for record in reversed(found):
        if is_pretty(form):
            print_record(record)
        else:
            jsonl(record)
    if not found:
        say(f"Nothing matches since {since}. Look further back with --since, or see records as they come with `otelbridge tail`.")
        hint = _MEMBER.search(text)
        if hint is not None:
            say(
                f"{hint[0]} asks for a member of logged objects; the field of every record is written {hint[1]}:{'' if hint[2] == '=' else hint[2]}{hint[3]}"
            )


def _page(client: Client, text: str, query: list[tuple[str, Any]]) -> Any:
    return ask(client, text, "GET", with_query("/v1/logs", [("q", text), *query]))


def ask(client: Client, text: str, method: str, path: str, body: bytes | None = None) -> Any:
    """An answer of the store; an error in the query is shown with its place."""
    headers = {"content-type": "application/json"} if body is not None else {}
    try:
        with waiting("searching"), client.open(method, path, body, headers) as answer:
            return json.loads(answer.read())
    except Refused as e:
        if e.column is not None and text:
            say(f"  {text}\n  {' ' * (e.column - 1)}^")
            fail(str(e))
        client.explain(e)
    except Absent as e:
        client.explain_absence(e)
