"""A small closed-loop HTTP client on its own core: every connection sends its next request when it has its answer."""

from __future__ import annotations

import itertools
import os
import selectors
import socket
import statistics
import time
from collections import deque
from collections.abc import Sequence

__all__ = ["CLIENT_CORE", "Result", "load", "one_by_one"]

CLIENT_CORE = 1


class Result:
    """How many answers, how many per second, and latencies in microseconds."""

    def __init__(self, seconds: float, latencies: list[float]) -> None:
        self.count = len(latencies)
        self.rate = self.count / seconds
        ordered = sorted(latencies)
        self.p50 = statistics.median(ordered)
        self.p99 = ordered[int(len(ordered) * 0.99)]


def load(port: int, path: str | Sequence[str], *, connections: int, seconds: float, rate: float = 0) -> Result:
    """Keep `connections` busy with GET requests for a while; of several paths with one after the other, over and over.

    `rate`: so many requests per second at most. Latencies then begin when a request was due, whether there was a
    connection for it or not.
    """
    os.sched_setaffinity(0, {CLIENT_CORE})
    head = f"HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
    requests = itertools.cycle([f"GET {one} {head}".encode() for one in ([path] if isinstance(path, str) else path)])
    selector = selectors.DefaultSelector()
    idle: deque[socket.socket] = deque()  # the one that has been idle for longest goes first: they belong to several processes
    for _ in range(connections):
        connection = socket.create_connection(("127.0.0.1", port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        selector.register(connection, selectors.EVENT_READ, bytearray())
        idle.append(connection)
    sent: dict[int, float] = {}
    latencies: list[float] = []
    start = now = due = time.perf_counter()
    end = start + seconds
    while now < end:
        while idle and (not rate or due <= now):
            connection = idle.popleft()
            sent[connection.fileno()] = due if rate else now
            due += 1 / rate if rate else 0
            connection.sendall(next(requests))
        for key, _ in selector.select(max(0.0, min(due, end) - now) if rate else 1.0):
            answering, buffer = key.fileobj, key.data
            assert isinstance(answering, socket.socket)
            data = answering.recv(65536)
            if not data:
                raise RuntimeError(f"the server closed the connection on {path!r:.80}")
            buffer += data
            if _complete(buffer):
                buffer.clear()
                idle.append(answering)
                latencies.append((time.perf_counter() - sent[answering.fileno()]) * 1e6)
        now = time.perf_counter()
    elapsed = time.perf_counter() - start
    for key in list(selector.get_map().values()):
        assert isinstance(key.fileobj, socket.socket)
        key.fileobj.close()
    return Result(elapsed, latencies)


def one_by_one(port: int, paths: list[str]) -> list[float]:
    """The latency of each path, one after the other on one connection, in microseconds."""
    os.sched_setaffinity(0, {CLIENT_CORE})
    out = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for path in paths:
            start = time.perf_counter()
            connection.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
            buffer = bytearray()
            while not _complete(buffer):
                data = connection.recv(65536)
                if not data:
                    raise RuntimeError(f"the server closed the connection on {path}")
                buffer += data
            out.append((time.perf_counter() - start) * 1e6)
    return out


def _complete(buffer: bytearray) -> bool:
    """Whether a whole answer is there: by its content-length, or the last chunk."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return False
    lower = bytes(buffer[:head]).lower()
    at = lower.find(b"content-length:")
    if at < 0:
        return buffer.endswith(b"0\r\n\r\n")
    length = int(lower[at + 15 :].split(b"\r\n", 1)[0])
    return len(buffer) >= head + 4 + length
