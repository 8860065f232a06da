"""Nodes tell each other which partitions they lead: all of them when a link comes up, then what changes.

At most one message is under way to each node; what changes meanwhile goes into the next one. Nothing is sent
while nothing changes.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from floodmark.errors import FloodmarkError

from consensus.wire import REQUESTS
from node.leader_table import LeaderTable
from node.metadata.delta import MetadataDelta
from node.metadata.state import METADATA_GROUP, MetadataState
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_line import Line
from node.service.inside_requests import InsideRequest, register

_TIMEOUT_S: Final = 5.0
_AGAIN_S: Final = 0.5


class LeadsTold(InsideRequest[None], frozen=True):
    """What the sending node leads: group -> term. ``left``: what it no longer leads -> the term in which it
    did.

    ``is_all``: it leads nothing else.
    """

    leads: dict[int, int]
    left: dict[int, int] = msgspec.field(default_factory=dict)
    is_all: bool = False


register("leads", LeadsTold, None)


class LeaderGossip:
    """One per node. ``line`` is set before the node starts."""

    def __init__(self, node_id: str) -> None:
        self.line: Line
        self.table = LeaderTable()
        self._node_id = node_id
        self._led: dict[int, int] = {}
        self._untold: dict[str, dict[int, int] | None] = {}
        """What each connected node was not told yet: group -> term in which it was led; None: everything."""
        self._telling: dict[str, asyncio.Task[None]] = {}
        self._stopped = False

    def register(self, answers: InsideAnswers) -> None:
        """Handle what other nodes tell."""
        answers.on(LeadsTold, self._told)

    def leadership(self, raft_group: int, leader: str | None, term: int) -> None:
        """A replica here has another leader, or is in another term."""
        if raft_group == METADATA_GROUP:
            return
        before = self._led.get(raft_group)
        if leader == self._node_id:
            self._led[raft_group] = term
        elif before is not None:
            del self._led[raft_group]
        if leader is not None:
            self.table.led(leader, raft_group, term)
        if before is not None and leader != self._node_id:
            self.table.left(self._node_id, raft_group, before)
        told = self._led.get(raft_group, before)
        if told is not None and self._led.get(raft_group) != before:
            for node, untold in self._untold.items():
                if untold is not None:
                    untold[raft_group] = told
                self._tell_soon(node)

    def peer_up(self, node: str, version: int) -> None:
        """A node is connected: tell it everything."""
        if version >= REQUESTS and not self._stopped:
            self._untold[node] = None
            self._tell_soon(node)

    def peer_down(self, node: str) -> None:
        """A node is disconnected: tell it nothing until it is back."""
        self._untold.pop(node, None)

    def metadata_changed(self, state: MetadataState, delta: MetadataDelta) -> None:
        """Drop the rows of deleted topics."""
        if not delta.is_whole and None not in delta.topics.values():
            return
        there = {entry.raft_group for topic in state.topics.values() for entry in topic.partitions}
        self.table.forget_deleted(there, state.next_raft_group)
        for raft_group in self._led.keys() - there:
            del self._led[raft_group]

    def stop(self) -> None:
        """Stop telling."""
        self._stopped = True
        self._untold.clear()
        for task in list(self._telling.values()):
            task.cancel()

    def _tell_soon(self, node: str) -> None:
        if node not in self._telling:
            self._telling[node] = asyncio.get_running_loop().create_task(self._tell(node))

    async def _tell(self, node: str) -> None:
        """Send until the node knows everything.

        It leaves ``_telling`` in the step in which it saw that nothing is untold: what comes after that
        starts the next one.
        """
        try:
            await self._tell_all(node)
        finally:
            del self._telling[node]

    async def _tell_all(self, node: str) -> None:
        while node in self._untold and self._untold[node] != {}:
            untold = self._untold[node]
            self._untold[node] = {}
            try:
                await self.line.ask(node, self._message(untold), timeout_s=_TIMEOUT_S)
            except FloodmarkError:
                if node in self._untold:
                    self._untold[node] = None
                    await asyncio.sleep(_AGAIN_S)

    def _message(self, untold: dict[int, int] | None) -> LeadsTold:
        if untold is None:
            return LeadsTold(dict(self._led), is_all=True)
        leads = {group: self._led[group] for group in untold if group in self._led}
        return LeadsTold(leads, {group: term for group, term in untold.items() if group not in leads})

    async def _told(self, request: LeadsTold, asked: Asked) -> None:
        table = self.table
        if request.is_all:
            table.all_led(asked.node, request.leads)
            return
        for raft_group, term in request.leads.items():
            table.led(asked.node, raft_group, term)
        for raft_group, term in request.left.items():
            table.left(asked.node, raft_group, term)
