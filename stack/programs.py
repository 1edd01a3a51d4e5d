"""The real programs and how to get them: Go modules at pinned versions, built once and kept by version.

Each program has a module of its own below programs/, so that its versions and the checksum of every dependency are in
git; nothing of its source is.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["PROGRAMS", "MissingTool", "Program", "build", "cache_directory"]

_HERE = Path(__file__).parent
_MODULES = _HERE / "programs"
# The newest `go` line among the modules below; Go itself would say so too, but only after minutes of downloads.
_GO = (1, 26)


class MissingTool(Exception):
    """Something that the machine must have; the message says what."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program: `name` of its folder below programs/, `version` as its makers call it, `package` that is built."""

    name: str
    version: str
    package: str
    title: str
    stamp: str = ""  # the variable that holds the version: what the program says of itself, and so what the tests print
    tags: str = ""  # Go's build tags
    minutes: str = "1"  # of a cold build on two cores
    steps: tuple[str, ...] = field(default=())  # programs that must be built before


PROGRAMS: Mapping[str, Program] = {
    p.name: p
    for p in (
        Program(
            name="builder",
            version="0.161.0",
            package="go.opentelemetry.io/collector/cmd/builder",
            title="OpenTelemetry Collector builder",
        ),
        Program(
            name="collector",
            version="0.161.0",
            package=".",
            title="OpenTelemetry Collector",
            minutes="3",
            steps=("builder",),
        ),
        Program(
            name="victorialogs",
            version="1.52.1",
            package="github.com/VictoriaMetrics/VictoriaLogs/app/victoria-logs",
            title="VictoriaLogs",
            stamp="github.com/VictoriaMetrics/VictoriaMetrics/lib/buildinfo.Version",
        ),
        Program(
            name="jaeger",
            version="2.13.0",
            package="github.com/jaegertracing/jaeger/cmd/jaeger",
            title="Jaeger",
            stamp="github.com/jaegertracing/jaeger/internal/version.latestVersion",
            minutes="5",
        ),
        Program(
            name="prometheus",
            version="3.16.0",
            package="github.com/prometheus/prometheus/cmd/prometheus",
            title="Prometheus",
            stamp="github.com/prometheus/common/version.Version",
            # Nothing is scraped here; finding targets in 26 clouds is two thirds of the build.
            tags="remove_all_sd",
            minutes="2",
        ),
        Program(
            name="kustomize",
            version="5.8.1",
            package="sigs.k8s.io/kustomize/kustomize/v5",
            title="kustomize",
        ),
        Program(
            name="compose",
            version="2.16.2",
            package=".",
            title="compose-go",
        ),
    )
}


def cache_directory() -> Path:
    """Where built programs are kept: STACK_CACHE, else otelbridge/stack in the user's cache folder."""
    own = os.environ.get("STACK_CACHE")
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Path(own) if own else base / "otelbridge" / "stack"


def build(name: str, *, say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True)) -> Path:
    """The path of a program, built first when this version of it is not in the cache. Raises MissingTool."""
    program = PROGRAMS[name]
    module = _MODULES / name
    path = cache_directory() / f"{name}-{program.version}-{_fingerprint(program)}" / name
    if path.exists():
        return path
    go = _go()
    say(f"{program.title} {program.version} is not in {cache_directory()}: building it (about {program.minutes} min on two cores, once)")
    started = time.monotonic()
    before = {step: build(step, say=say) for step in program.steps}
    cache_directory().mkdir(parents=True, exist_ok=True)
    # Beside its final place: a rename there is atomic, so a build that is interrupted, or one that runs twice at the
    # same time, never leaves half a program behind.
    with tempfile.TemporaryDirectory(dir=cache_directory(), prefix=f".{name}-") as scratch:
        source = Path(scratch) / "module"
        shutil.copytree(module, source)
        if "builder" in before:  # writes the collector's main package from the list of its components
            _run([str(before["builder"]), "--config", "builder.yaml", "--skip-compilation"], source)
        flags = f"-s -w -X {program.stamp}={program.version}" if program.stamp else "-s -w"
        made = Path(scratch) / "made"
        made.mkdir()
        _run([go, "build", "-trimpath", "-tags", program.tags, "-ldflags", flags, "-o", str(made / name), program.package], source)
        try:
            made.rename(path.parent)
        except OSError:
            if not path.exists():  # else another process was faster
                raise
    say(f"{program.title} {program.version}: built in {time.monotonic() - started:.0f} s")
    return path


def _fingerprint(program: Program) -> str:
    """Changes with everything that changes the program, so that the cache never serves an old one."""
    go = subprocess.run([_go(), "version"], capture_output=True, check=True).stdout
    digest = hashlib.sha256(repr((program.version, program.package, program.stamp, program.tags, go)).encode())
    for step in program.steps:
        digest.update(_fingerprint(PROGRAMS[step]).encode())
    for file in sorted((_MODULES / program.name).iterdir()):
        digest.update(file.name.encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()[:12]


def _go() -> str:
    go = shutil.which("go")
    if go is None:
        raise MissingTool(f"Go {_GO[0]}.{_GO[1]} or later is needed to build the stack's programs, and there is no `go` on the PATH")
    said = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    if tuple(int(n) for n in said.removeprefix("go").split(".")[:2]) < _GO:
        raise MissingTool(f"Go {_GO[0]}.{_GO[1]} or later is needed to build the stack's programs; {go} is {said}")
    return go


def _run(command: list[str], directory: Path) -> None:
    # Static programs, one job per core at most, and never a file of the repository in what they say of themselves.
    environ = os.environ | {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-p=2 -buildvcs=false"}
    done = subprocess.run(command, cwd=directory, env=environ, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        raise MissingTool(f"{' '.join(command[:2])} failed in {directory.name}:\n{(done.stderr or done.stdout)[-4000:]}")
