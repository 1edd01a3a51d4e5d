"""The playground: run code, see what it did, deploy it, share it."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

from tests.ui.expecting import expect
from tests.ui.site import Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

EXAMPLES = {
    "logging": ("ok", "checkout"),
    "live": ("ok", "step 5 of 5"),
    "errors": ("exception", "looking for coffee"),
    "subrequests": ("ok", "http://127.0.0.1:1/"),
    "wait-until": ("ok", "audit"),
    "env": ("ok", "greeting in fr"),
    "limits": ("exceededCpu", "this line survives"),
    "spans": ("ok", "loaded"),
    "request": ("ok", "order by u-42"),
    "wasm": ("ok", "hello from WebAssembly"),
}


def type_code(page: Page, text: str) -> None:
    """Put text into the editor in place of what is there."""
    editor = page.locator(".cm-content")
    editor.click()
    page.keyboard.press("Control+a")
    page.keyboard.press("Delete")
    page.keyboard.insert_text(text)


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_runs_and_shows_what_it_teaches(open_page: Callable[..., Page], example: str) -> None:
    """Each example ends as it should, and its lines are there."""
    outcome, line = EXAMPLES[example]
    page = open_page(f"/playground?example={example}")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".result-head .outcome")).to_have_text(outcome)
    expect(page.locator(".logs-panel")).to_contain_text(line)


def test_the_list_offers_every_example(open_page: Callable[..., Page]) -> None:
    """The examples that the tests run are all that the page has."""
    page = open_page("/")
    page.get_by_label("Example").wait_for()
    values = page.locator("select[aria-label=Example] option").evaluate_all("options => options.map(o => o.value).filter(v => v)")
    assert values == list(EXAMPLES)


def test_lines_appear_while_the_code_runs(open_page: Callable[..., Page]) -> None:
    """The first line of a run of seconds is seen before the run ends."""
    page = open_page("/playground?example=live")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".lines")).to_contain_text("step 1 of 5")
    assert page.locator(".result-head .outcome").inner_text().startswith("running")
    expect(page.locator(".lines li")).to_have_count(5)
    expect(page.locator(".result-head .outcome")).to_have_text("ok")


def test_two_pages_with_the_same_code_never_mix(open_page: Callable[..., Page]) -> None:
    """Two tabs that run the same code at once each show their own lines."""
    code = "export default { async fetch(r) { for (let i = 0; i < 3; i++) { console.log(new URL(r.url).pathname, i); await scheduler.wait(200); } return new Response('x') } }"
    pages = [open_page("/playground") for _ in range(2)]
    for n, page in enumerate(pages):
        # As when a tab is duplicated: even the session is the same.
        page.evaluate("sessionStorage.setItem('otelbridge-playground', 'playground-same')")
        type_code(page, code)
        page.get_by_label("Path and query").fill(f"/tab{n}")
    for page in pages:
        page.get_by_role("button", name="Run").click()
    for n, page in enumerate(pages):
        expect(page.locator(".result-head .outcome")).to_have_text("ok")
        lines = page.locator(".lines pre").all_inner_texts()
        assert lines == [f"/tab{n} {i}" for i in range(3)]


def test_position_in_a_stack_leads_to_the_line(open_page: Callable[..., Page]) -> None:
    """A click on a position opens the file and marks the line that threw."""
    page = open_page("/playground?example=errors")
    page.get_by_role("button", name="Run").click()
    page.locator(".thrown .link").first.click()
    expect(page.get_by_role("tab", name="prices.js")).to_have_attribute("aria-selected", "true")
    expect(page.locator(".cm-here")).to_contain_text("there is no coffee")


def test_response_shows_headers_body_and_timing(open_page: Callable[..., Page]) -> None:
    """Status, headers, body, where the time went, CPU and memory are all there; the second run is warm."""
    page = open_page("/playground?example=request")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".result-head b")).to_have_text("201")
    expect(page.locator(".response .body")).to_contain_text('"total": 10.9')
    page.get_by_role("tab", name="Headers").click()
    expect(page.locator(".response")).to_contain_text("x-total")
    facts = page.locator(".play-right .facts")
    expect(facts).to_contain_text("cold")
    expect(facts).to_contain_text(re.compile(r"CPU\s*[\d.]+ (µs|ms)"))
    expect(facts).to_contain_text("KiB")
    expect(page.locator(".timing")).to_contain_text("Compile")
    page.get_by_role("button", name="Run").click()
    expect(facts).to_contain_text("warm")


def test_work_after_the_response_is_shown_too(open_page: Callable[..., Page]) -> None:
    """The response is there while waitUntil goes on; its line follows, and then the outcome."""
    page = open_page("/playground?example=wait-until")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".result-head")).to_contain_text("still at work")
    expect(page.locator(".lines")).to_contain_text('"written":true')
    expect(page.locator(".result-head .outcome")).to_have_text("ok")
    expect(page.locator(".play-right .facts")).to_contain_text("CPU")


def test_link_carries_the_program(open_page: Callable[..., Page]) -> None:
    """An address opened elsewhere holds files, settings and request."""
    page = open_page("/playground")
    type_code(page, "export default { fetch: (r, env) => new Response(env.WORD + r.method) }")
    page.get_by_role("tab", name="worker.json").click()
    type_code(page, '{"env": {"WORD": "shared "}}')
    page.get_by_label("Method").select_option("PUT")
    page.wait_for_url("**/playground#*")
    page.wait_for_timeout(600)
    other = open_page("/playground" + page.evaluate("location.hash"))
    other.get_by_role("button", name="Run").click()
    expect(other.locator(".response .body")).to_have_text("shared PUT")


def test_deployed_code_answers(open_page: Callable[..., Page], site: Site) -> None:
    """Deploy gives the code an id, at which it answers; its page and logs are one click away."""
    page = open_page("/playground")
    type_code(page, "export default { fetch: () => new Response('deployed from the page') }")
    page.get_by_role("button", name="Deploy…").click()
    page.get_by_label("Worker id").fill("from page")
    page.get_by_role("button", name="Deploy", exact=True).click()
    expect(page.locator("dialog")).to_contain_text("is deployed")
    assert site.ask("GET", "/w/from%20page/") == (200, "deployed from the page")
    page.get_by_role("link", name="Show the worker").click()
    page.wait_for_url("**/workers/from%20page")


def test_code_that_does_not_load_is_explained(open_page: Callable[..., Page]) -> None:
    """A syntax error is shown where the result would be, and in the deploy dialog, with its place."""
    page = open_page("/playground")
    type_code(page, "export default { fetch( { }")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".play-right")).to_contain_text("SyntaxError")
    page.get_by_role("button", name="Deploy…").click()
    page.get_by_label("Worker id").fill("broken")
    page.keyboard.press("Enter")
    expect(page.locator("dialog [role=alert]")).to_contain_text("SyntaxError")


def test_wrong_settings_are_explained(open_page: Callable[..., Page]) -> None:
    """worker.json that is not JSON, or has members nobody knows, is told so and nothing runs."""
    page = open_page("/playground")
    page.get_by_role("tab", name="worker.json").click()
    type_code(page, "{ nonsense")
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".play-right [role=alert]")).to_contain_text("worker.json is not JSON")
    type_code(page, '{"enviroment": {}}')
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".play-right [role=alert]")).to_contain_text("enviroment")


def test_any_example_follows_any_other(open_page: Callable[..., Page]) -> None:
    """However many examples are picked after one another, each brings its own code and description, and the list stays whole."""
    page = open_page("/playground")
    select = page.get_by_label("Example")
    select.wait_for()
    names = select.locator("option[value]:not([value=''])").all_inner_texts()
    teaches = set()
    before = ""
    for name in [*names, *names[-2::-1], names[1], names[0], names[2]]:
        select.select_option(label=name)
        expect(page).to_have_url(re.compile(r"example="))
        expect(select.locator("option:checked")).to_have_text(name)
        expect(select.locator("option")).to_have_count(len(names))
        expect(page.locator(".teaches")).not_to_have_text(before)
        before = page.locator(".teaches").inner_text()
        teaches.add((name, before))
    assert len(teaches) == len(names) == len({text for _, text in teaches})
    select.select_option("errors")
    expect(page.get_by_role("tab", name="prices.js")).to_be_visible()
