"""The loss ledger and dead letters over HTTP and on the command line, from a worker's console.log() on."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import click.testing

from otelbridge.cli.commands import cli
from tests.collector import FakeCollector

POISON = """export default { fetch() { console.log('fine'); console.log('poison'); return new Response('ok') } }"""


@contextlib.asynccontextmanager
async def refusing(serve: Callable[..., Any]) -> AsyncIterator[tuple[Any, FakeCollector]]:
    """A service whose collector refuses the lines that say poison, and has refused one of a worker's two."""
    async with FakeCollector() as collector:
        collector.poison = lambda record: record.body == "poison"
        destination = {"name": "main", "endpoint": collector.url, "signals": ["logs"]}
        service = await serve(export__destinations=[destination])
        await service.put("w", POISON)
        assert (await service.ask("GET", "/w/w/"))[0] == 200
        while not (await service.ask("GET", "/v1/exports"))[2]["total"]["logs"]["rejected"]:
            await asyncio.sleep(0.02)
        yield service, collector


async def test_the_ledger_has_what_was_answered(serve: Callable[..., Any]) -> None:
    """Whoever has an answer finds its records emitted: at once, and also while the collector is away."""
    async with FakeCollector() as gone:
        pass
    service = await serve(export__destinations=[{"name": "away", "endpoint": gone.url}])
    await service.put("w", POISON)
    for calls in range(1, 6):
        await service.ask("GET", "/w/w/")
        ledger = (await service.ask("GET", "/v1/exports"))[2]
        assert ledger["total"]["logs"] == {"emitted": 2 * calls, "delivered": 0, "queued": 2 * calls, "rejected": 0, "dropped": {}}


async def test_dead_letters_over_http(serve: Callable[..., Any]) -> None:
    """What was refused is listed with its cause and whole content, and delivered by resend once the cause is gone."""
    async with refusing(serve) as (service, collector):
        status, _, page = await service.ask("GET", "/v1/exports/dead-letters?destination=main")
        assert (status, page["more"]) == (200, False)
        (letter,) = page["deadLetters"]
        assert (letter["signal"], letter["records"], letter["workers"]) == ("logs", 1, {"w": 1})
        assert (await service.ask("GET", "/v1/exports/dead-letters?skip=1"))[2] == {"deadLetters": [], "more": False}
        assert (await service.ask("GET", "/v1/exports/dead-letters?destination=other"))[0] == 404
        assert (await service.ask("POST", "/v1/exports/resend?destination=other"))[0] == 404
        assert (await service.ask("POST", "/v1/exports/resend"))[2] == {"delivered": 0, "failed": 1, "left": 0}
        collector.poison = None
        assert (await service.ask("POST", "/v1/exports/resend"))[2] == {"delivered": 1, "failed": 0, "left": 0}
        assert sorted(collector.bodies()) == ["fine", "poison"]
        assert (await service.ask("GET", "/v1/exports"))[2]["total"]["logs"]["rejected"] == 0


async def test_dead_letters_on_the_command_line(serve: Callable[..., Any]) -> None:
    """`otelbridge exports dead-letters` shows them, `resend` sends them and fails while some are refused."""
    async with refusing(serve) as (service, collector):

        async def run(*arguments: str) -> click.testing.Result:
            command = ["exports", *arguments, "--url", service.url]
            return await asyncio.to_thread(click.testing.CliRunner().invoke, cli, command)

        shown = await run("dead-letters", "--format", "pretty")
        assert (shown.exit_code, "w" in shown.stdout, "400" in shown.stdout) == (0, True, True)
        letter = json.loads((await run("dead-letters")).stdout)
        assert letter["request"]["resourceLogs"][0]["scopeLogs"][0]["logRecords"][0]["body"] == {"stringValue": "poison"}
        again = await run("resend")
        assert (again.exit_code, json.loads(again.stdout)) == (1, {"delivered": 0, "failed": 1, "left": 0})
        collector.poison = None
        assert (await run("resend", "--destination", "main")).exit_code == 0
        assert sorted(collector.bodies()) == ["fine", "poison"]
        assert "no dead letters" in (await run("dead-letters", "--format", "pretty")).stderr
