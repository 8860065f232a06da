"""What one replica makes of the links of its node: they come and go, fall silent, and their ends die."""

from __future__ import annotations

from consensus.core.group_parts import GroupParts
from consensus.messages import Message, ReplicaGone
from consensus.wire import COMMIT_WITH_QUIESCE, NEWEST_VERSION


class GroupLinks:
    """Told by the host, of every node: it need not be a member."""

    def __init__(self, parts: GroupParts) -> None:
        self._parts = parts
        self._core = parts.core

    def peer_up(self, node: str, version: int = NEWEST_VERSION) -> None:
        """A new connection to ``node`` stands, which speaks this version of the peer protocol; nothing that
        was sent before will arrive any more.

        A group that sleeps is woken where its leader is concerned alone: those of a node that joins or comes
        back are many, and to wake all of them would be more work than the node is.
        """
        core = self._core
        if core.failed is not None:
            core.released += [(to, words) for to, words in self.last_words() if to == node]
            return
        engine, is_member = core.engine, node in core.members.others
        core.up.add(node)
        if not core.asleep or engine.leader == node or (engine.is_leader and is_member):
            self._parts.begin_awake()
        if version < COMMIT_WITH_QUIESCE:
            core.older.add(node)
            self._parts.quiescence.busy()
        if engine.is_leader and is_member:
            self._parts.replication.link_up(node)
            engine.heartbeat_at(0.0)

    def peer_down(self, node: str) -> None:
        """The connection to ``node`` is lost. A group that sleeps has said all that it had to say there."""
        self._core.up.discard(node)
        self._core.older.discard(node)

    def peer_silent(self, node: str) -> None:
        """Nothing at all has come from ``node`` for a while, or somebody was told by it that it does not
        lead: groups that rely on it wake up.
        """
        engine, is_member = self._core.engine, node in self._core.members.others
        if self._core.asleep and (engine.leader == node or (engine.is_leader and is_member)):
            self._parts.begin_awake()

    def peer_gone(self, node: str) -> None:
        """The process of ``node`` ended, or nothing has come from there for so long that it counts as that:
        groups that it led elect another leader without waiting for a timeout.
        """
        engine = self._core.engine
        if self._core.runs and engine.leader == node:
            self._parts.begin_awake()
            self._parts.prevote.leader_is_gone()

    def last_words(self) -> list[tuple[str, Message]]:
        """What the others, who may sleep, are told of a replica that ended: no link does, its node lives."""
        message = ReplicaGone(self._core.vote.term)
        return [(node, message) for node in sorted(self._core.members.others)]
