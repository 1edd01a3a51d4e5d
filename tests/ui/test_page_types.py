"""The pages' sources: their types."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from engine.build import cache_folder as engine_cache
from engine.fetch import node_and_npm
from ui.build import modules

ROOT = Path(__file__).resolve().parent.parent.parent


def test_types_agree(tmp_path: Path) -> None:
    """The TypeScript compiler, told to be strict, has nothing to say."""
    shutil.copytree(ROOT / "ui", tmp_path / "ui", ignore=shutil.ignore_patterns("node_modules", "__pycache__"))
    packages = modules(ROOT, dev=True) / "node_modules"
    (tmp_path / "ui" / "node_modules").symlink_to(packages)
    node, _, env = node_and_npm(engine_cache() / "downloads")
    command = [*node, str(packages / "typescript" / "bin" / "tsc"), "--project", "."]
    done = subprocess.run(command, cwd=tmp_path / "ui", env=env, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
