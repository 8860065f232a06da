"""Requests about tokens, and logging in."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec
from floodmark.errors import InvalidRequest, Unauthorized

from node.broker import CreatedToken, TokenInfo
from node.metadata.levels import SECURITY
from node.service.policy import Operation
from node.service.request_context import RequestContext
from node.service.requests import Request, Served
from node.service.users import is_own

if TYPE_CHECKING:
    from node.service.service import Service

LIFETIME_MS_MAX: Final = 100 * 366 * 86_400_000


class TokenList(msgspec.Struct, frozen=True):
    """A user's valid tokens, the oldest first."""

    tokens: list[TokenInfo]


class ListTokens(Request[TokenList], frozen=True, kw_only=True):
    """A user's tokens, without their secrets. Users may see their own."""

    operation: ClassVar[Operation] = Operation.DESCRIBE

    user: str

    def is_own(self, context: RequestContext) -> bool:
        """See ``Request``."""
        return is_own(self.user, context)

    async def execute(self, at: Service, context: RequestContext) -> TokenList:
        """As of after the call began, whichever node is asked."""
        await at.broker.catch_up(timeout_s=context.left_s())
        return TokenList(at.broker.users.tokens(self.user))


class CreateToken(Request[CreatedToken], frozen=True, kw_only=True):
    """A new token of a user, whose secret only the answer has. Users may make their own."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    user: str
    lifetime_ms: int | None = None

    def is_own(self, context: RequestContext) -> bool:
        """See ``Request``."""
        return is_own(self.user, context)

    def check(self) -> None:
        """Raises ``InvalidRequest``."""
        if self.lifetime_ms is not None and not 1 <= self.lifetime_ms <= LIFETIME_MS_MAX:
            raise InvalidRequest(f"a token is valid for 1 to {LIFETIME_MS_MAX} ms, not {self.lifetime_ms}")

    def is_for_administrators(self, at: Service) -> bool:
        """See ``Request``."""
        return at.broker.users.is_administrator(self.user)

    async def execute(self, at: Service, context: RequestContext) -> CreatedToken:
        """See ``Broker.users``."""
        return await at.broker.users.create_token(
            self.user, lifetime_ms=self.lifetime_ms, timeout_s=context.left_s()
        )


class RevokeToken(Request[None], frozen=True, kw_only=True):
    """Revoke a token. Users may revoke their own."""

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    user: str
    token_id: str

    def is_own(self, context: RequestContext) -> bool:
        """See ``Request``."""
        return is_own(self.user, context)

    def is_for_administrators(self, at: Service) -> bool:
        """See ``Request``."""
        return at.broker.users.is_administrator(self.user)

    async def execute(self, at: Service, context: RequestContext) -> None:
        """See ``Broker.users``."""
        await at.broker.users.revoke_token(self.user, self.token_id, timeout_s=context.left_s())


class CreateLogin(Request[CreatedToken], frozen=True, kw_only=True):
    """A token for a user whose password was checked where the request arrived.

    ``salt``: of the verifier that the password fitted, so that a password changed meanwhile gives no token.
    """

    operation: ClassVar[Operation] = Operation.ALTER
    at_metadata_leader: ClassVar[bool] = True
    needs_level: ClassVar[int] = SECURITY

    user: str
    salt: bytes

    def is_own(self, context: RequestContext) -> bool:  # noqa: ARG002
        """Whoever knows the password may: it was checked before."""
        return True

    async def execute(self, at: Service, context: RequestContext) -> CreatedToken:
        """See ``Broker.users``."""
        return await at.broker.users.create_login(self.user, self.salt, timeout_s=context.left_s())


async def log_in(service: Service, context: RequestContext, user: str, password: str) -> Served[CreatedToken]:
    """Exchange a password for a token. The password goes to no other node.

    Raises Unauthorized for a wrong password, an unknown user and one without a password, all alike;
    TooManyRequests; and what ``Service.ask`` raises.
    """
    passwords = service.passwords
    passwords.by_address.count(context.address)
    passwords.by_user.count(user)
    await service.broker.catch_up(timeout_s=context.left_s())
    fitting = await passwords.matching(password, service.broker.users.verifiers(user))
    if fitting is None:
        wrong = Unauthorized("the user or the password is wrong")
        service.failed_login(context, user, wrong)
        raise wrong
    return await service.ask(context, CreateLogin(user=user, salt=fitting.salt))
