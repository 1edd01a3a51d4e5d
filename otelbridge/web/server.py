"""The life of the service: start, serve, stop gracefully."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable

from aiohttp import web

from otelbridge.bridge import Bridge
from otelbridge.errors import SettingsError
from otelbridge.settings import Settings
from otelbridge.web.app import is_loopback, make_app

__all__ = ["check_exposure", "serve"]

_log = logging.getLogger("otelbridge")


def check_exposure(settings: Settings, *, insecure: bool) -> None:
    """SettingsError for an address that others reach without a token."""
    if not is_loopback(settings.server.host) and settings.auth.token is None and not insecure:
        raise SettingsError(
            f"{settings.server.host} can be reached by others, and auth.token is not set: set it (OTELBRIDGE_AUTH_TOKEN),"
            " bind to 127.0.0.1, or say --insecure."
        )


async def serve(settings: Settings, *, prepare: Callable[[Bridge], Awaitable[None]], started: Callable[[str], None]) -> None:
    """Serve until SIGTERM or SIGINT. `prepare` runs before the first request, `started` gets the URL."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Bridge(settings) as bridge:
        await prepare(bridge)
        runner = web.AppRunner(make_app(bridge), access_log=None, handle_signals=False, shutdown_timeout=settings.server.drain_seconds)
        await runner.setup()
        try:
            site = web.TCPSite(runner, settings.server.host, settings.server.port, reuse_address=True)
            await site.start()
            host, port = runner.addresses[0][:2]
            started(f"http://{f'[{host}]' if ':' in host else host}:{port}")
            await stop.wait()
            _log.info("stopping: requests that run may end, then telemetry is flushed")
            bridge.stopping()
        finally:
            await runner.cleanup()
