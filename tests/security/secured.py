"""A cluster that asks who somebody is, and who there is: an administrator, a reader, and others."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from node.administrator_files import TOKEN_FILE
from node.security.tokens import new_token
from tests.support.nodes import NodeCluster, TestNode

SETTINGS: Final = {"http.authentication": "required", "audit.topic": False}
"""No topic but those that a test makes: they are counted. The audit has tests of its own."""
WRONG: Final = new_token().text
"""A token of nobody."""
UNAVAILABLE_S: Final = 30.0
"""For so long a request may be answered that nobody can serve it now."""


@dataclass
class Secured:
    """``tokens``: by user. Without one a request says nothing of who sends it."""

    cluster: NodeCluster
    tokens: dict[str, str] = field(default_factory=lambda: {"none": "", "wrong": WRONG})

    async def ask(
        self, node: TestNode, who: str, method: str, path: str, *, body: Any = None, **headers: str
    ) -> tuple[int, bytes]:
        """The answer's status and body.

        A 503 says nothing of who may what: on a busy machine leads change now and then. It is asked again.
        """
        if token := self.tokens[who]:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        loop = asyncio.get_running_loop()
        until = loop.time() + UNAVAILABLE_S
        while True:
            async with self.cluster.session.request(
                method, node.url + path, data=body, headers={"Content-Type": "application/json", **headers}
            ) as answer:
                status, found = answer.status, await answer.read()
            if status != 503 or loop.time() > until:
                return status, found
            await asyncio.sleep(0.05)

    async def done(self, method: str, path: str, body: Any = None) -> Any:
        """The administrator does it; all nodes know of it then."""
        status, answer = await self.ask(self.cluster.up[0], "admin", method, path, body=body)
        assert 200 <= status < 300, answer
        for node in self.cluster.up:
            await node.broker.catch_up(timeout_s=10)
        return json.loads(answer or b"null")

    async def user(self, name: str) -> str:
        """Somebody new; returns the id of its token."""
        await self.done("POST", "/v1/users", {"user": name})
        return await self.token(name)

    async def token(self, name: str) -> str:
        """A token for it, which it uses from now on; returns its id."""
        made = await self.done("POST", f"/v1/users/{name}/tokens", {})
        self.tokens[name] = made["token"]
        return str(made["id"])

    async def allow(self, principal: str, operation: str, name: str, **more: Any) -> None:
        """For a topic, unless something else is said."""
        entry = {"principal": principal, "kind": "topic", "name": name, "operation": operation, **more}
        await self.done("POST", "/v1/acls", {"acls": [entry]})

    async def roles(self, topic: str) -> list[TestNode]:
        """Of a topic: its leader, a follower, and a node without a replica of it."""
        leader = await self.cluster.leader(topic)
        replicas = leader.broker.topic(topic).partitions[0].replicas
        others = sorted(self.cluster.up, key=lambda node: (node.node_id not in replicas, node.node_id))
        return [leader, *(node for node in others if node is not leader)]


@asynccontextmanager
async def secured(folder: Path, count: int = 3) -> AsyncIterator[Secured]:
    """It has its first administrator."""
    async with NodeCluster.running(folder, count, **SETTINGS) as cluster:
        found = Secured(cluster)

        def is_there() -> bool:
            for node in cluster.up:
                file = node.data_dir / TOKEN_FILE
                if "admin" in node.running.metadata.state.users and file.exists():
                    found.tokens["admin"] = file.read_text().strip()
            return "admin" in found.tokens

        await cluster.until(is_there, "there is an administrator")
        for node in cluster.up:
            await node.broker.catch_up(timeout_s=10)
        yield found
