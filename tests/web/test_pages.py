"""The pages as files over HTTP: addresses, caching, and what keeps foreign scripts out. What they do: tests/ui."""

from __future__ import annotations

import gzip
import re
from typing import Any

import pytest

from otelbridge.web.pages import PAGES

ADDRESSES = [route.path.replace("{invocationId}", "0af7").replace("{workerId}", "a%20b") for route in PAGES if route.path != "/ui/{file}"]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_every_address_gives_the_same_page(running: Any, address: str) -> None:
    """Each address answers with index.html, whatever its query says, and is asked for again each time."""
    status, headers, body = await running.ask("GET", f"{address}?q=level:error&anything=1")
    assert status == 200
    assert headers["content-type"] == "text/html; charset=utf-8"
    assert headers["cache-control"] == "no-cache"
    assert '<div id="app">' in body
    assert not re.search(r"<script(?![^>]*\ssrc=)|<style|\son\w+=|https?://", body)


async def test_files_are_kept_for_ever_and_packed(running: Any) -> None:
    """What index.html loads has a hash in its name, a long cache, its own content type, and comes with gzip."""
    _, _, index = await running.ask("GET", "/")
    names = re.findall(r'"(/ui/[^"]+)"', index)
    kinds = {"css": "text/css; charset=utf-8", "js": "text/javascript; charset=utf-8", "svg": "image/svg+xml"}
    assert {name.rpartition(".")[2] for name in names} == set(kinds)
    for name in names:
        status, headers, body = await running.ask("GET", name, headers={"accept-encoding": "identity"})
        assert status == 200
        assert headers["content-type"] == kinds[name.rpartition(".")[2]]
        assert headers["cache-control"] == "public, max-age=31536000, immutable"
        async with running.session.get(running.url + name, headers={"accept-encoding": "gzip"}, auto_decompress=False) as answer:
            assert answer.headers["content-encoding"] == "gzip"
            assert gzip.decompress(await answer.read()).decode() == body


async def test_policy_allows_our_own_files_only(running: Any) -> None:
    """Every answer of the pages forbids foreign and inline scripts, frames around it, guessing types and telling the referrer."""
    _, _, index = await running.ask("GET", "/")
    for path in ("/", *re.findall(r'"(/ui/[^"]+)"', index)):
        _, headers, _ = await running.ask("GET", path)
        policy = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
        assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


async def test_unchanged_page_is_not_sent_again(running: Any) -> None:
    """A page that the browser still has is answered with 304 and no body."""
    _, headers, _ = await running.ask("GET", "/")
    status, _, body = await running.ask("GET", "/", headers={"if-none-match": headers["etag"]})
    assert (status, body) == (304, "")


@pytest.mark.parametrize("path", ["/ui/other.js", "/ui/..%2f..%2fpyproject.toml", "/ui/", "/nothing"])
async def test_other_files_are_not_found(running: Any, path: str) -> None:
    """Only files of the pages are served, whatever the path says."""
    status, _, body = await running.ask("GET", path)
    assert status == 404
    assert body["type"] == "urn:otelbridge:problem:not-found"


async def test_pages_need_no_token(serve: Any) -> None:
    """With auth.token set the pages load, so that they can ask for it; the API below them stays closed."""
    service = await serve(auth__token="secret")
    assert (await service.ask("GET", "/logs"))[0] == 200
    assert (await service.ask("GET", "/v1/logs"))[0] == 401
