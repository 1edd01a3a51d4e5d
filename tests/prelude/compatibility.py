"""What workers can count on: the rows of the table in docs/compatibility.md, each with the JavaScript that proves it."""

from __future__ import annotations

from collections.abc import Mapping

__all__ = ["PROBES", "ROWS", "table"]

# (area, name, expression that is true when it is there or "" for `typeof NAME !== 'undefined'` of all names, how it differs)
ROWS: tuple[tuple[str, str, str, str], ...] = (
    ("Fetch", "fetch()", "typeof fetch === 'function'", "http and https; a streamed request body is collected before it is sent"),
    (
        "Fetch",
        "Request",
        "",
        '`redirect: "error"` is refused, as in workerd; `cache`, `integrity`, `keepalive` have no effect; methods are any HTTP token',
    ),
    ("Fetch", "Response", "", "no `webSocket`, no `encodeBody`"),
    ("Fetch", "Headers", "", 'with `getAll("set-cookie")`; names sorted, cookies apart'),
    ("Fetch", "Blob, File, FormData", "", ""),
    (
        "URL",
        "URL, URLSearchParams",
        "",
        "WHATWG; international names by NFKC, lower case and punycode, without the single exceptions of UTS 46's tables",
    ),
    ("URL", "URLPattern", "", "the package urlpattern-polyfill"),
    (
        "Streams",
        "ReadableStream, WritableStream, TransformStream",
        "",
        "the package web-streams-polyfill, byte streams and BYOB readers included; not transferable",
    ),
    (
        "Streams",
        "ReadableStreamDefaultReader, ReadableStreamBYOBReader, ReadableStreamBYOBRequest, ReadableStreamDefaultController, ReadableByteStreamController",
        "",
        "",
    ),
    ("Streams", "WritableStreamDefaultWriter, WritableStreamDefaultController, TransformStreamDefaultController", "", ""),
    ("Streams", "ByteLengthQueuingStrategy, CountQueuingStrategy", "", ""),
    (
        "Streams",
        "IdentityTransformStream, FixedLengthStream",
        "",
        "`FixedLengthStream` checks the length; the response is chunked all the same",
    ),
    ("Streams", "CompressionStream, DecompressionStream", "", "gzip, deflate, deflate-raw; computed by the host"),
    (
        "Text",
        "TextEncoder, TextDecoder, TextEncoderStream, TextDecoderStream",
        "",
        "UTF-8, UTF-16 (both orders), windows-1252 with their labels; other encodings are a RangeError",
    ),
    ("Text", "atob, btoa", "", ""),
    (
        "Events",
        "Event, CustomEvent, ErrorEvent, MessageEvent, PromiseRejectionEvent, EventTarget",
        "",
        "an exception of a listener leaves `dispatchEvent()`, as in workerd",
    ),
    ("Events", "AbortController, AbortSignal", "typeof AbortSignal.any === 'function' && typeof AbortSignal.timeout === 'function'", ""),
    (
        "Events",
        "addEventListener, removeEventListener, dispatchEvent",
        "",
        "global events: `unhandledrejection`, `error` (by `reportError()`)",
    ),
    ("Events", "DOMException, reportError", "", ""),
    (
        "Time",
        "setTimeout, setInterval, clearTimeout, clearInterval, queueMicrotask",
        "",
        "not at module scope; what still waits when the invocation ends never runs",
    ),
    ("Time", "scheduler.wait()", "typeof scheduler.wait === 'function'", "with `signal`"),
    (
        "Time",
        "performance, Performance",
        "performance.timeOrigin === 0 && performance.now() > 0 && typeof Performance === 'function'",
        "`now()` and `timeOrigin` (0); no marks and measures",
    ),
    (
        "Crypto",
        "crypto.getRandomValues(), crypto.randomUUID()",
        "crypto.randomUUID().length === 36",
        "new in every invocation; not at module scope",
    ),
    ("Crypto", "crypto.subtle: digest", "typeof crypto.subtle.digest === 'function'", "SHA-1, SHA-256, SHA-384, SHA-512, MD5"),
    (
        "Crypto",
        "crypto.subtle: sign, verify",
        "typeof crypto.subtle.sign === 'function'",
        "HMAC, ECDSA (P-256, P-384, P-521), Ed25519, RSASSA-PKCS1-v1_5, RSA-PSS",
    ),
    ("Crypto", "crypto.subtle: encrypt, decrypt", "typeof crypto.subtle.encrypt === 'function'", "AES-GCM, AES-CBC, AES-CTR, RSA-OAEP"),
    (
        "Crypto",
        "crypto.subtle: deriveBits, deriveKey",
        "typeof crypto.subtle.deriveBits === 'function'",
        "HKDF, PBKDF2 (100,000 iterations at most, as in workerd), ECDH, X25519",
    ),
    (
        "Crypto",
        "crypto.subtle: generateKey, importKey, exportKey, wrapKey, unwrapKey",
        "typeof crypto.subtle.wrapKey === 'function'",
        "raw, jwk, pkcs8, spki; AES-KW; RSA up to 4,096 bits",
    ),
    (
        "Crypto",
        "crypto.subtle.timingSafeEqual(), crypto.DigestStream",
        "typeof crypto.subtle.timingSafeEqual === 'function' && typeof crypto.DigestStream === 'function'",
        "",
    ),
    ("Crypto", "Crypto, SubtleCrypto, CryptoKey", "", ""),
    ("Values", "structuredClone()", "typeof structuredClone === 'function'", "with `transfer` of ArrayBuffers"),
    (
        "Values",
        "navigator, Navigator, self, WorkerGlobalScope, ServiceWorkerGlobalScope",
        "navigator.userAgent === 'Cloudflare-Workers' && self === globalThis && typeof Navigator === 'function'",
        "",
    ),
    ("Values", "console", "typeof console.log === 'function'", "see below"),
    (
        "Modules",
        "cloudflare:workers",
        "typeof (await import('cloudflare:workers')).WorkerEntrypoint === 'function'",
        "`WorkerEntrypoint`, `RpcTarget`, `env`, `waitUntil`, `tracing`",
    ),
    (
        "Modules",
        "node:diagnostics_channel",
        "typeof (await import('node:diagnostics_channel')).channel === 'function'",
        "`publish()` is recorded",
    ),
    ("Language", "Float16Array, Iterator, WeakRef, FinalizationRegistry", "", "modern ECMAScript; the engine is QuickJS-ng"),
    (
        "Language",
        "eval(), new Function()",
        "(() => { try { return (0, eval)('1') === 1 } catch { return false } })()",
        "an EvalError, as in workerd",
    ),
    ("Language", "Intl", "", "`toLocaleString()` and its kin ignore the locale"),
    ("Language", "WebAssembly", "", "use a core-module worker"),
    ("Language", "Atomics", "", ""),
    ("Absent", "WebSocket, WebSocketPair", "", ""),
    ("Absent", "caches", "", ""),
    ("Absent", "HTMLRewriter", "", ""),
    ("Absent", "EventSource", "", ""),
    ("Absent", "MessageChannel", "", ""),
    ("Absent", "process, Buffer, require", "", "no nodejs_compat"),
    ("Absent", "os, std, bjson, scriptArgs, print, gc", "", "the engine's own shell functions"),
)


def probe(name: str, expression: str) -> str:
    """The JavaScript of a row: whether it is there."""
    return expression or " && ".join(f"typeof {one.strip()} !== 'undefined'" for one in name.split(","))


PROBES = {name: probe(name, expression) for _, name, expression, _ in ROWS}


def table(found: Mapping[str, bool]) -> str:
    """The table of docs/compatibility.md, given which rows a worker found."""
    lines = ["| | | there | how it differs |", "|---|---|---|---|"]
    last = ""
    for area, name, _, note in ROWS:
        # A comma is a boundary between names only outside of parentheses and behind no colon's list of methods.
        names = name if ":" in name else ", ".join(f"`{one.strip()}`" for one in name.split(","))
        lines.append(f"| {area if area != last else ''} | {names} | {'yes' if found[name] else 'no'} | {note} |")
        last = area
    return "\n".join(lines)
