"""Ids for producers, given out in blocks, each once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from floodmark.errors import Conflict, FloodmarkError, InvalidRequest

from node.metadata.commands import AllocateProducerIds
from node.metadata.levels import NUMBERED_PRODUCERS

if TYPE_CHECKING:
    from node.metadata.state import MetadataState

PRODUCER_ID_END = 1 << 63
PRODUCER_IDS_MAX = 1_000_000
"""In one block."""


def allocate_producer_ids(state: MetadataState, command: AllocateProducerIds) -> int | FloodmarkError:
    """The first of the block."""
    if state.level < NUMBERED_PRODUCERS:  # It could not be written down.
        return Conflict(f"numbered producers need feature level {NUMBERED_PRODUCERS}", level=state.level)
    if not 1 <= command.count <= PRODUCER_IDS_MAX:
        return InvalidRequest(f"a block has 1 to {PRODUCER_IDS_MAX} producer ids, not {command.count}")
    first = state.next_producer_id
    if first + command.count > PRODUCER_ID_END:
        return Conflict("all producer ids are given out")
    state.next_producer_id += command.count
    return first
