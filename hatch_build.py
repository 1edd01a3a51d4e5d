"""Hatchling's hook: a wheel or an editable installation gets the JavaScript engine, the encoder and the pages built from source."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

__all__ = ["BuildHook"]


class BuildHook(BuildHookInterface[Any]):
    """Puts engine.wasm, encoder.wasm, the pages and the licence texts of what they bundle into the package before its files are collected."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build both, or take them from the user's cache; `version` is 'standard' or 'editable'."""
        # A build front end runs this file from elsewhere, so the folder with the packages `engine` and `ui` is not on the path.
        sys.path.insert(0, self.root)
        try:
            import engine.build
            import ui.build
        finally:
            sys.path.remove(self.root)
        root = Path(self.root)
        engine.build.install(engine.build.build(root), root)
        ui.build.install(ui.build.build(root), root)
