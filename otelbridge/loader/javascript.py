"""Drives one invocation of a JavaScript guest: run it, do what it asks for, run it again, until it says "done".

The first run happens inline in the caller's task; most invocations need no other. Only one that waits for something
gets a task of its own.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Any

from otelbridge.errors import WorkerError
from otelbridge.loader.messages import BadMessage, frame, frames, response_headers
from otelbridge.loader.operations import Operations
from otelbridge.loader.pending import Pending
from otelbridge.loader.recorder import Recorder, error_of, pack_exception
from otelbridge.loader.stream import BodyStream
from otelbridge.loader.texts import HUNG, LIMIT_TEXTS, STOPPED
from otelbridge.model.http import Response
from otelbridge.model.trace import Subrequest
from otelbridge.sandbox import JsInstance, Meter, Stop

__all__ = ["JsRun"]

_log = logging.getLogger("otelbridge.loader")

FLOOD_BYTES = 64 << 10  # messages of one run from which on their cost is watched
FLOOD_NS = 2_000_000  # how long a guest's messages may keep others from their turn
FLUSH_SECONDS = 0.05  # how long a line may wait in the ring of a guest that waits or computes

_PULL = frame(["pull"])


class JsRun:
    """One invocation. `on_end(run)` is called once, when it ended, with `outcome`, `status` and `reusable` set."""

    # What few invocations change stands here once for all.
    outcome = "ok"
    status: int | None = None
    response_bytes = 0
    reusable = True
    pass_through = False
    ended = False
    end_ns = 0
    last_entries = b""  # ring bytes that no part has yet
    _pending: Pending | None = None
    _made: Operations | None = None
    _forwards = False
    _result: bytes | None = None
    _wake: asyncio.Future[None] | None = None
    _task: asyncio.Task[None] | None = None
    _expiry: asyncio.TimerHandle | None = None
    _error: WorkerError | None = None
    _left: str | None = None
    _aborted = False
    _closing: asyncio.Task[None] | None = None
    _body: BodyStream | None = None  # of a response that streams
    _done = False

    def __init__(
        self,
        *,
        instance: JsInstance,
        recorder: Recorder,
        operations: Callable[[], Operations],
        meter: Meter,
        wall_seconds: float,
        on_end: Callable[[JsRun], None],
        earlier: bytes = b"",
        until_end: bool = False,
        forward: Callable[[], Awaitable[Response]] | None = None,
    ) -> None:
        """`operations`: called once, when the guest first asks for one. `until_end`: the answer is (outcome, bytes), and comes
        with the invocation's end: for triggers. `forward`: where the request goes when the module has no handler for it."""
        self.instance = instance
        self.recorder = recorder
        self.meter = meter
        self._make_operations = operations
        self._on_end = on_end
        self._earlier = earlier  # what the load logged
        self._until_end = until_end
        self._forward = forward
        self._loop = asyncio.get_running_loop()
        self._answer: asyncio.Future[Any] = self._loop.create_future()
        self._inbox: list[bytes] = []
        self._flushed_at = self._loop.time()
        self._deadline = self._flushed_at + wall_seconds

    @property
    def subrequests(self) -> tuple[Subrequest, ...]:
        """What it asked of others."""
        return tuple(self._made.subrequests) if self._made is not None else ()

    @property
    def _operations(self) -> Operations:
        if self._made is None:
            self._made = self._make_operations()
        return self._made

    # ------------------------------------------------------------------------------------------- for the caller

    async def start(self, message: bytes) -> Any:
        """Run the guest with its first message; the Response, or the result of a method. Raises WorkerError."""
        try:
            await self._step(message)
        except Exception as e:
            self._broke(e)
        if not self.ended:
            self._expiry = self._loop.call_at(self._deadline, self._expire)
            self._task = self._loop.create_task(self._drive())
        try:
            return await self._answer
        except asyncio.CancelledError:
            self.leave("canceled")
            raise
        except WorkerError:
            # Its traceback holds this run and the request: held by the run, it would keep them until garbage is collected, bodies and all.
            self._error, self._answer = None, self._loop.create_future()
            self._answer.cancel()
            raise

    def leave(self, outcome: str) -> None:
        """Nobody waits for the answer any more: the handler is left where it is, waitUntil() work goes on."""
        if not self.ended and self._left is None:
            self._left = outcome
            self._post(frame(["abandon", "The client disconnected."]))

    def abort(self) -> None:
        """The bridge stops: end it as soon as it does not compute."""
        self._aborted = True
        if self._wake is not None:
            self._stop_waiting("canceled", STOPPED)

    # --------------------------------------------------------------------------------------------------- driving

    async def _drive(self) -> None:
        try:
            while not self.ended:
                if not self._inbox:
                    if not self._pending and not (self._body is not None and self._body.awaits_pull):
                        self._hung()
                        return
                    self._wake = self._loop.create_future()
                    flush = self._loop.call_later(FLUSH_SECONDS, self.flush)
                    await self._wake
                    self._wake = None
                    flush.cancel()
                    continue
                data, self._inbox = b"".join(self._inbox), []
                await self._step(data)
        except Exception as e:
            self._broke(e)

    async def _step(self, data: bytes) -> None:
        response: Response | None = None
        try:
            if self._task is not None:
                self._between_slices()  # _expire() or abort() may have come while it computed, and then it was quick
            out = await self.instance.run(data, self.meter, self._between_slices)
            if len(out) > FLOOD_BYTES:
                response = await self._receive_flood(out)
            else:
                for message, blob in frames(out):
                    response = self._receive(message, blob) or response
        except Stop as stop:
            text = LIMIT_TEXTS.get(stop.outcome)
            # A trap's stack is that of the engine: of no use to the worker's author.
            self._fail(stop.outcome, WorkerError("Error", text) if text else WorkerError(stop.name, stop.message))
            return
        except BadMessage as e:
            self._fail("exception", WorkerError("Error", f"The worker sent a message that can't be read: {e}."))
            return
        except asyncio.CancelledError:
            self._fail("canceled", WorkerError("AbortError", "The call was canceled."), record=False)
            raise
        if response is not None and not self._answer.done():
            self._answer.set_result(response)
        # Before the caller runs on: what was logged so far is in the spool before the first byte of the response goes out.
        if self._done:
            if self._forwards:
                await self._forward_request()
            self._finish()
        elif response is not None:
            self.flush()

    async def _forward_request(self) -> None:
        """How the invocation ended is known only when the outbound has answered."""
        assert self._forward is not None
        try:
            async with asyncio.timeout_at(self._deadline):
                response = await self._forward()
        except WorkerError as e:
            self.outcome, self._error = "exception", e
        except TimeoutError:
            self._fail("exceededWallTime", WorkerError("Error", LIMIT_TEXTS["exceededWallTime"]))
        except asyncio.CancelledError:
            self._fail("canceled", WorkerError("AbortError", "The call was canceled."), record=False)
            raise
        else:
            self._error = None
            if self._answer.done():  # whoever asked has left
                await response.aclose()
            else:
                self._answer.set_result(response)

    async def _receive_flood(self, out: bytes) -> Response | None:
        """Take many messages: what they cost counts as the guest's CPU time, and others get their turns in between."""
        response: Response | None = None
        started = time.thread_time_ns()
        for message, blob in frames(out):
            response = self._receive(message, blob) or response
            spent = time.thread_time_ns() - started
            if spent > FLOOD_NS:
                self.meter.cpu_ns += spent
                if self.meter.exhausted:
                    raise Stop("exceededCpu", "Error", LIMIT_TEXTS["exceededCpu"])
                self._between_slices()
                await asyncio.sleep(0)
                if self.ended:
                    break
                started = time.thread_time_ns()
        return response

    def _between_slices(self) -> None:
        now = self._loop.time()
        if self._aborted:
            raise Stop("canceled", "Error", STOPPED)
        if now > self._deadline:
            raise Stop("exceededWallTime", "Error", LIMIT_TEXTS["exceededWallTime"])
        if self.meter.exhausted:  # by what the host computed for it, while its own slices were short
            raise Stop("exceededCpu", "Error", LIMIT_TEXTS["exceededCpu"])
        if now > self._flushed_at + 2 * FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Record what the guest logged since the last time, while it waits or computes."""
        if self.ended:
            return
        self._flushed_at = self._loop.time()
        entries, self._earlier = self._earlier + self.instance.read_ring(), b""
        if entries:
            self.recorder.record(entries)

    def _post(self, data: bytes) -> None:
        self._inbox.append(data)
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    def _expire(self) -> None:
        """The wall clock ran out while the guest waits; one that computes is stopped between its slices."""
        if self._wake is not None:
            self._stop_waiting("exceededWallTime", LIMIT_TEXTS["exceededWallTime"])

    def _stop_waiting(self, outcome: str, text: str) -> None:
        self._fail(outcome, WorkerError("Error", text))
        if self._wake is not None and not self._wake.done():
            self._wake.set_result(None)

    # ------------------------------------------------------------------------------------- the guest's messages

    def _receive(self, message: list[Any], blob: bytes) -> Response | None:
        kind = message[0]
        if kind == "op" and len(message) == 5:
            self._operation().begin(message[1], str(message[2]), message[3], message[4], blob)
        elif kind == "cancel" and len(message) == 2:
            self._operation().cancel(message[1])
        elif kind == "response" and len(message) == 6:
            self._done = message[5] is True
            return self._respond(message[1], message[3], message[4], blob)
        elif kind == "body" and self._body is not None:
            if self._body.awaits_pull:  # else a guest beyond the prelude could fill the host's memory
                raise BadMessage("it is a piece of the body that nobody asked for yet")
            self.response_bytes += len(blob)
            self._body.put(blob)
        elif kind == "end" and self._body is not None:
            self._body.end()
        elif kind == "broken" and len(message) == 4:
            self.outcome = "exception"
            if self._body is not None:
                self._body.break_off(error_of(message, self.recorder))
        elif kind == "result":
            if self._until_end:
                self._result = blob
            elif not self._answer.done():
                self._answer.set_result(blob)
        elif kind == "thrown" and len(message) == 5:
            self.outcome = "exception"
            if self._until_end:
                self._result = blob
            self.pass_through = message[4] is True
            self._error = error_of(message, self.recorder)
        elif kind == "drop" and len(message) == 2 and type(message[1]) is int:
            self._operation().drop(message[1])
        elif kind == "forward":
            self._forwards = self._forward is not None and not self._operations.blocked
            if not self._forwards:
                self.pass_through, self.outcome = True, "exception"
            self._error = WorkerError("Error", "Worker has no default entrypoint.")
        elif kind == "done":
            self._done = True
            if len(message) > 1 and message[1]:
                self.outcome = "exception"
        return None

    def _operation(self) -> Pending:
        if self._pending is None:
            self._pending = Pending(self._operations, self._loop, self._post)
        return self._pending

    def _respond(self, status: Any, headers: Any, body: Any, blob: bytes) -> Response | None:
        if self._answer.done() or self._left is not None:
            return None
        try:
            pairs = response_headers(status, headers)
            if body == 2:
                self._body = BodyStream(self._pull)
                response = Response(self._body.chunks(), status, pairs, close=self._close_body)
            else:
                self.response_bytes = len(blob)
                response = Response(blob if body == 1 else None, status, pairs)
            response.invocation_id, response.trace_id = self.recorder.invocation_id, self.recorder.trace_id
        except (TypeError, ValueError) as e:
            self._fail("exception", WorkerError("TypeError", f"The worker's response is not valid HTTP: {e}"))
            return None
        self.status = status
        return response

    # --------------------------------------------------------------------------------------------- response body

    def _pull(self) -> None:
        if not self.ended:
            self._post(_PULL)

    async def _close_body(self) -> None:
        if self._body is not None and self._body.open:
            self.leave("responseStreamDisconnected" if self._body.read_any else "canceled")

    # ---------------------------------------------------------------------------------------------------- ending

    def _hung(self) -> None:
        """Nothing that could wake the guest is outstanding, and it is not done."""
        self.reusable = False
        waits_for_answer = not self._answer.done() and self._left is None
        if waits_for_answer or (self._body is not None and not self._body.ended and self._left is None):
            self._fail("exception", WorkerError("Error", HUNG))
        else:  # only waitUntil() promises that never settle
            self._finish(b"" if self._left is not None else pack_exception("Error", HUNG, None))

    def _broke(self, e: Exception) -> None:
        """A defect of ours must not leave a caller waiting for ever, nor its instance in use."""
        worker_id = self.recorder.worker.worker_id
        _log.error("an invocation of worker %s failed by a fault of otelbridge", worker_id, exc_info=e, extra={"worker_id": worker_id})
        self._fail("internalError", WorkerError("Error", f"internal error: {type(e).__name__}: {e}"))

    def _fail(self, outcome: str, error: WorkerError, *, record: bool = True) -> None:
        if self.ended:
            return
        self.outcome = outcome
        self.reusable = False
        self._error = error
        self._finish(pack_exception(error.name, error.message, error.stack) if record else b"")

    def _finish(self, last: bytes = b"") -> None:
        if self.ended:
            return
        self.ended = True
        if self._until_end and self._result is not None and self.outcome in ("ok", "exception") and not self._answer.done():
            self._answer.set_result((self.outcome, self._result))
        if not self._answer.done() and self._error is None and self._left is None:  # it says "done" and gave no answer
            self._error = WorkerError("Error", HUNG)
            self.outcome, self.reusable = "exception", False
            last = pack_exception("Error", HUNG, None)
        if self._left is not None and self.outcome == "ok":
            self.outcome = self._left
        if self._expiry is not None:
            self._expiry.cancel()
        if self._pending is not None:
            self._pending.close()
        if self._made is not None and self._made.has_streams:
            self._closing = self._loop.create_task(self._made.aclose())
        self.last_entries = self._earlier + self.instance.read_ring() + last
        self.end_ns = time.time_ns()
        self._on_end(self)
        error = self._error
        if error is not None:
            error.outcome = self.outcome
            error.invocation_id, error.trace_id = self.recorder.invocation_id, self.recorder.trace_id
            if self._body is not None:
                self._body.break_off(error)
            if not self._answer.done():
                self._answer.set_exception(error)
                self._answer.exception()  # seen: nobody is left to ask for it when the caller was cancelled
        elif not self._answer.done() and self._left is not None:
            self._answer.cancel()
        if self._body is not None:
            self._body.end()
