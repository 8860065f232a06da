"""Access control lists: list, add and remove entries, and say what they come to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec
from floodmark.errors import InvalidRequest

from node.broker import Acl, AclDecision
from node.metadata.domains.acls import ALL, check_members, check_name_of
from node.metadata.levels import QUEUES, SECURITY
from node.service.group_request import check_group
from node.service.policy import Operation, ResourceKind
from node.service.request_context import RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service

ACLS_MAX: Final = 1_000
"""In one request."""
Acls = Annotated[list[Acl], msgspec.Meta(min_length=1, max_length=ACLS_MAX)]


class AclList(msgspec.Struct, frozen=True):
    """Entries, in order of principal."""

    acls: list[Acl]


class AddedAcls(msgspec.Struct, frozen=True):
    """How many of the entries were not there before."""

    added: int


class AclFilter(msgspec.Struct, frozen=True, kw_only=True):
    """The entries that are meant: those that have everything that is given; None: whatever it is."""

    principal: str | None = None
    kind: str | None = None
    name: str | None = None
    pattern: str | None = None
    operation: str | None = None
    allow: bool | None = None

    def matches(self, acl: Acl) -> bool:
        """Whether this entry is meant."""
        return all(
            wanted is None or wanted == getattr(acl, field)
            for field, wanted in ((name, getattr(self, name)) for name in self.__struct_fields__)
        )

    def check(self) -> None:
        """Raises ``InvalidRequest`` where no entry can ever have that: "there is none" would hide a slip."""
        refused = check_members(self.principal, self.kind, self.pattern, self.operation)
        if refused is None and self.name:
            refused = check_name_of(self.kind or ResourceKind.TOPIC, self.name, is_prefix=True)
        if refused is not None:
            raise refused

    @property
    def is_empty(self) -> bool:
        """Whether all entries are meant."""
        return all(getattr(self, name) is None for name in self.__struct_fields__)


class ListAcls(Request[AclList], frozen=True, kw_only=True):
    """The entries that are meant."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    which: AclFilter = AclFilter()

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        self.which.check()

    async def execute(self, at: Service, context: RequestContext) -> AclList:
        """Knows of every change that was acknowledged before."""
        await at.broker.catch_up(timeout_s=context.left_s())
        return AclList(_found(at, self.which))


class AddAcls(Request[AddedAcls], frozen=True, kw_only=True):
    """Have these entries from now on."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    acls: Acls

    async def execute(self, at: Service, context: RequestContext) -> AddedAcls:
        """All or none of them. See ``Broker.acls.add``."""
        for acl in self.acls:
            at.broker.acls.check(acl)
        if any(acl.kind == ResourceKind.QUEUE for acl in self.acls):
            await at.check_level("an entry for queues", QUEUES)
        return AddedAcls(await at.broker.acls.add(self.acls, timeout_s=context.left_s()))


class RemoveAcls(Request[AclList], frozen=True, kw_only=True):
    """Remove the entries that are meant, and say which they were."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    which: AclFilter

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        if self.which.is_empty:
            raise InvalidRequest(
                "say which entries: principal, kind, name, pattern, operation, allow; without any of these "
                "all entries would be removed"
            )
        self.which.check()

    async def execute(self, at: Service, context: RequestContext) -> AclList:
        """See ``Broker.acls.remove``."""
        found = _found(at, self.which)
        if found:
            await at.broker.acls.remove(found, timeout_s=context.left_s())
        return AclList(found)


class DecideAcl(Request[AclDecision], frozen=True, kw_only=True):
    """Whether a principal may do something, and by which entry."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    principal: str
    asked: str
    """The operation."""
    kind: str
    name: str = ""

    def check(self) -> None:
        """Raises ``InvalidRequest`` for what nobody could ask for."""
        if self.asked == ALL:
            raise InvalidRequest(f"ask for one operation: {ALL} is for entries")
        refused = check_members(self.principal, self.kind, operation=self.asked)
        if refused is None and self.kind == ResourceKind.GROUP:
            check_group(self.name)  # Groups have names that no entry has: what is for a prefix decides.
        elif refused is None and not self.name and self.kind != ResourceKind.CLUSTER:
            refused = InvalidRequest(f"which {self.kind}? Say its name, as in name=orders")
        elif refused is None:
            refused = check_name_of(self.kind, self.name, is_prefix=False)
        if refused is not None:
            raise refused

    async def execute(self, at: Service, context: RequestContext) -> AclDecision:
        """Knows of every change that was acknowledged before."""
        await at.broker.catch_up(timeout_s=context.left_s())
        return at.broker.acls.decide(self.principal, self.asked, self.kind, self.name)


def _found(at: Service, which: AclFilter) -> list[Acl]:
    return [acl for acl in at.broker.acls.entries() if which.matches(acl)]
