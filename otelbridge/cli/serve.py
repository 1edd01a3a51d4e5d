"""`otelbridge serve`: settings, then the service, and at the start what to try."""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from otelbridge.cli.output import fail
from otelbridge.errors import SandboxError, SettingsError, SpoolError

if TYPE_CHECKING:
    from otelbridge.bridge import Bridge

__all__ = ["run_service"]

SAMPLES = ("hello", "shaky")


def run_service(*, config: str | None, flags: dict[str, Any], samples: bool, insecure: bool) -> None:
    """Serve until stopped. Exit code 3 when it could not start."""
    from otelbridge.settings import Settings
    from otelbridge.web.service import check_exposure

    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    settings = Settings(file=Path(config) if config else None, flags=flags)
    check_exposure(settings, insecure=insecure)

    async def prepare(bridge: Bridge) -> None:
        if samples:
            from otelbridge import Limits, WorkerCode

            for name in SAMPLES:
                source = files("otelbridge.samples").joinpath(f"{name}.js").read_text()
                limits = Limits(cpu_ms=50) if name == "shaky" else None
                await bridge.put(name, WorkerCode(main_module="index.js", modules={"index.js": source}, limits=limits))

    def started(url: str) -> None:
        click.echo(f"otelbridge serves on {url} (Ctrl-C stops)", err=True)
        if samples:
            click.echo(
                f"\n  try      curl {url}/w/hello/world\n"
                f"  break    curl {url}/w/shaky/throw\n"
                f"  logs     curl '{url}/v1/logs?limit=5'    or live: otelbridge tail\n"
                f"  deploy   curl -X PUT {url}/v1/workers/mine -H 'content-type: application/javascript' --data-binary @worker.js\n"
                "  export   OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 make run\n",
                err=True,
            )

    try:
        asyncio.run(_serve(settings, prepare, started))
    except (SandboxError, SpoolError, SettingsError):
        raise
    except OSError as e:
        fail(f"could not start: {e.strerror or e}: is another service using port {settings.server.port}?", 3)


async def _serve(settings: Any, prepare: Any, started: Any) -> None:
    import signal

    from otelbridge.bridge import Bridge
    from otelbridge.web import Service

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Bridge(settings) as bridge, Service(bridge=bridge) as service:
        await prepare(bridge)
        started(await service.listen())
        await stop.wait()
