"""Commands that ask a service: workers, logs, exports; tokens, and what to do after an error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click.testing
import pytest

from otelbridge.cli.client import _has_file
from tests.cli.peer import Peer

Invoke = Callable[..., click.testing.Result]
PROBLEM = {"title": "Invalid worker code", "detail": "mainModule is wrong."}
RECORD = {"kind": "log", "level": "info", "text": "hello", "time": "2026-01-01T10:20:30.123456789Z", "workerId": "w"}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("w.js", "application/javascript"),
        ("w.mjs", "application/javascript"),
        ("w.wasm", "application/wasm"),
        ("w.json", "application/json"),
    ],
)
def test_put_sends_the_file_with_its_type(peer: Callable[..., Peer], invoke: Invoke, tmp_path: Path, name: str, kind: str) -> None:
    """The file's name says what it is; the id is encoded into the path; the token is sent."""
    service = peer({"workerId": "a/b", "version": "1"})
    (tmp_path / name).write_bytes(b"content")
    result = invoke("workers", "put", "a b", name, "--url", service.url, "--token", "s3cret")
    assert result.exit_code == 0, result.output
    seen = service.requests[0]
    assert (seen.method, seen.path, seen.body) == ("PUT", "/v1/workers/a%20b", b"content")
    assert (seen.headers["content-type"], seen.headers["authorization"]) == (kind, "Bearer s3cret")
    assert json.loads(result.stdout)["version"] == "1"
    assert f"curl {service.url}/w/a%20b/" in result.stderr


def test_put_says_what_is_doubtful(peer: Callable[..., Peer], invoke: Invoke, tmp_path: Path) -> None:
    """Warnings of the service are talk: on stderr, and the exit code stays 0."""
    service = peer({"workerId": "w", "version": "1", "warnings": ["It has no handler for requests."]})
    (tmp_path / "w.js").write_text("export default {}")
    result = invoke("workers", "put", "w", "w.js", "--url", service.url)
    assert result.exit_code == 0
    assert "warning: It has no handler for requests." in result.stderr


def test_workers_are_listed_shown_and_removed(peer: Callable[..., Peer], invoke: Invoke) -> None:
    """list prints a line per worker, show a document, rm asks once for each id."""
    service = peer({"workers": [{"workerId": "a"}, {"workerId": "b"}]}, {"workerId": "a"}, (204, None))
    assert [json.loads(line) for line in invoke("workers", "list", "--url", service.url).stdout.splitlines()] == [
        {"workerId": "a"},
        {"workerId": "b"},
    ]
    assert json.loads(invoke("workers", "show", "a", "--url", service.url).stdout) == {"workerId": "a"}
    assert invoke("workers", "rm", "a", "b", "--url", service.url).exit_code == 0
    assert [(r.method, r.path) for r in service.requests[2:]] == [("DELETE", "/v1/workers/a"), ("DELETE", "/v1/workers/b")]


def test_an_id_that_is_missing_keeps_no_other(peer: Callable[..., Peer], invoke: Invoke) -> None:
    """rm goes on behind an id that nobody has, names it at the end, and exits with 1."""
    service = peer((404, PROBLEM), (204, None))
    result = invoke("workers", "rm", "gone", "b", "--url", service.url)
    assert (result.exit_code, len(service.requests)) == (1, 2)
    assert "removed b" in result.stderr
    assert "'gone'" in result.stderr


