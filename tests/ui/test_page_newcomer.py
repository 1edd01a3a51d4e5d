"""What a newcomer stumbled over: charts of few values, stacks shown once, counts of failures, small screens."""

from __future__ import annotations

import itertools
import re
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from tests.ui.expecting import expect
from tests.ui.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# Charts are drawn: their texts are seen only on their way to the canvas.
LISTEN = """() => {
  window.drawn = [];
  const draw = CanvasRenderingContext2D.prototype.fillText;
  CanvasRenderingContext2D.prototype.fillText = function (text, ...rest) {
    window.drawn.push([this.canvas.closest('[role=img]')?.getAttribute('aria-label') ?? '', String(text)]);
    return draw.call(this, text, ...rest);
  };
}"""
COUNT_PIXELS = """(canvas, name) => {
  const probe = document.body.appendChild(document.createElement('i'));
  probe.style.color = `var(${name})`;
  const wanted = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
  probe.remove();
  const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let n = 0; n < data.length; n += 4) found += wanted.every((value, m) => Math.abs(data[n + m] - value) < 3) && data[n + 3] > 250;
  return found;
}"""


@pytest.fixture(scope="session", name="once")
def make_once(site: Site) -> Site:
    """A worker that was called once, and failed."""
    site.put("once", "export default { fetch() { throw new Error('only once') } }")
    site.ask("GET", "/w/once/")
    site.wait_for_logs("worker:once kind:invocation")
    return site


def _pixels(canvas: Locator, colour: str) -> int:
    return int(canvas.evaluate(COUNT_PIXELS, colour))


def test_a_single_value_is_seen(open_page: Callable[..., Page], once: Site) -> None:
    """A line with one value only is drawn as a point, in a query and on a worker's page."""
    page = open_page("/query?q=kind:invocation worker:once&calc=p95(wallMs)&by=path")
    canvas = page.locator(".query-result canvas")
    expect(canvas).to_be_visible()
    page.wait_for_timeout(300)
    assert _pixels(canvas, "--accent") > 10
    page = open_page("/workers/once")
    durations = page.get_by_role("img", name=re.compile("^Duration in ms")).locator("canvas")
    expect(durations).to_be_visible()
    page.wait_for_timeout(300)
    assert _pixels(durations, "--violet") > 10


def test_ticks_are_whole_and_midnight_is_a_time(open_page: Callable[..., Page], once: Site) -> None:
    """A count of one has no tick at a half, and midnight within an hour reads 00:00."""
    hour = time.gmtime().tm_hour
    page = open_page("/workers", timezone_id=f"Etc/GMT+{hour}" if hour <= 12 else f"Etc/GMT-{24 - hour}")
    page.evaluate(LISTEN)
    page.get_by_role("link", name="once", exact=True).click()
    expect(page.locator(".worker canvas")).to_have_count(2)
    page.wait_for_timeout(300)
    counts = {text for label, text in page.evaluate("window.drawn") if label.startswith("Invocations")}
    assert {"0", "1"} <= counts
    assert "0.5" not in counts
    assert "00:00" in counts
    assert not [text for text in counts if re.fullmatch(r"\d\d-\d\d", text)]


def test_logged_error_is_shown_with_its_stack(open_page: Callable[..., Page]) -> None:
    """What console.error was given has its stack below the line, and a position in it leads to the code."""
    page = open_page("/playground?example=logging")
    page.get_by_role("button", name="Run").click()
    line = page.locator(".lines li").filter(has_text="shown with its stack")
    expect(line.locator(".stack")).to_contain_text("at fetch (index.js:7:")
    expect(page.locator(".lines .stack")).to_have_count(1)
    line.locator(".link").click()
    expect(page.locator(".cm-here")).to_contain_text("console.error")


def test_logged_error_keeps_its_stack_in_logs_and_invocation(open_page: Callable[..., Page], site: Site) -> None:
    """The stack of an Error that was logged stands below the line of its invocation, and among the fields of its record."""
    site.put("logs-error", "export default { fetch() { console.error('lost', new Error('the key')); return new Response('x') } }")
    site.ask("GET", "/w/logs-error/")
    record = site.wait_for_logs("worker:logs-error kind:log")[0]
    assert record["text"] == "lost Error: the key"
    page = open_page(f"/invocations/{record['invocationId']}")
    expect(page.locator(".lines")).to_contain_text("at fetch (index.js:1:")
    page.goto(f"{site.url}/logs?q=worker:logs-error&row={record['id']}")
    expect(page.get_by_label("Stack of a logged error")).to_contain_text("at fetch (index.js:1:")


def test_refused_deploy_is_no_worker(open_page: Callable[..., Page], own_site: Callable[..., Site]) -> None:
    """Code that did not start is not listed among the workers; one that was called and then removed still is."""
    one = own_site()
    body = {"mainModule": "index.js", "modules": {"index.js": "throw new Error('not today')"}}
    assert one.ask("PUT", "/v1/workers/refused", body)[0] == 422
    one.put("removed", "export default { fetch() { throw new Error('always') } }")
    one.ask("GET", "/w/removed/")
    assert one.ask("DELETE", "/v1/workers/removed")[0] == 204
    one.wait_for_logs("worker:refused kind:invocation")
    one.wait_for_logs("worker:removed kind:invocation")
    page = open_page("/workers", of=one)
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(1)
    expect(rows).to_contain_text("removed not registered")


