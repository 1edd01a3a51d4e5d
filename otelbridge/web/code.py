"""Worker code as it comes over HTTP: Cloudflare's camelCase JSON, or one module with its content type."""

from __future__ import annotations

import base64
import binascii
from typing import Any

import msgspec

from otelbridge.errors import WorkerCodeError
from otelbridge.model.code import INHERIT, Limits, WorkerCode

__all__ = ["code_from_json", "single_module"]

_MEMBERS = {"mainModule", "modules", "compatibilityDate", "compatibilityFlags", "env", "globalOutbound", "limits", "isolation", "tags"}
_BINARY = ("data", "wasm")


def code_from_json(value: Any) -> WorkerCode:
    """A WorkerCode from decoded JSON. WorkerCodeError names the member that is wrong. data and wasm are base64."""
    if not isinstance(value, dict):
        raise WorkerCodeError("Worker code must be a JSON object with mainModule and modules.")
    unknown = sorted(set(value) - _MEMBERS)
    if unknown:
        raise WorkerCodeError(f"Worker code has the unknown member {unknown[0]!r}; known are {', '.join(sorted(_MEMBERS))}.")
    main = value.get("mainModule")
    if not isinstance(main, str):
        raise WorkerCodeError("mainModule must be the name of a module.")
    modules = value.get("modules")
    if not isinstance(modules, dict):
        raise WorkerCodeError("modules must be an object of modules by name.")
    if "globalOutbound" in value and value["globalOutbound"] is not None:
        raise WorkerCodeError("globalOutbound must be absent (inherited) or null (blocked).")
    env = value.get("env", {})
    if not isinstance(env, dict):
        raise WorkerCodeError("env must be an object.")
    return WorkerCode(
        main_module=main,
        modules={name: _module(name, content) for name, content in modules.items()},
        compatibility_date=_typed(value, "compatibilityDate", str, None),
        compatibility_flags=_typed(value, "compatibilityFlags", list, []),
        env=env,
        global_outbound=None if "globalOutbound" in value else INHERIT,
        limits=_limits(value.get("limits")),
        isolation=_typed(value, "isolation", str, "reuse"),
        tags=_typed(value, "tags", dict, {}),
    )


def single_module(content_type: str, body: bytes) -> WorkerCode:
    """Code that is one module: JavaScript or WebAssembly. WorkerCodeError when the text is not UTF-8."""
    if content_type == "application/wasm":
        return WorkerCode(main_module="worker.wasm", modules={"worker.wasm": {"wasm": body}})
    try:
        return WorkerCode(main_module="index.js", modules={"index.js": body.decode()})
    except UnicodeDecodeError as e:
        raise WorkerCodeError(f"The module is not UTF-8: byte {e.start} can't be read.") from e


def _module(name: str, content: Any) -> Any:
    if not isinstance(content, dict) or len(content) != 1:
        return content  # check_code() says what is wrong with it
    ((kind, value),) = content.items()
    if kind not in _BINARY:
        return content
    if not isinstance(value, str):
        raise WorkerCodeError(f"Module {name!r} of type {kind} must be base64 text.")
    try:
        return {kind: base64.b64decode(value, validate=True)}
    except (binascii.Error, ValueError) as e:
        raise WorkerCodeError(f"Module {name!r} of type {kind} is not base64: {e}.") from e


def _limits(value: Any) -> Limits | None:
    if value is None:
        return None
    try:
        return msgspec.convert(value, Limits)
    except msgspec.ValidationError as e:
        raise WorkerCodeError(f"limits: {e}") from e


def _typed(value: dict[str, Any], name: str, kind: type, default: Any) -> Any:
    found = value.get(name, default)
    if found is not None and not isinstance(found, kind):
        raise WorkerCodeError(f"{name} must be {'an object' if kind is dict else 'a list' if kind is list else 'text'}.")
    return default if found is None else found
