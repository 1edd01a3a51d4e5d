"""`otelbridge tail`: follow the live tail. It reconnects where it was, and says what it missed."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import click
import msgspec

from otelbridge.cli.client import Absent, Client, Refused, service_options, with_query
from otelbridge.cli.completion import complete_query, complete_worker
from otelbridge.cli.output import fail, is_pretty, jsonl, say, style
from otelbridge.cli.records import print_record

__all__ = ["Event", "events", "tail"]

WAITS_S: Final = (1, 2, 4, 8, 16)
# The service sends a comment at least every 15 s; silence for longer means that the connection is dead.
SILENCE_S: Final = 45.0


class Event(msgspec.Struct):
    """A server-sent event."""

    name: str = "message"
    data: str = ""
    id: str | None = None


@click.command()
@click.argument("worker", required=False, shell_complete=complete_worker)
@click.option("--format", "form", type=click.Choice(["pretty", "json"]), help="[default: pretty on a terminal, else json]")
@click.option(
    "--level", multiple=True, type=click.Choice(["debug", "log", "info", "warn", "error"]), help="Only these levels; may be repeated."
)
@click.option("--status", multiple=True, help="ok, error, canceled, a code or a class like 5xx; may be repeated.")
@click.option("--method", multiple=True, help="Only calls with this HTTP method; may be repeated.")
@click.option("--header", multiple=True, help="Only calls with this header, `name` or `name:value`; may be repeated.")
@click.option("--search", multiple=True, help="Only records with this text; may be repeated.")
@click.option(
    "--query", "-q", "q", multiple=True, shell_complete=complete_query, help="Only records that answer this query; may be repeated."
)
@click.option("--sampling-rate", type=click.FloatRange(0, 1), help="Share of the invocations to see.")
@click.option("--ip", multiple=True, help="Only calls from this address, `self` is your own; may be repeated.")
@click.option("--invocation", multiple=True, help="Only the invocation with this id; may be repeated.")
@service_options
def tail(
    worker: str | None, form: str | None, url: str, token: str | None, sampling_rate: float | None, **filters: tuple[str, ...]
) -> None:
    """Show records as they happen, of WORKER (`*` is a wildcard) or of all workers."""
    query = [("worker", worker), ("sampling-rate", sampling_rate)] + [(name, value) for name, values in filters.items() for value in values]
    try:
        _follow(Client(url, token, timeout_s=SILENCE_S), with_query("/v1/tail", query), pretty=is_pretty(form))
    except KeyboardInterrupt:
        say("\nstopped")
        sys.exit(130)


def _follow(client: Client, path: str, *, pretty: bool) -> None:
    from http.client import HTTPException

    seen: str | None = None
    failures = 0
    connected = False
    while True:
        try:
            headers = {"accept": "text/event-stream"} | ({} if seen is None else {"last-event-id": seen})
            with client.open("GET", path, headers=headers) as answer:
                say("connected again" if connected else f"connected to {client.url}, waiting for records; Ctrl-C stops")
                connected, failures = True, 0
                for event in events(answer):
                    seen = event.id if event.id is not None else seen
                    _show(event, pretty=pretty)
            reason = "the service ended it"
        except Refused as e:
            if not (connected and e.retry):
                client.explain(e)
            reason = str(e)
        except Absent as e:
            if not connected:
                client.explain_absence(e)
            reason = str(e)
        except (OSError, HTTPException) as e:  # while events are read
            reason = str(e) or type(e).__name__
        if failures == len(WAITS_S):
            fail(f"The connection is lost ({reason}), and {failures} attempts to get it back failed. Is `otelbridge serve` running?")
        wait = WAITS_S[failures]
        failures += 1
        say(f"connection lost ({reason}); attempt {failures} of {len(WAITS_S)} in {wait} s")
        time.sleep(wait)


def events(lines: Iterable[bytes]) -> Iterator[Event]:
    """Server-sent events from the lines of a stream, as the HTML standard reads them; comments are skipped."""
    name, number = "message", None
    data: list[str] = []
    for raw in lines:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield Event(name, "\n".join(data), number)
            name, data = "message", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id":
            number = value


def _show(event: Event, *, pretty: bool) -> None:
    try:
        record: Any = json.loads(event.data)
    except ValueError:
        return
    if event.name == "gap":
        missed = record.get("missed", "some") if isinstance(record, dict) else "some"
        say(
            style(
                f"-- {missed} records were missed here: this reader was too slow, or the spool no longer has them --", "yellow", sys.stderr
            )
        )
    elif not pretty:
        jsonl(record)
    elif isinstance(record, dict):
        print_record(record)
