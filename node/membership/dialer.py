"""Which nodes this one keeps connections to, and where it finds them.

Below feature level 3 those are the peers of the settings. From there on they are the nodes that the metadata
names, at the addresses that they announced last; settings only say where else to look.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Final

import structlog

from consensus.links.peer_links import PeerLinks
from node.addresses import split_address
from node.membership.discovery import Discovery
from node.metadata.levels import MEMBERSHIP
from node.settings import ClusterSettings

Addresses = tuple[tuple[str, int], ...]
"""Addresses to try for a node, the likeliest first."""

_log: Final = structlog.get_logger(__name__)


class Dialer:
    """``look`` is called at the start and whenever any of that may have changed."""

    def __init__(self, links: PeerLinks, discovery: Discovery, settings: ClusterSettings) -> None:
        self._links = links
        self._discovery = discovery
        self._settings = settings
        self._dialled: dict[str, Addresses] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._started = False

    def start(self) -> None:
        """This node listens: dial the others."""
        self._started = True
        self.look()

    def look(self) -> None:
        """Dial the nodes that should be dialled, at their present addresses; drop links with all others."""
        if not self._started:
            return
        wanted = dict(self._wanted())
        for node, addresses in wanted.items():
            if self._dialled.get(node) != addresses:
                (host, port), *others = addresses
                self._links.dial(node, host, port, also=others)
        for node in self._dialled.keys() - wanted.keys():
            self._close(node)
        self._dialled = wanted

    def part(self, node: str) -> None:
        """Drop the links with a node that has to be judged again, and dial it again if it is wanted."""
        self._dialled.pop(node, None)
        self._close(node)
        self.look()

    def _close(self, node: str) -> None:
        _log.info("peer_forgotten", peer=node)
        task = asyncio.create_task(self._links.forget(node))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    def _wanted(self) -> Iterator[tuple[str, Addresses]]:
        discovery, settings = self._discovery, self._settings
        if discovery.removed is not None:
            return
        known = discovery.roster.addresses
        met = discovery.nodes if discovery.joining.is_newcomer or discovery.level >= MEMBERSHIP else {}
        names = {*discovery.members, *met, *discovery.joining.contacts} - discovery.roster.removed.keys()
        for node in sorted(names - {discovery.identity.node_id}):
            said = met[node].peer if node in met else ""
            found = [
                said,
                known.get(node, ""),
                discovery.joining.contacts.get(node, ""),
                settings.peers.get(node, ""),
            ]
            if node in settings.dial:
                found = [settings.dial[node]]
            addresses = tuple(split_address(address) for address in dict.fromkeys(found) if address)
            if addresses:
                yield node, addresses
