"""What a machine asks of the service: whether it lives, whether it can serve, its metrics."""

from __future__ import annotations

import msgspec

from otelbridge.web.problem import Problem
from otelbridge.web.reply import Reply, json_reply, text_reply
from otelbridge.web.route import Call

__all__ = ["StatusBody", "get_health", "get_metrics", "get_ready"]


class StatusBody(msgspec.Struct, frozen=True, omit_defaults=True):
    """ok, ready or degraded: it serves, and `reasons` say what is wrong."""

    status: str
    reasons: list[str] = []


async def get_health(call: Call) -> Reply:
    """The process lives and answers."""
    return json_reply(StatusBody("ok"))


async def get_ready(call: Call) -> Reply:
    """It can serve, perhaps with fewer processes than it should have; else 503 with the reasons."""
    ready, reasons = call.control.ready()
    if not ready:
        raise Problem(503, "not-ready", "Not ready", f"{'; '.join(reasons)}.")
    return json_reply(StatusBody("degraded", reasons) if reasons else StatusBody("ready"))


async def get_metrics(call: Call) -> Reply:
    """Metrics as Prometheus text."""
    return text_reply(call.control.metrics_text(), "text/plain; version=0.0.4; charset=utf-8")
