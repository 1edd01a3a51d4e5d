"""`otelbridge tail`: follow the live tail, reconnecting when the connection is lost."""

from __future__ import annotations

import json
import sys
import time
import urllib.parse
from typing import Any

import click

from otelbridge.cli.client import Client
from otelbridge.cli.output import print_record

__all__ = ["follow"]

_BACKOFF = (1, 2, 4, 8, 16)


def follow(client: Client, worker: str | None, form: str | None, filters: dict[str, Any]) -> None:
    """Print records until interrupted. Says when lines were lost."""
    pairs = [("worker", worker)] if worker else []
    for name, value in filters.items():
        values = value if isinstance(value, tuple) else (value,)
        pairs += [(name.replace("_", "-"), str(v)) for v in values if v is not None]
    path = "/v1/tail" + ("?" + urllib.parse.urlencode(pairs) if pairs else "")
    last = ""
    attempt = 0
    while True:
        try:
            headers = {"last-event-id": last} if last else {}
            with client.open("GET", path, **headers) as answer:
                if attempt == 0:
                    click.echo("connected; Ctrl-C stops", err=True)
                attempt = 0
                last = _read(answer, form, last)
        except OSError:
            pass
        if attempt == len(_BACKOFF):
            click.echo("otelbridge: the connection is lost; is the service running?", err=True)
            sys.exit(1)
        click.echo(f"connection lost, attempt {attempt + 1} of {len(_BACKOFF)} in {_BACKOFF[attempt]} s", err=True)
        time.sleep(_BACKOFF[attempt])
        attempt += 1


def _read(answer: Any, form: str | None, last: str) -> str:
    """Print events until the connection ends; the id of the last one."""
    event, data, number = "", "", last
    for raw in answer:
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        name, _, value = line.partition(": ")
        if name == "event":
            event = value
        elif name == "data":
            data = value
        elif name == "id":
            number = value
        elif not line and data:
            if event == "gap":
                click.echo(f"({json.loads(data).get('missed')} records were missed)", err=True)
            else:
                print_record(json.loads(data), form)
            event = data = ""
    return number
