"""Limits connections: in all, per address, and so that descriptors are left for files. Once half of them are
open, each address may have its share: others find room whatever one does.

A connection above the limits may still send its request's head: for DELETE, which makes room, and for health
checks there are a few spare places, for one request each.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from aiohttp import web
from floodmark.errors import Unavailable

from node import descriptors
from node.budget import share_of
from node.request_limits import RequestLimits

SPARE_PLACES: Final = descriptors.KEPT
SPARE_HEAD_S: Final = 1.0
"""How long a connection in a spare place may take to send its head."""
_SPARE_PATHS: Final = ("/healthz", "/readyz")


class Place(Enum):
    """The kind of place that a connection has."""

    USUAL = 0
    SPARE = 1


class Admission:
    """Counts connections. One address is taken for one client."""

    def __init__(self, settings: RequestLimits) -> None:
        total = descriptors.limit()
        self._descriptors = total - descriptors.reserve(settings.file_descriptors_reserve)
        self.limit = min(settings.connections_max, max(1, self._descriptors))
        self._per_address = settings.connections_per_address_max
        self._open: dict[str, int] = {}
        self.total = 0
        self.spare = 0
        """How many spare places are taken."""
        self.refused = 0

    def admit(self, address: str, descriptor: int = -1) -> Unavailable | None:
        """Count one more connection, or return why not.

        ``descriptor`` is its number: all below it are in use.
        """
        count = self._open.get(address, 0)
        if self.total >= self.limit:
            self.refused += 1
            return Unavailable("this node has as many connections as it can take", retry_after_s=1)
        if descriptor >= self._descriptors:
            self.refused += 1
            return Unavailable(
                "this node has as many files and connections open as it may, but for a few: delete topics, "
                "or allow it more (LimitNOFILE, ulimit -n)",
                retry_after_s=1,
            )
        if self._per_address < self.limit and 2 * self.total >= self.limit:
            share = share_of(self.limit, most=self._per_address, parties=len(self._open) + (not count))
            if count >= share:
                self.refused += 1
                return Unavailable(
                    f"{count} connections from this address are open already: more than half of all are in "
                    f"use, and then each of {len(self._open)} addresses may have {share}",
                    retry_after_s=1,
                )
        if count >= self._per_address:
            self.refused += 1
            return Unavailable(f"{count} connections from this address are open already", retry_after_s=1)
        self._open[address] = count + 1
        self.total += 1
        return None

    def admit_spare(self) -> bool:
        """Take a spare place for one request; returns whether there was one."""
        if self.spare >= SPARE_PLACES:
            return False
        self.spare += 1
        return True

    def release(self, address: str, place: Place) -> None:
        """An admitted connection is closed."""
        if place is Place.SPARE:
            self.spare -= 1
            return
        self.total -= 1
        left = self._open[address] - 1
        if left:
            self._open[address] = left
        else:
            del self._open[address]


def may_be_spared(request: web.BaseRequest) -> bool:
    """Whether a request may use a spare place."""
    return request.method == "DELETE" or request.path in _SPARE_PATHS
