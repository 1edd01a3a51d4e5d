"""Edits to the engine's source: what QuickJS has no hook for.

JSON.stringify keeps the objects it is in on a JavaScript array: a setter that a worker puts on Array.prototype would see
them, and break every message to the host. That array gets no prototype.

A log line inside a span carries that span's number, also after an await. So a promise reaction remembers the number
that was current when it was registered, and its job starts with it.
"""

from __future__ import annotations

from engine.errors import BuildError

__all__ = ["apply"]

_EDITS = {
    "quickjs.c": (
        (
            "typedef struct JSPromiseReactionData {\n",
            "static uint32_t ob_span; /* the span that runs now */\ntypedef struct JSPromiseReactionData {\n    uint32_t ob_span;\n",
        ),
        ("        rd->handler = js_dup(handler);\n", "        rd->handler = js_dup(handler);\n        rd->ob_span = ob_span;\n"),
        ("    JSPromiseReactionData *rd;\n    JSValueConst args[5];\n", "    JSPromiseReactionData *rd;\n    JSValueConst args[6];\n"),
        (
            "        args[3] = js_bool(is_reject);\n        args[4] = value;\n        JS_EnqueueJob(ctx, promise_reaction_job, 5, args);\n",
            "        args[3] = js_bool(is_reject);\n        args[4] = value;\n        args[5] = js_int32(rd->ob_span);\n"
            "        JS_EnqueueJob(ctx, promise_reaction_job, 6, args);\n",
        ),
        (
            "        JSValueConst args[5];\n        call_promise_rejection_tracker(ctx, promise, true);\n",
            "        JSValueConst args[6];\n        call_promise_rejection_tracker(ctx, promise, true);\n",
        ),
        (
            "        args[4] = s->promise_result;\n        JS_EnqueueJob(ctx, promise_reaction_job, 5, args);\n",
            "        args[4] = s->promise_result;\n        args[5] = js_int32(rd->ob_span);\n"
            "        JS_EnqueueJob(ctx, promise_reaction_job, 6, args);\n",
        ),
        (
            "    assert(argc == 5);\n    handler = argv[2];\n",
            "    assert(argc == 6);\n    ob_span = JS_VALUE_GET_INT(argv[5]);\n    handler = argv[2];\n",
        ),
        ("    jsc->stack = JS_NewArray(ctx);\n", "    jsc->stack = JS_NewObjectProtoClass(ctx, JS_NULL, JS_CLASS_ARRAY);\n"),
    )
}


def apply(sources: dict[str, bytes]) -> dict[str, bytes]:
    """The sources with all edits. BuildError when a place is not there exactly once: another version of QuickJS."""
    out = dict(sources)
    for name, edits in _EDITS.items():
        text = out[name].decode()
        for old, new in edits:
            if text.count(old) != 1:
                raise BuildError("patch", f"{name} holds {text.count(old)} times what should be there once: {old.strip()[:60]!r}")
            text = text.replace(old, new)
        out[name] = text.encode()
    return out
