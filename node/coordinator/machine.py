"""A shard's replicated state: keys and values, with an index of the keys of each group
and of each queue.

What they mean is decided by leaders alone (``lead.py``): here every pair is kept, also one of a kind that
only a newer build knows. So replicas of all builds hold the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, Final

from consensus.core.keyed_pages import Pages
from consensus.core.keyed_state import KeyedState
from node.coordinator import keys
from node.coordinator.groups.decision import Pair
from node.coordinator.keys import QUEUES_FROM

Pairs = list[Pair]
Index = dict[str, dict[bytes, None]]
_QUEUES_FROM: Final = bytes((QUEUES_FROM,))
_NONE: Final[dict[bytes, None]] = {}


class IndexedPages(Pages):
    """``groups`` and ``queues``: the keys of each one that has any; the very objects that the pages hold."""

    def __init__(self, hash_: Callable[[bytes], int] = hash) -> None:
        super().__init__(hash_)
        self.groups: Index = {}
        self.queues: Index = {}

    def put(self, key: bytes, value: bytes) -> None:
        """See ``Pages``."""
        count = len(self)
        super().put(key, value)
        if len(self) != count and (name := _name(key)):
            self._index(key).setdefault(name, {})[key] = None

    def remove(self, key: bytes) -> None:
        """See ``Pages``."""
        count = len(self)
        super().remove(key)
        if len(self) != count and (name := _name(key)):
            index = self._index(key)
            keys = index[name]
            del keys[key]
            if not keys:
                del index[name]

    def forget(self) -> None:
        """See ``Pages``."""
        for index in (self.groups, self.queues):
            while index:
                _, keys = index.popitem()
                while keys:
                    keys.popitem()
        super().forget()

    def _index(self, key: bytes) -> Index:
        return self.queues if key[0] >= QUEUES_FROM else self.groups


class CoordinatorMachine(KeyedState):
    """``told`` gets all pairs that are applied, in turn, as a flat list; it must not raise."""

    _pages: IndexedPages

    def __init__(self, *, hash_: Callable[[bytes], int] = hash) -> None:
        super().__init__(hash_=hash_)
        self.told: Callable[[list[Any]], None] | None = None

    def new_pages(self) -> IndexedPages:
        """With their index."""
        return IndexedPages(self._hash)

    def took(self, pairs: list[Any]) -> None:
        """See ``KeyedState``."""
        if self.told is not None:
            self.told(pairs)

    def names(self) -> list[str]:
        """All groups that have anything here, in no order."""
        return list(self._pages.groups)

    def keys_of(self, name: str) -> Collection[bytes]:
        """The keys of one group. Nothing may be applied while they are gone through."""
        return self._pages.groups.get(name, _NONE)

    def queue_names(self) -> list[str]:
        """All queues that have anything here, in no order."""
        return list(self._pages.queues)

    def queue_keys(self, name: str) -> Collection[bytes]:
        """The keys of one queue. Nothing may be applied while they are gone through."""
        return self._pages.queues.get(name, _NONE)

    @property
    def queues(self) -> int:
        """How many queues have anything here."""
        return len(self._pages.queues)

    @property
    def groups(self) -> int:
        """How many groups have anything here."""
        return len(self._pages.groups)


def group_of(key: bytes) -> str:
    """The group that a key belongs to; "" for one of a queue, and for bytes that are no key."""
    return "" if key[:1] >= _QUEUES_FROM else _name(key)


def queue_of(key: bytes) -> str:
    """The queue that a key belongs to; "" for one of a group, and for bytes that are no key."""
    return _name(key) if key[:1] >= _QUEUES_FROM else ""


def _name(key: bytes) -> str:
    try:
        return keys.name_of(key)
    except ValueError:
        return ""
