"""The pages for people: index.html at each of their addresses, and the files it loads. Built by ui/build.py.

No script of another place runs in them, whatever a worker says: the policy below allows our own files and nothing else.
"""

from __future__ import annotations

import functools
import gzip
import hashlib
from importlib import resources
from typing import Final

import msgspec
from aiohttp import web

from otelbridge.web.problem import Problem, not_found
from otelbridge.web.reply import Header, Reply
from otelbridge.web.route import Call, Route

__all__ = ["PAGES", "no_page"]

_CONTENT_TYPES: Final = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_SAFE: Final[tuple[Header, ...]] = (
    ("content-security-policy", _POLICY),
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-resource-policy", "same-origin"),
)
# Their names hold a hash of their content: a file never changes.
_FOR_EVER: Final = ("cache-control", "public, max-age=31536000, immutable")


class _File(msgspec.Struct, frozen=True):
    content_type: str
    data: bytes
    packed: bytes  # with gzip
    etag: str


async def get_page(call: Call) -> Reply:
    """index.html, which finds out from the address what to show."""
    file = _files().get("index.html")
    if file is None:
        detail = "This installation was made without the pages: `make ui` builds them. The API at /v1 is complete; GET /openapi.json describes it."
        raise Problem(404, "no-pages", "No pages", detail)
    return _reply(call, file, ("cache-control", "no-cache"))


def no_page(request: web.BaseRequest) -> Reply | None:
    """For a browser at an address where nothing is: the pages, which say so, with status 404. None when they were not built, or
    the client does not ask for a page."""
    file = _files().get("index.html")
    if file is None or request.method not in ("GET", "HEAD") or "text/html" not in request.headers.get("accept", ""):
        return None
    headers = [*_SAFE, ("cache-control", "no-store"), ("vary", "accept"), ("content-type", file.content_type)]
    return Reply(404, headers, file.data)


async def get_file(call: Call) -> Reply:
    """A script, style sheet or picture of the pages."""
    file = _files().get(call.params["file"])
    if file is None:
        raise not_found("The pages have no such file; reload the page if it was open during an upgrade.")
    return _reply(call, file, _FOR_EVER)


def _reply(call: Call, file: _File, caching: Header) -> Reply:
    headers = [*_SAFE, caching, ("etag", file.etag), ("vary", "accept-encoding")]
    if call.request.headers.get("if-none-match") == file.etag:
        return Reply(304, headers)
    headers.append(("content-type", file.content_type))
    if "gzip" in call.request.headers.get("accept-encoding", ""):
        return Reply(200, [*headers, ("content-encoding", "gzip")], file.packed)
    return Reply(200, headers, file.data)


@functools.cache
def _files() -> dict[str, _File]:
    """All files by name, read and packed once: they are less than a megabyte. Empty when the pages were not built."""
    folder = resources.files("otelbridge") / "ui"
    found = [f for f in folder.iterdir() if f.name.rpartition(".")[2] in _CONTENT_TYPES] if folder.is_dir() else []
    return {f.name: _file(f.name, f.read_bytes()) for f in found}


def _file(name: str, data: bytes) -> _File:
    etag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
    return _File(_CONTENT_TYPES[name.rpartition(".")[2]], data, gzip.compress(data, mtime=0), etag)


PAGES: Final = (
    *(
        Route(method="GET", path=path, handler=get_page, summary="Show a page", query=None, media_type="text/html")
        for path in (
            "/",
            "/playground",
            "/logs",
            "/invocations",
            "/invocations/{invocationId}",
            "/workers",
            "/workers/{workerId}",
            "/query",
            "/health",
        )
    ),
    Route(method="GET", path="/ui/{file}", handler=get_file, summary="Load a file of the pages", media_type="*/*"),
)
