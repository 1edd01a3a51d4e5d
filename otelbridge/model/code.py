"""Worker code: what a loader is given, checked and made one form. The same checks hold for Python, HTTP and CLI."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from otelbridge.errors import WorkerCodeError
from otelbridge.model.http import Request, Response

__all__ = [
    "INHERIT",
    "MAX_CODE_BYTES",
    "MAX_ENV_BYTES",
    "Inherit",
    "Limits",
    "Module",
    "WorkerCode",
    "check_code",
    "check_worker_id",
    "lower",
    "version_of",
]

MAX_CODE_BYTES: Final = 64 << 20
MAX_ENV_BYTES: Final = 1 << 20

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_TYPES = ("js", "cjs", "text", "data", "json", "wasm")
_TYPESCRIPT = (".ts", ".tsx", ".jsx")


class Inherit:
    """Type of INHERIT: subrequests go to the bridge's own network, behind its egress policy."""

    _instance: Inherit | None = None

    def __new__(cls) -> Inherit:
        if cls._instance is None:
            cls._instance = super().__new__(cls)
        return cls._instance

    def __repr__(self) -> str:
        return "INHERIT"


INHERIT: Final = Inherit()

Outbound = Inherit | None | Callable[[Request], Awaitable[Response]]


class Limits(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """What one invocation may use. None leaves a limit to the settings' default (docs/limits.md)."""

    cpu_ms: int | None = None
    wall_ms: int | None = None
    memory_mb: int | None = None
    subrequests: int | None = msgspec.field(default=None, name="subRequests")
    log_bytes: int | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < (0 if name in ("subrequests", "log_bytes") else 1)):
                raise ValueError(f"limits.{name} must be a positive whole number, not {value!r}")


def lower(*limits: Limits | None) -> Limits:
    """The lower value of each limit, over all that are given."""
    out: dict[str, int | None] = {}
    for name in Limits.__struct_fields__:
        values = [v for one in limits if one is not None and (v := getattr(one, name)) is not None]
        out[name] = min(values) if values else None
    return Limits(**out)


class Module(msgspec.Struct, frozen=True):
    """One module: `type` is js, cjs, text, data, json or wasm; `content` its bytes (JSON text for json)."""

    type: str
    content: bytes


class WorkerCode(msgspec.Struct, frozen=True, kw_only=True):
    """What a loader is given for a worker. See design.md, Contract 1; check_code() says what is accepted."""

    main_module: str
    modules: Mapping[str, Any]
    compatibility_date: str | None = None
    compatibility_flags: Sequence[str] = ()
    env: Mapping[str, Any] = {}
    global_outbound: Any = INHERIT
    limits: Limits | None = None
    isolation: str = "reuse"
    tails: Sequence[Any] = ()
    tags: Mapping[str, str] = {}


def check_worker_id(worker_id: str) -> str:
    """A usable worker id, or WorkerCodeError: 1 to 256 characters, no control characters, no slash."""
    if not isinstance(worker_id, str) or not 1 <= len(worker_id) <= 256:
        raise WorkerCodeError("A worker id has 1 to 256 characters.")
    if _CONTROL.search(worker_id) or "/" in worker_id or not _is_text(worker_id):
        raise WorkerCodeError(f"A worker id has no control characters, slashes or lone surrogates: {worker_id!r}")
    return worker_id


