"""The cluster's epoch: folders that a recovery left out and those that it wrote have nothing to do with each
other. Real folders, no sockets.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest

from consensus.links.link_types import Reception
from node.membership.identity import IdentityProblem, Standing, load_or_create, save
from tests.node.test_discovery import FS, NODES, Member, dial, meet
from tests.node.test_formation import REFUSED, formed


def recovered(member: Member, epoch: int = 1, name: str = "r1") -> Member:
    """Started on its folder after a recovery has written it."""
    identity = msgspec.structs.replace(member.discovery.identity, epoch=epoch, recovery=name)
    save(FS, member.folder, identity)
    return member.restarted()


def test_both_sides_refuse_and_the_old_one_takes_part_in_nothing(tmp_path: Path) -> None:
    """Whoever dials; with words for whoever looks at either."""
    n1, n2, n3 = formed(tmp_path, NODES, "three").values()
    n1 = recovered(n1)
    n2 = n2.restarted()
    assert dial(n1, n2) == dial(n2, n1) == REFUSED
    assert "n2 holds data from before this cluster was recovered (cluster epoch 0" in n1.discovery.refusals[0]
    assert n2.discovery.obstacles == [n2.discovery.outdated]
    assert "recovered without this data folder (cluster epoch 1 at n1" in str(n2.discovery.outdated)
    # One that takes part already goes on: a wrong word from outside must not end it.
    assert dial(n1, n3) == REFUSED
    assert n3.discovery.outdated is None
    assert n3.discovery.obstacles == []
    assert n1.discovery.outdated is None


def test_those_that_the_plan_named_belong_together(tmp_path: Path) -> None:
    """The same epoch by the same recovery; the same number by another one is another cluster."""
    n1, n2, n3 = formed(tmp_path, NODES, "three").values()
    n1, n2, n3 = recovered(n1), recovered(n2), recovered(n3, name="r2")
    meet(n1, n2)
    assert n1.discovery.refusals == n2.discovery.refusals == []
    assert dial(n3, n1) == REFUSED
    for side in (n1, n3):
        assert "recovered apart from each other (both to cluster epoch 1)" in side.discovery.refusals[0]


def test_an_empty_folder_takes_over_the_epoch(tmp_path: Path) -> None:
    """It is none of the past; from then on it refuses what is, and keeps that."""
    n1, n2, n3 = formed(tmp_path, NODES, "three").values()
    n1, n2 = recovered(n1), n2.restarted()
    n3.registry.close()
    fresh = Member(tmp_path / "new", "n3")
    assert dial(fresh, n1) == (Reception.WELCOME, Reception.WELCOME)
    assert fresh.discovery.standing is Standing.WIPED
    assert dial(fresh, n2) == (Reception.WELCOME, Reception.REFUSED)
    fresh.discovery.settle()
    assert dial(fresh, n2) == REFUSED
    again = fresh.restarted()
    assert (again.identity.epoch, again.identity.recovery) == (1, "r1")
    assert dial(again, n1) == (Reception.WELCOME, Reception.WELCOME)


def test_an_empty_folder_that_met_one_of_the_past_first(tmp_path: Path) -> None:
    """It may still follow the later epoch, for it holds nothing yet."""
    n1, n2, n3 = formed(tmp_path, NODES, "three").values()
    n1, n2 = recovered(n1), n2.restarted()
    n3.registry.close()
    fresh = Member(tmp_path / "new", "n3")
    past: list[str] = []
    fresh.discovery.past.follow(past.append)
    assert dial(fresh, n2) == (Reception.WELCOME, Reception.WELCOME)
    assert dial(fresh, n1) == (Reception.WELCOME, Reception.WELCOME)
    assert past == ["n2"], "a link that stands is not judged again"
    assert "n2" not in fresh.discovery.nodes
    assert dial(fresh, n2) == (Reception.WELCOME, Reception.REFUSED)
    assert fresh.discovery.own.epoch == 1


def test_the_metadata_tell_the_epoch_too(tmp_path: Path) -> None:
    """A folder that lost the word, or never had it, learns it from them; never an earlier one."""
    n1 = formed(tmp_path, NODES, "three")["n1"]
    n1.discovery.recovered(2, "r2")
    n1.discovery.recovered(1, "r1")
    again = n1.restarted()
    assert (again.identity.epoch, again.identity.recovery) == (2, "r2")


def test_earlier_builds_do_not_start_on_a_recovered_folder(tmp_path: Path) -> None:
    """They would forget the epoch: its format says so. Other folders stay as these builds know them."""
    n1, n2, _ = formed(tmp_path, NODES, "three").values()
    recovered(n1)

    def said(member: Member) -> dict[str, object]:
        found: dict[str, object] = json.loads(Path(member.folder, "node.json").read_text())
        return found

    assert said(n1)["format_version"] == 2
    assert said(n2)["format_version"] == 1
    assert not said(n2).keys() & {"epoch", "recovery", "recovering"}


def test_no_node_starts_on_a_half_written_folder(tmp_path: Path) -> None:
    """Not before the recovery that was begun on it is done."""
    n1 = formed(tmp_path, NODES, "three")["n1"]
    save(FS, n1.folder, msgspec.structs.replace(n1.discovery.identity, recovering="r1"))
    for _ in range(2):
        with pytest.raises(IdentityProblem, match=r"begun and is not done: run 'floodmark recover apply'"):
            load_or_create(FS, n1.folder, node_id="n1", cluster_id="c")
