"""How many connections there may be: in all, per address, and never so many that files cannot be opened.

Who comes above that is not turned away before it has said what it wants: for DELETE, which makes room, and
for those who ask how this node is, there are some places more, one request long.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from aiohttp import web
from floodmark.errors import Unavailable

from node import descriptors
from node.request_limits import RequestLimits

SPARE_PLACES: Final = descriptors.KEPT
SPARE_HEAD_S: Final = 1.0
"""How long whoever has such a place may take to say what it wants."""
_SPARE_PATHS: Final = ("/healthz", "/readyz")


class Place(Enum):
    """What a connection got."""

    USUAL = 0
    SPARE = 1


class Admission:
    """Counts connections. One address is one client, as far as that can be told."""

    def __init__(self, settings: RequestLimits) -> None:
        total = descriptors.limit()
        self._descriptors = total - descriptors.reserve(settings.file_descriptors_reserve)
        self.limit = min(settings.connections_max, max(1, self._descriptors))
        self._per_address = settings.connections_per_address_max
        self._open: dict[str, int] = {}
        self.total = 0
        self.spare = 0
        """Places that are taken of the spare ones."""
        self.refused = 0

    def admit(self, address: str, descriptor: int = -1) -> Unavailable | None:
        """Count one more connection, or say why not.

        ``descriptor`` is its number: all below it are in use, for whatever it may be.
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
        if count >= self._per_address:
            self.refused += 1
            return Unavailable(f"{count} connections from this address are open already", retry_after_s=1)
        self._open[address] = count + 1
        self.total += 1
        return None

    def admit_spare(self) -> bool:
        """Whether there is a place for one request of those who can help."""
        if self.spare >= SPARE_PLACES:
            return False
        self.spare += 1
        return True

    def release(self, address: str, place: Place) -> None:
        """One connection that was admitted is gone."""
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
    """Whether a request is worth a place that no other gets."""
    return request.method == "DELETE" or request.path in _SPARE_PATHS
