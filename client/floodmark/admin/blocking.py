"""The same calls of administration for programs without an event loop: ``floodmark.sync.Client``."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any, Protocol, TypeVar, Unpack

from floodmark.admin import acls, quotas
from floodmark.admin.acls import Acl, AclDecision, OfAcls
from floodmark.admin.quotas import Quota, QuotaLimits

T = TypeVar("T")


class Wait(Protocol):
    """Runs work on the client's loop, and waits for it."""

    def __call__(self, work: Coroutine[Any, Any, T]) -> T:
        """Returns or raises what it comes to."""


class Acls:
    """See ``floodmark.admin.acls.Acls``."""

    def __init__(self, wait: Wait, of: acls.Acls) -> None:
        self._wait = wait
        self._acls = of

    def list(self, *, timeout_s: float | None = None, **which: Unpack[OfAcls]) -> Sequence[Acl]:
        """The entries that are meant, in order of principal."""
        return self._wait(self._acls.list(timeout_s=timeout_s, **which))

    def add(self, entries: Sequence[Acl], *, timeout_s: float | None = None) -> int:
        """Have these entries from now on; returns how many were not there before."""
        return self._wait(self._acls.add(entries, timeout_s=timeout_s))

    def remove(self, *, timeout_s: float | None = None, **which: Unpack[OfAcls]) -> Sequence[Acl]:
        """Remove the entries that are meant, and say which they were."""
        return self._wait(self._acls.remove(timeout_s=timeout_s, **which))

    def check(
        self, principal: str, operation: str, kind: str, name: str = "", *, timeout_s: float | None = None
    ) -> AclDecision:
        """Whether a principal may do this, and which entry decides."""
        return self._wait(self._acls.check(principal, operation, kind, name, timeout_s=timeout_s))


class Quotas:
    """See ``floodmark.admin.quotas.Quotas``."""

    def __init__(self, wait: Wait, of: quotas.Quotas) -> None:
        self._wait = wait
        self._quotas = of

    def list(self, *, timeout_s: float | None = None) -> Sequence[Quota]:
        """All of them, in order of principal."""
        return self._wait(self._quotas.list(timeout_s=timeout_s))

    def set(self, principal: str, limits: QuotaLimits, *, timeout_s: float | None = None) -> Quota:
        """These are the principal's limits from now on."""
        return self._wait(self._quotas.set(principal, limits, timeout_s=timeout_s))

    def remove(self, principal: str, *, timeout_s: float | None = None) -> None:
        """The principal has no quota of its own any more."""
        self._wait(self._quotas.remove(principal, timeout_s=timeout_s))
