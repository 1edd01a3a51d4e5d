"""What the processes of a service are made of: locks, numbers in shared memory, sockets, settings that are handed on."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otelbridge.claim import claim
from otelbridge.errors import ClaimError
from otelbridge.model.part import Notice, encode
from otelbridge.planes import control as control_room
from otelbridge.planes.control import ControlPlane
from otelbridge.processes.cores import cores
from otelbridge.processes.hub_socket import bind_hub_socket, hub_socket_path
from otelbridge.processes.member import Member, StartError
from otelbridge.processes.supervisor import Supervisor, loader_count
from otelbridge.processes.vitals import Vitals
from otelbridge.settings import Settings
from otelbridge.spool import SpoolReader, SpoolWriter, registered_consumers
from otelbridge.web.accept import Acceptor

DIES = """
import asyncio, os, socket, sys
from otelbridge.processes.channel import Channel, Loaded
from otelbridge.processes.vitals import Vitals

async def main(channel_fd, vitals_fd):
    channel = await Channel.over(socket.socket(fileno=channel_fd))
    channel.send(Loaded())
    start = await channel.receive()
    row = Vitals(vitals_fd).row(start.number)
    row.is_open, row.connections = True, 3
    os._exit(7)

asyncio.run(main(int(sys.argv[2]), int(sys.argv[4])))
"""
STANDS_STILL = """
import asyncio, os, pathlib, signal, socket, sys
from otelbridge.processes.channel import Channel, Loaded, Ready

async def main(lives, where, channel_fd):
    with open(lives, "a") as file:
        print(os.getpid(), file=file)
    first = len(pathlib.Path(lives).read_text().split()) == 1
    if first and where == "at once":
        os.kill(os.getpid(), signal.SIGSTOP)
    channel = await Channel.over(socket.socket(fileno=channel_fd))
    channel.send(Loaded())
    await channel.receive()
    if first:
        os.kill(os.getpid(), signal.SIGSTOP)
    channel.send(Ready())
    await channel.receive()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[4])))
