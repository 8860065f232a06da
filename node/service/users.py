"""Requests about users."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, ClassVar, Final

import msgspec

from node.broker import UserInfo
from node.metadata.levels import SECURITY
from node.metadata.state import Verifier
from node.service.policy import Operation
from node.service.request_context import ANONYMOUS, RequestContext
from node.service.requests import Request

if TYPE_CHECKING:
    from node.service.service import Service

LIMIT_MAX: Final = 1_000
Verifiers = Annotated[tuple[Verifier, ...], msgspec.Meta(max_length=2)]


class UserList(msgspec.Struct, frozen=True):
    """Users in order of name. ``next``: ask for those after this name; null at the end."""

    users: list[UserInfo]
    next: str | None


class ListUsers(Request[UserList], frozen=True, kw_only=True):
    """A page of the users."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    prefix: str = ""
    after: str = ""
    limit: int = LIMIT_MAX

    async def execute(self, at: Service, context: RequestContext) -> UserList:
        """As of after the call began, whichever node is asked."""
        await at.broker.catch_up(timeout_s=context.left_s())
        found = at.broker.users.page(prefix=self.prefix, after=self.after, limit=self.limit + 1)
        shown = found[: self.limit]
        return UserList(shown, shown[-1].user if len(found) > self.limit else None)


class DescribeUser(Request[UserInfo], frozen=True, kw_only=True):
    """One user. Users may ask for themselves."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    user: str

    def is_own(self, context: RequestContext) -> bool:
        """See ``Request``."""
        return is_own(self.user, context)

    async def execute(self, at: Service, context: RequestContext) -> UserInfo:
        """As of after the call began, whichever node is asked."""
        await at.broker.catch_up(timeout_s=context.left_s())
        return at.broker.users.show(self.user)


class CreateUser(Request[UserInfo], frozen=True, kw_only=True):
    """A new user. Its password came no further than the node where the request arrived."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    user: str
    verifiers: Verifiers = ()
    administrator: bool = False

    def is_for_administrators(self, at: Service) -> bool:  # noqa: ARG002
        """See ``Request``."""
        return self.administrator

    async def execute(self, at: Service, context: RequestContext) -> UserInfo:
        """See ``Broker.users``."""
        return await at.broker.users.create(
            self.user, self.verifiers, administrator=self.administrator, timeout_s=context.left_s()
        )


class DeleteUser(Request[None], frozen=True, kw_only=True):
    """Delete a user and its tokens."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    user: str

    def is_for_administrators(self, at: Service) -> bool:
        """See ``Request``."""
        return at.broker.users.is_administrator(self.user)

    async def execute(self, at: Service, context: RequestContext) -> None:
        """See ``Broker.users``."""
        await at.broker.users.delete(self.user, timeout_s=context.left_s())


class SetPassword(Request[UserInfo], frozen=True, kw_only=True):
    """Another password, or none. Users may change their own."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    user: str
    verifiers: Verifiers

    def is_own(self, context: RequestContext) -> bool:
        """See ``Request``."""
        return is_own(self.user, context)

    def is_for_administrators(self, at: Service) -> bool:
        """See ``Request``."""
        return at.broker.users.is_administrator(self.user)

    async def execute(self, at: Service, context: RequestContext) -> UserInfo:
        """See ``Broker.users``."""
        return await at.broker.users.set_password(self.user, self.verifiers, timeout_s=context.left_s())


class SetAdministrator(Request[UserInfo], frozen=True, kw_only=True):
    """Make a user an administrator, who may do everything, or a user like the others."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    user: str
    administrator: bool

    def is_for_administrators(self, at: Service) -> bool:  # noqa: ARG002
        """See ``Request``."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> UserInfo:
        """See ``Broker.users``."""
        return await at.broker.users.set_administrator(
            self.user, administrator=self.administrator, timeout_s=context.left_s()
        )


class ResetAdministrator(Request[None], frozen=True, kw_only=True):
    """Asked by a node whose operator has reset the administrator on its disk; no door offers it."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    user: str
    token_id: str
    digest: bytes
    last_characters: str

    def is_for_administrators(self, at: Service) -> bool:  # noqa: ARG002
        """See ``Request``."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> None:
        """See ``Broker.users``."""
        await at.broker.users.reset_administrator(
            self.user, self.token_id, self.digest, self.last_characters, timeout_s=context.left_s()
        )


def is_own(user: str, context: RequestContext) -> bool:
    """Whether a request is the user's own."""
    return context.principal == user and user != ANONYMOUS