def check_code(code: WorkerCode) -> dict[str, Module]:
    """The modules in one form, or WorkerCodeError that names the field and says what is wrong with it."""
    if not isinstance(code, WorkerCode):
        raise WorkerCodeError(f"Expected a WorkerCode, got {type(code).__name__}.")
    if not isinstance(code.modules, Mapping) or not code.modules:
        raise WorkerCodeError("Dynamic Worker code must contain at least one module.")
    modules = {name: _module(name, value) for name, value in code.modules.items()}
    if not isinstance(code.main_module, str) or code.main_module not in modules:
        raise WorkerCodeError(f"mainModule {code.main_module!r} is not one of the modules: {_names(modules)}.")
    if modules[code.main_module].type not in ("js", "cjs", "wasm"):
        raise WorkerCodeError(f"mainModule {code.main_module!r} is a {modules[code.main_module].type} module; it must be js, cjs or wasm.")
    size = sum(len(m.content) for m in modules.values())
    if size > MAX_CODE_BYTES:
        raise WorkerCodeError(f"Dynamic Worker code size ({size} bytes) exceeds the maximum allowed size of {MAX_CODE_BYTES} bytes.")
    if not isinstance(code.isolation, str) or code.isolation not in ("reuse", "invocation"):
        raise WorkerCodeError(f"isolation must be 'reuse' or 'invocation', not {code.isolation!r}.")
    if code.limits is not None and not isinstance(code.limits, Limits):
        raise WorkerCodeError("limits must be a Limits.")
    if (
        code.global_outbound is not None
        and code.global_outbound is not INHERIT
        and not callable(getattr(code.global_outbound, "fetch", code.global_outbound))
    ):
        raise WorkerCodeError("global_outbound must be INHERIT, None, an async function or an object with fetch().")
    date = code.compatibility_date
    if date is not None and not (isinstance(date, str) and re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", date)):
        raise WorkerCodeError(f"Invalid compatibility date: {date!s:.100}")
    for field in ("compatibility_flags", "tails"):
        if isinstance(getattr(code, field), str) or not isinstance(getattr(code, field), Sequence):
            raise WorkerCodeError(f"{field} must be a list.")
    if not all(isinstance(flag, str) for flag in code.compatibility_flags):
        raise WorkerCodeError("compatibility_flags must be strings.")
    if not isinstance(code.tags, Mapping) or not all(isinstance(k, str) and isinstance(v, str) for k, v in code.tags.items()):
        raise WorkerCodeError("tags must map strings to strings.")
    if not isinstance(code.env, Mapping) or not all(isinstance(k, str) for k in code.env):
        raise WorkerCodeError("env must be a mapping with string keys.")
    return modules


def version_of(code: WorkerCode, modules: Mapping[str, Module], env: bytes) -> str:
    """Content hash of all that decides how a worker behaves: 16 hex digits. `env`: its JSON form."""
    digest = hashlib.sha256()
    head = msgspec.json.encode([code.main_module, code.compatibility_date, list(code.compatibility_flags), code.limits, code.isolation])
    for part in (head, env, *(p for name in sorted(modules) for p in (name.encode(), modules[name].type.encode(), modules[name].content))):
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16]


def _module(name: Any, value: Any) -> Module:
    if not isinstance(name, str) or not 1 <= len(name) <= 512 or _CONTROL.search(name) or not _is_text(name):
        raise WorkerCodeError(f"A module name has 1 to 512 characters and no control characters: {name!r:.200}")
    if isinstance(value, Module):
        return value
    if isinstance(value, str):
        if name.endswith((".js", ".mjs")):
            return Module("js", _utf8(name, value))
        if name.endswith(".map"):
            return Module("text", _utf8(name, value))
        hint = " TypeScript and JSX must be compiled to JavaScript first." if name.endswith(_TYPESCRIPT) else ""
        raise WorkerCodeError(
            f"Module name must end with '.js' (or the content must be an object indicating the type explicitly). Got: {name}.{hint}"
        )
    if isinstance(value, bytes | bytearray | memoryview):
        if name.endswith(".wasm"):
            return Module("wasm", bytes(value))
        raise WorkerCodeError(f"Module {name!r} is bytes; say what they are: {{'data': …}} or {{'wasm': …}}.")
    if not isinstance(value, Mapping):
        raise WorkerCodeError(f"Module {name!r} must be text or an object with its type, not {type(value).__name__}.")
    if len(value) != 1:
        raise WorkerCodeError(
            "Each module must contain exactly one of 'js', 'cjs', 'text', 'data', 'json', or 'wasm'."
            f" Module '{name}' contained {len(value)} properties."
        )
    ((kind, content),) = value.items()
    if kind not in _TYPES:
        raise WorkerCodeError(f"Module {name!r} has the unknown type {kind!r}; known are {', '.join(_TYPES)}.")
    return Module(kind, _content(name, kind, content))


def _content(name: str, kind: str, content: Any) -> bytes:
    if kind == "json":
        try:
            return msgspec.json.encode(content)
        except (TypeError, ValueError, RecursionError) as e:
            raise WorkerCodeError(f"Module {name!r} can't be written as JSON: {e}") from e
    if kind in ("data", "wasm"):
        if isinstance(content, bytes | bytearray | memoryview):
            return bytes(content)
        raise WorkerCodeError(f"Module {name!r} of type {kind} must be bytes, not {type(content).__name__}.")
    if isinstance(content, str):
        return _utf8(name, content)
    raise WorkerCodeError(f"Module {name!r} of type {kind} must be text, not {type(content).__name__}.")


def _utf8(name: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as e:
        raise WorkerCodeError(f"Module {name!r} holds a lone surrogate at character {e.start}.") from e


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _names(modules: Mapping[str, Module]) -> str:
    return ", ".join(sorted(modules)[:10])
