"""When a node that ended by itself is started again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

VAIN_STARTS_MAX: Final = 5
"""A node that ended so many times in a row before it was ready is left alone."""
_PAUSE_S_MAX: Final = 60.0


@dataclass(frozen=True, slots=True)
class Restarts:
    """``after_s`` seconds after its end, which is above 0; None: never."""

    after_s: float | None

    def pause_s(self, vain_starts: int) -> float | None:
        """How long to wait, after so many starts in a row that led nowhere; None: leave it alone.

        Each of them doubles the pause, up to a minute: what keeps a node from starting rarely goes at once.
        """
        if self.after_s is None or vain_starts >= VAIN_STARTS_MAX:
            return None
        return min(self.after_s * (1 << vain_starts), max(_PAUSE_S_MAX, self.after_s))
