"""A build that is newer than this one, made of this one: one more command, and one more feature level."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import pytest

from node.metadata import commands, state
from node.metadata.commands import Command
from node.metadata.levels import THIS_BUILD, Levels
from node.metadata.state import METADATA_GROUP, Applied, MetadataState
from tests.support.nodes import NodeCluster, TestNode


class Paint(Command, frozen=True, tag="paint_topic"):
    """Does something that everybody can see: the cluster gets another name."""

    name: str


def _paint(metadata: MetadataState, command: Any) -> Applied:
    metadata.formation = f"painted {command.name}"
    return metadata.formation


@contextlib.contextmanager
def newer_build() -> Iterator[Levels]:
    """What the newer build knows; within it the code has what that build has more.

    Each node or machine knows only what the levels that it was given say, so older ones run beside it.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(commands.KINDS, "paint_topic", Paint)
        patch.setitem(state.APPLY, Paint, _paint)
        yield dataclasses.replace(
            THIS_BUILD,
            highest=THIS_BUILD.highest + 1,
            commands={**THIS_BUILD.commands, "paint_topic": THIS_BUILD.highest + 1},
        )


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
