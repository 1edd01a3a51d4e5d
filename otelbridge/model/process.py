"""The processes of a service, as the API shows them."""

from __future__ import annotations

from typing import Literal

import msgspec

__all__ = ["ProcessState", "Role", "State"]

Role = Literal["supervisor", "loader", "hub", "all"]
State = Literal["starting", "running", "stopping", "waiting", "ended"]


class ProcessState(msgspec.Struct, frozen=True, rename="camel"):
    """One process. `state` is waiting when it crashed again and again and is not started anew before `retry_seconds` are over.

    `restarts`: how often it was started anew without being asked to end; `since`: when its present state began (RFC 3339).
    """

    name: str
    role: Role
    state: State
    since: str
    pid: int | None = None
    restarts: int = 0
    retry_seconds: float | None = None
    last_end: str = ""  # how it ended the last time, when nobody had asked it to

    @property
    def trouble(self) -> str | None:
        """What is wrong with it, in words."""
        if self.state == "waiting":
            return f"{self.name} {self.last_end} again and again ({self.restarts} restarts) and starts anew in {self.retry_seconds:g} s"
        if self.restarts and self.state == "starting":
            return f"{self.name} {self.last_end} and is starting anew"
        return None
