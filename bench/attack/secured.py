"""A cluster that asks who somebody is, and whose nodes speak TLS to each other; and the users of an attack.

The attacker is a user like any other: it may do everything to the attacked topics, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

import aiohttp

from bench.attack import honest
from bench.attack.attack import TOPIC
from local.certificates import new_authority
from local.cluster import LocalCluster

_LASTS = timedelta(days=1)
_CLUSTER = "dev"


def write_settings(cluster: LocalCluster) -> None:
    """Before the nodes start: certificates for all of them, and settings that require them and tokens."""
    by = new_authority(_CLUSTER, lasts=_LASTS)
    folder = cluster.folder / "certificates"
    folder.mkdir()
    by.made.write(folder / "ca.pem", folder / "ca.key")
    for name, node in cluster.nodes.items():
        cert, key = folder / f"{name}.pem", folder / f"{name}.key"
        by.node(name, ["127.0.0.1"], lasts=_LASTS).write(cert, key)
        text = node.config.read_text()
        assert text.count("[http]\n") == 1, "the settings of a local node have one table for HTTP"
        text = text.replace("[http]\n", '[http]\nauthentication = "required"\n')
        files = f'cert = "{cert}"\nkey = "{key}"\nca = ["{folder / "ca.pem"}"]\n'
        node.config.write_text(f'{text}\n[peer.tls]\nmode = "require"\n{files}')


async def administrator(cluster: LocalCluster) -> str:
    """Its token, once a node has written it and knows it."""
    async with asyncio.timeout(30), aiohttp.ClientSession() as session:
        while True:
            for node in cluster.nodes.values():
                token = await asyncio.to_thread(_read, cluster.data_dir(node.name) / "admin-token")
                async with session.get(f"{node.url}/v1/users", headers=bearer(token)) as answer:
                    if answer.status == 200:
                        return token
            await asyncio.sleep(0.1)


async def users(url: str, root: str) -> tuple[str, str]:
    """The tokens of the attacker and of the honest clients."""
    tokens = []
    async with aiohttp.ClientSession(headers=bearer(root)) as session:
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


def _read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""
