"""Starting, ending and replacing the processes of a service."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

SLOW = """export default { fetch() {
  const say = (c, text) => c.enqueue(new TextEncoder().encode(text));
  return new Response(new ReadableStream({ async start(c) { say(c, 'begun '); await scheduler.wait(700); say(c, 'whole'); c.close() } }));
} }"""
ENDLESS = "export default { async fetch() { await scheduler.wait(25000); return new Response('late') } }"


async def test_hangup_replaces_all_without_a_failed_request(serve: Callable[..., Any], tmp_path: Path) -> None:
    """SIGHUP under load: every process is a new one with new settings, and not one request was refused or broken."""
    (tmp_path / "otelbridge.toml").write_text("")
    running = await serve()
    await running.put("echo")
    before = {p["pid"] for p in await running.steady()} | {p["pid"] for p in await running.processes("hub")}
    async with running.load() as load:
        await load.until(50)
        (tmp_path / "otelbridge.toml").write_text("[server]\nmax_body_bytes = 8\n")
        running.process.send_signal(signal.SIGHUP)
        await running.wait_for("all processes are replaced")
        await load.until(50)
    assert load.failures == []
    after = {p["pid"] for p in await running.steady()} | {p["pid"] for p in await running.processes("hub")}
    assert not before & after
    for _ in range(4):
        assert (await running.ask("POST", "/w/echo/?n=1", data=b"x" * 9, headers={"connection": "close"}))[0] == 413
    await running.logs_hold(load.answered)
    assert await running.stop() == 0


async def test_wrong_settings_replace_nobody(serve: Callable[..., Any], tmp_path: Path, environ: dict[str, str]) -> None:
    """SIGHUP with settings that can't be used, or with which no process can start, says so, and everything stays as it is."""
    right = f"[sandbox]\ncache_dir = '{environ.pop('OTELBRIDGE_SANDBOX_CACHE_DIR')}'\n"
    settings = tmp_path / "otelbridge.toml"
    settings.write_text(right)
    running = await serve()
    before = await running.steady()
    settings.write_text(right + "[server]\nmax_body_byte = 1\n")
    running.process.send_signal(signal.SIGHUP)
    assert "Did you mean server.max_body_bytes?" in await running.wait_for("nothing changes")
    settings.write_text("[sandbox]\ncache_dir = '/dev/null/no'\n")
    running.process.send_signal(signal.SIGHUP)
    await running.wait_for("go on with the settings of before")
    assert await running.steady() == before


async def test_a_hub_that_can_not_be_replaced_is_told(serve: Callable[..., Any], tmp_path: Path) -> None:
    """SIGHUP with settings with which loaders start and the hub does not: that is said, and all are replaced when it does."""
    running = await serve()
    await running.steady()
    destination = "name = 'a'\nendpoint = 'http://127.0.0.1:9'\ncertificate = 'ca.pem'\n"
    (tmp_path / "otelbridge.toml").write_text(f"[[export.destinations]]\n{destination}")
    running.process.send_signal(signal.SIGHUP)
    await running.wait_for("all loaders are replaced, and the new hub did not start")
    assert not any("all processes are replaced" in line for line in running.said)
    (tmp_path / "ca.pem").write_text("")
    await running.wait_for("all processes are replaced")
    await running.steady()
    assert await running.stop() == 0


async def test_the_number_of_processes_may_change(serve: Callable[..., Any], tmp_path: Path, environ: dict[str, str]) -> None:
    """SIGHUP to more loaders, to fewer, and to a single process; what was logged meanwhile is all there."""
    del environ["OTELBRIDGE_SERVER_PROCESSES"]
    settings = tmp_path / "otelbridge.toml"
    settings.write_text("[server]\nprocesses = 2\n")
    running = await serve()
    await running.put("echo")
    async with running.load(clients=3) as load:
        for count in (3, 2):
            settings.write_text(f"[server]\nprocesses = {count}\n")
            said = len(running.said)
            running.process.send_signal(signal.SIGHUP)
            await running.wait_for("all processes are replaced", after=said)
            await running.steady(count)
            await load.until(20)
    assert load.failures == []
    settings.write_text("[server]\nprocesses = 1\n")
    said = len(running.said)
    running.process.send_signal(signal.SIGHUP)
    await running.wait_for("listens on", after=said)
    assert len(await running.processes("all")) == 1
    await running.logs_hold(load.answered)
    assert await running.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_stop_lets_the_running_request_end(serve: Callable[..., Any], number: int) -> None:
    """A request that runs when the signal comes gets its whole answer; then all processes end, with exit code 0."""
    running = await serve()
    await running.put("slow", SLOW)
    async with running.session.get(f"{running.url}/w/slow/") as answer:
        assert await answer.content.readexactly(6) == b"begun "
        running.process.send_signal(number)
        assert await answer.read() == b"whole"
    assert await running.ended() == 0
    assert "stopped: all telemetry" in running.said[-2]