@pytest.mark.parametrize(
    ("status", "message"),
    [(422, "Invalid worker code: mainModule is wrong."), (401, "Give --token, or set OTELBRIDGE_TOKEN."), (500, "Invalid worker code")],
)
def test_what_the_service_says_is_shown(peer: Callable[..., Peer], invoke: Invoke, status: int, message: str) -> None:
    """A problem is one line on stderr with exit code 1, and nothing on stdout."""
    result = invoke("workers", "list", "--url", peer((status, PROBLEM)).url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert message in result.stderr


@pytest.mark.parametrize("command", [["workers", "list"], ["logs"], ["query"], ["exports"]])
def test_no_service_is_told(invoke: Invoke, command: list[str]) -> None:
    """When nothing answers, the message says how to start or where to point."""
    result = invoke(*command, "--url", "http://127.0.0.1:9")
    assert result.exit_code == 1
    assert "otelbridge serve" in result.stderr
    assert "OTELBRIDGE_URL" in result.stderr


def test_another_program_at_the_address_is_told(peer: Callable[..., Peer], invoke: Invoke) -> None:
    """What answers, but in other words than the service's, is named with its address, and what to do."""
    service = peer((404, ["not here"]))
    result = invoke("workers", "list", "--url", service.url)
    assert result.exit_code == 1
    assert f"{service.url}/v1/workers answered 404" in result.stderr
    assert "say where otelbridge is with --url" in result.stderr


def test_a_url_must_be_one(invoke: Invoke) -> None:
    """Only http and https are spoken."""
    result = invoke("logs", "--url", "file:///etc/passwd")
    assert result.exit_code == 2


def test_logs_are_paged_and_come_oldest_first(peer: Callable[..., Peer], invoke: Invoke) -> None:
    """More than a page is fetched by cursor, and the newest record is the last line."""
    pages = [{"logs": [{**RECORD, "text": str(9 - i)}], "nextCursor": f"c{i}"} for i in range(2)] + [{"logs": [RECORD], "nextCursor": None}]
    service = peer(*pages)
    result = invoke("logs", "level:info", "-word", "--since", "2h", "--limit", "5", "--url", service.url, "--format", "pretty")
    assert [line[-5:].strip() for line in result.stdout.splitlines()] == ["hello", "fo) 8", "fo) 9"]
    assert service.requests[0].path == "/v1/logs?q=level%3Ainfo+-word&since=2h&limit=5"
    assert service.requests[2].path.endswith("limit=3&cursor=c1")


def test_an_error_in_a_query_is_pointed_at(peer: Callable[..., Peer], invoke: Invoke) -> None:
    """The place of the error is marked below the query."""
    problem = {"title": "Invalid query", "detail": "a value is missing", "column": 7}
    result = invoke("logs", "level: x", "--url", peer((400, problem)).url)
    assert result.exit_code == 1
    assert "  level: x\n        ^\n" in result.stderr
    assert "a value is missing" in result.stderr


def test_nothing_found_says_where_else_to_look(peer: Callable[..., Peer], invoke: Invoke) -> None:
    """An empty answer is success, and stderr says what to try."""
    result = invoke("logs", "--url", peer({"logs": [], "nextCursor": None}).url)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "--since" in result.stderr


@pytest.mark.parametrize(
    ("query", "hint"),
    [("level>=warn", "level:>=warn"), ("boom status=500", "status:500"), ("level:error", None), ("mystatus=1", None), ('"level=x"', None)],
)
def test_a_field_that_was_spelled_as_a_member_is_told(peer: Callable[..., Peer], invoke: Invoke, query: str, hint: str | None) -> None:
    """Who finds nothing with level>=warn, which asks for a member of logged objects, is told how the field is written."""
    result = invoke("logs", query, "--url", peer({"logs": [], "nextCursor": None}).url)
    assert result.exit_code == 0
    assert (f"is written {hint}" in result.stderr) if hint else ("is written" not in result.stderr)


LEDGER: dict[str, Any] = {
    "destinations": [
        {
            "name": "default",
            "protocol": "http/protobuf",
            "endpoint": "http://c:4318",
            "state": "retrying",
            "lastError": "503",
            "lagSeconds": 12.5,
            "signals": {"logs": {"emitted": 10, "delivered": 7, "queued": 1, "rejected": 0, "dropped": {"spoolFull": 2}}},
        }
    ],
    "workers": [{"workerId": "w", "logs": {"emitted": 10, "delivered": 7, "queued": 1, "rejected": 0, "dropped": {"spoolFull": 2}}}],
    "total": {"logs": {"emitted": 10, "delivered": 7, "queued": 1, "rejected": 0, "dropped": {"spoolFull": 2}}},
}


def test_the_ledger_reads_as_a_table(peer: Callable[..., Peer], invoke: Invoke) -> None:
    """Destinations with state and last error, then workers and the total, with reasons of drops."""
    service = peer(LEDGER)
    shown = invoke("exports", "--format", "pretty", "--url", service.url).stdout
    assert "default: http/protobuf http://c:4318 - retrying, 12.5 s behind" in shown
    assert "last error: 503" in shown
    assert shown.splitlines()[-1].split() == ["total", "logs", "10", "7", "1", "0", "2", "spoolFull", "2"]
    assert json.loads(invoke("exports", "--url", service.url).stdout) == LEDGER
    service = peer(LEDGER | {"damaged": [{"spool": "main", "bytes": 66}]})
    shown = invoke("exports", "--format", "pretty", "--url", service.url).stdout
    assert shown.splitlines()[-1].startswith("spool main: 66 bytes can't be read")


def test_the_port_of_the_service_is_that_of_its_setting(peer: Callable[..., Peer], invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the variables of `serve` say where it listens, client commands go there; --url and OTELBRIDGE_URL come before."""
    service, other = peer({"workers": []}, {"workers": []}), peer({"workers": []}, {"workers": []})
    monkeypatch.setenv("OTELBRIDGE_SERVER_PORT", service.url.rpartition(":")[2])
    assert invoke("workers", "list").exit_code == 0
    monkeypatch.setenv("OTELBRIDGE_SERVER_HOST", "0.0.0.0")
    assert invoke("workers", "list").exit_code == 0
    assert len(service.requests) == 2
    assert invoke("workers", "list", "--url", other.url).exit_code == 0
    monkeypatch.setenv("OTELBRIDGE_URL", other.url)
    assert invoke("workers", "list").exit_code == 0
    assert (len(service.requests), len(other.requests)) == (2, 2)


@pytest.mark.parametrize("name", ["otelbridge.toml", "pyproject.toml", "named.toml"])
def test_the_port_of_the_service_is_that_of_its_file(
    peer: Callable[..., Peer], invoke: Invoke, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Where the settings file of `serve` says where it listens, client commands go there; its variables and --url come before."""
    service, other = peer({"workers": []}), peer({"workers": []}, {"workers": []})
    table = "[tool.otelbridge.server]" if name == "pyproject.toml" else "[server]"
    Path(name).write_text(f"{table}\nport = {service.url.rpartition(':')[2]}\nhost = '0.0.0.0'\n")
    if name == "named.toml":
        monkeypatch.setenv("OTELBRIDGE_CONFIG", name)
    assert invoke("workers", "list").exit_code == 0
    assert invoke("workers", "list", "--url", other.url).exit_code == 0
    monkeypatch.setenv("OTELBRIDGE_SERVER_PORT", other.url.rpartition(":")[2])
    assert invoke("workers", "list").exit_code == 0
    assert (len(service.requests), len(other.requests)) == (1, 2)


def test_a_settings_file_that_is_wrong(peer: Callable[..., Peer], program: Callable[..., Any], tmp_path: Path, invoke: Invoke) -> None:
    """It is an error as for `serve`, unless --url says where to go; a project's file without a word about the service is nothing."""
    service = peer({"workers": []})
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    (tmp_path / "otelbridge.toml").write_text("[server]\nprot = 1\n")
    ended = program("workers", "list")
    assert (ended.code, "Unknown setting server.prot in otelbridge.toml" in ended.stderr) == (2, True)
    assert invoke("workers", "list", "--url", service.url).exit_code == 0
    (tmp_path / "otelbridge.toml").unlink()
    assert _has_file() is False
