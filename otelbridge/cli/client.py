"""The service's HTTP API, as the client commands use it."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

from otelbridge.cli.output import fail

__all__ = ["Client"]

_TYPES = {".js": "application/javascript", ".mjs": "application/javascript", ".wasm": "application/wasm", ".json": "application/json"}


class Client:
    """One service. Errors end the command with what to do next."""

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url.rstrip("/")
        self._token = token

    def path(self, prefix: str, name: str) -> str:
        """A path with a name in it, whatever characters that has."""
        return f"{prefix}/{urllib.parse.quote(name, safe='')}"

    def get(self, path: str, **query: str) -> Any:
        """GET a JSON document."""
        return self.request("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def put_worker(self, worker_id: str, file: str) -> Any:
        """Register a worker from a file."""
        kind = _TYPES.get(Path(file).suffix)
        if kind is None:
            fail(f"{file}: a worker is a .js, .wasm or .json file", 2)
        return self.request("PUT", self.path("/v1/workers", worker_id), Path(file).read_bytes(), kind)

    def request(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None) -> Any:
        """A JSON document, or None for an empty answer."""
        with self.open(method, path, body, content_type) as answer:
            data = answer.read()
        return json.loads(data) if data else None

    def open(self, method: str, path: str, body: bytes | None = None, content_type: str | None = None, **headers: str) -> HTTPResponse:
        """An open answer."""
        if content_type:
            headers["content-type"] = content_type
        if self._token:
            headers["authorization"] = f"Bearer {self._token}"
        asked = urllib.request.Request(self._url + path, data=body, method=method, headers=headers)
        try:
            return urllib.request.urlopen(asked)  # type: ignore[no-any-return]
        except urllib.error.HTTPError as e:
            fail(_problem(e))
        except urllib.error.URLError as e:
            fail(f"{self._url} does not answer ({e.reason}): start it with `otelbridge serve`, or give --url")


def _problem(error: urllib.error.HTTPError) -> str:
    try:
        problem = json.loads(error.read())
        return f"{problem['title']}: {problem['detail']}"
    except (ValueError, KeyError, TypeError):
        return f"the service answered {error.code} {error.reason}"