async def test_a_stop_does_not_wait_for_ever(serve: Callable[..., Any]) -> None:
    """A request that does not end in time is cut off, and the exit code is 0 all the same."""
    running = await serve(env={"OTELBRIDGE_SERVER_DRAIN_SECONDS": "1"})
    await running.put("endless", ENDLESS)

    async def call() -> None:
        with pytest.raises(aiohttp.ClientError):
            await running.ask("GET", "/w/endless/")

    calling = asyncio.ensure_future(call())
    while not any(" 1" in line for line in (await running.ask("GET", "/metrics"))[1].splitlines() if "_instances_busy{" in line):
        await asyncio.sleep(0.05)
    assert await running.stop() == 0
    await calling


async def test_a_second_signal_ends_all_at_once(serve: Callable[..., Any]) -> None:
    """Ctrl-C twice does not wait for what runs; the exit code says that it was interrupted."""
    running = await serve()
    await running.put("endless", ENDLESS)
    calling = asyncio.ensure_future(running.ask("GET", "/w/endless/"))
    while not any(" 1" in line for line in (await running.ask("GET", "/metrics"))[1].splitlines() if "_instances_busy{" in line):
        await asyncio.sleep(0.05)
    running.process.send_signal(signal.SIGINT)
    await running.wait_for("stopping")
    assert await running.stop(signal.SIGINT) == 130
    with pytest.raises(aiohttp.ClientError):
        await calling


async def test_a_second_service_on_the_same_data_is_refused(serve: Callable[..., Any]) -> None:
    """Two services can't have one data directory, whether in one process or several: the second one names the first."""
    running = await serve()
    for count in ("1", "2"):
        second = await serve("--processes", count, ready=False)
        assert await second.ended() == 3
        assert f"in use by process {running.process.pid}" in second.said[0]
        assert "Traceback" not in "".join(second.said)
    assert await running.stop() == 0


async def test_a_process_that_can_not_start_is_the_service_that_can_not(serve: Callable[..., Any], environ: dict[str, str]) -> None:
    """What keeps a process from starting is told in one line, with exit code 3."""
    running = await serve(env={"OTELBRIDGE_SANDBOX_CACHE_DIR": "/dev/null/no"}, ready=False)
    assert await running.ended() == 3
    said = "".join(running.said)
    assert "could not start" in said
    assert "cache directory" in said
    assert "Traceback" not in said


async def test_a_loader_may_be_told_to_end(serve: Callable[..., Any]) -> None:
    """SIGTERM for a loader: it answers what it has, another one takes its place, and no request fails."""
    running = await serve()
    await running.put("echo")
    loaders = await running.steady()
    async with running.load() as load:
        await load.until(30)
        os.kill(loaders[1]["pid"], signal.SIGTERM)
        await running.wait_for("loader-2 was told to end")
        await load.until(30)
    assert load.failures == []
    assert [p["restarts"] for p in await running.steady()] == [0, 1]


async def test_a_stop_ends_a_rolling_restart(serve: Callable[..., Any]) -> None:
    """SIGTERM right after SIGHUP: what is being started ends too, and the exit code is 0."""
    running = await serve()
    await running.put("echo")
    running.process.send_signal(signal.SIGHUP)
    await asyncio.sleep(0.2)
    assert await running.stop() == 0
    assert "Traceback" not in "".join(running.said)
