"""`otelbridge serve`: start, signals, reload, and what it says."""

from __future__ import annotations

import json
import logging
import re
import signal
import socket
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from otelbridge.cli.stderr import JsonLines
from tests.cli.conftest import Ended

Program = Callable[..., Ended]
SLOW = """export default { fetch() {
  const say = (c, text) => c.enqueue(new TextEncoder().encode(text));
  return new Response(new ReadableStream({ async start(c) { say(c, 'begun '); await scheduler.wait(300); say(c, 'whole'); c.close() } }));
} }"""
HELLO = "export default { fetch() { return new Response('one') } }"


def get(url: str) -> str:
    """The body of a page."""
    with urllib.request.urlopen(url, timeout=30) as answer:
        return str(answer.read().decode())


def put(url: str, worker_id: str, source: str) -> None:
    """Register a worker."""
    headers = {"content-type": "text/javascript"}
    request = urllib.request.Request(f"{url}/v1/workers/{worker_id}", source.encode(), headers, method="PUT")
    with urllib.request.urlopen(request, timeout=30):
        pass


def test_samples_run_and_the_start_says_what_to_try(serve: Callable[..., Any]) -> None:
    """The lines that serve prints at its start work as printed; SIGTERM ends it with exit code 0."""
    served = serve("--samples")
    served.wait_for("export")
    said = "".join(served.said)
    assert "set OTEL_EXPORTER_OTLP_ENDPOINT" in said
    assert f"curl {served.url}/w/hello/world" in said
    assert "/world" in get(f"{served.url}/w/hello/world")
    with pytest.raises(urllib.error.HTTPError) as raised:
        get(f"{served.url}/w/shaky/throw")
    with raised.value as answer:
        assert json.loads(answer.read())["outcome"] == "exception"
    assert served.stop() == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_lets_the_running_request_end(serve: Callable[..., Any], number: int) -> None:
    """A request that runs when the signal comes gets its whole answer; then the process ends with exit code 0."""
    served = serve()
    put(served.url, "slow", SLOW)
    with urllib.request.urlopen(f"{served.url}/w/slow/", timeout=30) as answer:
        assert answer.read(6) == b"begun "
        assert served.stop(number) == 0
        assert answer.read() == b"whole"


def test_workers_survive_a_restart(serve: Callable[..., Any]) -> None:
    """What was registered by PUT is there again when the service starts on the same data directory."""
    served = serve()
    put(served.url, "kept", HELLO)
    assert served.stop() == 0
    assert get(f"{serve().url}/w/kept/") == "one"


def test_hangup_reads_the_settings_again(serve: Callable[..., Any], tmp_path: Path) -> None:
    """SIGHUP starts the service anew on the same port with new settings; wrong settings change nothing."""
    file = tmp_path / "otelbridge.toml"
    file.write_text("")
    served = serve()
    put(served.url, "echo", "export default { async fetch(r) { return new Response(String((await r.text()).length)) } }")
    file.write_text("[server]\nmax_body_byte = 1\n")
    served.process.send_signal(signal.SIGHUP)
    assert "Did you mean server.max_body_bytes?" in served.wait_for("nothing changes")
    file.write_text("[server]\nmax_body_bytes = 1\n")
    served.process.send_signal(signal.SIGHUP)
    served.wait_for("listens on")
    with pytest.raises(urllib.error.HTTPError, match="413") as raised:
        urllib.request.urlopen(f"{served.url}/w/echo/", b"too long", timeout=30)
    raised.value.close()
    assert served.stop() == 0


def test_reload_follows_a_directory(serve: Callable[..., Any], tmp_path: Path) -> None:
    """Files of the directory are workers under their names; a changed one is loaded again, a broken one is told."""
    folder = tmp_path / "workers"
    folder.mkdir()
    (folder / "a.js").write_text(HELLO)
    served = serve("--reload", str(folder))
    assert get(f"{served.url}/w/a/") == "one"
    (folder / "a.js").write_text(HELLO.replace("one", "second"))
    served.wait_for("reload: a.js is worker a")
    assert get(f"{served.url}/w/a/") == "second"
    (folder / "a.js").write_text("export default {")
    served.wait_for("SyntaxError")
    assert get(f"{served.url}/w/a/") == "second"
    (folder / "a.js").unlink()
    served.wait_for("reload: removed a")
    assert served.stop() == 0


def test_a_port_in_use_is_exit_code_3(program: Program) -> None:
    """When the port is taken, one line says so and what to do; the exit code is 3."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ended = program("serve", "--port", str(taken.getsockname()[1]))
    assert ended.code == 3
    assert "could not start" in ended.stderr
    assert "--port" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_second_service_on_the_same_data_is_exit_code_3(serve: Callable[..., Any], program: Program) -> None:
    """Two services can't share a spool: the second one says so and ends with exit code 3."""
    served = serve()
    ended = program("serve", "--port", "0")
    assert ended.code == 3
    assert "Traceback" not in ended.stderr
    assert served.stop() == 0


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        (["--host", "0.0.0.0"], {}, "OTELBRIDGE_AUTH_TOKEN"),
        (["--port", "70000"], {}, "server.port can't be 70000 (flag)"),
        ([], {"OTELBRIDGE_SERVER_PROT": "1"}, "Did you mean OTELBRIDGE_SERVER_PORT?"),
        (["--config", "missing.toml"], {}, "missing.toml"),
    ],
)
def test_wrong_settings_are_exit_code_2(program: Program, arguments: list[str], env: dict[str, str], message: str) -> None:
    """A setting that can't be used is one line with its name, and exit code 2."""
    ended = program("serve", *arguments, env=env)
    assert ended.code == 2
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("processes", ["1", "2"])
def test_json_lines_on_stderr(serve: Callable[..., Any], processes: str) -> None:
    """With log.format = json every line on stderr is one JSON object with time, level, logger and message, of each process."""
    away = "http://127.0.0.1:9"
    served = serve("--processes", processes, env={"OTELBRIDGE_LOG_FORMAT": "json", "OTELBRIDGE_AUTH_TOKEN": "", "OTEL_TRACES_SAMPLER": "odd",
                                                  "OTEL_EXPORTER_OTLP_ENDPOINT": away, "OTELBRIDGE_SERVER_DRAIN_SECONDS": "0"})  # fmt: skip
    put(served.url, "hello", HELLO)
    assert get(f"{served.url}/w/hello/") == "one"
    assert served.stop() == 0
    lines = [json.loads(line) for line in "".join(served.said).splitlines()]
    assert all({"time", "level", "logger", "message"} <= line.keys() for line in lines)
    assert {line["logger"] for line in lines} >= {"otelbridge.serve", "otelbridge.otel"}
    assert lines[0]["level"] in ("info", "warning")
    assert ("hub" in {line.get("process") for line in lines}) is (processes == "2")


def test_a_json_line_says_whom_it_is_about() -> None:
    """Worker id and traceback are members of their own; whatever a guest put into the message, it stays one line of valid JSON."""
    record = logging.LogRecord("otelbridge.tail", logging.ERROR, "", 0, "worker %s: %s", ("w", 'a"\n{\ud800\x00'), None)
    record.worker_id = "w"
    try:
        raise ValueError("wrong")
    except ValueError:
        record.exc_info = sys.exc_info()
    text = JsonLines("loader-1").format(record)
    assert "\n" not in text
    line = json.loads(text)
    assert (line["level"], line["logger"], line["process"], line["workerId"]) == ("error", "otelbridge.tail", "loader-1", "w")
    assert line["message"].startswith('worker w: a"\n{')
    assert "ValueError: wrong" in line["exception"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", line["time"])
