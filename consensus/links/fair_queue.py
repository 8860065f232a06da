"""Messages that wait for one peer: each group's in its order, and the groups in turn.

A group that replicates as fast as it can has megabytes on their way. All groups share a peer's connection, so
a heartbeat or the question of a read of another group would wait behind them, for as long as an election
takes. Here it waits for no more than one message of each group that has any.
"""

from __future__ import annotations

from collections import OrderedDict, deque

from consensus.messages import Message, SnapshotChunk

Routed = tuple[int, Message]
"""A group's id and a message of it."""


class FairQueue:
    """``size``: the bytes of all messages in it, as ``put`` was told."""

    __slots__ = ("_groups", "size")

    def __init__(self) -> None:
        self._groups: OrderedDict[int, deque[tuple[Routed, int]]] = OrderedDict()
        self.size = 0

    def __bool__(self) -> bool:
        return bool(self._groups)

    def __contains__(self, raft_group: int) -> bool:
        return raft_group in self._groups

    def put(self, routed: Routed, size: int) -> None:
        """Behind all that waits of its group."""
        raft_group, message = routed
        # A state file is one more group: entries and heartbeats of its own group do not wait behind it.
        sender = ~raft_group if isinstance(message, SnapshotChunk) else raft_group
        self._groups.setdefault(sender, deque()).append((routed, size))
        self.size += size

    def take(self, size: int) -> list[Routed]:
        """The next messages, of one group after the other, until they have ``size`` bytes; at least one."""
        taken: list[Routed] = []
        count = 0
        while self._groups and count < size:
            sender, messages = next(iter(self._groups.items()))
            routed, bytes_ = messages.popleft()
            if messages:
                self._groups.move_to_end(sender)
            else:
                del self._groups[sender]
            taken.append(routed)
            count += bytes_
        self.size -= count
        return taken

    def clear(self) -> int:
        """Drop all; how many messages that were."""
        count = sum(map(len, self._groups.values()))
        self._groups.clear()
        self.size = 0
        return count
