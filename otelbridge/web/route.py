"""Routes: what one is, how a request finds its own, and what a handler gets."""

from __future__ import annotations

import difflib
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, Protocol, TypeVar
from urllib.parse import parse_qsl, unquote_to_bytes

import msgspec
from aiohttp import web

from otelbridge.model.readable import readable
from otelbridge.web.body import read_body
from otelbridge.web.problem import Problem, bad_request, invalid, not_found
from otelbridge.web.reply import Reply

if TYPE_CHECKING:
    from otelbridge.planes.control import ControlPlane
    from otelbridge.planes.data import DataPlane
    from otelbridge.settings import Settings

__all__ = ["CLIENT_HEADER", "Call", "Parameter", "Planes", "Route", "Router"]

T = TypeVar("T")

# Believed on Unix sockets alone, which only processes of the service reach.
CLIENT_HEADER: Final = "otelbridge-client-ip"


class Parameter(msgspec.Struct, frozen=True):
    """A query parameter. `kind` is a type msgspec can check; with `repeat` the handler gets a list."""

    name: str
    text: str
    kind: Any = str
    repeat: bool = False
    required: bool = False


class Planes(Protocol):
    """What a service is over: the Bridge with both planes, or the one that this process has."""

    settings: Settings

    @property
    def data(self) -> DataPlane | None: ...
    @property
    def control(self) -> ControlPlane | None: ...
    def stopping(self) -> None: ...


class Call(msgspec.Struct):
    """One request to a route of ours: decoded path parameters, checked query, and the planes.

    A handler uses only the plane that its route names: the other one may live in another process.
    """

    request: web.BaseRequest
    planes: Planes
    params: dict[str, str]
    query: dict[str, Any]

    @property
    def data(self) -> DataPlane:
        """Runs workers."""
        assert self.planes.data is not None
        return self.planes.data

    @property
    def control(self) -> ControlPlane:
        """Knows what they left behind."""
        assert self.planes.control is not None
        return self.planes.control

    @property
    def client_ip(self) -> str:
        """Address of the client; "" when that is not known. The loader that passed a request on says whose it was."""
        peer = self.request.protocol.peername
        return peer[0] if peer else self.request.headers.get(CLIENT_HEADER, "")

    async def body(self, at_least: int = 0) -> bytes:
        """The whole body. Problem 413 when it is larger than server.max_body_bytes, and than `at_least`."""
        return await read_body(self.request, max(self.planes.settings.server.max_body_bytes, at_least)) or b""


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table. `body` and `result` are the types of JSON bodies; what else goes in or out is in `text`.

    `plane`: which one answers. "data" needs the sandbox; everything else is the control plane's.
    `query` None: whatever the query says, it is not for the server.
    """

    method: str
    path: str
    handler: Callable[[Call], Awaitable[Reply]]
    summary: str
    text: str = ""
    query: tuple[Parameter, ...] | None = ()
    body: Any = None
    result: Any = None
    media_type: str = "application/json"
    streams: bool = False  # also server-sent events, when the client asks for them
    status: int = 200
    errors: tuple[int, ...] = ()
    plane: Literal["data", "control"] = "control"

    @property
    def name(self) -> str:
        """The handler's name in camel case: the operationId."""
        first, *rest = self.handler.__name__.split("_")
        return first + "".join(word.capitalize() for word in rest)


class Router:
    """Finds the route of a path. Paths are split before they are decoded: an encoded slash stays inside its segment."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._by_length: dict[int, list[tuple[list[str], Route]]] = {}
        for route in routes:
            segments = route.path.split("/")[1:]
            self._by_length.setdefault(len(segments), []).append((segments, route))

    def find(self, method: str, raw_path: str) -> tuple[Route, dict[str, str]]:
        """The route and the decoded path parameters. Problem 404 or 405."""
        segments = raw_path.split("/")[1:]
        allowed: list[str] = []
        for pattern, route in self._by_length.get(len(segments), ()):
            if not all(p.startswith("{") or p == s for p, s in zip(pattern, segments, strict=True)):
                continue
            if route.method == method or (method == "HEAD" and route.method == "GET"):
                return route, {p[1:-1]: decoded(s) for p, s in zip(pattern, segments, strict=True) if p.startswith("{")}
            allowed.append(route.method)
        if allowed:
            allow = ", ".join(sorted(set(allowed) | ({"HEAD"} if "GET" in allowed else set())))
            detail = f"This path takes {allow}, not {method}."
            raise Problem(405, "method-not-allowed", "Method not allowed", detail, headers=[("allow", allow)])
        raise not_found("There is nothing at this path; GET /openapi.json lists what there is.")


def decoded(segment: str) -> str:
    """A path segment, percent-decoded. Problem 400 when that is not UTF-8."""
    try:
        return unquote_to_bytes(segment).decode() if "%" in segment else segment
    except UnicodeDecodeError:
        raise bad_request("The path is not UTF-8 after percent-decoding.") from None


def checked_query(text: str, known: Mapping[str, Parameter]) -> dict[str, Any]:
    """The query's parameters, checked. Problem 400 names the parameter that is unknown, repeated or unusable."""
    out: dict[str, Any] = {}
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=200)
    except ValueError:
        raise bad_request("The query is not UTF-8 after percent-decoding, or has more than 200 parameters.") from None
    for name, value in pairs:
        parameter = known.get(name)
        if parameter is None:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" Did you mean {close[0]}?" if close else f" Known are: {', '.join(known)}." if known else ""
            raise bad_request(f"Unknown query parameter {name!r:.100}.{hint}")
        try:
            checked = msgspec.convert(value, parameter.kind, strict=False)
        except msgspec.ValidationError as e:
            raise bad_request(f"The query parameter {name} can't be {value!r:.100}: {e}.") from None
        if parameter.repeat:
            out.setdefault(name, []).append(checked)
        elif name in out:
            raise bad_request(f"The query parameter {name} is given more than once.")
        else:
            out[name] = checked
    for parameter in known.values():
        if parameter.required and parameter.name not in out:
            raise bad_request(f"The query parameter {parameter.name} is missing.")
    return out


def decode(body: bytes, kind: type[T]) -> T:
    """JSON as `kind`. Problem 400 when it is not JSON, 422 with the member's name when it is not `kind`."""
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as e:
        raise invalid(readable(e, kind)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise bad_request(f"The body is not JSON: {e}", "invalid-json", "Invalid JSON") from None
