"""The logs page: search, chips, histogram, fields, live, export; all of it in the address."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

from tests.ui.expecting import expect
from tests.ui.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHOP = """export default { fetch(request) {
  const { pathname } = new URL(request.url);
  console.info({ event: 'visit', path: pathname, user: { id: 7, name: 'a "quoted" one' } });
  if (pathname === '/fail') { console.warn('about to fail'); throw new RangeError('out of tea'); }
  return new Response('ok');
} }"""


@pytest.fixture(scope="session", name="shop")
def make_shop(site: Site) -> Iterator[Site]:
    """A worker that was called four times, once in vain."""
    site.put("shop", SHOP)
    for path in ("a", "b", "fail", "c"):
        site.ask("GET", f"/w/shop/{path}")
    site.wait_for_logs("worker:shop", 10)
    return site  # type: ignore[return-value]


def rows(page: Page) -> list[str]:
    """The texts of the rows in view."""
    return page.locator(".row-text").all_inner_texts()


def test_query_narrows_the_list_and_stands_in_the_address(open_page: Callable[..., Page], shop: Site) -> None:
    """Enter applies the query; the address has it, and opened elsewhere shows the same rows."""
    page = open_page("/logs")
    page.locator(".row").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("worker:shop about")
    page.keyboard.press("Enter")
    expect(page.locator(".row")).to_have_count(1)
    assert "q=worker%3Ashop+about" in page.url
    other = open_page(page.url.removeprefix(shop.url))
    expect(other.locator(".row-text")).to_have_text("about to fail")
    page.go_back()
    expect(page.get_by_role("combobox", name="Query")).to_have_value("")


def test_chips_choose_levels_and_outcomes(open_page: Callable[..., Page], shop: Site) -> None:
    """Chips and query hold together, whatever OR the query has; one more press takes a chip back."""
    page = open_page("/logs?q=worker:shop OR worker:none")
    page.get_by_role("button", name="warn", exact=True).click()
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_role("button", name="error", exact=True).click()
    expect(page.locator(".row")).to_have_count(3)
    page.get_by_role("button", name="warn", exact=True).click()
    page.get_by_role("button", name="error", exact=True).click()
    page.get_by_label("Add an outcome").select_option("exception")
    expect(page.locator(".row")).to_have_count(4)
    assert "outcome=exception" in page.url


def test_fields_filter_in_and_out(open_page: Callable[..., Page], shop: Site) -> None:
    """The opened row shows every field, inner members too; a click narrows the query by it, or takes it out."""
    page = open_page("/logs?q=worker:shop kind:log event=visit")
    page.locator(".row").first.click()
    detail = page.locator(".detail")
    expect(detail).to_contain_text("user.name")
    assert "row=" in page.url
    page.get_by_label("Only member path /c", exact=True).click()
    expect(page.get_by_role("combobox", name="Query")).to_have_value("worker:shop kind:log event=visit path=/c")
    expect(page.locator(".row")).to_have_count(1)
    page.locator(".row").first.click()
    page.get_by_label('Not member user.name a "quoted" one').click()
    expect(page.locator(".empty")).to_contain_text("No record fits")


def test_opened_row_is_found_again_by_its_address(open_page: Callable[..., Page], shop: Site) -> None:
    """An address with a row that the list does not show still opens its fields; links lead to invocation and trace."""
    record = shop.wait_for_logs("worker:shop about")[0]
    page = open_page(f"/logs?q=nothing_fits_this&row={record['id']}")
    expect(page.locator(".detail-text")).to_have_text("about to fail")
    assert page.locator(".detail a", has_text="Invocation").get_attribute("href") == f"/invocations/{record['invocationId']}"
    assert record["traceId"] in (page.locator(".detail a", has_text="Trace").get_attribute("href") or "")


def test_keyboard_moves_opens_and_closes(open_page: Callable[..., Page], shop: Site) -> None:
    """j and k and the arrows move, Enter opens, Escape closes, ? lists the keys, g l goes to the logs."""
    page = open_page("/health")
    page.locator(".findings").click()
    page.keyboard.press("g")
    page.keyboard.press("l")
    page.wait_for_url("**/logs")
    expect(page.locator(".row").first).to_be_visible()
    page.keyboard.press("j")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    expect(page.locator(".row").nth(1)).to_have_attribute("aria-selected", "true")
    page.keyboard.press("Enter")
    expect(page.locator(".detail")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator(".detail")).to_have_count(0)
    page.keyboard.press("?")
    expect(page.get_by_role("dialog")).to_contain_text("Show all fields of the row")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)


def test_completion_offers_fields_and_values(open_page: Callable[..., Page], shop: Site) -> None:
    """Names of fields and of logged members are completed, then their values; Enter on a choice takes it."""
    page = open_page("/logs")
    field = page.get_by_role("combobox", name="Query")
    field.click()
    page.keyboard.type("ev")
    page.get_by_role("option", name=re.compile("^event=")).wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(field).to_have_value("event=")
    page.get_by_role("option", name=re.compile("^event=visit")).click()
    expect(field).to_have_value("event=visit ")
    page.keyboard.press("Enter")
    expect(page.locator(".row").first).to_contain_text("visit")


def test_error_in_a_query_points_at_its_place(open_page: Callable[..., Page], shop: Site) -> None:
    """A wrong query is explained below the field with a mark under the column, also when chips are set."""
    page = open_page("/logs?q=a OR nofield:x&level=error")
    alert = page.get_by_role("alert").first
    expect(alert).to_contain_text("there is no field")
    assert page.locator(".pointer").first.inner_text() == "a OR nofield:x\n     ^"


def test_dragging_along_the_histogram_chooses_the_time(open_page: Callable[..., Page], shop: Site) -> None:
    """A drag sets beginning and end in the address and asks for these records only; one click goes back."""
    page = open_page("/logs")
    page.locator(".histogram canvas").wait_for()
    box = page.locator(".u-over").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.4, box["y"] + 20, steps=4)
    page.mouse.up()
    page.wait_for_url(re.compile(r"since=\d{13}&until=\d{13}"))
    expect(page.locator(".empty")).to_be_visible()
    page.get_by_label("Leave this time range").click()
    expect(page.locator(".row").first).to_be_visible()


def test_live_shows_what_happens_and_keeps_count_while_paused(open_page: Callable[..., Page], shop: Site) -> None:
    """New records come on top by themselves; paused they are counted, and shown at a click."""
    page = open_page("/logs?live=1&q=worker:shop path=/live*")
    expect(page.locator(".livebar")).to_contain_text("Following live")
    shop.ask("GET", "/w/shop/live1")
    expect(page.locator(".row")).to_have_count(1)
    page.get_by_role("button", name="Pause").click()
    for n in range(3):
        shop.ask("GET", f"/w/shop/live-more{n}")
    expect(page.get_by_role("button", name="Show 3 new ones")).to_be_visible()
    assert len(rows(page)) == 1
    page.get_by_role("button", name="Show 3 new ones").click()
    expect(page.locator(".row")).to_have_count(4)
    assert "live-more2" in rows(page)[0]


@pytest.mark.parametrize("form", ["JSON lines", "CSV"])
def test_export_saves_what_the_search_finds(open_page: Callable[..., Page], shop: Site, form: str) -> None:
    """The file has every record of the search, each field in its place."""
    page = open_page("/logs?q=worker:shop -path=/live* -live-more -live1&since=all", accept_downloads=True)
    expect(page.locator(".row").first).to_be_visible()
    page.get_by_role("button", name="Export…").click()
    with page.expect_download() as saved:
        page.get_by_role("button", name=form).click()
    text = saved.value.path().read_text()
    found = [json.loads(line) for line in text.splitlines()] if form == "JSON lines" else list(csv.DictReader(text.splitlines()))
    texts = [record["text"] for record in found]
    assert "about to fail" in texts
    assert all(record["workerId"] == "shop" for record in found)


def test_empty_states_teach(open_page: Callable[..., Page], own_site: Callable[..., Site]) -> None:
    """Where nothing is yet, a command line that works says how to get some."""
    fresh = own_site()
    page = open_page("/logs?since=all", of=fresh)
    expect(page.locator(".empty").first).to_contain_text("No logs yet")
    command = page.locator(".command pre").inner_text()
    assert f"curl -X PUT {fresh.url}/v1/workers/demo" in command
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
