"""A shard's replicated state: keys and values, with an index of the keys of each group.

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

Pairs = list[Pair]
_NONE: Final[dict[bytes, None]] = {}


class GroupPages(Pages):
    """``groups``: the keys of each group that has any; the very objects that the pages hold."""

    def __init__(self, hash_: Callable[[bytes], int] = hash) -> None:
        super().__init__(hash_)
        self.groups: dict[str, dict[bytes, None]] = {}

    def put(self, key: bytes, value: bytes) -> None:
        """See ``Pages``."""
        count = len(self)
        super().put(key, value)
        if len(self) != count and (name := group_of(key)):
            self.groups.setdefault(name, {})[key] = None

    def remove(self, key: bytes) -> None:
        """See ``Pages``."""
        count = len(self)
        super().remove(key)
        if len(self) != count and (name := group_of(key)):
            keys = self.groups[name]
            del keys[key]
            if not keys:
                del self.groups[name]

    def forget(self) -> None:
        """See ``Pages``."""
        while self.groups:
            self.groups.popitem()
        super().forget()


class CoordinatorMachine(KeyedState):
    """``told`` gets all pairs that are applied, in turn, as a flat list; it must not raise."""

    _pages: GroupPages

    def __init__(self, *, hash_: Callable[[bytes], int] = hash) -> None:
        super().__init__(hash_=hash_)
        self.told: Callable[[list[Any]], None] | None = None

    def new_pages(self) -> GroupPages:
        """With their index."""
        return GroupPages(self._hash)

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

    @property
    def groups(self) -> int:
        """How many groups have anything here."""
        return len(self._pages.groups)


def group_of(key: bytes) -> str:
    """The group that a key belongs to; "" for bytes that are no key."""
    try:
        return keys.group_of(key)
    except ValueError:
        return ""
