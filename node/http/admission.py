"""How many connections there may be: in all, per address, and never so many that files can not be opened."""

from __future__ import annotations

import resource

from floodmark.errors import Unavailable

from node.http.limits import HttpLimits


class Admission:
    """Counts connections. One address is one client, as far as that can be told."""

    def __init__(self, settings: HttpLimits) -> None:
        descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        spare = max(1, descriptors - settings.file_descriptors_reserve)
        self.limit = min(settings.connections_max, spare)
        self._per_address = settings.connections_per_address_max
        self._open: dict[str, int] = {}
        self.total = 0
        self.refused = 0

    def admit(self, address: str) -> Unavailable | None:
        """Count one more connection, or say why not."""
        count = self._open.get(address, 0)
        if self.total >= self.limit:
            self.refused += 1
            return Unavailable("this node has as many connections as it can take", retry_after_s=1)
        if count >= self._per_address:
            self.refused += 1
            return Unavailable(f"{count} connections from this address are open already", retry_after_s=1)
        self._open[address] = count + 1
        self.total += 1
        return None

    def release(self, address: str) -> None:
        """One connection that was admitted is gone."""
        self.total -= 1
        left = self._open[address] - 1
        if left:
            self._open[address] = left
        else:
            del self._open[address]
