"""What a user gets: the wheel built from this tree, complete, and the same every time."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import otelbridge
from engine import wasm

# A wheel of a tree whose engine sources have just changed compiles the engine.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).resolve().parent.parent
ENGINE = "otelbridge/sandbox/javascript/engine.wasm"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Return the wheel, built here and now; the engine comes from the cache that `make` has filled."""
    return zipfile.ZipFile(build(tmp_path_factory.mktemp("dist")))


def build(target: Path) -> Path:
    """Build the wheel into a folder by the same backend that pip calls."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(target)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    (made,) = target.glob("*.whl")
    return made


def metadata(wheel: zipfile.ZipFile, name: str) -> str:
    """Return a file of the wheel's dist-info folder."""
    return wheel.read(f"otelbridge-{otelbridge.__version__}.dist-info/{name}").decode()


def test_wheel_holds_the_engine(wheel: zipfile.ZipFile) -> None:
    """The engine is inside, imports nothing and exports what the sandbox calls."""
    module = wheel.read(ENGINE)
    assert wasm.imports_of(module) == []
    assert wasm.EXPORTS.items() <= wasm.exports_of(module).items()


def test_wheel_holds_every_tracked_file(wheel: zipfile.ZipFile) -> None:
    """Python files, the type marker and the pages of the tree are all in the wheel."""
    made = set(wheel.namelist())
    sources = ("sandbox/javascript/engine/", "sandbox/javascript/prelude/", "otel/compiled/")
    for file in (ROOT / "otelbridge").rglob("*"):
        name = file.relative_to(ROOT).as_posix()
        if file.is_file() and "__pycache__" not in name and not file.name.startswith(".") and not any(source in name for source in sources):
            assert name in made
    assert "otelbridge/py.typed" in made


def test_wheel_holds_the_pages(wheel: zipfile.ZipFile) -> None:
    """index.html is inside, with every file that it loads, and no source of them."""
    index = wheel.read("otelbridge/ui/index.html").decode()
    loaded = re.findall(r'"/ui/([^"]+)"', index)
    assert {name.rpartition(".")[2] for name in loaded} == {"css", "js", "svg"}
    assert {f"otelbridge/ui/{name}" for name in loaded} <= set(wheel.namelist())
    assert not [name for name in wheel.namelist() if name.startswith("ui/") or name.endswith((".tsx", ".ts"))]


def test_wheel_holds_the_compiled_encoder(wheel: zipfile.ZipFile) -> None:
    """What otel/encoder.py loads is inside."""
    assert wheel.read("otelbridge/otel/encoder.wasm").startswith(b"\0asm")


def test_wheel_holds_no_sources_of_the_engine(wheel: zipfile.ZipFile) -> None:
    """Neither C nor prelude files nor build code reach a user's installation."""
    assert not [
        name for name in wheel.namelist() if name.endswith((".c", ".h")) or "/prelude/" in name or name.startswith(("engine/", "tests/"))
    ]


def test_wheel_holds_the_licence_texts(wheel: zipfile.ZipFile) -> None:
    """Our licence and the text of each bundled work are inside, with their copyright lines."""
    assert "Apache License" in metadata(wheel, "licenses/LICENSE")
    texts = {Path(name).stem: wheel.read(name).decode() for name in wheel.namelist() if name.startswith("otelbridge/licenses/")}
    assert {"quickjs-ng", "wasi-libc", "musl", "zig", "preact", "uplot", "@codemirror-view", "@lezer-common"} <= texts.keys()
    assert "Fabrice Bellard" in texts["quickjs-ng"]
    assert "UNICODE LICENSE" in texts["quickjs-ng"]
    assert all("opyright" in text for text in texts.values())


def test_wheel_describes_itself(wheel: zipfile.ZipFile) -> None:
    """Name, version, Python version, dependencies and the console script are those of pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    described = Parser().parsestr(metadata(wheel, "METADATA"))
    assert described["Name"] == "otelbridge"
    assert described["Version"] == project["version"] == otelbridge.__version__
    assert described["Requires-Python"] == ">=3.11"
    required = [line for line in described.get_all("Requires-Dist", []) if "extra ==" not in line]
    assert len(required) == len(project["dependencies"])
    assert "otelbridge = otelbridge.cli:main" in metadata(wheel, "entry_points.txt")
    assert "Tag: py3-none-any" in metadata(wheel, "WHEEL")


def test_wheel_is_the_same_twice(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """Two builds of one tree are the same bytes."""
    assert wheel.filename is not None
    assert hashlib.sha256(build(tmp_path).read_bytes()).digest() == hashlib.sha256(Path(wheel.filename).read_bytes()).digest()


@pytest.mark.parametrize("lock", ["requirements.lock", "requirements-build.lock", "requirements-dev.lock", "engine/requirements-node.txt"])
def test_locks_are_hashed_and_name_no_place(lock: str) -> None:
    """Every requirement is one exact version with hashes, and nothing says which index or folder it came from."""
    text = (ROOT / lock).read_text()
    requirements = re.split(r"\n(?=\S)", re.sub(r"(?m)^\s*#.*\n?", "", text).strip())
    assert requirements
    for requirement in requirements:
        assert re.match(r"[a-z0-9.-]+==\S+( ; [^\\]+)? \\\n\s+--hash=sha256:[0-9a-f]{64}", requirement), requirement
    assert "://" not in text
    assert not re.search(r"(?m)^\s*-(-find-links|-index-url|-extra-index-url|f|i)\b", text)


def test_locks_agree() -> None:
    """What runs and what builds have the same versions on a developer's machine as on a user's."""
    pins: dict[str, str] = {}
    for lock in ("requirements-dev.lock", "requirements.lock", "requirements-build.lock"):
        for name, version in re.findall(r"(?m)^([a-z0-9.-]+)==(\S+)", (ROOT / lock).read_text()):
            assert pins.setdefault(name, version) == version, f"{lock}: {name}"


def test_build_requirements_are_the_locked_ones() -> None:
    """The compiler that an isolated build gets is the one that the engine's code asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert set(project["project"]["optional-dependencies"]["build"]) <= set(project["build-system"]["requires"])


def test_every_dependency_has_a_reason() -> None:
    """docs/dependencies.md has a line for each package that pyproject.toml names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *(line for extra in project["optional-dependencies"].values() for line in extra)]
    text = (ROOT / "docs" / "dependencies.md").read_text()
    for line in named:
        name = re.split(r"[\[<>=]", line)[0]
        assert name == "otelbridge" or re.search(rf"(?m)^\|.*\b{re.escape(name)}\b.*\|.+\|$", text), (
            f"docs/dependencies.md says nothing about {name}"
        )
