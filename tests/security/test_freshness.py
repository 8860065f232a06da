"""What a node knows of the cluster is confirmed while somebody asks, and of no use once it is too old."""

from __future__ import annotations

import asyncio

import pytest
from floodmark.errors import CredentialsUnconfirmed, LeaderNotAvailable

from node.security.freshness import AGAIN_AFTER_S, RETRY_S, UNHEARD_S, Freshness


class Leader:
    """Confirms, takes its time, or is not there; and a clock that stands still until it is set."""

    def __init__(self) -> None:
        self.now = 100.0
        self.there = True
        self.name: str | None = None
        self.asked = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.freshness = Freshness(self.confirm, lambda: self.now, lambda: self.name)

    async def confirm(self, _timeout_s: float) -> None:
        self.asked += 1
        await self.gate.wait()
        if not self.there:
            raise LeaderNotAvailable("no leader")

    async def settled(self) -> None:
        """What was begun in the background is over."""
        for _ in range(5):
            await asyncio.sleep(0)


@pytest.fixture
async def leader() -> Leader:
    return Leader()


async def test_nobody_is_asked_while_nobody_asks(leader: Leader) -> None:
    """An idle cluster stays idle, and whoever comes after that waits for one round, not for a minute."""
    await leader.freshness.confirm()
    leader.now += 3600
    await leader.settled()
    assert leader.asked == 1
    await asyncio.gather(*(leader.freshness.confirm() for _ in range(50)))
    assert leader.asked == 2
    assert leader.freshness.holds


async def test_it_is_confirmed_in_the_background_before_it_is_too_old(leader: Leader) -> None:
    """Who asks meanwhile does not wait, and it is asked for now and then only."""
    await leader.freshness.confirm()
    leader.now += AGAIN_AFTER_S - 0.1
    for _ in range(9):
        assert leader.freshness.holds
    assert leader.asked == 1
    leader.now += 0.1
    for _ in range(9):
        assert leader.freshness.holds
        await leader.settled()
    assert leader.asked == 2
    leader.now += UNHEARD_S - 0.1
    assert leader.freshness.holds, "confirmed as of a moment ago"


async def test_what_is_too_old_is_refused_until_it_is_confirmed_again(leader: Leader) -> None:
    """To the second, however often it is asked; also where the answer takes its time."""
    await leader.freshness.confirm()
    confirmed_at = leader.now
    leader.there = False
    while leader.now < confirmed_at + UNHEARD_S - RETRY_S:
        leader.now += RETRY_S
        assert leader.freshness.holds
        await leader.freshness.confirm()
        await leader.settled()
    assert leader.asked > 10, "it is tried again all the time"
    leader.now = confirmed_at + UNHEARD_S
    assert not leader.freshness.holds
    with pytest.raises(CredentialsUnconfirmed) as refused:
        await leader.freshness.confirm()
    assert refused.value.cause == "credentials_unconfirmed"
    assert refused.value.retry_after_s == 1
    leader.there = True
    leader.now += RETRY_S
    with pytest.raises(CredentialsUnconfirmed):
        await leader.freshness.confirm()  # Nobody waits for the next try; it is made all the same.
    await leader.settled()
    await leader.freshness.confirm()
    assert leader.freshness.holds


async def test_whoever_asks_waits_for_a_leader_that_has_not_failed_yet(leader: Leader) -> None:
    """A node that has just started hears of a leader: nobody is refused for the time before that."""
    leader.there = False
    with pytest.raises(CredentialsUnconfirmed):
        await leader.freshness.confirm()
    with pytest.raises(CredentialsUnconfirmed):
        await leader.freshness.confirm()
    assert leader.asked == 1, "nobody leads yet: refused at once"
    leader.there, leader.name = True, "n2"
    await leader.freshness.confirm()
    assert leader.asked == 2
    leader.now += UNHEARD_S
    leader.there = False
    for name, asked in (("n2", 3), ("n2", 3), ("n3", 4), ("n3", 4)):
        leader.name = name
        with pytest.raises(CredentialsUnconfirmed):
            await leader.freshness.confirm()
        assert leader.asked == asked, "one round for each leader"


async def test_a_round_says_nothing_of_what_came_after_it_began(leader: Leader) -> None:
    """It counts from its beginning, however long it took."""
    leader.gate.clear()
    waiting = asyncio.ensure_future(leader.freshness.confirm())
    await leader.settled()
    leader.now += UNHEARD_S
    leader.gate.set()
    with pytest.raises(CredentialsUnconfirmed):
        await waiting
    assert not leader.freshness.holds


async def test_anew_means_after_the_call(leader: Leader) -> None:
    """The round that is under way does not count; those who wait share the next one."""
    leader.gate.clear()
    first = asyncio.ensure_future(leader.freshness.confirm())
    await leader.settled()
    leader.now += 1
    later = [asyncio.ensure_future(leader.freshness.anew()) for _ in range(20)]
    await leader.settled()
    assert leader.asked == 1
    leader.gate.set()
    await first
    await asyncio.gather(*later)
    assert leader.asked == 2
    leader.now += 1
    leader.there = False
    with pytest.raises(CredentialsUnconfirmed):
        await leader.freshness.anew()
    assert leader.freshness.holds, "as of a second ago it is known"
