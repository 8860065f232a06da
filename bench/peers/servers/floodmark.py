"""Three Floodmark nodes, with the settings that ``floodmark dev`` writes."""

from __future__ import annotations

import contextlib
import random
import sys
from functools import partial
from typing import ClassVar

from bench.peers.servers.base import NODES, Servers, answers_ok
from bench.peers.tools import Tools
from bench.peers.variant import Variant
from local.folder import LocalFolder


class Floodmark(Servers):
    """As a user starts them."""

    variants: ClassVar[tuple[Variant, ...]] = (
        Variant(
            name="floodmark",
            system="floodmark",
            label="Floodmark",
            is_synced=True,
            acknowledged="on the disks (fdatasync) of two of three nodes",
            configuration="as `floodmark dev` sets it up; one topic of 3 partitions, `acks=quorum`",
            client="`floodmark` (asyncio): `produce`, `Producer.send`, `send_many`, `read`, `read_batches`; "
            "idempotent; `linger_ms` 5, and 0 at the fixed rate. Plain HTTP: one aiohttp session, posts "
            "straight to the leaders",
        ),
    )

    @staticmethod
    def missing(tools: Tools) -> str | None:
        """It is here."""
        return tools.missing_clients

    def start(self) -> None:
        """One process per node."""
        first = random.SystemRandom().choice(range(20_000, 30_000))
        with contextlib.closing(LocalFolder(self.folder)) as folder:
            nodes = folder.write_settings(NODES, http_port=first, peer_port=first + 1_000)
        for node in nodes:
            command = [sys.executable, "-P", "-m", "cli.main", "start", "--config", str(node.config)]
            self.run(node.name, command)
        self.addresses = [node.url for node in nodes]
        self.wait_each([partial(answers_ok, node.http_port, "/readyz") for node in nodes], "ready of a node")
