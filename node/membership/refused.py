"""Nodes that were refused lately, or have refused this one: logged, and shown by /readyz for a while."""

from __future__ import annotations

import time
from typing import Final

from consensus.throttle import ThrottledLog

SHOWN_S: Final = 60.0
"""For how long /readyz names a refused node that did not come again."""
KEPT_MAX: Final = 64


class Refused:
    """The newest reason for each node."""

    def __init__(self) -> None:
        self._log = ThrottledLog(__name__)
        self._reasons: dict[str, tuple[float, str]] = {}

    def add(self, peer: str, reason: str) -> None:
        """A connection from or to a node was refused."""
        self._log.error("node_refused", peer=peer, reason=reason)
        self._reasons.pop(peer, None)
        self._reasons[peer] = (time.monotonic(), reason)
        if len(self._reasons) > KEPT_MAX:
            del self._reasons[next(iter(self._reasons))]

    def forgive(self, peer: str) -> None:
        """The node is now accepted."""
        self._reasons.pop(peer, None)

    @property
    def reasons(self) -> list[str]:
        """In order of the nodes."""
        since = time.monotonic() - SHOWN_S
        return [reason for _, (at, reason) in sorted(self._reasons.items()) if at > since]
