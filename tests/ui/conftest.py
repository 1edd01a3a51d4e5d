"""The pages in a real Chromium, over a real service. They need Chromium: `make test-ui`; the others here run with `make test`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ui.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

collect_ignore_glob = [] if os.environ.get("TEST_UI") else ["test_page_*.py", "test_pictures.py"]

# A sandbox of the browser's own needs rights that containers rarely have; the pages here are ours.
_OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--force-color-profile=srgb"]


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Compiled code, shared by all services of this run."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Iterator[Site]:
    """A service for all tests that need no settings of their own; each registers workers of its own."""
    one = Site(tmp_path_factory.mktemp("site"), cache)
    yield one
    one.close()


@pytest.fixture
def own_site(tmp_path: Path, cache: Path) -> Iterator[Callable[..., Site]]:
    """Start a service that only this test uses."""
    sites: list[Site] = []

    def start(*arguments: str, **settings: str) -> Site:
        folder = tmp_path / f"site{len(sites)}"
        folder.mkdir()
        sites.append(Site(folder, cache, *arguments, **settings))
        return sites[-1]

    yield start
    for one in sites:
        one.close()


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, without a window."""
    from playwright.sync_api import sync_playwright

    path = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert path, "there is no Chromium: apt-get install chromium, or CHROMIUM=/path/to/it"
    with sync_playwright() as playwright:
        one = playwright.chromium.launch(executable_path=path, args=_OPTIONS)
        yield one
        one.close()


class Watch:
    """What a page did that no page may: errors, refused content, requests to other places."""

    def __init__(self) -> None:
        self.faults: list[str] = []

    def attach(self, page: Page, url: str) -> None:
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("console", self._console)
        page.on("request", lambda request: self._request(request.url, url))

    def _request(self, asked: str, own: str) -> None:
        if not asked.startswith((own, "data:", "blob:")):
            self.faults.append(f"asks {asked}")

    def _console(self, message: Any) -> None:
        # What the browser itself says of failed requests, and of foreign scripts that it stopped: tests provoke all of these.
        provoked = ("Failed to load resource", "Blocked script execution in 'about:srcdoc'", "Access to fetch at")
        if message.type == "error" and not message.text.startswith(provoked):
            self.faults.append(f"console: {message.text}")


@pytest.fixture
def open_page(browser: Browser, site: Site) -> Iterator[Callable[..., Page]]:
    """Open a page of a service in a fresh context; the test fails when the page faulted or asked another host."""
    contexts = []
    watch = Watch()

    def open_(path: str = "/", *, of: Site = site, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        context.set_default_timeout(15_000)
        page = context.new_page()
        watch.attach(page, of.url)
        page.goto(of.url + path)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert watch.faults == []
