"""`otelbridge run`: one invocation without a service."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.conftest import Ended

Program = Callable[..., Ended]
ECHO = """export default { async fetch(request) {
  console.log({ n: 1 }, 'two');
  console.error('bad\\x1b[2Jthing');
  if (request.url.endsWith('/throw')) throw new TypeError('boom');
  if (request.url.endsWith('/loop')) for (;;);
  return new Response(`${request.method} ${request.url} ${request.headers.get('x-a')} ${await request.text()}`);
} }"""
WAT = Path(__file__).parent.parent.parent / "examples" / "guests" / "hello.wat"


@pytest.fixture
def echo(tmp_path: Path) -> str:
    """A worker file."""
    (tmp_path / "echo.js").write_text(ECHO)
    return "echo.js"


def test_body_to_stdout_logs_to_stderr(program: Program, echo: str) -> None:
    """The body alone is on stdout; logs are on stderr, with what a terminal would obey made visible."""
    ended = program("run", echo, "--path", "/p?q", "--data", "body", "--header", "x-a: b")
    assert (ended.code, ended.stdout) == (0, "POST http://worker/p?q b body")
    assert '(log) {"n":1} two' in ended.stderr
    assert "(error) bad\\x1b[2Jthing" in ended.stderr


def test_a_logged_error_has_its_stack(program: Program, tmp_path: Path) -> None:
    """As in the live tail, the lines of its stack follow the line that logged it."""
    (tmp_path / "w.js").write_text("export default { fetch() { console.error('no', new Error('tea')); return new Response('x') } }")
    ended = program("run", "w.js")
    said = ended.stderr.splitlines()
    assert (ended.code, said[said.index("(error) no Error: tea") + 1]) == (0, "    at fetch (w.js:1:48)")


def test_a_failed_invocation_is_exit_code_1(program: Program, echo: str) -> None:
    """What the worker throws is shown with its stack; the logs before it are there too."""
    ended = program("run", echo, "--path", "/throw")
    assert (ended.code, ended.stdout) == (1, "")
    assert "TypeError: boom" in ended.stderr
    assert "echo.js:4" in ended.stderr
    assert "(log)" in ended.stderr


def test_a_limit_is_exit_code_1(program: Program, echo: str) -> None:
    """A worker that is stopped says which limit it met, and keeps its logs."""
    ended = program("run", echo, "--path", "/loop", env={"OTELBRIDGE_LIMITS_CPU_MS": "50"})
    assert ended.code == 1
    assert "exceededCpu" in ended.stderr
    assert "(log)" in ended.stderr


def test_code_as_a_document_and_wasm_run_too(program: Program, tmp_path: Path) -> None:
    """A .json file with WorkerCode, and a .wat file, are workers as well."""
    code = {
        "mainModule": "m.js",
        "modules": {"m.js": "export default { fetch(r, env) { return new Response(env.A) } }"},
        "env": {"A": "from env"},
    }
    (tmp_path / "w.json").write_text(json.dumps(code))
    ended = program("run", "w.json")
    assert (ended.code, ended.stdout) == (0, "from env")
    ended = program("run", str(WAT))
    assert ended.code == 0, ended.stderr
    assert ended.stdout


@pytest.mark.parametrize(
    ("name", "content", "code", "message"),
    [
        ("a.txt", "", 2, "a worker is a file of type .js"),
        ("a.ts", "", 2, "TypeScript has to be compiled first"),
        ("a.js", "export default {", 1, "SyntaxError"),
        ("a.json", "{", 2, "not JSON"),
        ("b.json", "{}", 1, "mainModule"),
        ("a.wat", "(modul)", 2, "not a wasm module"),
        ("a.wasm", "nonsense", 1, "WebAssembly"),
    ],
)
def test_what_is_no_worker_is_named(program: Program, tmp_path: Path, name: str, content: str, code: int, message: str) -> None:
    """A file that is no worker gives one clear message, never a traceback."""
    (tmp_path / name).write_text(content)
    ended = program("run", name)
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.code == code