"""
HOLDER = "import sys; sys.stdin.read()"


def test_a_claim_holds_until_the_last_process_is_gone(tmp_path: Path) -> None:
    """A second claim is refused while the first one's process lives; what only its children hold is waited for."""
    fd = claim(tmp_path)
    with pytest.raises(ClaimError, match=f"in use by process {os.getpid()}"):
        claim(tmp_path)
    child = subprocess.Popen([sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, pass_fds=[fd])
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    os.pwrite(fd, f"{dead.pid}\n".encode(), 0)
    os.close(fd)
    with child:
        with pytest.raises(ClaimError):
            claim(tmp_path, patience_seconds=0.1)
        assert child.stdin is not None
        child.stdin.close()
        os.close(claim(tmp_path, patience_seconds=60))


def test_a_directory_that_can_not_be_is_no_claim(tmp_path: Path) -> None:
    """A data directory that can't be made is one clear error."""
    (tmp_path / "file").touch()
    with pytest.raises(ClaimError, match="can't be used"):
        claim(tmp_path / "file" / "data")


def test_cores_are_those_of_the_container(tmp_path: Path) -> None:
    """A share of CPU time counts as so many cores, rounded up; without one all count that this process may use."""
    share = tmp_path / "cpu.max"
    mine = len(os.sched_getaffinity(0))
    for text, count in (("max 100000", mine), ("50000 100000", 1), ("150000 100000", min(2, mine)), ("nonsense", mine)):
        share.write_text(text)
        assert cores(share) == count
    assert cores(tmp_path / "missing") == mine
    assert loader_count(Settings(environ={})) == cores()
    assert loader_count(Settings(environ={}, flags={"server.processes": 3})) == 3


def test_settings_are_handed_on_whole(tmp_path: Path) -> None:
    """Another process gets every value, secrets too, and where it came from, whatever its own environment says."""
    (tmp_path / "s.toml").write_text(
        "[auth]\ntoken = 's3cret'\n[[export.destinations]]\nname = 'a'\nendpoint = 'http://a'\nheaders = { k = 'v' }\n[sandbox]\ncache_dir = 'c'\n"
    )
    settings = Settings(environ={"OTELBRIDGE_STORE_RETENTION_SECONDS": "1h"}, file=tmp_path / "s.toml", flags={"server.port": 0})
    restored = Settings.restore(settings.dump())
    assert list(restored.shown()) == list(settings.shown())
    assert restored.auth.token == "s3cret"
    assert restored.export.destinations == settings.export.destinations
    assert restored.sandbox.cache_dir == tmp_path / "c"


def test_the_hub_socket_is_private_and_may_lie_deep(tmp_path: Path) -> None:
    """It is for its owner only, replaces what an earlier hub left, and is reached through a path of any length."""
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    for _ in range(2):
        with bind_hub_socket(deep), socket.socket(socket.AF_UNIX) as client:
            client.connect(hub_socket_path(deep))
            assert (deep / "hub.sock").stat().st_mode & 0o777 == 0o600


async def test_a_process_that_the_system_has_no_room_for(tmp_path: Path) -> None:
    """A program that can't be started is a StartError, like one that ends at once, so that whoever restarts it tries again."""
    member = Member("loader", 1)
    with pytest.raises(StartError, match="loader-1 could not be started: "):
        await member.spawn([str(tmp_path / "missing")], [])
    assert not member.lives
    assert member.last_end.startswith("could not be started")
    member.kill()


def test_numbers_are_seen_by_all(tmp_path: Path) -> None:
    """What one process writes another one reads; only rows that take connections count for the fewest of them."""
    ours, theirs = (vitals := Vitals()), Vitals(os.dup(vitals.fd))
    assert theirs.fewest_connections() is None
    ours.highest = 3
    for number, count in ((1, 5), (2, 3), (3, 1)):
        ours.row(number).connections = count
        ours.row(number).is_open = number != 3
    ours.row(1).show(instances=7, busy=2, queued=1)
    assert theirs.row(1).shown == (7, 2, 1)
    assert theirs.fewest_connections() == 3
    theirs.row(2).clear()
    theirs.row(0).clear()  # the hub's: how many rows there are is no number of its
    assert ours.fewest_connections() == 5


async def test_connections_go_to_whoever_has_fewer() -> None:
    """Of two that take connections off one socket, neither gets ahead of the other; one that does not come is not waited for."""
    vitals = Vitals()
    vitals.highest = 2
    loop = asyncio.get_running_loop()
    with socket.create_server(("127.0.0.1", 0)) as sock:

        class Counted(asyncio.Protocol):
            def __init__(self, number: int) -> None:
                self.row = vitals.row(number)

            def connection_made(self, transport: asyncio.BaseTransport) -> None:
                self.row.connections += 1

        def acceptor(number: int) -> Acceptor:
            return Acceptor(sock.dup(), lambda: Counted(number), vitals=vitals, row=vitals.row(number))

        acceptors = [acceptor(1), acceptor(2)]
        clients = []

        async def connect(count: int) -> None:
            for _ in range(count):
                client = socket.socket()
                client.setblocking(False)
                clients.append(client)
                with contextlib.suppress(BlockingIOError):
                    await loop.sock_connect(client, sock.getsockname())
            while vitals.row(1).connections + vitals.row(2).connections < len(clients):
                await asyncio.sleep(0.001)

        await connect(20)
        assert abs(vitals.row(1).connections - vitals.row(2).connections) <= 2
        acceptors[1].close()
        vitals.row(2).is_open = True  # as if it were stuck
        await connect(5)
        assert vitals.row(1).connections >= 14
        acceptors[0].close()
        acceptors[0].close()
        for client in clients:
            client.close()


async def test_a_new_spool_is_read_when_there_are_files_for_it_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a file left a spool of a new loader can't be opened: that is shown and tried again, and nothing of it is missed."""
    settings = Settings(environ={}, flags={"data_dir": str(tmp_path)})
    plane = ControlPlane(settings=settings, notice=lambda *_, **__: None, poll_seconds=0.01)
    async with plane, SpoolWriter(tmp_path / "spool" / "loader-7") as writer:
        writer.append(encode(Notice(1_000_000_000, "info", "hello", {}, None)))
        refused: list[str | None] = []

        def full(directory: Path, name: str | None, **options: Any) -> SpoolReader:
            if name == "store" and not refused:
                refused.append(name)
                raise OSError(errno.EMFILE, "too many open files")
            return SpoolReader(directory, name, **options)

        monkeypatch.setattr(control_room, "SpoolReader", full)
        plane.add("loader-7")
        plane.add("loader-7")
        while not refused or plane.ready()[1] == []:
            await asyncio.sleep(0.01)
        assert plane.ready() == (
            True,
            ["reading the new spool loader-7 failed and is tried again (1 failures): OSError: [Errno 24] too many open files"],
        )
        assert plane.store is not None
        while (await plane.store.logs("hello")).logs == []:
            await asyncio.sleep(0.01)
        while "adding" in registered_consumers(tmp_path / "spool" / "loader-7"):
            await asyncio.sleep(0.01)
        assert set(registered_consumers(tmp_path / "spool" / "loader-7")) == {"export.metrics", "store"}
        assert 'otelbridge_task_failures_total{task="reading the new spool loader-7"} 1' in plane.metrics_text()


async def test_a_loader_that_dies_before_it_is_ready_leaves_no_open_row(tmp_path: Path) -> None:
    """Its row in the shared numbers is closed, so that no other loader waits for it to take connections."""
    supervisor = Supervisor(
        settings=Settings(environ={}, flags={"data_dir": str(tmp_path)}),
        read=Settings,
        sock=(sock := socket.create_server(("127.0.0.1", 0))),
        lock_fd=(lock_fd := claim(tmp_path)),
        command=[sys.executable, "-c", DIES],
        say=lambda _: None,
    )
    with sock, pytest.raises(StartError, match="exit code 7"):
        await supervisor._fill(1, Member("loader", 1))
    os.close(lock_fd)
    row = supervisor._vitals.row(1)
    assert (row.is_open, row.connections) == (False, 0)
    os.close(supervisor._vitals.fd)


@pytest.mark.parametrize("where", ["at once", "when it is told to begin"])
async def test_a_process_that_hangs_before_it_serves_is_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture, where: str) -> None:
    """One that stands still (SIGSTOP) before it has said that it serves is killed after server.start_seconds and started anew."""
    lives = tmp_path / "lives"
    supervisor = Supervisor(
        settings=Settings(environ={}, flags={"data_dir": str(tmp_path), "server.start_seconds": 1.5}),
        read=Settings,
        sock=(sock := socket.create_server(("127.0.0.1", 0))),
        lock_fd=(lock_fd := claim(tmp_path)),
        command=[sys.executable, "-c", STANDS_STILL, str(lives), where],
        say=lambda _: None,
    )
    with sock:
        await supervisor._restart(1, 1, crashes=0, restarts=0, end="ended")
        pids = [int(line) for line in lives.read_text().split()]
        (loader,) = [process for process in supervisor.table() if process.role == "loader"]
        assert (loader.state, loader.pid) == ("running", pids[-1])
        assert loader.restarts == len(pids) - 1 >= 1  # more than one where Python itself takes longer to start
        assert loader.last_end == "did not start within 1.5 s and was killed"
        assert "loader-1 could not start: loader-1 did not start within 1.5 s and was killed" in caplog.text
        with pytest.raises(ProcessLookupError):
            os.kill(pids[0], 0)
        await supervisor._stop(1.0)
    os.close(lock_fd)
    os.close(supervisor._vitals.fd)
