"""When a group asks for a step: what decides something does, and what does not waits for the next one."""

from __future__ import annotations

from typing import Any

import pytest
from floodmark.format.frame import FrameKind
from msgspec.structs import replace

from consensus.messages import AppendEntriesResponse, Message
from consensus.types import Stored
from tests.support.raft import Lone


def _ack(lone: Lone, next_index: int, **changed: Any) -> Message:
    ack = AppendEntriesResponse(
        lone.group.term, next_index, success=True, reset=False, round=1, attempt=0, trusted=True
    )
    return replace(ack, **changed)


def _leader(voters: str = "abc") -> Lone:
    """A leader whose first entry all others have."""
    lone = Lone(voters)
    lone.lead(voters[1 : 1 + len(voters) // 2])
    lone.flush()
    for name in voters[1:]:
        lone.ack(name, 3)
    assert lone.group.commit_index == 2
    return lone


def _proposed(lone: Lone) -> int:
    """Propose one more entry and send it off; its index."""
    proposal = lone.group.propose(FrameKind.COMMAND, b"x", append_time=1)
    lone.step()
    lone.log.write()
    return proposal.index


def test_the_fsync_is_waited_for_before_acknowledgements_are_looked_at() -> None:
    """Three things decide a commit, and only the last of them is worth a step; what is left waits."""
    lone = _leader()
    index = _proposed(lone)
    assert not lone.group.receive("b", _ack(lone, index + 1)), "without the own fsync nothing is decided"
    assert lone.group.flushed(lone.log.sync()), "now it is"
    lone.step()
    assert lone.group.commit_index == index
    assert not lone.group.receive("c", _ack(lone, index + 1)), "it is committed already"
    assert lone.group.followers.match_of("c") == index - 1
    lone.step()
    assert lone.group.followers.match_of("c") == index


def test_an_acknowledgement_behind_the_fsync_decides() -> None:
    """The other way round."""
    lone = _leader()
    index = _proposed(lone)
    assert not lone.group.flushed(lone.log.sync()), "nobody else has it yet"
    assert lone.group.receive("b", _ack(lone, index + 1))
    lone.step()
    assert lone.group.commit_index == index


def test_of_five_the_second_acknowledgement_decides() -> None:
    """A quorum is what counts, not the first who answers."""
    lone = _leader("abcde")
    index = _proposed(lone)
    lone.group.receive("b", _ack(lone, index + 1))
    lone.group.flushed(lone.log.sync())
    lone.step()
    assert lone.group.commit_index == index - 1
    assert lone.group.receive("c", _ack(lone, index + 1))
    lone.step()
    assert lone.group.commit_index == index


@pytest.mark.parametrize(
    "changed",
    [{"term": 99}, {"success": False}, {"reset": True, "next_index": 2}, {"trusted": False}],
    ids=str,
)
def test_an_acknowledgement_that_tells_of_trouble_does_not_wait(changed: dict[str, object]) -> None:
    """Another term, a position that is set back, a follower that has lost its data."""
    lone = _leader()
    assert lone.group.receive("c", _ack(lone, **({"next_index": 3} | changed)))


def test_an_acknowledgement_that_makes_room_for_more_does_not_wait() -> None:
    """A follower that lacks something gets it at once."""
    lone = _leader()
    lone.group.propose(FrameKind.COMMAND, b"x", append_time=1)
    assert not lone.group.receive("c", _ack(lone, 3))
    lone.group.links.peer_down("c")
    lone.step()
    lone.group.links.peer_up("c")
    lone.step()
    assert lone.group.receive("c", _ack(lone, 3)), "the leader did not know where to go on"


def test_a_read_does_not_wait_for_a_heartbeat() -> None:
    """Each acknowledgement may be the one that confirms it."""
    lone = _leader()
    read_index = lone.group.read_index()
    lone.step()
    assert lone.group.receive("b", _ack(lone, 3, round=2))
    lone.step()
    assert read_index.done


def test_a_follower_always_has_its_acknowledgement_to_send() -> None:
    """Its fsync is what the leader waits for."""
    lone = Lone()
    lone.append((1, 0), [], term=1)
    assert lone.group.flushed(lone.log.sync())


def test_a_lone_voter_is_stepped_by_its_fsync() -> None:
    """Nobody else will say anything."""
    lone = Lone("a")
    lone.until_deadline()
    proposal = lone.group.propose(FrameKind.COMMAND, b"x", append_time=1)
    lone.step()
    lone.log.write()
    assert lone.group.flushed(lone.log.sync())
    lone.step()
    assert isinstance(proposal.outcome, Stored)
