"""When a node that ended by itself is started again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VAIN_STARTS_MAX: Final = 5
"""A node that ended this many times in a row before it was ready is not restarted any more."""
_PAUSE_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """``after_s``: seconds, above 0, between the end of a node and its restart; None: never."""

    after_s: float | None

    def pause_s(self, vain_starts: int) -> float | None:
        """How long to wait after ``vain_starts`` failed starts in a row; None: do not restart.

        Each failed start doubles the pause, up to a minute: its cause rarely goes away at once.
        """
        if self.after_s is None or vain_starts >= VAIN_STARTS_MAX:
            return None
        return min(self.after_s * (1 << vain_starts), max(_PAUSE_S_MAX, self.after_s))
