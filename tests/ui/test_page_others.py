"""Invocations and their waterfall, workers, queries, health: each page's main path."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ui.expecting import expect
from tests.ui.site import Collector, Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

TEA = """import { tracing } from 'cloudflare:workers';
export default { async fetch(request) {
  const { pathname } = new URL(request.url);
  await tracing.enterSpan('steep', async (span) => { span.setAttribute('minutes', 3); await scheduler.wait(20); console.log('steeped'); });
  try { await fetch('http://127.0.0.1:1/milk'); } catch (error) { console.warn(error.message); }
  if (pathname === '/spill') throw new Error('spilled');
  return new Response('tea', { status: pathname === '/none' ? 404 : 200 });
} }"""


@pytest.fixture(scope="session", name="tea")
def make_tea(site: Site) -> Site:
    """A worker with spans and subrequests that was called five times, twice in vain."""
    site.put("tea", TEA, tags={"team": "kitchen"})
    for path in ("one", "two", "none", "spill", "spill"):
        site.ask("GET", f"/w/tea/{path}", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    site.wait_for_logs("worker:tea kind:invocation", 5)
    return site


def test_list_of_invocations_narrows_and_opens(open_page: Callable[..., Page], tea: Site) -> None:
    """Outcome, duration, CPU and start are listed; an outcome narrows the list; Enter opens a row."""
    page = open_page("/invocations?q=worker:tea")
    expect(page.locator("tbody tr")).to_have_count(5)
    expect(page.locator("tbody")).to_contain_text("cold")
    page.get_by_label("Add an outcome").select_option("exception")
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("h1").click()
    page.keyboard.press("j")
    page.keyboard.press("Enter")
    page.wait_for_url(re.compile(r"/invocations/[0-9a-f]{32}$"))
    expect(page.locator("h1")).to_have_text("GET /spill")


def test_waterfall_shows_all_parts_and_the_logs_among_them(open_page: Callable[..., Page], tea: Site) -> None:
    """Load, run, spans and subrequests are bars in their places; lines are on the axis and lead to their text."""
    first = tea.wait_for_logs("worker:tea kind:invocation path:/one")[0]
    page = open_page(f"/invocations/{first['invocationId']}")
    page.locator(".waterfall li").first.wait_for()
    names = page.get_by_role("list", name="Parts of the invocation").locator(".wf-name").all_inner_texts()
    assert names == ["invocation", "load and start", "run", "steep", "GET http://127.0.0.1:1/milk"]
    expect(page.locator(".wf-bar.subrequest")).to_have_class(re.compile("failed"))
    expect(page.locator(".waterfall")).to_contain_text("minutes=3")
    boxes: list[Any] = [bar.bounding_box() for bar in page.locator(".wf-bar").all()]
    run, steep, milk = boxes[2], boxes[3], boxes[4]
    assert run["x"] <= steep["x"] + 1
    assert steep["x"] + steep["width"] <= milk["x"] + 2
    page.locator(".wf-tick.warn").click()
    expect(page.locator(".lines .picked")).to_contain_text("refused" if "refused" in page.locator(".lines").inner_text() else "127.0.0.1")


def test_waterfall_goes_on_after_the_end(open_page: Callable[..., Page], own_site: Callable[..., Site]) -> None:
    """Tail, store and each export are bars after the end: a collector that is down is named while records wait for it, then they
    are delivered without a reload; what a restart forgot is said to be no longer known."""
    with Collector() as collector:
        one = own_site(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BLRP_SCHEDULE_DELAY="100", OTEL_BSP_SCHEDULE_DELAY="100")
        one.put("demo", "export default { fetch() { console.log('x'); console.log('y'); return new Response('x') } }")
        collector.status = 503
        one.ask("GET", "/w/demo/")
        address = f"/invocations/{one.wait_for_logs('worker:demo kind:invocation path:/')[0]['invocationId']}"
        page = open_page(address, of=one)
        after = page.get_by_role("region", name="after its end")
        rows = after.get_by_role("listitem")
        expect(rows.filter(has_text="export: logs → otlp")).to_contain_text(re.compile("queued .*the destination says: .*503"))
        names = ["tail", "store", "export: logs → otlp", "export: spans → otlp"]
        assert after.locator(".wf-name").all_inner_texts() == names
        expect(rows.first).to_contain_text("its record is in the spool")
        expect(after.locator(".wf-bar.export.open")).to_have_count(2)
        collector.status = 200
        expect(rows.filter(has_text="logs → otlp")).to_contain_text("delivered 2 log records", timeout=30_000)
        expect(rows.filter(has_text="spans → otlp")).to_contain_text("delivered", timeout=30_000)
        expect(after.locator(".open")).to_have_count(0)
        boxes: list[Any] = [bar.bounding_box() for bar in after.locator(".wf-bar").all()]
        tail, store, logs, _ = boxes
        assert tail["x"] <= store["x"] <= logs["x"] + 1
        assert logs["width"] > 2 * tail["width"]
        one.close()
        one.start()
        page = open_page(address, of=one)
        rows = page.get_by_role("region", name="after its end").get_by_role("listitem")
        expect(rows.filter(has_text="export: logs")).to_contain_text("no longer known")
        expect(rows.filter(has_text="store")).to_contain_text("no longer known")
        expect(rows.first).to_contain_text("its record is in the spool")


# Contrast (WCAG) of each text with the bar that it may lie on; axe can't tell what lies below what.
CONTRASTS = """() => {
  const context = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const light = (...layers) => {
    context.clearRect(0, 0, 1, 1);
    for (const [colour, alpha] of layers) { context.globalAlpha = alpha; context.fillStyle = colour; context.fillRect(0, 0, 1, 1); }
    const [r, g, b] = [...context.getImageData(0, 0, 1, 1).data].map((n) => (n / 255 <= 0.04045 ? n / 255 / 12.92 : ((n / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const panel = getComputedStyle(document.querySelector('.panel')).backgroundColor;
  return [...document.querySelectorAll('.waterfall .wf-bar')].flatMap((bar) => {
    const { backgroundColor, opacity } = getComputedStyle(bar);
    const below = light([panel, 1], [backgroundColor, Number(opacity)]);
    return [...document.querySelectorAll('.wf-time, .wf-time i')].map((text) => {
      const own = light([getComputedStyle(text).color, 1]);
      return (Math.max(own, below) + 0.05) / (Math.min(own, below) + 0.05);
    });
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_on_bars_can_be_read(open_page: Callable[..., Page], tea: Site, scheme: str) -> None:
    """Durations and notes have a contrast of 4.5 at least with each kind of bar, failed ones too."""
    first = tea.wait_for_logs("worker:tea kind:invocation path:/spill")[0]
    page = open_page(f"/invocations/{first['invocationId']}", color_scheme=scheme)
    page.locator(".wf-after li").last.wait_for()
    found = page.evaluate(CONTRASTS)
    assert len(found) > 50
    assert min(found) >= 4.5


def test_waterfall_says_when_nothing_is_exported(open_page: Callable[..., Page], tea: Site) -> None:
    """Without a destination the line of the export says so, in place of a bar."""
    first = tea.wait_for_logs("worker:tea kind:invocation path:/one")[0]
    page = open_page(f"/invocations/{first['invocationId']}")
    after = page.get_by_role("region", name="after its end")
    expect(after.get_by_role("listitem").last).to_contain_text("no destination is set")
    expect(after.locator(".wf-bar")).to_have_count(2)


def test_invocations_of_one_trace_stand_together(open_page: Callable[..., Page], tea: Site) -> None:
    """Traces are listed with their sums; a trace leads to its invocations, and each of them shows the others."""
    page = open_page("/invocations?view=traces&q=worker:tea")
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row.locator("td").nth(3)).to_have_text("5")
    row.locator("a").click()
    expect(page.locator("tbody tr")).to_have_count(5)
    page.locator("tbody a").first.click()
    expect(page.get_by_role("region", name="Trace").locator("tbody tr")).to_have_count(5)


def test_list_turns_into_traces_and_back(open_page: Callable[..., Page], tea: Site) -> None:
    """A change of the view shows nothing of the other view meanwhile, and then the rows of its own."""
    page = open_page("/invocations?q=worker:tea")
    expect(page.locator("tbody tr")).to_have_count(5)
    page.get_by_role("tab", name="Traces").click()
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("thead")).to_contain_text("First event")
    page.get_by_role("tab", name="Invocations").click()
    expect(page.locator("tbody tr")).to_have_count(5)
    expect(page.locator("thead")).to_contain_text("Outcome")


def test_workers_are_listed_with_their_rates(open_page: Callable[..., Page], tea: Site) -> None:
    """Invocations, errors, p95, last use and a line of bars stand at each worker; the filter finds one."""
    page = open_page("/workers")
    page.locator("tbody tr").first.wait_for()
    page.keyboard.press("/")
    page.keyboard.type("TEA")
    row = page.locator("tbody tr")
    expect(row).to_have_count(1)
    expect(row).to_contain_text("team: kitchen")
    expect(row.locator("td").nth(2)).to_have_text("5")
    expect(row.locator("td").nth(3)).to_have_text("2 (40.0 %)")
    expect(row.locator(".sparkline .bad")).not_to_have_count(0)
    row.get_by_role("link", name="tea", exact=True).click()
    page.wait_for_url("**/workers/tea")


def test_worker_shows_code_limits_versions_and_what_it_did(open_page: Callable[..., Page], tea: Site) -> None:
    """One page has the worker's figures, chart, invocations, lines, code and versions; Edit opens its code."""
    page = open_page("/workers/tea")
    expect(page.locator(".facts")).to_contain_text("Invocations5")
    expect(page.get_by_role("region", name="Latest logs")).to_contain_text("steeped")
    expect(page.get_by_role("region", name="Last hour").locator("canvas")).to_have_count(2)
    expect(page.locator(".code-box .cm-content")).to_contain_text("enterSpan")
    expect(page.get_by_role("region", name="Versions")).to_contain_text("in force")
    page.get_by_role("link", name="Edit").click()
    expect(page.locator(".cm-content")).to_contain_text("enterSpan")


def test_worker_is_deleted_only_when_confirmed(open_page: Callable[..., Page], site: Site) -> None:
    """Delete asks first: no keeps the worker, yes removes it."""
    site.put("short-lived", "export default { fetch: () => new Response('here') }")
    page = open_page("/workers/short-lived")
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Keep it").click()
    assert site.ask("GET", "/v1/workers/short-lived")[0] == 200
    page.get_by_role("button", name="Delete…").click()
    page.get_by_role("button", name="Delete short-lived").click()
    page.wait_for_url("**/workers")
    assert site.ask("GET", "/v1/workers/short-lived")[0] == 404


def test_query_counts_groups_and_leads_to_the_records(open_page: Callable[..., Page], tea: Site) -> None:
    """A question is put together in the form, answered as table and chart, kept in the address, and leads to its records."""
    page = open_page("/query?q=worker:tea kind:invocation")
    page.get_by_role("button", name="+ group").click()
    page.get_by_label("Group 1").fill("outcome")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="+ calculation").click()
    rows = page.locator(".query-result tbody tr")
    expect(rows).to_have_count(2)
    expect(rows.first).to_contain_text("ok")
    expect(rows.first.locator("td").nth(1)).to_have_text("3")
    expect(page.locator(".query-result thead")).to_contain_text("p95(wallMs)")
    expect(page.locator(".query-result canvas")).to_be_visible()
    page.get_by_role("button", name="+ filter").click()
    page.get_by_label("Field of filter 1").fill("status")
    page.keyboard.press("Enter")
    page.get_by_label("Value of filter 1").fill("404")
    page.keyboard.press("Enter")
    expect(rows).to_have_count(1)
    other = open_page(page.url.removeprefix(tea.url))
    expect(other.locator(".query-result tbody tr")).to_have_count(1)
    page.get_by_role("link", name="Records").click()
    expect(page.locator(".row").first).to_be_visible()


def test_query_compares_with_the_period_before(open_page: Callable[..., Page], tea: Site) -> None:
    """With compare, the table has the figure of the period before and the chart a dashed line."""
    page = open_page("/query?q=worker:tea kind:invocation")
    page.get_by_role("button", name="compare with before").click()
    expect(page.locator(".query-result thead")).to_contain_text("before")
    expect(page.locator(".query-result figcaption")).to_contain_text("count, before")
    page.get_by_role("tab", name="Bars").click()
    expect(page.locator(".query-result canvas")).to_be_visible()
    page.get_by_role("tab", name="Table").click()
    expect(page.locator(".query-result canvas")).to_have_count(0)


def test_saved_query_is_there_again(open_page: Callable[..., Page], tea: Site) -> None:
    """A question saved under a name is asked again at a click, and forgotten at another."""
    page = open_page("/query?q=worker:tea&by=level")
    page.get_by_label("Name for this query").fill("levels of tea")
    page.get_by_role("button", name="Save").click()
    page.goto(f"{tea.url}/query")
    page.get_by_role("link", name="levels of tea").click()
    expect(page.get_by_role("combobox", name="Query")).to_have_value("worker:tea")
    page.get_by_label("Forget levels of tea").click()
    expect(page.get_by_role("link", name="levels of tea")).to_have_count(0)


def test_health_says_what_is_wrong_and_what_to_do(open_page: Callable[..., Page], own_site: Callable[..., Site]) -> None:
    """A collector that goes away is named with advice while records wait, and all is well again when they have arrived."""
    with Collector() as collector:
        one = own_site(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BLRP_SCHEDULE_DELAY="100")
        one.put("demo", "export default { fetch() { console.log('x'); return new Response('x') } }")
        collector.status = 503
        one.ask("GET", "/w/demo/")
        page = open_page("/health", of=one)
        expect(page.locator(".findings .bad")).to_contain_text("does not take telemetry")
        expect(page.locator(".findings .bad")).to_contain_text("Nothing is lost")
        collector.status = 200
        expect(page.locator(".findings")).to_contain_text("All is well", timeout=30_000)
        ledger = page.get_by_role("region", name="Loss ledger")
        expect(ledger).to_contain_text("demo")
        assert one.ask("GET", "/v1/exports")[1]["total"]["logs"]["queued"] == 0
        expect(page.get_by_role("region", name="Processes")).to_contain_text("running")


def test_health_tells_what_a_kill_tore(open_page: Callable[..., Page], own_site: Callable[..., Site], tmp_path: Path) -> None:
    """Bytes of a spool that can't be read are told in words, with the spool's name, and stand apart from the ledger's equation."""
    one = own_site()
    one.put("demo", "export default { fetch() { console.log('x'); return new Response('x') } }")
    one.ask("GET", "/w/demo/")
    one.wait_for_logs("worker:demo kind:log")
    page = open_page("/health", of=one, width=360, height=640, color_scheme="dark")
    expect(page.locator(".findings")).to_contain_text("All is well")
    ledger = page.get_by_role("region", name="Loss ledger")
    expect(ledger).to_contain_text("all workers")
    expect(ledger).not_to_contain_text("can't be read")
    one.close(kill=True)
    with max(tmp_path.glob("site0/data/spool/main/*.seg")).open("ab") as segment:
        segment.write(b"\x07" * 66)
    one.start()
    expect(page.locator(".findings .warn")).to_contain_text("66 B of the spool main can't be read.", timeout=30_000)
    expect(ledger).to_contain_text("66 B of the spool main that can't be read")
    assert page.evaluate("document.querySelector('main').scrollWidth") <= 360
