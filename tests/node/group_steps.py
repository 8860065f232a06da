"""A group's state in a dictionary, and topics as plain numbers: what tests of pure steps need."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeVar

from node.coordinator.groups.decision import Decision
from node.coordinator.groups.group import Group

R = TypeVar("R")


class Topics:
    """Topics by name: made, deleted, made again with another id, grown."""

    def __init__(self, **partitions: int) -> None:
        self.ids: dict[str, int] = {}
        self.counts: dict[int, int] = {}
        self._next = 1
        for name, count in partitions.items():
            self.make(name, count)

    def make(self, name: str, count: int) -> int:
        """A new topic, also in the place of one with this name."""
        self.delete(name)
        self.ids[name], self._next = self._next, self._next + 1
        self.counts[self.ids[name]] = count
        return self.ids[name]

    def delete(self, name: str) -> None:
        """The topic, if it is there."""
        if name in self.ids:
            del self.counts[self.ids.pop(name)]

    def grow(self, name: str, count: int) -> None:
        """To so many partitions."""
        self.counts[self.ids[name]] = count

    def id_of(self, name: str) -> int | None:
        return self.ids.get(name)

    def partitions(self, topic_id: int) -> int:
        return self.counts.get(topic_id, 0)

    def names(self) -> Iterable[str]:
        return list(self.ids)


class Kept:
    """The state of one group. ``take`` applies what a step decided, to the state and to the view."""

    def __init__(self, name: str = "g") -> None:
        self.state: dict[bytes, bytes] = {}
        self.name = name
        self.writes = 0
        """Pairs in all."""
        self.group = self.view()

    def view(self) -> Group:
        """A new view, made of the state: what a new leader has."""
        return Group.of(self.name, self.state.get, lambda: list(self.state))

    def take(self, decision: Decision[R]) -> R:
        """What the caller is told."""
        for key, value in decision.pairs:
            self.writes += 1
            if value is None:
                self.state.pop(key, None)
            else:
                self.state[key] = value
            self.group.replay(key, value)
        return decision.answer