def test_address_without_a_page_says_so(open_page: Callable[..., Page], site: Site) -> None:
    """A browser at an address where nothing is gets the pages, which say so, with status 404; a program gets a problem."""
    page = open_page("/nopage")
    expect(page.locator("main")).to_contain_text("There is no such page")
    assert site.ask("GET", "/nopage", accept="text/html")[0] == 404
    status, problem = site.ask("GET", "/nopage")
    assert (status, problem["title"]) == (404, "Not found")
    assert site.ask("GET", "/v1/nothing", accept="text/html")[1]["status"] == 404


def test_unknown_field_is_said(open_page: Callable[..., Page], site: Site) -> None:
    """An average of a field that no record has is not an empty cell without a word."""
    site.put("plain", "export default { fetch: () => new Response('x') }")
    site.ask("GET", "/w/plain/")
    site.wait_for_logs("worker:plain kind:invocation")
    page = open_page("/query?q=worker:plain&calc=avg(walMs)")
    expect(page.get_by_role("status").filter(has_text="walMs")).to_contain_text("Did you mean wallMs?")


def test_errors_by_worker_counts_failures(open_page: Callable[..., Page], once: Site) -> None:
    """A call that threw counts as one error, though it left two records."""
    page = open_page("/query")
    address = page.get_by_role("link", name="Errors by worker").get_attribute("href")
    assert address is not None
    page.goto(once.url + address.replace("level%3Aerror", "level%3Aerror%20worker%3Aonce"))
    row = page.locator(".query-result tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator("td").nth(0)).to_have_text("once")
    expect(row.locator("td").nth(1)).to_have_text("1")


def test_exception_shows_its_stack_once(open_page: Callable[..., Page], once: Site) -> None:
    """The fields of an exception repeat nothing of its text."""
    thrown = once.wait_for_logs("worker:once kind:exception")[0]
    page = open_page(f"/logs?q=worker:once&row={thrown['id']}")
    detail = page.locator(".detail")
    expect(detail.locator(".detail-text").first).to_contain_text("at fetch (index.js:1:")
    assert detail.inner_text().count("at fetch (index.js:1:") == 1


def test_space_has_a_name_among_the_keys(open_page: Callable[..., Page]) -> None:
    """Each key in the list of keys says which one it is."""
    page = open_page("/logs")
    page.locator("h1").click()
    page.keyboard.press("?")
    keys = page.locator(".keys kbd")
    expect(keys.first).to_be_visible()
    texts = [text.strip() for text in keys.all_inner_texts()]
    assert "Space" in texts
    assert "" not in texts


def test_command_on_health_runs_as_it_stands(open_page: Callable[..., Page]) -> None:
    """The command that sends telemetry on names the program where `make run` puts it."""
    page = open_page("/health")
    expect(page.locator(".command pre")).to_contain_text(" .venv/bin/otelbridge serve")


def test_small_screens_cut_nothing(open_page: Callable[..., Page], once: Site) -> None:
    """At 360 pixels heads keep their height, names and rates stay on one line, and no label lies over another."""
    narrow: dict[str, Any] = {"width": 360, "height": 640}
    page = open_page("/health", **narrow)
    page.get_by_role("region", name="Processes").wait_for()
    heights = "element => [element.clientHeight, element.scrollHeight]"
    for part in (".head", ".findings"):
        box, content = page.locator(part).evaluate(heights)
        assert box >= content > 0, part
    name = page.get_by_role("cell", name="all workers").first
    assert name.evaluate("cell => cell.clientHeight") < 40
    choice = page.get_by_label("Theme")
    choice.select_option("system")
    room = "s => { const c = document.createElement('canvas').getContext('2d'); c.font = getComputedStyle(s).font; return s.clientWidth - c.measureText('System').width }"
    assert choice.evaluate(room) >= 36  # padding and the arrow

    page.goto(f"{once.url}/workers?filter=once")
    assert page.get_by_role("link", name="1 (100 %)").evaluate("link => link.getClientRects().length") == 1
    p95 = page.locator("tbody td").nth(4)
    expect(p95).to_contain_text("s")
    lines = "cell => { const range = document.createRange(); range.selectNodeContents(cell); return new Set([...range.getClientRects()].map((r) => r.top)).size }"
    assert p95.evaluate(lines) == 1

    first = once.wait_for_logs("worker:once kind:invocation")[0]
    page.goto(f"{once.url}/invocations/{first['invocationId']}")
    page.locator(".wf-axis").last.wait_for()
    assert page.locator(".wf-axis").count() == 2  # of the run, and of what came after it
    for axis in page.locator(".wf-axis").all():
        boxes: list[Any] = [label.bounding_box() for label in axis.locator(".wf-lane span").all() if label.is_visible()]
        assert len(boxes) >= 3
        assert all(left["x"] + left["width"] <= right["x"] for left, right in itertools.pairwise(boxes))


def test_small_screen_goes_to_the_result(open_page: Callable[..., Page]) -> None:
    """Where the result stands below the code, Run brings it into view, from its top to its lines."""
    page = open_page("/playground", width=360, height=640)
    page.get_by_role("button", name="Run").click()
    outcome = page.locator(".result-head .outcome")
    expect(outcome).to_have_text("ok")
    expect(outcome).to_be_in_viewport()
    expect(page.locator(".lines li").first).to_be_in_viewport()
