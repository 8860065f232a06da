"""The order in which members come, are promoted, hand over, are demoted and go: one step at a time."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from consensus.core.member_steps import CAUGHT_UP_ENTRIES, HandOver, next_step
from consensus.types import Membership
from tests.support.raft import Lone

COMMIT = 1000


def _members(voters: str, learners: str = "") -> Membership:
    return Membership(frozenset(voters), frozenset(learners))


@dataclass
class _Led:
    """What a leader would know, set by hand. Members have everything unless ``behind`` says otherwise."""

    membership: Membership
    node_id: str = "a"
    behind: dict[str, int] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)
    may_change_members: bool = True
    commit_index: int = COMMIT

    def match_of(self, node: str) -> int:
        return self.commit_index - self.behind.get(node, 0)

    def is_trusted(self, node: str) -> bool:
        return node not in self.lost

    def has_lost(self, node: str) -> bool:
        return node in self.lost


def _walk(led: _Led, wanted: Membership, *, alive: str, preferred: str = "") -> list[str]:
    """All steps up to the one where nothing is left to do, as "voters+learners" or ">heir"."""
    steps = []
    while (step := next_step(led, wanted, alive=alive, preferred=preferred)) is not None:
        if isinstance(step, HandOver):
            led.node_id = step.to[0]
            steps.append(f">{led.node_id}")
        else:
            led.membership = step
            steps.append("+".join("".join(sorted(part)) for part in (step.voters, step.learners) if part))
        assert len(steps) < 50, steps
    return steps


@pytest.mark.parametrize(
    ("now", "wanted", "dead", "expected"),
    [
        pytest.param("abc", "abd", "", "abc+d abcd abd+c abd", id="live"),
        pytest.param("abc", "abd", "c", "abc+d ab+cd abd+c abd", id="dead"),
        pytest.param("abc", "bcd", "", "abc+d abcd >b bcd+a bcd", id="leader"),
        pytest.param(
            "abc", "def", "", "abc+def abcd+ef acd+bef acde+bf ade+bcf adef+bc >d def+abc def", id="all"
        ),
        pytest.param("abc", "ade", "c", "abc+de ab+cde abd+ce abde+c ade+bc ade", id="dead and live"),
        pytest.param("abc", "abd", "b", "abc+d", id="another one is dead: it is waited for"),
        pytest.param("abc", "abd", "d", "abc+d", id="the new one is dead"),
        pytest.param("abc", "ab", "c", "ab+c ab", id="shrink by a dead one"),
        pytest.param("abc", "a", "", "ac+b a+bc a", id="shrink to one"),
        pytest.param("a", "abc", "", "a+bc ab+c abc", id="grow from one"),
        pytest.param("a", "b", "", "a+b ab >b b+a b", id="one moves"),
        pytest.param("ab", "ac", "", "ab+c abc ac+b ac", id="one of two moves"),
        pytest.param("abc", "abcde", "", "abc+de abcd+e abcde", id="grow to five"),
        pytest.param("abcde", "abc", "e", "abcd+e abc+de abc", id="shrink from five"),
    ],
)
def test_members_change_in_the_order_of_a_move(now: str, wanted: str, dead: str, expected: str) -> None:
    """Learner, promoted, handed over, demoted, removed; who is dead is demoted before anybody is promoted."""
    alive = "".join(sorted(set(now + wanted) - set(dead)))
    led = _Led(_members(now), behind=dict.fromkeys(dead, COMMIT))
    assert " ".join(_walk(led, _members(wanted), alive=alive, preferred=wanted)) == expected


def test_nothing_is_promoted_before_it_has_caught_up() -> None:
    """Nor is a dead member demoted for it: until then that one could come back."""
    led = _Led(_members("abc", "d"), behind={"d": CAUGHT_UP_ENTRIES + 1, "c": COMMIT})
    assert next_step(led, _members("abd"), alive="abd") is None
    led.behind["d"] = CAUGHT_UP_ENTRIES
    assert next_step(led, _members("abd"), alive="abd") == _members("ab", "cd")


def test_one_change_at_a_time_by_a_leader_whose_term_has_committed() -> None:
    """While another is under way, or the leader is new, there is no next step."""
    led = _Led(_members("abc"), may_change_members=False)
    assert next_step(led, _members("abd"), alive="abcd") is None


def test_a_group_that_should_have_three_never_falls_below_two() -> None:
    """One that lost its data too is waited for, unless forced; or another is promoted first."""
    led = _Led(_members("ac", "b"), lost={"c"}, behind={"b": COMMIT})
    assert next_step(led, _members("abc"), alive="abc") is None
    assert next_step(led, _members("abc"), alive="abc", force=True) == _members("a", "bc")
    led.behind.clear()
    assert next_step(led, _members("abc"), alive="abc") == _members("abc")
    led.membership = _members("abc")
    assert next_step(led, _members("abc"), alive="abc") == _members("ab", "c")


def test_one_of_two_that_lost_its_data_is_taken_in_again() -> None:
    """A group of two has no more to lose."""
    led = _Led(_members("ab"), lost={"b"})
    assert next_step(led, _members("ab"), alive="ab") == _members("a", "b")


def test_a_change_that_is_taken_back_goes_the_other_way() -> None:
    """Who was demoted is promoted again, and who was to come goes."""
    led = _Led(_members("ab", "cd"))
    assert _walk(led, _members("abc"), alive="abcd") == ["abc+d", "abc"]
    led = _Led(_members("abcd"))
    assert _walk(led, _members("abc"), alive="abcd") == ["abc+d", "abc"]


def test_learners_may_be_wanted_as_such() -> None:
    """The metadata has voters and others that learn; one becomes the other."""
    led = _Led(_members("abc", "d"))
    assert _walk(led, _members("abd", "ce"), alive="abcde") == ["abc+de", "abcd+e", "abd+ce"]


@pytest.mark.parametrize("seed", range(200))
def test_random_changes_end_and_never_cost_the_majority(seed: int) -> None:
    """Whatever dies, lags and comes back meanwhile. No step leaves less than what was enough before it."""
    rng = random.Random(seed)
    names = "abcdefg"
    led = _Led(_members(names[: rng.choice((1, 2, 3, 3, 3, 5))]))
    wanted = _members("".join(rng.sample(names, rng.choice((1, 2, 3, 3, 3, 5)))))
    three = len(wanted.voters) >= 3
    voters_least = min(len(led.membership.voters), 2 if three else 1)
    for look in range(400):
        away = _away(rng, led, calm=look > 200)
        alive = set(names) - away
        if led.node_id in away:
            heirs = sorted(led.membership.voters & alive)
            if 2 * len(heirs) <= len(led.membership.voters):
                continue  # Nobody leads.
            led.node_id = rng.choice(heirs)
        enough = _has_majority(led.membership, alive, led)
        step = next_step(led, wanted, alive=alive)
        if isinstance(step, HandOver):
            assert set(step.to) <= wanted.voters & alive
            led.node_id = rng.choice(step.to)
        elif step is not None:
            assert step != led.membership
            assert len(step.voters ^ led.membership.voters) <= 1
            assert led.node_id in step.voters
            assert len(step.voters) >= voters_least, f"seed {seed}"
            assert _has_majority(step, alive, led) or not enough, f"seed {seed}: {step}"
            led.membership = step
    assert led.membership == wanted, f"seed {seed}"


def _away(rng: random.Random, led: _Led, *, calm: bool) -> set[str]:
    """Who is dead in this look; who comes back lags, and catches up."""
    for node in sorted(led.membership.learners | set(led.behind)):
        if calm or rng.random() < 0.3:
            led.behind.pop(node, None)
        elif node not in led.membership.members:
            led.behind[node] = COMMIT
    if calm:
        return set()
    away = {node for node in "abcdefg" if rng.random() < 0.15}
    led.behind |= dict.fromkeys(away, COMMIT)
    led.behind.pop(led.node_id, None)
    return away


def _has_majority(members: Membership, alive: set[str], led: _Led) -> bool:
    fit = [node for node in members.voters if node in alive and led.behind.get(node, 0) <= CAUGHT_UP_ENTRIES]
    return len(fit) >= members.quorum


def test_a_new_leader_expels_nobody_who_has_said_nothing() -> None:
    """Only who has lost its data is made a learner, and only who has not is made a voter: in a real group."""
    lone = Lone()
    lone.lead()
    assert next_step(lone.group.followers, _members("abcd"), alive="abcd") is None, (
        "nothing of its term is committed"
    )
    lone.flush()
    lone.ack("b", 3)
    assert next_step(lone.group.followers, _members("abcd"), alive="abcd") == _members("abc", "d")
    lone.group.propose_membership(_members("abc", "d"))
    lone.step()
    assert next_step(lone.group.followers, _members("abcd"), alive="abcd") is None, "a change is under way"
    lone.flush()
    lone.ack("b", 4)
    lone.ack("c", 4)
    assert next_step(lone.group.followers, _members("abcd"), alive="abcd") is None, "d has said nothing"
    lone.ack("d", 4)
    assert next_step(lone.group.followers, _members("abcd"), alive="abc") is None, "d is dead"
    assert next_step(lone.group.followers, _members("abcd"), alive="abcd") == _members("abcd")
    lone.ack("c", 4, trusted=False)
    assert next_step(lone.group.followers, _members("abcd"), alive="abcd") == _members("ab", "cd")
