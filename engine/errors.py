"""What can go wrong while the engine or the pages are built: always one error that names the step."""

from __future__ import annotations

__all__ = ["BuildError"]


class BuildError(Exception):
    """It can't be built. `step` is one of: toolchain, download, hash, patch, prelude, compile, link, verify, assemble, bundle."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(f"build failed at step '{step}': {message}")
        self.step = step
