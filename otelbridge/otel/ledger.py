"""The loss ledger: emitted = delivered + queued + rejected + dropped, for each worker, at every moment.

A record is emitted when it is read from the spool and stays queued until its fate is known. Counts change by deltas,
which go into the journal together with the position they belong to: after any kill both are read back as one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

__all__ = ["REJECTED", "Account", "Ledger", "total"]

REJECTED = "rejected"
_FOLDED = "(others)"


class Account(msgspec.Struct, array_like=True):
    """One line. Queued is what is left."""

    emitted: int = 0
    delivered: int = 0
    rejected: int = 0
    dropped: dict[str, int] = {}

    @property
    def queued(self) -> int:
        return self.emitted - self.delivered - self.rejected - sum(self.dropped.values())

    def add(self, other: Account) -> None:
        self.emitted += other.emitted
        self.delivered += other.delivered
        self.rejected += other.rejected
        for reason, count in other.dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def to_json(self) -> dict[str, Any]:
        """The shape of design.md: L."""
        return {
            "emitted": self.emitted,
            "delivered": self.delivered,
            "queued": self.queued,
            "rejected": self.rejected,
            "dropped": {reason: count for reason, count in sorted(self.dropped.items()) if count},
        }


class Ledger:
    """Accounts by worker id. Beyond `max_workers`, settled accounts are folded into one, so that totals stay exact."""

    def __init__(self, *, max_workers: int = 10_000) -> None:
        self.accounts: dict[str, Account] = {}
        self._max = max_workers
        self._changes: dict[str, Account] = {}

    def emit(self, worker_id: str, count: int) -> None:
        if count:
            self._account(worker_id).emitted += count
            self._change(worker_id).emitted += count

    def deliver(self, worker_id: str, count: int) -> None:
        if count:
            self._account(worker_id).delivered += count
            self._change(worker_id).delivered += count

    def reject(self, worker_id: str, count: int) -> None:
        if count:
            self._account(worker_id).rejected += count
            self._change(worker_id).rejected += count

    def drop(self, worker_id: str, reason: str, count: int) -> None:
        for account in (self._account(worker_id), self._change(worker_id)) if count else ():
            account.dropped[reason] = account.dropped.get(reason, 0) + count

    def settle(self, worker_id: str, reason: str | None, count: int) -> None:
        """Records have met their fate: None is delivered, REJECTED refused, anything else why they were dropped."""
        if reason is None:
            self.deliver(worker_id, count)
        elif reason == REJECTED:
            self.reject(worker_id, count)
        else:
            self.drop(worker_id, reason, count)

    def move(self, worker_id: str, before: str, after: str | None, count: int) -> None:
        """Records that counted as lost for the reason `before` have met another fate. No more than there are: a kill may
        have let the same letter be sent twice."""
        for owner in (worker_id, _FOLDED):
            account = self.accounts.get(owner, Account())
            moved = min(account.rejected if before == REJECTED else account.dropped.get(before, 0), count)
            self.settle(owner, before, -moved)
            self.settle(owner, after, moved)
            count -= moved

    def _account(self, worker_id: str) -> Account:
        account = self.accounts.get(worker_id)
        if account is None:
            if len(self.accounts) >= self._max:
                self._fold()
            account = self.accounts[worker_id] = Account()
        return account

    def _change(self, worker_id: str) -> Account:
        """The note of what has changed in an account. After _account(), which may fold it away."""
        change = self._changes.get(worker_id)
        if change is None:
            change = self._changes[worker_id] = Account()
        return change

    def _fold(self) -> None:
        """Fold the settled accounts into one, the half that came first."""
        settled = [w for w, a in self.accounts.items() if not a.queued and w not in ("", _FOLDED) and w not in self._changes]
        folded = self.accounts.setdefault(_FOLDED, Account())
        changed = self._changes.setdefault(_FOLDED, Account())
        for worker_id in settled[: self._max // 2]:
            account = self.accounts.pop(worker_id)
            folded.add(account)
            changed.add(account)
            self._changes[worker_id] = _negative(account)

    def take_changes(self) -> dict[str, Account]:
        """What changed since the last call, for the journal."""
        changes, self._changes = self._changes, {}
        return changes

    def give_back(self, changes: Mapping[str, Account]) -> None:
        """The journal could not take these: they are still to be noted."""
        for worker_id, change in changes.items():
            self._changes.setdefault(worker_id, Account()).add(change)

    def restore(self, changes: Mapping[str, Account]) -> None:
        """Read back what a journal noted."""
        for worker_id, change in changes.items():
            account = self.accounts.setdefault(worker_id, Account())
            account.add(change)
            if account.emitted == 0 and account.queued == 0:
                del self.accounts[worker_id]


def total(accounts: Iterable[Account]) -> Account:
    """The sum of accounts."""
    out = Account()
    for account in accounts:
        out.add(account)
    return out


def _negative(account: Account) -> Account:
    dropped = {reason: -count for reason, count in account.dropped.items()}
    return Account(-account.emitted, -account.delivered, -account.rejected, dropped)
