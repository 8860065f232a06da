"""Credentials: the Authorization header, and tokens in it."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

from floodmark.errors import Unauthorized

from node.metadata.state import MetadataState, TokenEntry
from node.security import tokens
from node.security.authenticator import Authenticator
from node.security.freshness import Freshness
from node.service.authentication import digest_of
from tests.fuzz.target import Target

_SECRET = "s" * 43
_TOKEN = f"fmk_abcdefghijkl_{_SECRET}"
_OLD = f"fmk_oldoldoldold_{_SECRET}"


def authorization(data: bytes) -> None:
    """Whatever stands in the header, only whoever holds a valid token is somebody, and is that one; all else
    is Unauthorized, in words that repeat no credential.
    """
    who = asyncio.run(_asked(data))
    scheme, _, credential = data.decode("utf-8", "replace").partition(" ")
    holds = scheme.lower() == "bearer" and credential.strip() == _TOKEN
    assert who == ("ann" if holds else None)
    found = tokens.parsed(data.decode("utf-8", "replace"))
    if found is not None:
        assert found.text.encode() == data
        assert found.is_of(hashlib.sha256(found.secret.encode()).digest())


async def _asked(data: bytes) -> str | None:
    state = MetadataState()
    for text, expires_ms in ((_TOKEN, 0), (_OLD, 5)):
        token = tokens.parsed(text)
        assert token is not None
        state.tokens[token.token_id] = TokenEntry(token.token_id, "ann", token.digest, 1, expires_ms)

    async def heard(_timeout_s: float) -> None:
        """The metadata's leader is always heard."""

    authenticator = Authenticator(lambda: state, Freshness(heard, lambda: 1.0), lambda: 1_000)
    try:
        identity = await authenticator.identify(data)
    except Unauthorized as error:
        if _SECRET in str(error):
            raise AssertionError("a refusal repeats a secret") from error
        assert authenticator.known(digest_of(data)) is None
        return None
    return identity.principal


def _seeds() -> Iterator[bytes]:
    for text in (
        f"Bearer {_TOKEN}",
        f"bearer  {_TOKEN} ",
        f"Bearer {_OLD}",
        f"Basic {_TOKEN}",
        _TOKEN,
        "Bearer",
    ):
        yield text.encode()


TARGETS = (Target("authorization", authorization, _seeds),)
