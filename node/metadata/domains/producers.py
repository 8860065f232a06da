"""Ids for producers: allocated in blocks, each id once."""

from __future__ import annotations

from typing import Final

from floodmark.errors import Conflict, InvalidRequest

from node.metadata.command import Command, command_type
from node.metadata.edit import Edit
from node.metadata.levels import NUMBERED_PRODUCERS
from node.metadata.state import Applied

PRODUCER_ID_END: Final = 1 << 63
PRODUCER_IDS_MAX: Final = 1_000_000
"""In one block."""


class AllocateProducerIds(Command, frozen=True, tag="allocate_producer_ids"):
    """Allocate the next ids to the proposer, and never to anybody else."""

    count: int


def allocate_producer_ids(edit: Edit, command: AllocateProducerIds) -> Applied:
    """Returns the first id of the block."""
    state = edit.state
    if state.level < NUMBERED_PRODUCERS:  # Below it, it could not be stored.
        return Conflict(f"numbered producers need feature level {NUMBERED_PRODUCERS}", level=state.level)
    if not 1 <= command.count <= PRODUCER_IDS_MAX:
        return InvalidRequest(f"a block has 1 to {PRODUCER_IDS_MAX} producer ids, not {command.count}")
    first = state.next_producer_id
    if first + command.count > PRODUCER_ID_END:
        return Conflict("all producer ids are given out")
    state.next_producer_id += command.count
    return first


COMMANDS: Final = dict([command_type(AllocateProducerIds, allocate_producer_ids, level=NUMBERED_PRODUCERS)])
