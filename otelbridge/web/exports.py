"""Routes over the export: the loss ledger, and what destinations refused for good."""

from __future__ import annotations

import asyncio
import itertools
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from otelbridge.web.problem import not_found
from otelbridge.web.reply import Reply, json_reply
from otelbridge.web.route import Call, Parameter

__all__ = ["LETTERS", "RESEND", "LettersBody", "ResendBody", "get_dead_letters", "get_exports", "resend"]

_DESTINATION: Final = Parameter("destination", "Only this destination, by its name.")
LETTERS: Final = (
    _DESTINATION,
    Parameter("skip", "Letters to leave out at the beginning.", Annotated[int, Meta(ge=0)]),
    Parameter("limit", "Most letters to return.", Annotated[int, Meta(ge=1, le=1_000)]),
)
RESEND: Final = (
    _DESTINATION,
    Parameter("timeout", "Seconds to wait for a destination that does not take them.", Annotated[float, Meta(gt=0, le=600)]),
)


class LettersBody(msgspec.Struct, frozen=True, rename="camel"):
    """Some of the dead letters: `{time, destination, signal, reason, error, records, workers, request}`."""

    dead_letters: list[dict[str, Any]]
    more: bool


class ResendBody(msgspec.Struct, frozen=True):
    """What became of their records. `left`: not tried in time."""

    delivered: int
    failed: int
    left: int


async def get_exports(call: Call) -> Reply:
    """The loss ledger: emitted = delivered + queued + rejected + dropped, for each destination, worker and signal."""
    return json_reply(await call.control.ledger())


async def get_dead_letters(call: Call) -> Reply:
    """A page of them. Reads files, in a thread."""
    destination = _known(call)
    skip, limit = call.query.get("skip", 0), call.query.get("limit", 20)
    letters = call.control.exporter.dead_letters(destination)
    found = await asyncio.to_thread(lambda: list(itertools.islice(letters, skip, skip + limit + 1)))
    return json_reply(LettersBody(found[:limit], len(found) > limit))


async def resend(call: Call) -> Reply:
    """Send them again, now."""
    sent = await call.control.exporter.resend(_known(call), timeout=call.query.get("timeout", 30.0))
    return json_reply(ResendBody(**sent))


def _known(call: Call) -> str | None:
    destination: str | None = call.query.get("destination")
    names = [d.name for d in call.control.exporter.destinations]
    if destination is not None and destination not in names:
        raise not_found(
            f"There is no destination {destination!r}; there {'is' if len(names) == 1 else 'are'} {', '.join(names) or 'none'}."
        )
    return destination
