"""The users of an attack on a secure cluster: TLS on all links, and nothing without a token.

The attacker is a user like any other: it may do everything to the attacked topics, and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping

import aiohttp

from bench.attack import honest
from bench.attack.attack import TOPIC
from local.access import Access

_ANSWER_S = 30.0


async def users(url: str, access: Access) -> tuple[str, str]:
    """The tokens of the attacker and of the honest clients."""
    tokens = []
    async with access.session(timeout_s=_ANSWER_S) as session:
        for user, prefix in (("attacker", TOPIC), ("honest", honest.TOPIC)):
            entry = {
                "principal": user,
                "kind": "topic",
                "pattern": "prefix",
                "name": prefix,
                "operation": "all",
            }
            await _post(session, f"{url}/v1/users", {"user": user})
            await _post(session, f"{url}/v1/acls", {"acls": [entry]})
            tokens.append((await _post(session, f"{url}/v1/users/{user}/tokens", {}))["token"])
    return tokens[0], tokens[1]


def bearer(token: str) -> dict[str, str]:
    """The header that a token is sent in; none for "": whoever asks is a stranger."""
    return {"Authorization": f"Bearer {token}"} if token else {}


async def _post(session: aiohttp.ClientSession, url: str, body: Mapping[str, object]) -> dict[str, str]:
    async with session.post(url, json=body) as answer:
        assert answer.status in (200, 201), await answer.text()
        found: dict[str, str] = await answer.json()
        return found
