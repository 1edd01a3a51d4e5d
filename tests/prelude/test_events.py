"""Events, abort signals, timers and the global scope."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from tests.prelude.conftest import Run, Throws

SLEEP = "const sleep = (ms) => new Promise((r) => setTimeout(r, ms));"

TABLE: dict[str, tuple[str, Any]] = {
    "listeners": (
        """((t, log) => {
            const object = { handleEvent(e) { log.push([this === object, e.type]) } };
            t.addEventListener('x', object); t.addEventListener('x', object);
            t.addEventListener('x', (e) => { log.push('once'); e.preventDefault() }, { once: true });
            t.addEventListener('x', (e) => { log.push(e.target === t); e.stopImmediatePropagation() });
            t.addEventListener('x', () => log.push('never'));
            const results = [t.dispatchEvent(new Event('x', { cancelable: true })), t.dispatchEvent(new Event('x'))];
            t.removeEventListener('x', object);
            return [results, log];
        })(new EventTarget(), [])""",
        [[False, True], [[True, "x"], "once", True, [True, "x"], True]],
    ),
    "a listener that throws": (
        "((t) => { t.addEventListener('x', () => { throw new RangeError('listener') }); t.dispatchEvent(new Event('x')) })(new EventTarget())",
        Throws("RangeError", "listener"),
    ),
    "a passive listener": (
        "((t) => { t.addEventListener('x', (e) => e.preventDefault(), { passive: true }); return t.dispatchEvent(new Event('x', { cancelable: true })) })(new EventTarget())",
        True,
    ),
    "a listener with a signal": (
        "((t, c, log) => { t.addEventListener('x', () => log.push(1), { signal: c.signal }); c.abort(); t.dispatchEvent(new Event('x')); return log })(new EventTarget(), new AbortController(), [])",
        [],
    ),
    "no event": ("new EventTarget().dispatchEvent({ type: 'x' })", Throws("TypeError")),
    "event within its own dispatch": (
        "((t) => { t.addEventListener('x', (e) => t.dispatchEvent(e)); t.dispatchEvent(new Event('x')) })(new EventTarget())",
        Throws("InvalidStateError"),
    ),
    "custom event": (
        "((e) => [e.type, e.detail, e instanceof Event, String(e)])(new CustomEvent('x', { detail: { a: 1 } }))",
        ["x", {"a": 1}, True, "[object CustomEvent]"],
    ),
    "the global scope listens": (
        "((log) => { const f = (e) => log.push([e.type, e.target === globalThis]); addEventListener('x', f); dispatchEvent(new Event('x')); removeEventListener('x', f); dispatchEvent(new Event('x')); return log })([])",
        [["x", True]],
    ),
    "exceptions of the platform": (
        "((e) => [String(e), e.code, e instanceof Error, DOMException.ABORT_ERR, Object.prototype.toString.call(e)])(new DOMException('m', 'AbortError'))",
        ["AbortError: m", 20, True, 20, "[object DOMException]"],
    ),
    "abort": (
        """((c, log) => {
            c.signal.onabort = (e) => log.push(e.type);
            c.signal.addEventListener('abort', () => log.push(c.signal.aborted));
            const any = AbortSignal.any([c.signal, new AbortController().signal]);
            c.abort('why'); c.abort('again');
            return [log, c.signal.reason, any.aborted, any.reason];
        })(new AbortController(), [])""",
        [["abort", True], "why", True, "why"],
    ),
    "abort without a reason": ("((s) => [s.aborted, s.reason.name])(AbortSignal.abort())", [True, "AbortError"]),
    "throwIfAborted": ("AbortSignal.abort(new RangeError('gone')).throwIfAborted()", Throws("RangeError", "gone")),
    "abort by time": (
        "(async (s) => { await new Promise((r) => s.addEventListener('abort', r)); return s.reason.name })(AbortSignal.timeout(1))",
        "TimeoutError",
    ),
    "no signal by new": ("new AbortSignal()", Throws("TypeError", "Illegal constructor")),
    "timers": (
        f"""(async (log) => {{ {SLEEP}
            setTimeout((a, b) => log.push(a + b), 1, 'x', 'y');
            const gone = setTimeout(() => log.push('never'), 1); clearTimeout(gone);
            let n = 0; const id = setInterval(() => {{ log.push('tick'); if (++n === 2) clearInterval(id) }}, 1);
            await sleep(30);
            return [log, typeof id];
        }})([])""",
        [["xy", "tick", "tick"], "number"],
    ),
    "no string as a callback": ("setTimeout('x', 1)", Throws("TypeError")),
    "clear what is not there": ("[clearTimeout(99999), clearTimeout(undefined), clearInterval('x')].length", 3),
    "scheduler": ("scheduler.wait(1)", None),
    "scheduler with a signal": ("scheduler.wait(10000, { signal: AbortSignal.timeout(1) })", Throws("TimeoutError")),
    "microtasks come first": (
        "(async (log) => { setTimeout(() => log.push('timer'), 0); queueMicrotask(() => log.push('micro')); await scheduler.wait(5); return log })([])",
        ["micro", "timer"],
    ),
    "performance": (
        "[performance.timeOrigin, Math.abs(performance.now() - Date.now()) < 1000, String(performance)]",
        [0, True, "[object Performance]"],
    ),
    "navigator and self": (
        "[navigator.userAgent, self === globalThis, String(navigator)]",
        ["Cloudflare-Workers", True, "[object Navigator]"],
    ),
}


@pytest.mark.parametrize("name", TABLE)
def test_events(name: str, got: Mapping[str, Any]) -> None:
    """Events reach their listeners, signals abort, timers fire."""
    assert got[name] == TABLE[name][1]


@pytest.mark.asyncio(loop_scope="session")
async def test_what_nobody_catches(run: Run) -> None:
    """Exceptions of timers and reportError() are recorded; the invocation goes on."""
    body, items = await run(
        """export default { async fetch() {
            setTimeout(() => { throw new RangeError('of a timer') }, 1);
            reportError(new TypeError('reported'));
            addEventListener('error', (e) => { if (e.error.message === 'prevented') e.preventDefault() });
            reportError(new Error('prevented'));
            await scheduler.wait(20);
            return new Response('done');
        } }"""
    )
    assert body == "done"
    assert [(e["name"], e["message"]) for e in items[0]["exceptions"]] == [("TypeError", "reported"), ("RangeError", "of a timer")]
    assert items[0]["outcome"] == "ok"


@pytest.mark.asyncio(loop_scope="session")
async def test_a_worker_reads_no_clock_and_no_chance_while_it_loads(run: Run) -> None:
    """At module scope timers, fetch() and random values are refused: an image would repeat them in every instance."""
    body, _ = await run(
        """const results = [];
        const probe = async (f) => { try { await f(); results.push('done') } catch (e) { results.push(e.message.slice(0, 41)) } };
        await probe(() => setTimeout(() => {}, 1));
        await probe(() => crypto.randomUUID());
        await probe(() => crypto.getRandomValues(new Uint8Array(1)));
        await probe(() => fetch('http://h/'));
        await probe(() => scheduler.wait(1));
        await probe(() => AbortSignal.timeout(1));
        await probe(() => new Response(new FormData()).text());
        export default { fetch: () => Response.json(results) };"""
    )
    assert body == ["Disallowed operation called within global"] * 6 + ["done"]
