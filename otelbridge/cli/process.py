"""One process of a service in several: `python -m otelbridge.cli.process ROLE CHANNEL SOCKET VITALS LOCK`, from its supervisor.

The numbers are those of inherited files. The supervisor says by the channel when to begin and when to end; when the channel
breaks, the supervisor is gone, and so is this process a few seconds later.
"""

from __future__ import annotations

import asyncio
import functools
import os
import select
import signal
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

from otelbridge.cli.interpreter import set_for_serving, started
from otelbridge.cli.stderr import log_to_stderr
from otelbridge.errors import BridgeError
from otelbridge.lasting import LastingTask
from otelbridge.processes.channel import BEATS, Alive, Channel, Failed, Loaded, Ready, Start, Stop, Table
from otelbridge.settings import Settings

if TYPE_CHECKING:
    from otelbridge.cli.roles import HubRole, LoaderRole

__all__ = ["main"]

# Of a process without a supervisor. Nothing is lost by the haste: what was answered is in the spool.
_ORPHAN_SECONDS: Final = 3.0
_COULD_NOT_START: Final = 3


def main() -> None:
    """Run one process."""
    set_for_serving()
    role, *numbers = sys.argv[1:]
    channel_fd, listen_fd, vitals_fd, _lock = map(int, numbers)
    # Who stops a whole unit or container signals every process of it, but loaders must end before the hub.
    for number in (signal.SIGINT, signal.SIGHUP, *([signal.SIGTERM] if role == "hub" else [])):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_watch_supervisor, args=(os.dup(channel_fd),), name="otelbridge-lifeline", daemon=True).start()
    sys.exit(asyncio.run(_live(role, channel_fd, listen_fd, vitals_fd)))


def _watch_supervisor(channel_fd: int) -> None:
    """End this process when its supervisor has gone and the event loop, which notices too, has not ended it in time."""
    poll = select.poll()
    poll.register(channel_fd, 0)  # only its end
    poll.poll()
    time.sleep(_ORPHAN_SECONDS + 2.0)
    os._exit(1)


async def _live(role: str, channel_fd: int, listen_fd: int, vitals_fd: int) -> int:
    """From the program's start to its end; the exit code."""
    from otelbridge.cli.roles import make_role  # which takes longest

    channel = await Channel.over(socket.socket(fileno=channel_fd))
    make = make_role(role)
    channel.send(Loaded())
    start = await channel.receive()
    if not isinstance(start, Start):
        return 0
    settings = Settings.restore(start.settings)
    log_to_stderr(settings.log.format, process=start.name)
    try:
        async with make(settings, start, listen_fd, vitals_fd) as running:
            started()
            channel.send(Ready(running.exports))
            beating = LastingTask("telling the supervisor of being alive", functools.partial(_beat, channel, settings.server.hang_seconds))
            stop = await _told_to_stop(channel, running)
            await running.stop(stop.seconds, handover=stop.handover)
            await beating.aclose()
    except (BridgeError, OSError) as e:
        channel.send(Failed(str(e)))
        await channel.flush()
        return _COULD_NOT_START
    return 0


async def _beat(channel: Channel, hang_seconds: float) -> None:
    while hang_seconds:
        channel.send(Alive())
        await asyncio.sleep(hang_seconds / BEATS)


async def _told_to_stop(channel: Channel, running: HubRole | LoaderRole) -> Stop:
    """Wait for the order to end, for SIGTERM, or for the end of the supervisor."""
    loop = asyncio.get_running_loop()
    told: asyncio.Future[Stop] = loop.create_future()

    async def listen() -> None:
        try:
            async for message in channel:
                if isinstance(message, Table):
                    running.show(message.processes)
                elif isinstance(message, Stop):
                    tell(message)
                    return
        finally:  # also when a message can't be read: who hears nothing more must not live on
            tell(Stop(_ORPHAN_SECONDS))

    def tell(stop: Stop) -> None:
        if not told.done():
            told.set_result(stop)

    def terminated() -> None:
        tell(Stop(running.settings.server.drain_seconds, handover=True))

    if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
        loop.add_signal_handler(signal.SIGTERM, terminated)
    listening = asyncio.ensure_future(listen())
    try:
        return await told
    finally:
        listening.cancel()


if __name__ == "__main__":
    main()
