"""The order of keys in a partition: one unsettled record of each key is in hand, and others are held."""

from __future__ import annotations

from bisect import bisect_left, insort


class KeyOrder:
    """Keys are hashes, which are not 0. Every unsettled record whose key has an order is in it once: as the
    ``holder`` of its key (it was delivered), or as one of those that are held, in order."""

    def __init__(self) -> None:
        self._holders: dict[int, int] = {}
        self._held: dict[int, list[int]] = {}

    def __len__(self) -> int:
        """How many keys."""
        return len(self._holders.keys() | self._held.keys())

    def is_free(self, key: int) -> bool:
        """Whether no record of the key is unsettled."""
        return key not in self._holders and key not in self._held

    def may_go(self, key: int, offset: int) -> bool:
        """Whether a record that is held may be delivered now."""
        return key not in self._holders and self._held[key][0] == offset

    def takes(self, key: int, offset: int) -> None:
        """It is delivered."""
        self._holders[key] = offset

    def holds(self, key: int, offset: int) -> bool:
        """It waits for those before it; whether there are none."""
        held = self._held.get(key)
        if held is None:
            self._held[key] = [offset]
            return key not in self._holders
        if offset > held[-1]:
            held.append(offset)
            return False
        insort(held, offset)
        return held[0] == offset and key not in self._holders

    def leaves(self, key: int, offset: int) -> int | None:
        """It is settled, or about to become something else: which one may be delivered now, if any."""
        held = self._held.get(key)
        if self._holders.get(key) == offset:
            del self._holders[key]
            return None if held is None else held[0]
        if held is None:
            return None
        at = bisect_left(held, offset)
        if at == len(held) or held[at] != offset:
            return None
        del held[at]
        if not held:
            del self._held[key]
        elif at == 0 and key not in self._holders:
            return held[0]
        return None
