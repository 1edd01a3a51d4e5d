"""The epoch clock: a thread that makes running guests yield every few milliseconds, and sleeps while none runs."""

from __future__ import annotations

import threading
import time

from otelbridge.sandbox.wasm import increment_epoch

__all__ = ["Ticker"]

# Rounds without a guest before the thread goes to sleep. Waking it costs about 50 us, so it does not sleep at once.
QUIET_ROUNDS = 25


class Ticker:
    """Counts an engine's epochs. `busy` is written by whoever runs a slice; `asleep` says that wake() is needed.

    The tick comes from a thread of its own, because the thread that runs the guest can't do it (wasmtime-py #126).
    """

    __slots__ = ("_closed", "_engine", "_event", "_thread", "_tick_s", "asleep", "busy")

    def __init__(self, engine: int, *, tick_ms: float) -> None:
        self._engine = engine
        self._tick_s = tick_ms / 1000
        self._event = threading.Event()
        self._thread: threading.Thread | None = None
        self._closed = False
        self.busy = False
        self.asleep = True

    def wake(self) -> None:
        """Let the epochs go on. Call it after `busy` was set: the thread looks at that before it sleeps."""
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._run, name="otelbridge-epochs", daemon=True)
            self._thread.start()
        self.asleep = False
        self._event.set()

    def _run(self) -> None:
        quiet = 0
        while not self._closed:
            if quiet >= QUIET_ROUNDS:
                self._event.clear()
                self.asleep = True
                # A guest that began in between has seen `asleep` and set the event, and so has close(), maybe before clear().
                if not self.busy and not self._closed:
                    self._event.wait()
                self.asleep = False
                quiet = 0
            time.sleep(self._tick_s)
            increment_epoch(self._engine)
            quiet = 0 if self.busy else quiet + 1

    def close(self) -> None:
        """Stop the thread. The engine must live until this returns. Idempotent."""
        self._closed = True
        self._event.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
