"""Appends with If-Offset that one node taking one after the other could not have answered like this."""

from __future__ import annotations

import random

import pytest

from chaos.checker.options import CheckOptions
from chaos.checker.violation import Kind
from chaos.history import Acks, Produce, Produced, Read
from tests.chaos.story import PLAIN, TOPIC, Story, kinds, replicas, v


class Race(Story):
    """Racers on one partition, each value sent once."""

    def __init__(self) -> None:
        super().__init__()
        self._numbers = iter(range(1_000_000))
        self.values: dict[int, list[int]] = {}
        """By operation."""

    def ask(self, expected: int | None, count: int = 1, acks: Acks = "quorum") -> int:
        """An append begins."""
        values = [v(next(self._numbers), PLAIN) for _ in range(count)]
        op = self.invoke(Produce(TOPIC, 0, values, acks, if_offset=expected))
        self.values[op] = values
        return op

    def won(self, op: int, at: int) -> None:
        """It is stored there."""
        self.ok(op, Produced(at))

    def lost(self, op: int, next_offset: int | None) -> None:
        """It is refused, since the end is there."""
        self.fail(op, "offset_mismatch", next_offset=next_offset)

    def verdict(self, *logs: int, options: CheckOptions | None = None) -> dict[Kind, int]:
        """What is reported where the operations named are what the replicas hold, in this order."""
        held = [value for op in logs for value in self.values[op]]
        return kinds(self.check(*replicas(held), options=options) if logs else self.check(options=options))


WRONG = {Kind.NOT_LINEARIZABLE: 1}


def test_an_ordinary_race_is_linearizable() -> None:
    """Winners, losers, tails, reads past the end, others who append, and failures that say nothing."""
    race = Race()
    first, second = race.ask(0), race.ask(0, 2)
    race.won(second, 0)
    race.lost(first, 2)
    race.tail(2)
    race.fail(race.invoke(Read(TOPIC, 0, 5), "c"), "offset_past_end", high_watermark=2)
    third = race.ask(None)
    race.won(third, 2)
    race.fail(race.ask(3))
    fourth = race.ask(3)
    race.won(fourth, 3)
    result = race.check(*replicas([value for op in (second, third, fourth) for value in race.values[op]]))
    assert kinds(result) == {}
    assert result.figures.conditional_operations == 6


def test_two_winners_of_one_offset() -> None:
    """At different offsets, so that nothing but the condition is broken."""
    race = Race()
    first, second = race.ask(0), race.ask(0)
    race.won(first, 0)
    race.won(second, 1)
    result = race.check(*replicas(race.values[first] + race.values[second]))
    assert kinds(result) == WRONG
    (violation,) = result.violations
    assert (violation.topic, violation.partition) == (TOPIC, 0)
    assert [evidence.op for evidence in violation.evidence] == [second, first]


def test_a_loser_that_nobody_had_beaten() -> None:
    """It was told of an append that came to nothing."""
    race = Race()
    first, second = race.ask(0), race.ask(0)
    race.lost(second, 1)
    race.fail(first)
    third = race.ask(0)
    race.won(third, 0)
    assert race.verdict(third) == WRONG


def test_an_offset_long_passed() -> None:
    """A refusal from an old state: rightly refused, wrongly told; and one that the truth would have taken."""
    for expected, told in ((5, 1), (3, 1)):
        race = Race()
        ops = [race.ask(0), race.ask(1, 2)]
        race.won(ops[0], 0)
        race.won(ops[1], 1)
        race.lost(race.ask(expected), told)
        assert race.verdict(*ops) == WRONG
    race.lost(race.ask(3), None)
    assert race.verdict(*ops) == WRONG, "three is the end, whatever is told"


def test_a_refusal_may_speak_of_any_moment_of_its_time() -> None:
    """But not of one after another refusal that ended before it began."""
    race = Race()
    first, slow = race.ask(0), race.ask(7)
    race.won(first, 0)
    race.lost(slow, 0)
    assert race.verdict(first) == {}
    race.lost(race.ask(7), 1)
    race.lost(race.ask(7), 0)
    assert race.verdict(first) == WRONG


