"""The supervisor: starts the hub and the loaders, restarts the ones that die, replaces all of them on SIGHUP, ends them.

It holds the listening socket and the data directory's lock, runs no worker and imports no engine. docs/processes.md.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
import signal
import socket
import time
import uuid
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, Literal

from otelbridge.errors import SettingsError
from otelbridge.model.process import ProcessState
from otelbridge.model.record import rfc3339
from otelbridge.processes.channel import Start, Table
from otelbridge.processes.cores import cores
from otelbridge.processes.member import Member, StartError
from otelbridge.processes.vitals import Vitals
from otelbridge.settings import Settings

__all__ = ["Supervisor", "loader_count"]

_log = logging.getLogger("otelbridge.processes")

End = Literal["stopped", "killed", "single"]

_HUB: Final = 0  # its slot; loaders have those from 1 on
_STEADY_SECONDS: Final = 60.0  # who has lived that long did not crash in a loop
_FIRST_DELAY_SECONDS: Final = 0.5
_MOST_DELAY_SECONDS: Final = 30.0
_LOADERS_SHARE: Final = 0.8  # of the time to stop; the rest is the hub's, to send what they left
_KILL_SECONDS: Final = 1.0  # beyond its time, before a process is killed


def loader_count(settings: Settings) -> int:
    """How many loaders the settings ask for; 1 is no loader but both planes in one process."""
    return settings.server.processes or cores()


class Supervisor:
    """See the module's text. `command` runs the program of a process, `read` reads the settings anew, `say` talks to the user.

    `lock_fd`: the data directory's lock; every process inherits it, so that it holds until the last one has ended.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        read: Callable[[], Settings],
        sock: socket.socket,
        lock_fd: int,
        command: Sequence[str],
        say: Callable[[str], None],
        samples: bool = False,
    ) -> None:
        self._settings = settings
        self._read = read
        self._sock = sock
        self._lock_fd = lock_fd
        self._command = list(command)
        self._say = say
        self._samples = samples
        self._vitals = Vitals()
        self._slots: dict[int, Member] = {}
        self._alive: set[Member] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ending: asyncio.Future[End] = asyncio.get_running_loop().create_future()
        self._stopping = self._killed = False
        self._rolling = True  # or still beginning
        self._roll_task: asyncio.Task[None] | None = None
        self._since = rfc3339(time.time_ns())
        self._life = uuid.uuid4().hex

    async def run(self, on_ready: Callable[[list[str]], None]) -> End:
        """Until SIGTERM or SIGINT, or until SIGHUP brings settings that ask for a single process. StartError when it can't begin.

        `on_ready` is called when all serve, with where telemetry is sent.
        """
        self._handle_signals()
        try:
            beginning = asyncio.ensure_future(self._begin())
            either: list[asyncio.Future[Any]] = [beginning, self._ending]
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if beginning.done():
                beginning.result()
                on_ready(self._slots[_HUB].exports)
                self._rolling = False
            else:
                beginning.cancel()
                await asyncio.wait([beginning])
            how = await self._ending
            if self._roll_task is not None:
                self._roll_task.cancel()
                await asyncio.wait([self._roll_task])
            await self._stop(self._settings.server.drain_seconds)
            return "killed" if self._killed else how
        finally:
            for task in self._tasks:
                task.cancel()
            self._kill_all()
            await asyncio.gather(*(member.ended() for member in self._alive if member.lives), return_exceptions=True)
            os.close(self._vitals.fd)

    @property
    def settings(self) -> Settings:
        """Those in force."""
        return self._settings

    # ------------------------------------------------------------------------------------------------------- signals

    def _handle_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop_asked)
        loop.add_signal_handler(signal.SIGHUP, self._hangup)

    def _stop_asked(self) -> None:
        if not self._ending.done():
            self._ending.set_result("stopped")  # before a word is said: stderr may be gone
            self._say("stopping: running requests may end, then telemetry is flushed; Ctrl-C again stops at once")
        else:
            self._killed = True
            self._kill_all()

    def _hangup(self) -> None:
        if self._rolling or self._stopping or self._ending.done():
            self._say("SIGHUP: the processes are being started, replaced or stopped already")
            return
        self._rolling = True
        self._roll_task = self._spawn_task(self._roll())

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            _log.error("the supervisor failed at a task", exc_info=task.exception())

    # --------------------------------------------------------------------------------------------------------- start

    async def _begin(self) -> None:
        """The first loader before the others: what it compiles the others map from its files."""
        await self._remove_images()
        await asyncio.gather(self._fill(_HUB, Member("hub", _HUB)), self._fill(1, Member("loader", 1)))
        await asyncio.gather(*(self._fill(slot, Member("loader", slot)) for slot in range(2, loader_count(self._settings) + 1)))

    async def _fill(self, slot: int, member: Member, notice: str | None = None) -> None:
        """Start a process and give it its slot. StartError when it can't start."""
        self._alive.add(member)
        self._slots.setdefault(slot, member)
        try:
            await self._spawn(member)
            await member.start(self._order(slot, member, notice), self._settings.server.start_seconds)
        except BaseException:
            member.kill()
            self._vitals.row(member.number).clear()  # it may have begun to take connections
            self._alive.discard(member)
            raise
        self._slots[slot] = member
        self._spawn_task(self._attend(slot, member, self._settings.server.hang_seconds))
        self._publish()

    async def _spawn(self, member: Member) -> None:
        self._vitals.highest = max(self._vitals.highest, member.number)
        await member.spawn(self._command, [self._sock.fileno(), self._vitals.fd, self._lock_fd])
        self._publish()
        await member.loaded(self._settings.server.start_seconds)

    def _order(self, slot: int, member: Member, notice: str | None) -> Start:
        return Start(
            number=member.number,
            name=member.name,
            settings=self._settings.dump(),
            loaders=loader_count(self._settings),
            life=self._life,
            first=slot == 1,
            samples=slot == 1 and self._samples,
            notice=notice,
        )

    # ---------------------------------------------------------------------------------------------------- while it runs

    async def _attend(self, slot: int, member: Member, hang_seconds: float) -> None:
        """Wait for the end of a process, or bring it about when it hangs; if nobody asked for it, start another one in its place."""
        watching = self._spawn_task(member.kill_when_hung(hang_seconds))
        try:
            end = await member.ended()
        finally:
            watching.cancel()
        self._alive.discard(member)
        self._vitals.row(member.number).clear()
        if member.asked or self._stopping or self._slots.get(slot) is not member:
            self._publish()
            return
        if end:
            _log.error("%s %s; it is started anew", member.name, end)
        else:
            _log.info("%s was told to end; it is started anew", member.name)
        steady = member.ready_at is not None and time.monotonic() - member.ready_at > _STEADY_SECONDS
        crashes = 0 if not end else 1 if steady else member.crashes + 1
        await self._restart(slot, member.number, crashes=crashes, restarts=member.restarts + 1, end=end or "ended")

    async def _restart(self, slot: int, number: int, *, crashes: int, restarts: int, end: str) -> None:
        """Until it works: at once, then after longer and longer pauses."""
        while not self._stopping:
            member = Member("hub" if slot == _HUB else "loader", number, restarts=restarts, crashes=crashes, last_end=end)
            self._slots[slot] = member
            if crashes > 1:
                member.retry_seconds = min(_FIRST_DELAY_SECONDS * 2 ** (crashes - 2), _MOST_DELAY_SECONDS)
                member.turn("waiting")
                _log.error("%s", member.shown.trouble)
                self._publish()
                await asyncio.sleep(member.retry_seconds)
                member.turn("starting")
            if self._stopping or self._slots.get(slot) is not member:
                return  # it was replaced meanwhile
            try:
                await self._fill(slot, member, f"{member.name} {end} and was started anew")
                return
            except Exception as e:  # without this its slot would stay empty for ever
                _log.error("%s could not start: %s", member.name, e, exc_info=None if isinstance(e, StartError) else e)
                crashes, restarts, end = crashes + 1, restarts + 1, member.last_end or end

    def _publish(self) -> None:
        """Tell the hub which processes there are."""
        hub = self._slots.get(_HUB)
        if hub is not None and hub.lives and hub.state == "running":
            hub.send(Table(self.table()))

    def table(self) -> list[ProcessState]:
        """All processes."""
        own = ProcessState("supervisor", "supervisor", "stopping" if self._stopping else "running", self._since, os.getpid())
        members = {*self._slots.values(), *self._alive}
        return [own, *(member.shown for member in sorted(members, key=lambda m: m.number))]

    # ------------------------------------------------------------------------------------------------ rolling restart

    async def _roll(self) -> None:
        """Replace all processes, one after the other: there is always one that takes connections."""
        try:
            before, settings = self._settings, self._read()
            before_life = self._life
            if settings.data_dir.absolute() != before.data_dir.absolute():
                self._say("SIGHUP: data_dir can't change while the service runs, so nothing changes")
                return
            self._settings = settings
            self._life = uuid.uuid4().hex
            count = loader_count(settings)
            if count == 1:
                self._ending.set_result("single")
                return
            try:
                for slot in range(1, count + 1):
                    await self._replace(slot)
            except StartError as e:
                if self._stopping:
                    return
                self._settings, self._life = before, before_life
                self._say(f"SIGHUP: {str(e).rstrip('.')}. The processes that run go on with the settings of before")
                return
            for slot in [slot for slot in self._slots if slot > count]:
                self._slots.pop(slot).stop(before.server.drain_seconds, handover=True)
            if await self._replace_hub(before):
                self._say("SIGHUP: all processes are replaced")
        except SettingsError as e:
            self._say(f"SIGHUP: the settings are wrong, so nothing changes. {e}")
        finally:
            self._rolling = False

    async def _replace(self, slot: int) -> None:
        """A new loader first, then the end of the old one, which answers what it has and takes nothing new."""
        taken = {member.number for member in {*self._alive, *self._slots.values()}}
        number = next(n for n in range(1, len(taken) + 2) if n not in taken)
        before = self._slots.pop(slot, None)
        member = Member("loader", number)
        try:
            await self._fill(slot, member)
        except BaseException:
            del self._slots[slot]
            if before is not None:
                self._slots[slot] = before
                if not before.lives:  # it has ended meanwhile, and nobody started it anew
                    again = self._restart(
                        slot, before.number, crashes=before.crashes, restarts=before.restarts, end=before.last_end or "ended"
                    )
                    self._spawn_task(again)
            self._publish()
            raise
        if before is not None:
            before.stop(self._settings.server.drain_seconds, handover=True)

    async def _replace_hub(self, before_settings: Settings) -> bool:
        """Only one hub can have the store: the new one loads its program before the old one ends, which takes longest. Whether it
        serves; if not, what happens instead has been said."""
        before = self._slots[_HUB]
        member = Member("hub", _HUB)
        self._alive.add(member)
        try:
            await self._spawn(member)
            self._slots[_HUB] = member
            before.stop(before_settings.server.drain_seconds, handover=True)
            await before.ended()
            await member.start(self._order(_HUB, member, None), self._settings.server.start_seconds)
        except StartError as e:
            member.kill()
            self._alive.discard(member)
            if self._stopping:
                return False
            if self._slots[_HUB] is not member:
                self._say(f"SIGHUP: {str(e).rstrip('.')}. All loaders are replaced; the hub that runs goes on with the settings of before")
                return False
            self._say(
                f"SIGHUP: all loaders are replaced, and the new hub did not start: {str(e).rstrip('.')}. It is started again until it does"
            )
            await self._restart(_HUB, _HUB, crashes=1, restarts=before.restarts, end=member.last_end or "ended")
            return self._slots[_HUB].state == "running"
        self._spawn_task(self._attend(_HUB, member, self._settings.server.hang_seconds))
        self._publish()
        return True

    # ----------------------------------------------------------------------------------------------------------- stop

    async def _stop(self, seconds: float) -> None:
        """Loaders first; the hub then sends what they have left, within what remains of the time."""
        self._stopping = True
        deadline = time.monotonic() + seconds
        self._publish()
        await self._end([m for m in self._alive if m.role == "loader"], seconds * _LOADERS_SHARE)
        await self._end([m for m in self._alive if m.role == "hub"], max(deadline - time.monotonic(), 0.2))
        await self._remove_images()

    async def _remove_images(self) -> None:
        """Images of workers are for one life of the service; what a killed one has left goes before the next begins."""
        await asyncio.to_thread(shutil.rmtree, self._settings.images_dir, ignore_errors=True)

    async def _end(self, members: Sequence[Member], seconds: float) -> None:
        for member in members:
            member.stop(seconds)
        waits = {asyncio.ensure_future(member.ended()): member for member in members if member.lives}
        if not waits:
            return
        _, late = await asyncio.wait(waits, timeout=seconds + _KILL_SECONDS)
        for wait in late:
            if not self._killed:
                _log.warning("%s has not ended in time and is killed", waits[wait].name)
            waits[wait].kill()
        await asyncio.gather(*waits)

    def _kill_all(self) -> None:
        for member in self._alive:
            member.kill()
