"""`otelbridge serve`: settings, socket, bridge, service, until it is told to stop; and what to try, said at the start."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from otelbridge.cli.output import fail, style
from otelbridge.cli.stderr import log_to_stderr, tell
from otelbridge.errors import BridgeError, SettingsError

if TYPE_CHECKING:
    import asyncio
    import socket
    from collections.abc import Callable

    from otelbridge.settings import Settings

__all__ = ["serve"]

COULD_NOT_START = 3
_STOPPED, _KILLED, _AGAIN = "stopped", "killed", "again"


@click.command()
@click.option("--host", help="Address to listen on. [default: 127.0.0.1]")
@click.option("--port", type=int, help="Port to listen on; 0 takes a free one. [default: 8787]")
@click.option("--processes", type=int, help="Loader processes; 1: all in one. [default: one per core]")
@click.option("--data-dir", type=click.Path(file_okay=False, path_type=Path), help="Where everything is kept. [default: .otelbridge]")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Settings file. [default: otelbridge.toml]")
@click.option(
    "--reload",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Load the worker files of this directory, again on change.",
)
@click.option("--samples", is_flag=True, help="Load two sample workers.")
@click.option("--insecure", is_flag=True, help="Listen on any address although no token is set.")
def serve(config: Path | None, samples: bool, insecure: bool, **given: Any) -> None:
    """Run the service.

    SIGTERM or Ctrl-C stops it: requests that run may end, telemetry is flushed. SIGHUP starts it anew with the settings
    as they are then; meanwhile connections wait. Settings without a flag: docs/settings.md.
    """
    from otelbridge.settings import Settings, check_exposure

    flags = {"data_dir": given.pop("data_dir")} | {f"server.{name}": value for name, value in given.items()}

    def read() -> Settings:
        settings = Settings(file=config, flags=flags)
        check_exposure(settings, insecure=insecure)
        return settings

    settings = read()
    _wait_for_orphans(settings)
    socket = _bind(settings)
    with socket:
        _until_stopped(settings, read, socket, samples=samples)


def _until_stopped(settings: Settings, read: Callable[[], Settings], socket: socket.socket, *, samples: bool) -> None:
    """One life of the service after the other: a SIGHUP ends one and begins the next on the same socket."""
    import asyncio

    from otelbridge.processes.supervisor import loader_count

    while True:
        log_to_stderr(settings.log.format)
        try:
            if loader_count(settings) > 1:
                how, settings = asyncio.run(_supervise(settings, read, socket, samples=samples))
            else:
                how = asyncio.run(_life(settings, read, socket, samples=samples))
                settings = settings if how == _STOPPED else read()
            if how == _STOPPED:
                tell("stopped: all telemetry is delivered or kept in the spool")
                return
            if how == _KILLED:
                raise KeyboardInterrupt
        except SettingsError:
            raise
        except BridgeError as e:
            _could_not_start(str(e))
        except OSError as e:
            _could_not_start(f"{e}; is {settings.data_dir} writable?")


async def _supervise(settings: Settings, read: Callable[[], Settings], socket: socket.socket, *, samples: bool) -> tuple[str, Settings]:
    """From start to end of a service in several processes; how it ended, and the settings that are in force then."""
    import os

    from otelbridge.claim import claim
    from otelbridge.processes.supervisor import Supervisor

    lock_fd = claim(settings.data_dir)
    try:
        supervisor = Supervisor(
            settings=settings,
            read=read,
            sock=socket,
            lock_fd=lock_fd,
            command=[sys.executable, "-m", "otelbridge.cli.process"],
            say=tell,
            samples=samples,
        )
        how = await supervisor.run(lambda exports: _greet(_url(socket), exports, samples=samples))
        return how, supervisor.settings
    finally:
        os.close(lock_fd)


def _url(sock: socket.socket) -> str:
    host, port = sock.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


async def _life(settings: Settings, read: Callable[[], Settings], socket: socket.socket, *, samples: bool) -> str:
    """From start to end of one bridge and its service."""
    import functools

    from otelbridge.bridge import Bridge
    from otelbridge.cli.interpreter import set_for_serving, started
    from otelbridge.cli.reload import load_samples, reload_workers
    from otelbridge.lasting import LastingTask
    from otelbridge.web import Service

    set_for_serving()
    ending = _signals(read)
    async with Bridge(settings) as bridge, Service(bridge=bridge) as service:
        if samples:
            await load_samples(bridge)
        if settings.server.reload is not None:
            await reload_workers(bridge, settings.server.reload, tell, once=True)
        url = await service.listen(sock=socket.dup())
        started()
        _greet(url, bridge.control.export_lines(), samples=samples)
        directory = settings.server.reload
        watching = None
        if directory is not None:
            watching = LastingTask("the reloading of worker files", functools.partial(reload_workers, bridge, directory, tell))
        try:
            how = await ending
        finally:
            if watching is not None:
                await watching.aclose()
        tell("stopping: running requests may end, then telemetry is flushed; Ctrl-C again stops at once")
    return how


def _signals(read: Callable[[], Settings]) -> asyncio.Future[str]:
    """Resolves with how the life shall end. A second signal to stop kills: the first one was heard."""
    import asyncio
    import signal

    loop = asyncio.get_running_loop()
    ending: asyncio.Future[str] = loop.create_future()

    def stop() -> None:
        if not ending.done():
            ending.set_result(_STOPPED)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)

    def again() -> None:
        try:
            read()
        except SettingsError as e:
            tell(f"SIGHUP: the settings are wrong, so nothing changes. {e}")
            return
        if not ending.done():
            ending.set_result(_AGAIN)

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    loop.add_signal_handler(signal.SIGHUP, again)
    return ending


def _greet(url: str, exports: list[str], *, samples: bool) -> None:
    program = _program()
    worker, failing = ("hello", "shaky") if samples else ("mine", "mine")
    tell(f"otelbridge listens on {style(url, 'green', sys.stderr, bold=True)}  (Ctrl-C stops it)")
    tell(f"  pages            {url}/ in a browser")
    if not samples:
        tell(f"  load a worker    {program} workers put {worker} FILE.js --url {url}")
    tell(f"  call it          curl {url}/w/{worker}/world")
    if samples:
        tell(f"  see one fail     curl {url}/w/{failing}/throw")
    tell(f"  its logs, live   {program} tail {worker} --url {url}")
    tell(f"  search           {program} logs 'worker:{failing} level:error' --url {url}")
    off = "off: set OTEL_EXPORTER_OTLP_ENDPOINT, for example to http://127.0.0.1:4318"
    tell(f"  export           {', '.join(exports) or off}")


def _program() -> str:
    """How to call this program from where it was started: by name when the shell would find it."""
    import os
    import shutil

    called = Path(sys.argv[0])
    found = shutil.which(called.name)
    if called.name == "otelbridge" and called.exists() and (found is None or not os.path.samefile(found, called)):
        relative = os.path.relpath(called)
        return relative if not relative.startswith("..") else str(called)
    return "otelbridge"


def _wait_for_orphans(settings: Settings) -> None:
    """Processes of a service that was killed may have its port for a moment longer; the data directory's lock says when they are gone."""
    import os

    from otelbridge.claim import claim

    try:
        os.close(claim(settings.data_dir))
    except BridgeError as e:
        _could_not_start(str(e))


def _bind(settings: Settings) -> socket.socket:
    """The listening socket. It outlives a SIGHUP, so that no connection is refused meanwhile."""
    import socket

    host, port = settings.server.host, settings.server.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as e:
        hint = " Another program uses this port: stop it, or give --port." if e.errno == 98 else ""
        _could_not_start(f"can't listen on {host} port {port}: {e.strerror or e}.{hint}")


def _could_not_start(message: str) -> NoReturn:
    fail(f"could not start: {message}", COULD_NOT_START)
