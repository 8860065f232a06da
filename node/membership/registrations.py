"""What the metadata leader registers of the nodes that it has met."""

from __future__ import annotations

from collections.abc import Mapping

from node.membership.announcement import Announcement
from node.metadata.domains.nodes import RegisterNode, join_refusal
from node.metadata.state import MetadataState


def unregistered(
    state: MetadataState,
    *,
    met: Mapping[str, Announcement],
    asking: Mapping[str, Announcement],
    lost: frozenset[str],
) -> list[RegisterNode]:
    """The commands for what the metadata does not know yet. ``asking``: nodes that want to join; ``lost``:
    nodes that a recovery left out, which join again.
    """
    described = [
        said.joining() if node in lost else said.registration() for node, said in sorted(met.items())
    ]
    # A node that would be refused is not proposed: each proposal is an entry, and the node keeps asking.
    asked = [said.joining() for _, said in sorted(asking.items())]
    joining = [command for command in asked if join_refusal(state, command) is None]
    return [*(command for command in described if not _is_registered(state, command)), *joining]


def _is_registered(state: MetadataState, command: RegisterNode) -> bool:
    entry = state.nodes.get(command.node_id)
    return entry is not None and (
        (entry.http, entry.peer, entry.incarnation, entry.rack, entry.levels)
        == (command.http, command.peer, command.incarnation, command.rack, command.levels)
    )
