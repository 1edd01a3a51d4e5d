"""Worker code as it comes over HTTP: Cloudflare's camelCase JSON, or one module with its content type."""

from __future__ import annotations

import base64
import binascii
import difflib
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from otelbridge.errors import WorkerCodeError
from otelbridge.model.code import INHERIT, MAX_CODE_BYTES, MAX_ENV_BYTES, Limits, WorkerCode, check_worker_id
from otelbridge.model.readable import readable
from otelbridge.web.problem import Problem, bad_request

__all__ = ["CODE_BYTES", "MODULE_TYPES", "CodeBody", "checked_worker_id", "code_from_json", "code_from_module", "worker_code"]

_MODULE_SCHEMA: Final = {
    "additionalProperties": {
        "oneOf": [
            {"type": "string", "description": "JavaScript; the name must end in .js or .mjs"},
            {
                "type": "object",
                "description": "One member that names the type. data and wasm are base64.",
                "minProperties": 1,
                "maxProperties": 1,
                "additionalProperties": False,
                "properties": {
                    **{name: {"type": "string"} for name in ("js", "cjs", "text")},
                    **{name: {"type": "string", "contentEncoding": "base64"} for name in ("data", "wasm")},
                    "json": {},
                },
            },
        ]
    }
}

# What code of the largest size takes as JSON: binary modules as base64, and the env. Code may exceed server.max_body_bytes.
CODE_BYTES: Final = MAX_CODE_BYTES * 4 // 3 + 2 * MAX_ENV_BYTES

# Content types under which a body is one module.
MODULE_TYPES: Final = {"application/javascript": "index.js", "text/javascript": "index.js", "application/wasm": "index.wasm"}


class CodeBody(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    """Worker code, with Cloudflare's member names."""

    main_module: Annotated[str, Meta(description="The name of the module that is run.")]
    modules: Annotated[dict[str, Any], Meta(description="Modules by name.", extra_json_schema=_MODULE_SCHEMA)]
    compatibility_date: str | None = None
    compatibility_flags: list[str] = []
    env: Annotated[dict[str, Any], Meta(description="What the worker sees as `env`: any JSON values.")] = {}
    global_outbound: Annotated[UnsetType | None, Meta(description="Absent: the bridge's own network. null: no network.")] = UNSET
    limits: Limits | None = None
    isolation: Literal["reuse", "invocation"] = "reuse"
    tags: dict[str, str] = {}


def code_from_json(body: bytes) -> WorkerCode:
    """WorkerCode from JSON text. Problem 400 when it is not JSON; WorkerCodeError names the member that is wrong."""
    try:
        return worker_code(msgspec.json.decode(body, type=CodeBody))
    except msgspec.ValidationError as e:
        raise WorkerCodeError(_explained(e)) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as e:
        raise bad_request(f"The body is not JSON: {e}", "invalid-json", "Invalid JSON") from None


def worker_code(body: CodeBody) -> WorkerCode:
    """WorkerCode from its JSON form. WorkerCodeError for binary modules that are not base64."""
    return WorkerCode(
        main_module=body.main_module,
        modules={name: _module(name, content) for name, content in body.modules.items()},
        compatibility_date=body.compatibility_date,
        compatibility_flags=body.compatibility_flags,
        env=body.env,
        global_outbound=INHERIT if body.global_outbound is UNSET else None,
        limits=body.limits,
        isolation=body.isolation,
        tags=body.tags,
    )


def code_from_module(media_type: str, body: bytes) -> WorkerCode:
    """WorkerCode of a single module. `media_type`: one of MODULE_TYPES."""
    name = MODULE_TYPES[media_type]
    if name.endswith(".wasm"):
        return WorkerCode(main_module=name, modules={name: {"wasm": body}})
    try:
        return WorkerCode(main_module=name, modules={name: body.decode("utf-8-sig")})
    except UnicodeDecodeError as e:
        raise WorkerCodeError(f"The module is not UTF-8: its byte {e.start} can't be read.") from None


def checked_worker_id(worker_id: str) -> str:
    """A usable worker id. Problem 400: an id stands in the path, so it is the request that is wrong."""
    try:
        return check_worker_id(worker_id)
    except WorkerCodeError as e:
        raise Problem(400, "invalid-worker-id", "Invalid worker id", str(e)) from None


def _module(name: str, content: Any) -> Any:
    """Base64 to bytes; everything else as it is: check_code() says what is wrong with it, in workerd's words."""
    if not isinstance(content, dict) or len(content) != 1:
        return content
    ((kind, text),) = content.items()
    if kind not in ("data", "wasm"):
        return content
    if not isinstance(text, str):
        raise WorkerCodeError(f"modules[{name!r}].{kind} must be base64 text.")
    try:
        return {kind: base64.b64decode(text, validate=True)}
    except (binascii.Error, ValueError) as e:
        raise WorkerCodeError(f"modules[{name!r}].{kind} is not base64: {e}.") from None


def _explained(error: msgspec.ValidationError) -> str:
    text = readable(error, CodeBody)
    if text.startswith("Object contains unknown field "):
        name = text.removeprefix("Object contains unknown field ").rstrip(".")
        known = [field.encode_name for field in msgspec.structs.fields(CodeBody)]
        close = difflib.get_close_matches(name, known, n=1)
        if name == "tails":
            return "tails: can't be given over HTTP; what a worker logs is exported, stored and shown live anyway."
        return f"Unknown member {name}. " + (f"Did you mean {close[0]}?" if close else f"Known are: {', '.join(known)}.")
    if text.startswith("globalOutbound:"):
        return "globalOutbound: must be absent (the bridge's own network) or null (no network)."
    if text.startswith("Expected object"):
        return "Worker code must be a JSON object with mainModule and modules."
    return text