def test_an_end_past_which_nothing_is_told_rightly() -> None:
    """Tails and refused reads are held against the winners, too."""
    for told in ("tail", "past"):
        race = Race()
        first = race.ask(0)
        race.won(first, 0)
        if told == "tail":
            race.tail(2)
        else:
            race.fail(race.invoke(Read(TOPIC, 0, 5), "c"), "offset_past_end", high_watermark=2)
        assert race.verdict(first) == WRONG


def test_an_unknown_append_may_have_won_or_not() -> None:
    """Without the disks either way is fine, at any time, but not both ways, and only where it was right."""
    race = Race()
    unknown = race.ask(0)
    race.unknown(unknown)
    race.lost(race.ask(7), 0)
    race.lost(race.ask(7), 1)
    assert race.verdict() == {}
    race.lost(race.ask(7), 0)
    assert race.verdict() == WRONG
    race = Race()
    race.unknown(race.ask(3))
    race.lost(race.ask(0), 1)
    assert race.verdict() == WRONG, "it was never at offset 3"


def test_what_the_disks_hold_decides_what_is_unknown() -> None:
    """Stored where it should not have been taken; or not stored, though only that would explain a refusal."""
    race = Race()
    first, unknown = race.ask(0), race.ask(0)
    race.won(first, 0)
    race.unknown(unknown)
    assert race.verdict(first, unknown) == WRONG
    assert race.verdict(first) == {}
    race = Race()
    unknown = race.ask(0)
    race.unknown(unknown)
    race.lost(race.ask(0), 1)
    assert race.verdict(unknown) == {}
    winner = race.ask(0)
    race.won(winner, 0)
    assert race.verdict(winner) == WRONG
    late = Race()
    never_ended = late.ask(0)
    late.won(late_winner := late.ask(1), 1)
    assert late.verdict(never_ended, late_winner) == {}


def test_what_one_disk_has_promises_nothing() -> None:
    """With acks="leader" an answer does not say that the record stays."""
    race = Race()
    leaders = race.ask(0, acks="leader")
    race.won(leaders, 0)
    winner = race.ask(0)
    race.won(winner, 0)
    assert race.verdict(winner) == {}
    assert Kind.NOT_LINEARIZABLE in race.verdict(leaders, winner)


def test_partitions_without_a_race_are_not_searched() -> None:
    """Their answers are none of a register's."""
    race = Race()
    plain = race.ask(None)
    race.won(plain, 0)
    race.lost(race.ask(0), 9)
    result = race.check(*replicas(race.values[plain]))
    assert kinds(result) == {}
    assert result.figures.conditional_operations == 0


def test_a_search_that_is_given_up_is_no_clean_verdict() -> None:
    """It is reported for what it is."""
    race = Race()
    race.won(op := race.ask(0), 0)
    assert race.verdict(op, options=CheckOptions(search_steps_max=0)) == {Kind.UNDECIDED: 1}


@pytest.mark.parametrize("damage", ["", "refusal", "winner"])
@pytest.mark.parametrize("seed", range(6))
def test_large_random_races_are_clean_until_one_answer_is_wrong(seed: int, damage: str) -> None:
    """Five hundred overlapping attempts on a correct log; then a refusal tells an end that has passed, or two
    attempts win the same offset."""
    chance = random.Random(seed)
    race, end = Race(), 0
    held: list[int] = []
    under_way: list[tuple[int, int, int]] = []
    for _ in range(500):
        count, expected = chance.choice((1, 2)), max(0, end - chance.choice((0, 0, 0, 1)))
        under_way.append((race.ask(expected, count), expected, count))
        if len(under_way) < 4:
            continue
        op, expected, count = under_way.pop(chance.randrange(4))
        wins = expected == end
        if wins:
            held.append(op)
            end += count
        if chance.random() < 0.1:
            race.unknown(op)
        elif wins:
            race.won(op, end - count)
        else:
            race.lost(op, end)
    if damage == "refusal":
        race.lost(race.ask(end), end - 1)
    elif damage == "winner":
        for expected in (end, end):
            held.append(op := race.ask(expected))
            race.won(op, end)
            end += 1
    assert race.verdict(*held) == (WRONG if damage else {}), f"seed {seed}"
