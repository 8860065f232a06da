"""Access control lists as this node's metadata have them."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Protocol

from node.broker import Acl, AclDecision
from node.metadata.command import Command
from node.metadata.domains.acls import ACLS_AT_ONCE_MAX, AddAcls, RemoveAcls, check_acl
from node.metadata.state import AclEntry, Applied, MetadataState
from node.security.access_policy import decided


class _Metadata(Protocol):
    @property
    def state(self) -> MetadataState: ...

    async def propose(self, command: Command, *, timeout_s: float) -> Applied: ...


class LocalAcls:
    """Implements ``node.broker.AclAdmin``."""

    def __init__(self, metadata: _Metadata) -> None:
        self._metadata = metadata

    def check(self, acl: Acl) -> None:
        """As the metadata takes it."""
        refused = check_acl(_entry(acl))
        if refused is not None:
            raise refused

    def entries(self) -> Sequence[Acl]:
        """See ``AclAdmin``."""
        return [_shown(entry) for entry in self._metadata.state.acls]

    async def add(self, acls: Sequence[Acl], *, timeout_s: float) -> int:
        """What is there already stays."""
        return await self._change(AddAcls, acls, timeout_s)

    async def remove(self, acls: Sequence[Acl], *, timeout_s: float) -> int:
        """What is not there stays away."""
        return await self._change(RemoveAcls, acls, timeout_s)

    def decide(self, principal: str, operation: str, kind: str, name: str) -> AclDecision:
        """See ``AclAdmin``."""
        allowed, reason, entry = decided(self._metadata.state, principal, operation, kind, name)
        return AclDecision(allowed=allowed, reason=reason, acl=None if entry is None else _shown(entry))

    async def _change(
        self, command: Callable[[tuple[AclEntry, ...]], Command], acls: Sequence[Acl], timeout_s: float
    ) -> int:
        """Many take several commands. Each may be repeated: an entry is there once, or not at all."""
        until = time.monotonic() + timeout_s
        entries = [_entry(acl) for acl in acls]
        changed = 0
        for begin in range(0, max(1, len(entries)), ACLS_AT_ONCE_MAX):
            some = command(tuple(entries[begin : begin + ACLS_AT_ONCE_MAX]))
            count = await self._metadata.propose(some, timeout_s=max(0.0, until - time.monotonic()))
            assert isinstance(count, int), "a number of entries"
            changed += count
        return changed


def _entry(acl: Acl) -> AclEntry:
    return AclEntry(acl.principal, acl.kind, acl.pattern, acl.name, acl.operation, acl.allow)


def _shown(entry: AclEntry) -> Acl:
    return Acl(
        principal=entry.principal,
        kind=entry.kind,
        name=entry.name,
        pattern=entry.pattern,
        operation=entry.operation,
        allow=entry.allow,
    )
