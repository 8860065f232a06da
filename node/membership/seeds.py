"""Asks the addresses of ``cluster.join`` who they are, until all have answered and this node has a place."""

from __future__ import annotations

import asyncio
from typing import Final

from consensus.links.handshake import HandshakeFailed
from consensus.links.peer_links import PeerLinks
from node.addresses import split_address
from node.membership.discovery import Discovery

ASK_AGAIN_S: Final = 0.25
ASK_AGAIN_S_MAX: Final = 8.0
"""How often a node that has its place asks again."""
_HINT: Final = (
    "cluster.secret and cluster.id are the same on all nodes, and a seed is another node than this one"
)


class Seeds:
    """A node that has data asks too: a seed of another cluster is a mistake, which both sides report."""

    def __init__(self, links: PeerLinks, discovery: Discovery, addresses: tuple[str, ...]) -> None:
        self._links = links
        self._discovery = discovery
        self._addresses = addresses

    async def run(self) -> None:
        """Ask repeatedly, until there is nothing left to ask."""
        asked, pause_s = list(self._addresses), ASK_AGAIN_S
        while asked:
            # Seeds asked before this node chose a cluster have to be asked once more.
            had_place = self._discovery.decided.is_set()
            answers = await asyncio.gather(*(self._ask(address) for address in asked))
            if had_place:
                asked = [address for address, answered in zip(asked, answers, strict=True) if not answered]
                pause_s = min(2 * pause_s, ASK_AGAIN_S_MAX)
            await asyncio.sleep(pause_s)

    async def _ask(self, address: str) -> bool:
        try:
            said, certified = await self._links.probe(*split_address(address))
        except HandshakeFailed as error:
            self._discovery.joining.failed(address, f"{error}; {_HINT}")
            return False
        except OSError as error:
            self._discovery.joining.failed(address, str(error) or type(error).__name__)
            return False
        self._discovery.probed(address, said, certified)
        return True
