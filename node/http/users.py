"""Users and their tokens over HTTP, logging in, and who a client is."""

from __future__ import annotations

from typing import Annotated, Final, TypeVar

import msgspec
from aiohttp import web

from node.http.answers import JSON, TIMEOUT, Desk
from node.http.authentication import IDENTITY, NOBODY
from node.http.context import HttpContext
from node.http.document_in import read_document
from node.http.documents import WhoAmI
from node.http.query import capped, query_of
from node.http.request_context import request_context
from node.service.tokens import CreateToken, ListTokens, RevokeToken, log_in
from node.service.users import (
    LIMIT_MAX,
    CreateUser,
    DeleteUser,
    DescribeUser,
    ListUsers,
    SetAdministrator,
    SetPassword,
)

_LISTING: Final = TIMEOUT | {"prefix", "after", "limit"}
_ENCODER = msgspec.json.Encoder()
A = TypeVar("A", CreateUser, SetPassword)


class UserBody(msgspec.Struct, forbid_unknown_fields=True):
    """A new user."""

    user: str
    password: str | None = None
    administrator: bool = False


class PasswordBody(msgspec.Struct, forbid_unknown_fields=True):
    """Another password; null: none."""

    password: str | None


class UserChanges(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be another one."""

    administrator: bool


class TokenBody(msgspec.Struct, forbid_unknown_fields=True):
    """A new token. ``lifetime_ms``: how long it is valid; null: until it is revoked."""

    lifetime_ms: Annotated[int, msgspec.Meta(ge=1)] | None = None


class LoginBody(msgspec.Struct, forbid_unknown_fields=True):
    """Who logs in."""

    user: str
    password: str


_USER = msgspec.json.Decoder(UserBody)
_PASSWORD = msgspec.json.Decoder(PasswordBody)
_CHANGES = msgspec.json.Decoder(UserChanges)
_TOKEN = msgspec.json.Decoder(TokenBody)
_LOGIN = msgspec.json.Decoder(LoginBody)


class Users:
    """The handlers."""

    def __init__(self, context: HttpContext) -> None:
        self._context = context
        self._desk = Desk(context)

    async def list(self, request: web.Request) -> web.StreamResponse:
        """A page of users, in order of name."""
        query = query_of(request, _LISTING)
        limit = capped(query, "limit", default=100, cap=LIMIT_MAX)
        asked = ListUsers(prefix=query.get("prefix", ""), after=query.get("after", ""), limit=limit)
        return await self._desk.show(request, asked, known=_LISTING)

    async def post(self, request: web.Request) -> web.StreamResponse:
        """A new user: 201."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _USER, '{"user": "ann"}')
        asked = CreateUser(user=wanted.user, administrator=wanted.administrator)
        asked = await self._with_password(request, asked, wanted.password)
        served = await self._desk.ask(request, asked, timeout_s=timeout_s, size=size)
        return self._desk.answer(*served, status=201)

    async def get(self, request: web.Request) -> web.StreamResponse:
        """One user."""
        return await self._desk.show(request, DescribeUser(user=request.match_info["user"]))

    async def patch(self, request: web.Request) -> web.StreamResponse:
        """Make a user an administrator, or undo that."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _CHANGES, '{"administrator": true}')
        asked = SetAdministrator(user=request.match_info["user"], administrator=wanted.administrator)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        """Delete a user and its tokens: 204."""
        return await self._desk.show(request, DeleteUser(user=request.match_info["user"]))

    async def password(self, request: web.Request) -> web.StreamResponse:
        """Another password, or none."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = await read_document(request, self._context, _PASSWORD, '{"password": "..."}')
        asked = SetPassword(user=request.match_info["user"], verifiers=())
        asked = await self._with_password(request, asked, wanted.password)
        return self._desk.answer(*await self._desk.ask(request, asked, timeout_s=timeout_s, size=size))

    async def tokens(self, request: web.Request) -> web.StreamResponse:
        """A user's tokens, without their secrets."""
        return await self._desk.show(request, ListTokens(user=request.match_info["user"]))

    async def create_token(self, request: web.Request) -> web.StreamResponse:
        """A new token: 201. Its secret is in this answer and nowhere else."""
        timeout_s = self._desk.timeout_of(request)
        wanted, size = TokenBody(), 0
        if request.can_read_body:
            wanted, size = await read_document(request, self._context, _TOKEN, '{"lifetime_ms": 86400000}')
        asked = CreateToken(user=request.match_info["user"], lifetime_ms=wanted.lifetime_ms)
        served = await self._desk.ask(request, asked, timeout_s=timeout_s, size=size)
        return self._desk.answer(*served, status=201)

    async def revoke_token(self, request: web.Request) -> web.StreamResponse:
        """Revoke a token: 204."""
        names = request.match_info
        return await self._desk.show(request, RevokeToken(user=names["user"], token_id=names["id"]))

    async def login(self, request: web.Request) -> web.StreamResponse:
        """Exchange a password for a token: 201."""
        timeout_s = self._desk.timeout_of(request)
        wanted, _ = await read_document(request, self._context, _LOGIN, '{"user": "ann", "password": "..."}')
        context = request_context(request).within(timeout_s)
        served = await log_in(self._context.service, context, wanted.user, wanted.password)
        return self._desk.answer(*served, status=201)

    async def me(self, request: web.Request) -> web.StreamResponse:
        """Who the client is, and how that is known."""
        query_of(request, TIMEOUT)
        identity = request.get(IDENTITY, NOBODY)
        authenticator = self._context.service.authenticator
        shown = WhoAmI(
            identity.principal,
            identity.credential,
            authenticator is not None and authenticator.is_administrator(identity.principal),
            "off" if authenticator is None else "required",
        )
        return web.Response(body=_ENCODER.encode(shown) + b"\n", headers=JSON)

    async def _with_password(self, request: web.Request, asked: A, password: str | None) -> A:
        """Passwords go to no other node, only what checks them. That costs something: not for everybody."""
        if password is None:
            return asked
        service = self._context.service
        service.permit(request_context(request), asked)
        return msgspec.structs.replace(asked, verifiers=tuple(await service.passwords.verifiers(password)))
