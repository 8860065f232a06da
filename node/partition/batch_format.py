"""The highest format of record batches that the cluster accepts, by its feature level."""

from __future__ import annotations

from floodmark.format.batch import BatchHeader

from node import outcomes
from node.metadata.group import Metadata
from node.metadata.levels import BATCH_FORMAT_2

CATCH_UP_S = 5.0


class BatchFormat:
    """As known to this node. It never falls."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata
        self._highest = 1

    @property
    def highest(self) -> int:
        """The highest format that may be written; lower ones may be too."""
        if self._highest == 1 and self._metadata.state.level >= BATCH_FORMAT_2:
            self._highest = 2
        return self._highest

    async def check(self, header: BatchHeader) -> None:
        """Raises ``FeatureLevelNeeded`` for a batch of a higher format, after catching up with the metadata.

        Raises ``Unavailable`` where it cannot catch up.
        """
        if header.format > self.highest:
            await self._metadata.catch_up(timeout_s=CATCH_UP_S)
            if header.format > self.highest:
                what = f"a record batch of format {header.format}"
                raise outcomes.needs_level(what, BATCH_FORMAT_2, self._metadata.state.level)
