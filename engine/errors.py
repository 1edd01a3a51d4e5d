"""What can go wrong while the engine is built: always one error that names the step."""

from __future__ import annotations

__all__ = ["EngineBuildError"]


class EngineBuildError(Exception):
    """The engine can't be built. `step` is one of: toolchain, download, hash, patch, prelude, compile, link, verify."""

    def __init__(self, step: str, message: str) -> None:
        super().__init__(f"engine build failed at step '{step}': {message}")
        self.step = step
