"""Pictures of each page from real data. `make pictures` puts them into docs/pictures; in a test run they only have to work out."""

from __future__ import annotations

import os
import random
import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.ui.expecting import expect
from tests.ui.png import smaller
from tests.ui.site import Collector, Site

if TYPE_CHECKING:
    from playwright.sync_api import Page

SHOP = """import { tracing } from 'cloudflare:workers';

export default {
  async fetch(request) {
    const { pathname, searchParams } = new URL(request.url);
    const user_id = Number(searchParams.get('user'));
    console.info({ event: 'request', user_id, path: pathname });
    if (pathname === '/checkout') await checkout(user_id, Number(searchParams.get('total')));
    if (user_id % 9 === 0) console.warn('stock is low', { item: 'tea', left: 3 });
    return Response.json({ ok: true }, { status: pathname === '/old' ? 404 : 200 });
  },
};

async function checkout(user_id, total) {
  const cart = await tracing.enterSpan('load cart', async (span) => {
    span.setAttribute('items', 3);
    await scheduler.wait(6);
    return { user_id, total };
  });
  await tracing.enterSpan('charge card', async () => {
    console.log('charging', cart);
    await scheduler.wait(14);
    if (total > 80) {
      console.error('the payment provider answered 502', { provider: 'acme', user_id });
      throw new Error('payment failed');
    }
  });
}
"""
IMAGES = "export default { async fetch(r) { await scheduler.wait(3); console.debug('resized', { width: 640, path: new URL(r.url).pathname }); return new Response('image') } }"
BILLING = "export default { fetch() { console.log({ event: 'invoice', amount: 12.5 }); for (;;) console.debug('summing up') } }"


@pytest.fixture(scope="module", name="city")
def make_city(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> Any:
    """A service with three workers and some minutes of use."""
    with Collector() as collector:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BLRP_SCHEDULE_DELAY": "200", "OTEL_BSP_SCHEDULE_DELAY": "500"}
        one = Site(tmp_path_factory.mktemp("pictures"), cache, **variables)
        use(one)
        yield one
        one.close()


def use(one: Site) -> None:
    """Deploy and call."""
    one.put("shop", SHOP, tags={"team": "store"})
    one.put("images", IMAGES, isolation="invocation")
    one.put("billing", BILLING, limits={"cpuMs": 20, "logBytes": 2_000})
    chance = random.Random(7)
    for n in range(150 if os.environ.get("TEST_PICTURES") else 12):
        path = chance.choice(["checkout", "checkout", "search", "", "old"])
        query = urllib.parse.urlencode({"user": chance.randrange(1, 60), "total": chance.randrange(5, 100)})
        one.ask("GET", f"/w/shop/{path}?{query}")
        one.ask("GET", f"/w/images/{chance.randrange(100)}.png")
        if n % 40 == 0:
            one.ask("GET", "/w/billing/")
        if os.environ.get("TEST_PICTURES"):
            time.sleep(chance.choice([0.1, 0.3, 1.5]))
    one.ask("GET", "/w/shop/checkout?user=18&total=95")
    one.wait_for_logs("worker:shop path:/checkout payment", 1)


def save(page: Page, name: str, folder: Path) -> None:
    """Write a picture of the page; one for the docs is made small, which takes some seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = page.screenshot()
    (folder / f"{name}.png").write_bytes(smaller(picture) if os.environ.get("TEST_PICTURES") else picture)


def run_example(page: Page) -> None:
    """Run the example that is shown."""
    page.get_by_role("button", name="Run").click()
    expect(page.locator(".result-head .outcome")).to_have_text("exception")
    page.locator(".thrown .link").first.click()


def open_fields(page: Page) -> None:
    """Open the fields of a line."""
    page.locator(".row.error", has_text="provider").first.click()


SHOTS: dict[str, tuple[str, Callable[[Page], None] | None]] = {
    "playground": ("/playground?example=errors", run_example),
    "logs": ("/logs?since=15m", open_fields),
    "invocations": ("/invocations?since=15m", None),
    "waterfall": ("", None),
    "workers": ("/workers", None),
    "worker": ("/workers/shop", None),
    "query": ("/query?q=kind:invocation&by=worker&calc=count&calc=p95(wallMs)&since=15m&chart=bars", None),
    "health": ("/health", None),
}


@pytest.mark.parametrize("name", SHOTS)
def test_picture(open_page: Callable[..., Page], city: Site, tmp_path: Path, name: str) -> None:
    """Each page can be shown with real data; the picture is not empty."""
    address, prepare = SHOTS[name]
    if name == "waterfall":
        address = f"/invocations/{city.wait_for_logs('worker:shop path:/checkout outcome:exception')[0]['invocationId']}"
    page = open_page(address, of=city, width=1200, height=760, color_scheme="dark" if name in ("waterfall", "worker") else "light")
    page.wait_for_timeout(900)
    if name == "waterfall":  # its records have arrived
        expect(page.locator(".wf-bar.export")).to_have_count(2)
        expect(page.locator(".wf-bar.open")).to_have_count(0)
    if prepare:
        prepare(page)
        page.wait_for_timeout(600)
    folder = Path(os.environ.get("TEST_PICTURES") or tmp_path)
    save(page, name, folder)
    assert (folder / f"{name}.png").stat().st_size > 15_000
