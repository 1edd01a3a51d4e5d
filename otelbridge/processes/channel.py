"""What supervisor and processes tell each other: lines of JSON over a socket pair. Its end says that the other one is gone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator

import msgspec

from otelbridge.model.process import ProcessState

__all__ = ["BEATS", "Alive", "Channel", "Failed", "Loaded", "Message", "Ready", "Start", "Stop", "Table"]

BEATS = 6
_MOST_BYTES = 8 << 20  # settings with many destinations; both ends are ours


class Loaded(msgspec.Struct, frozen=True, tag="loaded"):
    """A process has imported all it needs, which takes longest, and waits for its start."""


class Start(msgspec.Struct, frozen=True, tag="start"):
    """Begin. `settings`: of Settings.dump(); `loaders`: how many there will be; `first`: this one loads worker files and samples.

    `notice`: what to write into the spool about the process that this one replaces. `life`: of the service, as DataPlane takes it.
    """

    number: int
    name: str
    settings: bytes
    loaders: int
    life: str
    first: bool = False
    samples: bool = False
    notice: str | None = None


class Ready(msgspec.Struct, frozen=True, tag="ready"):
    """It serves. `exports`: where the hub sends telemetry, in words."""

    exports: list[str] = []


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """The event loop of a process that serves goes round. Sent BEATS times in `server.hang_seconds`."""


class Failed(msgspec.Struct, frozen=True, tag="failed"):
    """It could not start."""

    text: str


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """End within that many seconds. `handover`: another process takes over, so no connection may break."""

    seconds: float
    handover: bool = False


class Table(msgspec.Struct, frozen=True, tag="table"):
    """All processes, for the hub to show."""

    processes: list[ProcessState]


Message = Loaded | Start | Ready | Alive | Failed | Stop | Table

_decoder = msgspec.json.Decoder(Message)


class Channel:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, sock: socket.socket) -> Channel:
        """Over one socket of a pair."""
        return cls(*await asyncio.open_connection(sock=sock, limit=_MOST_BYTES))

    def send(self, message: Message) -> None:
        """Tell the other end; nothing happens when it is gone."""
        if not self._writer.is_closing():
            self._writer.write(msgspec.json.encode(message) + b"\n")

    async def receive(self) -> Message | None:
        """The next message, None when the other end is gone."""
        try:
            line = await self._reader.readline()
        except (ConnectionError, ValueError):
            return None
        return _decoder.decode(line) if line.endswith(b"\n") else None

    async def __aiter__(self) -> AsyncIterator[Message]:
        while (message := await self.receive()) is not None:
            yield message

    async def flush(self) -> None:
        """Wait until all is on its way."""
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()

    def close(self) -> None:
        """Let go; the other end notices."""
        self._writer.close()
