"""Who may do what: list, add and remove entries, and ask what they come to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, TypedDict, Unpack

import msgspec

from floodmark.admin.calls import Calls
from floodmark.transport.http import Transport

_PATH: Final = "/v1/acls"


class Acl(msgspec.Struct, frozen=True, kw_only=True):
    """One entry. ``principal``: a user, ``*`` for every authenticated one, or ``anonymous``."""

    principal: str
    kind: str
    """``topic``, ``group``, ``stream``, ``queue`` or ``cluster``."""
    name: str = ""
    """Empty for the cluster; with the pattern ``prefix``, for every resource of the kind."""
    pattern: str = "literal"
    """``literal`` or ``prefix``: how ``name`` is meant."""
    operation: str
    """``read``, ``write``, ``create``, ``alter``, ``delete``, ``describe`` or ``all``."""
    allow: bool = True
    """False: the operation is denied, whatever else allows it."""


class AclDecision(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a principal may do something, and why."""

    allowed: bool
    reason: str
    acl: Acl | None = None
    """The entry that decides; None where none does."""


class OfAcls(TypedDict, total=False):
    """Which entries are meant: those that have all that is given."""

    principal: str
    kind: str
    name: str
    pattern: str
    operation: str
    allow: bool


class Acls:
    """``client.acls``. Each call takes ``timeout_s``, by default the client's own.

    Whoever calls may describe the cluster (``list``, ``check``) or alter it (``add``, ``remove``); others get
    ``Forbidden``.
    """

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._calls = Calls(transport, timeout_s)

    async def list(self, *, timeout_s: float | None = None, **which: Unpack[OfAcls]) -> Sequence[Acl]:
        """The entries that are meant, in order of principal; without any condition all."""
        answer = await self._calls.call("GET", _PATH, query=_query(which), timeout_s=timeout_s)
        return answer.convert(_Acls).acls

    async def add(self, acls: Sequence[Acl], *, timeout_s: float | None = None) -> int:
        """Have these entries, up to 1,000, from now on: all or none. Returns how many were not there before.

        Where an answer was lost on the way, those that this call has made are not among them. Raises
        ``InvalidRequest``, ``FeatureLevelNeeded``, and ``Conflict`` where there are too many entries.
        """
        answer = await self._calls.call("POST", _PATH, {"acls": list(acls)}, timeout_s=timeout_s)
        return answer.convert(_Added).added

    async def remove(self, *, timeout_s: float | None = None, **which: Unpack[OfAcls]) -> Sequence[Acl]:
        """Remove the entries that are meant, and say which they were.

        Where an answer was lost on the way, those that are gone already are not among them. Raises
        ``InvalidRequest`` without any condition.
        """
        answer = await self._calls.call("DELETE", _PATH, query=_query(which), timeout_s=timeout_s)
        return answer.convert(_Acls).acls

    async def check(
        self, principal: str, operation: str, kind: str, name: str = "", *, timeout_s: float | None = None
    ) -> AclDecision:
        """Whether a principal may do this, and which entry decides."""
        asked = {"principal": principal, "operation": operation, "kind": kind, "name": name}
        answer = await self._calls.call("GET", f"{_PATH}/check", query=asked, timeout_s=timeout_s)
        return answer.convert(AclDecision)


class _Acls(msgspec.Struct):
    acls: list[Acl]


class _Added(msgspec.Struct):
    added: int


def _query(which: OfAcls) -> dict[str, str]:
    words = {True: "true", False: "false"}
    return {name: words[value] if isinstance(value, bool) else str(value) for name, value in which.items()}
