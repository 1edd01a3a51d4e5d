"""What the documents say can be done is done here: their commands against a real service, their code, their links."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from otelbridge import Settings

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
SERVICE = "http://127.0.0.1:8787"
# How commands stand in a document: lines of an indented block, or behind "$ " in a console block.
COMMAND = re.compile(r"^(?:    |\$ )((?:curl|echo|\.venv/bin/otelbridge|otelbridge) .*)$", re.MULTILINE)
ENDLESS = re.compile(r"^(?:\.venv/bin/)?otelbridge tail\b|^curl -N ")
WORKER = 'export default { fetch(request) { console.log("hello", { user_id: 123 }); return new Response("hi") } }'


def fenced(text: str, language: str) -> list[str]:
    """The code blocks of a document in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def commands(page: Path) -> list[str]:
    """The commands of a page that speak to a running service, in their order."""
    found = [line.rstrip() for line in COMMAND.findall(page.read_text("utf-8"))]
    return [line for line in found if not re.search(r"\.\.\.|…|<[a-z-]+>|https?://(?!127\.0\.0\.1:8787)|otelbridge serve", line)]


@contextlib.contextmanager
def service(folder: Path) -> Iterator[str]:
    """A service with the sample workers and a worker `demo`, started as a user would."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = Path(sys.executable).parent / "otelbridge"
    command = [str(program), "serve", "--samples", "--port", str(port), "--data-dir", str(folder / "data")]
    url = f"http://127.0.0.1:{port}"
    with open(folder / "serve.err", "wb") as err, subprocess.Popen(command, cwd=folder, stderr=err) as process:
        try:
            deadline = time.monotonic() + 60
            while b"listens on" not in (folder / "serve.err").read_bytes():
                assert process.poll() is None, (folder / "serve.err").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
            for _ in range(2):
                put = urllib.request.Request(
                    f"{url}/v1/workers/demo", WORKER.encode(), {"content-type": "application/javascript"}, method="PUT"
                )
                urllib.request.urlopen(put).close()
                urllib.request.urlopen(f"{url}/w/demo/api").close()
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def run(command: str, url: str, folder: Path) -> str:
    """What a command prints. A command without an end is stopped after a moment; one that fails fails the test."""
    line = command.replace(SERVICE, url).replace(".venv/bin/otelbridge", "otelbridge")
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, "PATH": path, "OTELBRIDGE_URL": url}
    if ENDLESS.search(command):
        line = f"timeout --signal=INT 2 {line}\n[ $? -eq 124 ]"
    done = subprocess.run(["bash", "-c", line], cwd=folder, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="the documents' examples use curl")
@pytest.mark.parametrize("page", [page for page in PAGES if commands(page)], ids=lambda page: page.name)
def test_the_commands_of_a_page_work(page: Path, tmp_path: Path) -> None:
    """Every command of a page, in its order, against a service with the samples: none fails, and none gets an error that is not announced."""
    (tmp_path / "worker.js").write_text(WORKER)
    with service(tmp_path) as url:
        for command in commands(page):
            printed = run(command, url, tmp_path)
            announced = re.search(r"# .*\b(?:[45]\d\d|fail|error)", command)
            assert announced or "urn:otelbridge:problem:" not in printed, f"{command}\n{printed}"


def test_the_readmes_embedding_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The Python example of the README loads a worker, calls it, and its tail prints what was logged."""
    monkeypatch.chdir(tmp_path)
    (block,) = fenced((ROOT / "README.md").read_text("utf-8"), "python")
    namespace: dict[str, object] = {}
    exec(compile(block, "README.md", "exec"), namespace)
    asyncio.run(namespace["main"](WORKER))  # type: ignore[operator]
    printed = capsys.readouterr().out
    assert "200 hi" in printed
    assert "demo" in printed
    assert "hello" in printed


@pytest.mark.parametrize("page", [page for page in PAGES if fenced(page.read_text("utf-8"), "toml")], ids=lambda page: page.name)
def test_settings_files_of_the_documents_are_accepted(page: Path, tmp_path: Path) -> None:
    """Each settings file that a page shows can be used as it stands."""
    for block in fenced(page.read_text("utf-8"), "toml"):
        file = tmp_path / "otelbridge.toml"
        file.write_text(block)
        Settings(environ={}, file=file)


@pytest.mark.parametrize("page", [page for page in PAGES if fenced(page.read_text("utf-8"), "json")], ids=lambda page: page.name)
def test_json_of_the_documents_is_json(page: Path) -> None:
    """Each JSON document that a page shows can be parsed."""
    for block in fenced(page.read_text("utf-8"), "json"):
        json.loads(block)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    """Each link to a file of this repository names one that exists."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text("utf-8")):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_every_page_can_be_found_from_the_readme() -> None:
    """README.md names each page of docs/, so that none is lost."""
    readme = (ROOT / "README.md").read_text("utf-8")
    missing = [page.name for page in (ROOT / "docs").glob("*.md") if f"docs/{page.name}" not in readme]
    assert missing == []
