"""For how long nodes have been silent, as this one has seen it."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable


class Silence:
    """Looked at now and then: who is heard at one look and silent at the next counts from the latter."""

    def __init__(
        self, alive: Callable[[], Collection[str]], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._alive = alive
        self._clock = clock
        self._since: dict[str, float] = {}

    def longer_than(self, seconds: float, nodes: Iterable[str]) -> set[str]:
        """Those of ``nodes`` that have not been heard for so long; the others are forgotten."""
        now, alive = self._clock(), self._alive()
        silent = [node for node in nodes if node not in alive]
        self._since = {node: self._since.get(node, now) for node in silent}
        return {node for node, since in self._since.items() if now - since >= seconds}
