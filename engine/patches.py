"""Edits to the engine's source: what QuickJS has no hook for.

JSON.stringify keeps the objects it is in on a JavaScript array: a setter that a worker puts on Array.prototype would see
them, and break every message to the host. That array gets no prototype.

A log line inside a span carries that span's number, also after an await. So a promise reaction remembers the number
that was current when it was registered, and its job starts with it.

What the engine's start has made is immortal: its objects count no references, and the collector passes over them. In a
running instance a count that changes copies a page of the image, and 60 of the 90 pages that a first request wrote were
written for nothing else.

Arenas, one of 4 KiB for each of 31 sizes of objects, begin small and double: most workers fill few of them, and pay for
each page that they write. The last empty one of a size stays: each request would make it anew.

Stacks look as V8 writes them: a first line with the error's name and message, then the worker's own frames; a function
without a name is only its place. A call, a `new` and a property stand where they begin, not where their last argument
does: an error in a call of several lines would name a wrong one.

A buffer that doesn't fit is refused (worker.c, "memory"); any other allocation that fails ends the worker.
"""

from __future__ import annotations

import re

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
        (
            "        ar->n_used_blocks--;\n        if (unlikely(ar->n_used_blocks == 0)) {\n",
            "        ar->n_used_blocks--;\n"
            "        if (unlikely(ar->n_used_blocks == 0) && (!ob_first_size || ar->free_link.next != ar->free_link.prev)) {\n",
        ),
        (
            "static no_inline JSArena *arena_new(JSRuntime *rt, int block_size_idx)\n{\n",
            "static uint8_t ob_arenas[JS_ARENA_BLOCK_SIZE_COUNT]; /* how many there are of a size, up to 3 */\n"
            "static no_inline JSArena *arena_new(JSRuntime *rt, int block_size_idx)\n{\n",
        ),
        (
            "    n_blocks = (JS_ARENA_SIZE - sizeof(JSArena)) / block_size;\n    ar =",
            "    n_blocks = ((JS_ARENA_SIZE >> (3 - ob_arenas[block_size_idx])) - sizeof(JSArena)) / block_size;\n"
            "    if (n_blocks < 4) n_blocks = 4;\n"
            "    if (ob_arenas[block_size_idx] < 3) ob_arenas[block_size_idx]++;\n    ar =",
        ),
        (
            '        suff = "() {\\n    [native code]\\n}";\n        name = JS_GetProperty(ctx, this_val, JS_ATOM_name);\n',
            '        suff = "() { [native code] }";\n'
            "        name = p->class_id == JS_CLASS_BOUND_FUNCTION ? JS_UNDEFINED : JS_GetProperty(ctx, this_val, JS_ATOM_name);\n",
        ),
        ('                str1 = "<anonymous>";\n', '                str1 = "";\n'),
        (
            '            dbuf_printf(&dbuf, "    at %s", str1);\n',
            '            bool ob_named = *str1;\n            dbuf_printf(&dbuf, "    at %s", str1);\n',
        ),
        ('dbuf_printf(&dbuf, " (%s", atom_str ? ', 'dbuf_printf(&dbuf, ob_named ? " (%s" : "%s", atom_str ? '),
        ("                dbuf_putc(&dbuf, ')');\n", "                if (ob_named)\n                    dbuf_putc(&dbuf, ')');\n"),
        (
            "            stack = JS_NewStringLen(ctx, (char *)dbuf.buf, dbuf.size);\n        dbuf_free(&dbuf);\n",
            "            stack = ob_stack(ctx, error_obj, (char *)dbuf.buf, dbuf.size);\n        dbuf_free(&dbuf);\n",
        ),
        (
            "    JSStackFrame *sf, *sf_start;\n    JSValue stack, prepare, saved_exception, error_obj;\n",
            "    JSValue ob_stack(JSContext *, JSValueConst, const char *, size_t);\n"
            "    JSStackFrame *sf, *sf_start;\n    JSValue stack, prepare, saved_exception, error_obj;\n",
        ),
        (
            '    if (!JS_IsString(value))\n        return JS_ThrowTypeError(ctx, "Error.prototype.stack setter expects a string");\n',
            "",
        ),
        (
            "            abuf->data = js_mallocz(ctx, max_int(len, 1));\n            if (!abuf->data)\n                goto fail;\n",
            "            extern int ob_may_fail;\n            ob_may_fail++;\n            abuf->data = js_mallocz_rt(rt, max_int(len, 1));\n"
            "            ob_may_fail--;\n            if (!abuf->data) {\n"
            '                JS_ThrowRangeError(ctx, "Array buffer allocation failed");\n                goto fail;\n            }\n',
        ),
        (
            "    return js_realloc_rt(rt, ptr, size);\n}\n\nstatic JSValue js_array_buffer_constructor2(",
            "    extern int ob_may_fail;\n    ob_may_fail++;\n    ptr = js_realloc_rt(rt, ptr, size);\n    ob_may_fail--;\n"
            "    return ptr;\n}\n\nstatic JSValue js_array_buffer_constructor2(",
        ),
        (
            "    bool accept_lparen = (parse_flags & PF_POSTFIX_CALL) != 0;\n\n    call_type = FUNC_CALL_NORMAL;\n",
            "    bool accept_lparen = (parse_flags & PF_POSTFIX_CALL) != 0;\n"
            "    int ob_line = s->token.line_num, ob_col = s->token.col_num;\n\n    call_type = FUNC_CALL_NORMAL;\n",
        ),
        (
            "            parse_func_call2:\n                emit_source_loc(s);\n",
            "            parse_func_call2:\n                emit_source_loc_at(s, ob_line, ob_col);\n",
        ),
        (
            "                /* apply function call */\n                switch(opcode) {\n",
            "                emit_source_loc_at(s, ob_line, ob_col);\n                /* apply function call */\n                switch(opcode) {\n",
        ),
        (
            "            emit_func_call:\n                switch(opcode) {\n",
            "            emit_func_call:\n                emit_source_loc_at(s, ob_line, ob_col);\n                switch(opcode) {\n",
        ),
        (
            "        parse_property:\n            if (s->token.val == TOK_PRIVATE_NAME) {\n",
            "        parse_property:\n            ob_line = s->token.line_num;\n            ob_col = s->token.col_num;\n"
            "            emit_source_loc(s);\n            if (s->token.val == TOK_PRIVATE_NAME) {\n",
        ),
        # columns of the first line were one less than those of the others
        ("    s->eol = s->buf_ptr;\n", "    s->eol = s->buf_ptr - 1;\n"),
        ("    jsc->stack = JS_NewArray(ctx);\n", "    jsc->stack = JS_NewObjectProtoClass(ctx, JS_NULL, JS_CLASS_ARRAY);\n"),
        (
            "#define JS_GC_MARK(p)   (js_rc(p)->mark)\n",
            "#define JS_GC_MARK(p)   (js_rc(p)->mark)\n"
            "#define OB_IMMORTAL     (1 << 29)\n"
            "static inline int ob_ref(const void *p) {\n"
            "    JSMallocBlockHeader *b = js_rc(p);\n"
            "    return b->ref_count < OB_IMMORTAL ? ++b->ref_count : b->ref_count;\n"
            "}\n"
            "static inline int ob_unref(const void *p) {\n"
            "    JSMallocBlockHeader *b = js_rc(p);\n"
            "    return b->ref_count < OB_IMMORTAL ? --b->ref_count : b->ref_count;\n"
            "}\n"
            "static size_t ob_first_size; /* of what the start has allocated: it is no garbage; 0 until then */\n"
            "#define OB_GC_STEP      131072\n",
        ),
        (
            "        rt->malloc_gc_threshold = rt->malloc_state.malloc_size +\n            (rt->malloc_state.malloc_size >> 1);\n",
            "        rt->malloc_gc_threshold = rt->malloc_state.malloc_size + OB_GC_STEP +\n"
            "            ((rt->malloc_state.malloc_size - ob_first_size) >> 1);\n",
        ),
    )
}
# Every change of a reference count, and how many there are of a kind.
_COUNTS = (
    (r"--JS_REF_COUNT\((\w+)\)", r"ob_unref(\1)", 7),
    (r"JS_REF_COUNT\(([\w>-]+)\)--", r"ob_unref(\1)", 2),
    (r"JS_REF_COUNT\(([\w>-]+)\)\+\+", r"ob_ref(\1)", 19),
)


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
    text = out["quickjs.c"].decode()
    for pattern, new, expected in _COUNTS:
        text, found = re.subn(pattern, new, text)
        if found != expected:
            raise BuildError("patch", f"quickjs.c changes reference counts in {found} places as {pattern}, not in {expected}")
    out["quickjs.c"] = text.encode()
    return out
