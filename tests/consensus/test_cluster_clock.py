"""The time of day that records get: this node's own, as long as most of its cluster's nodes agree with it."""

from __future__ import annotations

import pytest

from consensus.host.cluster_clock import TOLERANCE_MS, ClusterClock
from consensus.links.link_types import Peer

NOW = 1_700_000_000_000
DECADE = 10 * 365 * 86_400_000


class Clocks:
    """Wall clocks of this node and of its peers, by how far each is ahead, and one monotonic clock."""

    def __init__(self, own: int, **others: int) -> None:
        self.own, self.mono = own, 50.0
        self.peers = {name: Peer(name, heard_at=0.0) for name in others}
        for name, ahead in others.items():
            self.hear(name, ahead)
        self.clock = ClusterClock(self.read, self.peers.values, lambda: self.mono)

    def true(self) -> int:
        return NOW + int(self.mono * 1000)

    def read(self) -> int:
        return self.true() + self.own

    def hear(self, name: str, ahead: int) -> None:
        self.peers[name].wall_ms, self.peers[name].wall_at = self.true() + ahead, self.mono

    def ahead(self) -> tuple[int, int]:
        """What appends and what retention go by, as far as they are ahead of the true time."""
        return self.clock.now_ms() - self.true(), self.clock.retention_ms() - self.true()


@pytest.mark.parametrize("wrong", [DECADE, -DECADE, 6_000, -6_000])
def test_a_clock_off_the_median_is_held_to_the_edge_of_the_tolerance(wrong: int) -> None:
    """Of three nodes one is wrong: its own records get times near the others', and it knows it is off."""
    clocks = Clocks(wrong, b=10, c=-10)
    edge = TOLERANCE_MS if wrong > 0 else -TOLERANCE_MS
    assert clocks.clock.is_off
    for ahead in clocks.ahead():
        assert abs(ahead - edge) <= 11
    assert abs(clocks.clock.ahead_ms() - wrong) <= 11


@pytest.mark.parametrize("wrong", [DECADE, -DECADE])
def test_a_wrong_clock_elsewhere_changes_nothing(wrong: int) -> None:
    """The majority goes on by its own clocks, and knows who is off."""
    clocks = Clocks(3, b=wrong, c=-10)
    assert clocks.ahead() == (3, 3)
    assert (clocks.clock.is_off, clocks.clock.is_off_at("b"), clocks.clock.is_off_at("c")) == (
        False,
        True,
        False,
    )


def test_a_jump_counts_at_once() -> None:
    """Not a single append gets a time ten years ahead, however recently the others' clocks were looked at."""
    clocks = Clocks(0, b=0, c=0)
    assert clocks.ahead() == (0, 0)
    clocks.own = DECADE
    assert clocks.ahead() == (TOLERANCE_MS, TOLERANCE_MS)


def test_what_was_heard_goes_on_as_time_does() -> None:
    """Between two beats, and while a peer is paused, its clock is taken to run."""
    clocks = Clocks(0, b=0, c=0)
    clocks.mono += 3_600
    assert clocks.ahead() == (0, 0)
    assert not clocks.clock.is_off


def test_of_two_clocks_nobody_knows_which_is_right() -> None:
    """Appends keep their own time, and retention goes by the earlier clock: nothing is removed too soon."""
    assert Clocks(DECADE, b=0).ahead() == (DECADE, TOLERANCE_MS)
    assert Clocks(0, b=DECADE).ahead() == (0, 0)
    assert Clocks(-DECADE, b=0).ahead() == (-DECADE, -DECADE)
    assert not Clocks(DECADE, b=0).clock.is_off


def test_a_silent_peer_and_one_that_never_beat_have_no_say() -> None:
    """Only what is heard counts; alone, a node has nothing but its own clock."""
    clocks = Clocks(DECADE, b=0, c=0)
    clocks.peers["b"].silent = True
    clocks.peers["c"].wall_ms = None
    assert clocks.ahead() == (DECADE, DECADE)
    assert (clocks.clock.ahead_ms(), clocks.clock.is_off) == (0, False)
