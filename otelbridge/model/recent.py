"""A bounded memory of the newest things, by name."""

from __future__ import annotations

from typing import Generic, TypeVar

__all__ = ["Recent"]

_Value = TypeVar("_Value")


class Recent(Generic[_Value]):
    """Holds at least the newest `most` values, and at most twice as many: an older half goes as a whole, so that letting
    go of one costs nothing when one is put in."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._young: dict[str, _Value] = {}
        self._old: dict[str, _Value] = {}

    def __len__(self) -> int:
        return len(self._young) + sum(key not in self._young for key in self._old)

    def get(self, key: str) -> _Value | None:
        """The value that was put in under a name, None when there was none or it is known no longer."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def put(self, key: str, value: _Value) -> None:
        """Remember a value, the newest one now."""
        young = self._young
        young[key] = value
        if len(young) >= self._most:
            self._old, self._young = young, {}
