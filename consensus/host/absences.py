"""Replicas that ended on this node though it still runs: who relies on them is told, or would never wake up.

No link tells it, for the node lives. A message may be lost with its connection, so every new one repeats it
until the replica is opened again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from consensus.messages import Message

Send = Callable[[str, Sequence[tuple[int, Message]]], None]
"""To a node: messages, each with its group's id."""


class Absences:
    """What is to be said of the groups whose replica failed here. Lives on the host's event loop."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._by_node: dict[str, dict[int, Message]] = {}

    def ended(self, raft_group: int, last_words: Sequence[tuple[str, Message]], *, remember: bool) -> None:
        """A replica was stopped; ``remember``: it is to come back, and until then it is missed."""
        for node, message in last_words:
            self._send(node, [(raft_group, message)])
            if remember:
                self._by_node.setdefault(node, {})[raft_group] = message

    def is_back(self, raft_group: int) -> None:
        """The replica runs again."""
        for messages in self._by_node.values():
            messages.pop(raft_group, None)

    def peer_up(self, node: str) -> None:
        """A new connection to a node: what was said before may have been lost."""
        messages = self._by_node.get(node)
        if messages:
            self._send(node, list(messages.items()))
