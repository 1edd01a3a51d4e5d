"""The first quarter of an hour of somebody new, with the pages alone: nothing is typed but code and an id."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.ui.expecting import expect
from tests.ui.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

FIRST = "export default { fetch(request) { console.log('asked for', new URL(request.url).pathname); return new Response('fine') } }"
BROKEN = FIRST.replace("return new Response('fine')", "return request.nothing.at.all")


def test_a_newcomer_deploys_breaks_finds_and_searches(open_page: Callable[..., Page], site: Site) -> None:
    """From the first page on, links and buttons lead to: a deployed worker, its broken version, the exception with its line, its errors of the last hour."""
    page = open_page("/")

    def write(code: str) -> None:
        page.locator(".cm-content").click()
        page.keyboard.press("Control+a")
        page.keyboard.press("Delete")
        page.keyboard.insert_text(code)

    write(FIRST)
    page.get_by_role("button", name="Deploy…").click()
    page.get_by_label("Worker id").fill("journey")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("link", name="Show the worker").click()
    expect(page.get_by_role("region", name="Latest invocations")).to_contain_text(f"curl -i {site.url}/w/journey/")
    assert site.ask("GET", "/w/journey/hello") == (200, "fine")
    expect(page.get_by_role("region", name="Latest logs")).to_contain_text("asked for /hello", timeout=15_000)

    page.get_by_role("link", name="Edit").click()
    expect(page.locator(".cm-content")).to_contain_text("asked for")
    write(BROKEN)
    page.get_by_role("button", name="Deploy…").click()
    expect(page.get_by_label("Worker id")).to_have_value("journey")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.get_by_role("link", name="Watch its logs").click()
    expect(page.locator(".livebar")).to_contain_text("Following live")
    assert site.ask("GET", "/w/journey/broken")[0] == 500
    row = page.locator(".row.exception")
    expect(row).to_contain_text("TypeError")
    row.click()
    expect(page.locator(".detail")).to_contain_text("index.js:1:")
    page.locator(".detail").get_by_role("link", name="Invocation").click()
    expect(page.get_by_role("region", name="Logs")).to_contain_text("asked for /broken")

    page.get_by_role("link", name="Workers", exact=False).first.click()
    page.get_by_role("row", name="journey").get_by_title("Errors of the last hour").click()
    expect(page.get_by_role("button", name="error", exact=True)).to_have_attribute("aria-pressed", "true")
    expect(page.locator(".row")).to_have_count(2)
    expect(page.locator(".row").last).to_contain_text("TypeError")
