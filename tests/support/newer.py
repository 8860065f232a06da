"""A build that is newer than this one, made of this one: one more command, and one more feature level."""

from __future__ import annotations

import dataclasses
from typing import Final

from node.metadata.command import Command, CommandType
from node.metadata.edit import Edit
from node.metadata.levels import Levels
from node.metadata.state import METADATA_GROUP, Applied
from node.metadata.this_build import THIS_BUILD
from tests.support.nodes import NodeCluster, TestNode


class Paint(Command, frozen=True, tag="paint_topic"):
    """Does something that everybody can see: the cluster gets another name."""

    name: str


def _paint(edit: Edit, command: Paint) -> Applied:
    edit.state.formation = f"painted {command.name}"
    return edit.state.formation


NEWER_BUILD: Final[Levels] = dataclasses.replace(
    THIS_BUILD,
    highest=THIS_BUILD.highest + 1,
    commands={**THIS_BUILD.commands, "paint_topic": CommandType(Paint, THIS_BUILD.highest + 1, _paint)},
)
"""What the newer build knows: nodes and machines that are given other levels run beside it."""


async def lead_metadata(cluster: NodeCluster, *names: str) -> TestNode:
    """One of the named nodes leads the metadata, by handing the leadership over where it does not."""

    def led() -> TestNode | None:
        for node in cluster.up:
            if node.running.metadata.leads_here:
                if node.node_id in names:
                    return node
                node.running.host.transfer(METADATA_GROUP, names[0])
        return None

    await cluster.until(led, f"one of {names} leads the metadata")
    found = led()
    assert found is not None
    return found
