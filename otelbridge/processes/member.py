"""One process of a service, as its supervisor sees it."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import time
from collections.abc import Sequence
from typing import TypeVar

from otelbridge.errors import BridgeError
from otelbridge.model.process import ProcessState, Role, State
from otelbridge.model.record import rfc3339
from otelbridge.processes.channel import Channel, Failed, Loaded, Message, Ready, Start, Stop

__all__ = ["Member", "StartError"]

T = TypeVar("T")

_LOOKS = 3


class StartError(BridgeError):
    """A process could not start, and said why or not."""

    exit_code = 3


class Member:
    """See the module's text. spawn(), loaded(), start(), then wait until it has ended()."""

    def __init__(self, role: Role, number: int, *, restarts: int = 0, crashes: int = 0, last_end: str = "") -> None:
        self.role: Role = role
        self.number = number
        self.name = "hub" if role == "hub" else f"loader-{number}"
        self.restarts = restarts
        self.crashes = crashes  # one after the other, without a longer life in between
        self.last_end = last_end
        self.retry_seconds = 0.0
        self.asked = False  # to end
        self.exports: list[str] = []
        self.ready_at: float | None = None  # time.monotonic()
        self.state: State = "starting"
        self.since = rfc3339(time.time_ns())
        self._process: asyncio.subprocess.Process | None = None
        self._channel: Channel | None = None
        self._hung = ""

    def turn(self, state: State) -> None:
        """Its state is another one now."""
        self.state, self.since = state, rfc3339(time.time_ns())

    @property
    def shown(self) -> ProcessState:
        """What the API shows."""
        pid = self._process.pid if self._process is not None and self._process.returncode is None else None
        return ProcessState(
            self.name,
            self.role,
            self.state,
            self.since,
            pid,
            self.restarts,
            self.retry_seconds if self.state == "waiting" else None,
            self.last_end,
        )

    @property
    def lives(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.returncode is None

    async def spawn(self, command: Sequence[str], fds: Sequence[int]) -> None:
        """Start the program. `fds`: what it inherits; it gets their numbers, and that of its channel, as arguments. StartError
        when the system has no room for it.

        A process group of its own keeps the terminal's Ctrl-C from it: its supervisor says when to end.
        """
        try:
            ours, theirs = socket.socketpair()
            with theirs, contextlib.ExitStack() as unused:
                unused.callback(ours.close)
                passed = [theirs.fileno(), *fds]
                arguments = [*command, self.role, *map(str, passed)]
                self._process = await asyncio.create_subprocess_exec(
                    *arguments, stdin=asyncio.subprocess.DEVNULL, pass_fds=passed, process_group=0
                )
                self._channel = await Channel.over(ours)
                unused.pop_all()
        except OSError as e:  # no memory, no process, no file: whoever restarts it tries again later
            self.last_end = f"could not be started: {e.strerror or e}"
            raise StartError(f"{self.name} {self.last_end}") from e

    async def loaded(self, seconds: float) -> None:
        """Wait until it has loaded its program. StartError when it ends instead, or has to be ended because it takes longer; 0: never."""
        await self._expect(Loaded, seconds)

    async def start(self, message: Start, seconds: float) -> None:
        """Have it begin, and wait until it serves. StartError as with loaded()."""
        self.send(message)
        ready = await self._expect(Ready, seconds)
        self.exports = ready.exports
        self.ready_at = time.monotonic()
        self.turn("running")

    def send(self, message: Message) -> None:
        """Tell it something."""
        if self._channel is not None:
            self._channel.send(message)

    def stop(self, seconds: float, *, handover: bool = False) -> None:
        """Ask it to end."""
        self.asked = True
        self.turn("stopping")
        self.send(Stop(seconds, handover))

    def kill(self) -> None:
        """End it at once."""
        self.asked = True
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def kill_when_hung(self, seconds: float) -> None:
        """End it at once when it has said nothing for that long; 0: never. Returns when it is gone or has been killed."""
        try:
            while await self._receive(seconds) is not None:
                pass
        except TimeoutError:
            self._kill_hung(f"did not respond for {seconds:g} s and was killed")

    async def _receive(self, seconds: float) -> Message | None:
        """What it says next, None when it is gone. TimeoutError when it has said nothing for that long; 0: never."""
        assert self._channel is not None
        for _ in range(_LOOKS):
            # In several looks: when it is this process that stood still, the next one finds what came meanwhile.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds / _LOOKS if seconds else None):
                    return await self._channel.receive()
        raise TimeoutError

    def _kill_hung(self, end: str) -> None:
        self._hung = end
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def ended(self) -> str:
        """Wait for its end; what it was, in words: "" when it ended well."""
        assert self._process is not None
        code = await self._process.wait()
        if self._channel is not None:
            self._channel.close()
        self.turn("ended")
        if self._hung:
            return self._hung
        if code < 0:
            return f"was killed by {signal.Signals(-code).name}" if -code in list(signal.Signals) else f"was killed by signal {-code}"
        return f"ended with exit code {code}" if code else ""

    async def _expect(self, kind: type[T], seconds: float) -> T:
        message = None
        try:
            message = await self._receive(seconds)
        except TimeoutError:
            self._kill_hung(f"did not start within {seconds:g} s and was killed")
        if isinstance(message, kind):
            return message
        end = await self.ended()
        self.last_end = end or "ended"
        if isinstance(message, Failed):
            raise StartError(message.text)
        raise StartError(f"{self.name} {self.last_end}" + ("" if self._hung else " before it served"))
