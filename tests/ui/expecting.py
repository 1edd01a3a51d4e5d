"""Playwright's assertions, imported only where a browser runs: `make test` does without."""

from __future__ import annotations

from typing import Any


def expect(target: Any) -> Any:
    """Assertions that wait until they hold."""
    from playwright.sync_api import expect as expect_

    return expect_(target, "")
