"""How a guest's run ends when it does not return: Stop, and what a trap means."""

from __future__ import annotations

from otelbridge.sandbox.wasm import Frame, Trap

__all__ = ["CPU_STOP", "MEMORY_STOP", "Meter", "Stop", "from_trap"]


class Meter:
    """What one invocation may use and has used. `cpu_ns`: thread CPU time of its slices; `cpu_limit_ns` 0: no limit."""

    __slots__ = ("cpu_limit_ns", "cpu_ns", "slices")

    def __init__(self, cpu_limit_ns: int = 0) -> None:
        self.cpu_limit_ns = cpu_limit_ns
        self.cpu_ns = 0
        self.slices = 0

    @property
    def exhausted(self) -> bool:
        return 0 < self.cpu_limit_ns < self.cpu_ns

    def __repr__(self) -> str:
        return f"Meter(cpu_ns={self.cpu_ns}, slices={self.slices}, cpu_limit_ns={self.cpu_limit_ns})"


class Stop(Exception):
    """A guest was stopped or failed. `outcome` is one of model.trace's; name, message and stack are what to show."""

    def __init__(self, outcome: str, name: str, message: str, stack: str | None = None) -> None:
        super().__init__(f"{name}: {message}")
        self.outcome = outcome
        self.name = name
        self.message = message
        self.stack = stack


# workerd's words, so that what people search for is found here too.
CPU_STOP = ("exceededCpu", "Error", "Worker exceeded CPU time limit.")
MEMORY_STOP = ("exceededMemory", "Error", "Worker exceeded memory limit.")


def from_trap(trap: Trap, *, out_of_memory: bool = False, shift: int = 0) -> Stop:
    """What a trap means for the invocation.

    `out_of_memory`: the guest had reached its memory limit. `shift`: how many bytes the instrumented module's code
    lies behind the one the tenant sent; offsets in the stack refer to theirs.
    """
    if trap.code == "INTERRUPT":
        return Stop(*CPU_STOP)
    if out_of_memory or trap.code == "ALLOCATION_TOO_LARGE":
        return Stop(*MEMORY_STOP, stack=_stack("Error: " + MEMORY_STOP[2], trap.frames, shift))
    if trap.code == "STACK_OVERFLOW":
        name, message = "RangeError", "Maximum call stack size exceeded"
    else:
        # V8's class for every trap; a browser or workerd would show the same name.
        name, message = "RuntimeError", _message(trap)
    return Stop("exception", name, message, _stack(f"{name}: {message}", trap.frames, shift))


def _message(trap: Trap) -> str:
    # "wasm trap: wasm `unreachable` instruction executed" reads better without wasmtime's prefix
    return trap.message.rsplit("wasm trap: ", 1)[-1].strip() or "the guest trapped"


def _stack(first: str, frames: tuple[Frame, ...], shift: int) -> str | None:
    if not frames:
        return None
    lines = [first]
    for frame in frames:
        place = f"wasm-function[{frame.function}]:0x{max(frame.offset - shift, 0):x}"
        lines.append(f"    at {frame.name} ({place})" if frame.name else f"    at {place}")
    return "\n".join(lines)
