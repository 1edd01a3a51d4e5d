"""Spans of invocations that are alike: the bytes of one of them, with gaps for what differs.

Most invocations of a worker differ in ids, times and what they used, all of which has one length. Filling the gaps takes a
third of what a span takes that is made from its attributes. The bytes are the same: they were learned from such a one.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable
from typing import Any, Final

import msgspec

from otelbridge.model.part import End, Part
from otelbridge.model.trace import FetchEvent
from otelbridge.otel import wire
from otelbridge.otel.shape import TRUNCATED

__all__ = ["Alike"]

_MOST = 1024  # kinds that are remembered, of 2 KB each: a client chooses URLs as it likes
_SHORT = 512  # characters of the texts that others choose, to be worth remembering


def _unlikely(name: str, size: int) -> bytes:
    return hashlib.blake2b(name.encode(), digest_size=size).digest()


# What stands in the gaps while a kind is learned: found nowhere else, or nothing is learned.
_TRACE, _SPAN, _PARENT = _unlikely("trace", 16), _unlikely("span", 8), _unlikely("parent", 8)
_INVOCATION: Final = _unlikely("invocation", 64).hex()
_START_NS, _END_NS = 0x1122_3344_5566_7788, 0x1223_3445_5667_7889
_CPU_NS, _WALL_NS, _QUEUE_NS = 123_456_789_012_345, 234_567_890_123_457, 345_678_901_234_569
_SIZE: Final = "http.response.body.size"
_MEMORY: Final = "otelbridge.memory_bytes"
_varint: Final = functools.lru_cache(1024)(wire.varint)  # of sizes, which come again
_FIXED64: Final = struct.Struct("<Q").pack
_DOUBLE: Final = struct.Struct("<d").pack


class _Kind(msgspec.Struct, frozen=True):
    """The bytes around the gaps, with places for what goes there, and how to put them together."""

    pieces: list[Any]
    pack: Callable[..., bytes]


class Alike:
    """See the module's text. `usual`: makes the only span of an invocation in the usual way, as wire.records() makes it."""

    def __init__(self, usual: Callable[[Part], bytes]) -> None:
        self._usual = usual
        self._kinds: dict[tuple[Any, ...], _Kind | bool] = {}  # False: seen once; True: it can't be learned

    def span(self, part: Part) -> bytes | None:
        """The span of an invocation that has one part and no other span; None when it is like none that was learned."""
        event, end = part.event, part.end
        trace_id, span_id, parent_id, invocation_id = part.trace_id, part.span_id, part.parent_span_id or "", part.invocation_id
        if type(event) is not FetchEvent or end is None or end.truncated or len(trace_id) != 32 or len(span_id) != 16:
            return None
        size, queue_ns = end.response_bytes, end.queue_ns
        agent = event.headers.get("user-agent")
        key = (
            event.url,
            event.method,
            agent,
            event.client_ip,
            end.status,
            end.outcome,
            end.memory_bytes.bit_length(),
            part.entrypoint,
            len(parent_id),
            len(invocation_id),
            queue_ns != 0,
            size.bit_length(),
        )
        kind = self._kinds.get(key)
        if type(kind) is not _Kind:
            if kind is not True and sum([len(text) for text in (*key[:4], part.entrypoint) if text]) <= _SHORT:
                self._meet(key, part, again=kind is False)
            return None
        start_ns, ended_ns = part.start_ns, end.time_ns
        try:
            ids = bytes.fromhex(trace_id + span_id + parent_id)
            if 2 * len(ids) != 48 + len(parent_id):  # there were spaces
                return None
            values = [
                ids[:16],
                ids[16:24],
                ids[24:],
                start_ns,
                ended_ns if ended_ns > start_ns else start_ns,
                invocation_id.encode("ascii"),
                end.cpu_ns / 1e6,
                end.wall_ns / 1e6,
                _varint(end.memory_bytes),
            ]
            if queue_ns:
                values.append(queue_ns / 1e6)
            if size:
                values.append(_varint(size))
            pieces = kind.pieces.copy()
            pieces[1::2] = values
            return kind.pack(*pieces)
        except (ValueError, OverflowError, struct.error):  # ids that are none, numbers that no loader writes
            return None

    def _meet(self, key: tuple[Any, ...], part: Part, *, again: bool) -> None:
        """What comes once need not be remembered, and many URLs come once."""
        if not again and len(self._kinds) >= _MOST:
            # Those go that came once; where many came again, all begin anew, for this must not happen each time.
            known = {key: kind for key, kind in self._kinds.items() if kind is not False}
            self._kinds.clear()
            if len(known) <= _MOST // 2:
                self._kinds.update(known)
        self._kinds[key] = (self._learn(part) or True) if again else False

    def _learn(self, part: Part) -> _Kind | None:
        end, parent_id, invocation_id = part.end, part.parent_span_id, part.invocation_id
        sizes = (0, 0) if end is None else (end.memory_bytes, end.response_bytes)
        if end is None or min(sizes) < 0 or max(sizes) >= 1 << 63 or (parent_id and len(parent_id) != 16):
            return None
        if not 16 <= len(invocation_id) <= len(_INVOCATION):
            return None
        invocation_id = _INVOCATION[: len(invocation_id)]
        sample = msgspec.structs.replace(
            part,
            trace_id=_TRACE.hex(),
            span_id=_SPAN.hex(),
            parent_span_id=_PARENT.hex() if parent_id else None,
            invocation_id=invocation_id,
            start_ns=_START_NS,
            end=_sample(end),
        )
        data = self._usual(sample)
        if TRUNCATED.encode() in data:  # which is counted each time
            return None
        gaps = [
            (_TRACE, "16s"),
            (_SPAN, "8s"),
            (_PARENT, "8s") if parent_id else (b"", "0s"),
            (_FIXED64(_START_NS), "Q"),
            (_FIXED64(_END_NS), "Q"),
            (invocation_id.encode(), f"{len(invocation_id)}s"),
            (_DOUBLE(_CPU_NS / 1e6), "d"),
            (_DOUBLE(_WALL_NS / 1e6), "d"),
            _number(_MEMORY, end.memory_bytes),
        ]
        if end.queue_ns:
            gaps.append((_DOUBLE(_QUEUE_NS / 1e6), "d"))
        if end.response_bytes:
            gaps.append(_number(_SIZE, end.response_bytes))
        pieces: list[Any] = []
        layout = "<"
        at = 0
        for found, code in gaps:
            start = data.find(found, at) + len(found) - struct.calcsize(f"<{code}")
            if start < at or (found and data.count(found) != 1):  # cut, or something else looks like it
                return None
            pieces += (data[at:start], None)
            layout += f"{start - at}s{code}"
            at = start + struct.calcsize(f"<{code}")
        pieces.append(data[at:])
        return _Kind(pieces, struct.Struct(f"{layout}{len(data) - at}s").pack)


def _sample(end: End) -> End:
    return msgspec.structs.replace(end, time_ns=_END_NS, cpu_ns=_CPU_NS, wall_ns=_WALL_NS, queue_ns=_QUEUE_NS if end.queue_ns else 0)


def _number(name: str, value: int) -> tuple[bytes, str]:
    """A number at the end of its attribute: a gap that other numbers fit into which have as many bits."""
    data = wire.attributes({name: value}, b"\x4a")
    return data, f"{len(wire.varint(value))}s"
