"""Replicas, leaders, progress and gaps."""

from __future__ import annotations

from array import array

from chaos.checker.options import CheckOptions
from chaos.checker.violation import Kind
from chaos.history import Produce, Produced
from storage.verify import Finding
from tests.chaos.story import TOPIC, Story, kinds, replica, replicas, vs

ALL = vs(0, 1, 2)


def told() -> Story:
    """Three records, acknowledged together."""
    story = Story()
    story.produce(ALL, at=0)
    return story


def test_replicas_that_differ_are_compared_with_the_majority() -> None:
    """The one that is unlike the others is named, and the first record in which it is."""
    story = told()
    story.produce(vs(8))
    result = story.check(replica("n1", vs(0, 8, 2)), *replicas(ALL)[1:])
    assert kinds(result) == {Kind.REPLICAS_DIFFER: 1, Kind.TWO_VALUES_AT_ONE_OFFSET: 1}
    differ = next(one for one in result.violations if one.kind is Kind.REPLICAS_DIFFER)
    assert differ.summary == "n1 differs from n2: n1 holds 1.8 at offset 1"


def test_frames_of_other_terms_are_a_difference_though_the_records_are_the_same() -> None:
    """Replicas hold the very same frames."""
    result = told().check(*replicas(ALL)[1:], replica("n1", ALL, term=2))
    assert kinds(result) == {Kind.REPLICAS_DIFFER: 1}
    assert result.violations[0].summary == "n1 differs from n2: frame 2 is not the same"


def test_a_last_frame_without_records_may_be_on_one_replica_only() -> None:
    """A new leader's first entry that had not left yet when all was stopped."""
    final = replicas(ALL)
    final[2].frames.append(77)
    final[2].digest = "another"
    assert told().check(*final).is_clean


def test_replicas_that_agree_are_clean_and_damaged_ones_are_reported() -> None:
    """Each damaged replica once, with all that the offline check found."""
    final = replicas(ALL)
    assert told().check(*final).is_clean
    final[0].findings = (Finding("seg", 64, 2, "no valid frame header"), Finding("vote", 0, None, "bad"))
    result = told().check(*final)
    assert kinds(result) == {Kind.REPLICA_DAMAGED: 1}
    assert [evidence.what for evidence in result.violations[0].evidence] == [
        "seg at byte 64: no valid frame header",
        "vote at byte 0: bad",
    ]


def test_a_replica_that_is_not_there() -> None:
    """Where it is known who should hold the partition."""
    options = CheckOptions(replicas={(TOPIC, 0): frozenset(["n1", "n2", "n3"])})
    assert told().check(*replicas(ALL), options=options).is_clean
    result = told().check(*replicas(ALL)[:2], options=options)
    assert kinds(result) == {Kind.REPLICA_MISSING: 1}
    assert result.violations[0].evidence[0].node == "n3"


def test_two_leaders_in_a_term_and_one_after_the_other() -> None:
    """The same node again, another term and another group are no second leader."""
    story = told()
    story.leads("n1", 3)
    story.leads("n1", 3)
    story.leads("n2", 4)
    story.leads("n2", 3, group="orders/1")
    assert story.check(*replicas(ALL)).is_clean
    story.leads("n2", 3)
    story.leads("n2", 3)
    result = story.check(*replicas(ALL))
    assert kinds(result) == {Kind.TWO_LEADERS: 1}
    assert [evidence.node for evidence in result.violations[0].evidence] == ["n1", "n2"]


def test_progress_after_healing_is_a_produce_that_begins_and_ends_after_it() -> None:
    """One that was under way shows nothing."""
    story = told()
    op = story.invoke(Produce(TOPIC, 0, vs(3)))
    story.healed()
    story.ok(op, Produced(3))
    result = story.check(*replicas(vs(0, 1, 2, 3)))
    assert kinds(result) == {Kind.NO_PROGRESS: 1}
    assert "in 0 attempts" in result.violations[0].summary
    story.wait(1)
    story.produce(vs(4), at=4)
    result = story.check(*replicas(vs(0, 1, 2, 3, 4)))
    assert result.is_clean
    assert [recovery.seconds for recovery in result.recoveries] == [1.003]


def test_progress_that_comes_too_late_or_in_one_partition_only_is_reported() -> None:
    """Every partition that was written to is waited for."""
    late = told()
    late.healed()
    late.produce(vs(3))
    late.wait(6)
    late.produce(vs(4), at=3)
    result = late.check(*replicas(vs(0, 1, 2, 4)))
    assert kinds(result) == {Kind.NO_PROGRESS: 1}
    assert "for 6.0 s" in result.violations[0].summary
    half = told()
    half.produce(vs(3), at=0, partition=1)
    half.healed()
    half.produce(vs(4), at=3)
    half.produce(vs(5), partition=1)
    result = half.check(*replicas(vs(0, 1, 2, 4)), *replicas(vs(3), partition=1))
    assert kinds(result) == {Kind.NO_PROGRESS: 1}
    assert (result.violations[0].partition, "in 1 attempts" in result.violations[0].summary) == (1, True)


def test_a_new_fault_ends_the_wait_for_progress() -> None:
    """Unless the time was up before it began."""
    for seconds, expected in ((1, {}), (6, {Kind.NO_PROGRESS: 1})):
        story = told()
        story.healed()
        story.wait(seconds)
        story.fault_began(1)
        assert kinds(story.check(*replicas(ALL))) == expected


def test_the_longest_gap_is_charged_to_every_fault_that_it_touches() -> None:
    """The gap that outlasts its fault counts in full; one before the fault does not."""
    story = Story()
    story.produce(vs(0), at=0)
    story.wait(9)
    story.produce(vs(1), at=1)
    story.fault_began(1, "kill")
    story.wait(2)
    story.fault_ended(1)
    story.wait(1)
    story.produce(vs(2), at=2)
    story.fault_began(2, "pause")
    story.wait(0.5)
    story.produce(vs(3), at=3)
    story.fault_ended(2)
    story.produce(vs(4), at=4)
    result = story.check(*replicas(vs(0, 1, 2, 3, 4)))
    assert result.is_clean
    assert [(gap.fault, gap.name, round(gap.seconds, 1)) for gap in result.gaps] == [
        (None, "", 9.0),
        (1, "kill", 3.0),
        (2, "pause", 0.5),
    ]


def test_a_gap_that_never_ends_lasts_until_the_last_attempt() -> None:
    """What is never stored again is not forgotten."""
    story = told()
    story.fault_began(1)
    story.wait(4)
    story.produce(vs(3))
    result = story.check(*replicas(ALL))
    assert [round(gap.seconds, 1) for gap in result.gaps] == [4.0, 4.0]


def test_a_pause_is_no_gap_and_a_gap_beside_it_is_one() -> None:
    """What counts is the time in which somebody asked: also in the pause, while an answer is waited for."""
    story = told()
    story.wait(1)
    story.pause_began()
    story.wait(30)
    story.pause_ended()
    story.wait(2)
    story.produce(vs(3), at=3)
    assert [round(gap.seconds, 1) for gap in story.check(*replicas(vs(0, 1, 2, 3))).gaps] == [3.0]
    waiting = told()
    op = waiting.invoke(Produce(TOPIC, 0, vs(3)))
    waiting.pause_began()
    waiting.wait(4)
    waiting.ok(op, Produced(3))
    waiting.wait(9)
    waiting.pause_ended()
    waiting.produce(vs(4), at=4)
    assert [round(gap.seconds, 1) for gap in waiting.check(*replicas(vs(0, 1, 2, 3, 4))).gaps] == [4.0]


def test_a_pause_of_one_partition_is_none_of_another() -> None:
    """The gap of the one that was written to all the time counts in full."""
    story = told()
    story.produce(vs(3), at=0, partition=1)
    story.pause_began(partition=1)
    story.wait(4)
    story.produce(vs(4), at=3)
    story.pause_ended(partition=1)
    story.produce(vs(5), at=1, partition=1)
    result = story.check(*replicas(vs(0, 1, 2, 4)), *replicas(vs(3, 5), partition=1))
    assert [(gap.partition, round(gap.seconds, 1)) for gap in result.gaps] == [(0, 4.0)]


def test_the_time_for_progress_stands_still_in_a_pause() -> None:
    """Healed in a pause of ten seconds: 5 s count from its end on, and no more."""
    for seconds, expected in ((4, {}), (6, {Kind.NO_PROGRESS: 1})):
        story = told()
        story.pause_began()
        story.healed()
        story.wait(10)
        story.pause_ended()
        story.produce(vs(3))
        story.wait(seconds)
        story.produce(vs(4), at=3)
        result = story.check(*replicas(vs(0, 1, 2, 4)))
        assert kinds(result) == expected
        assert [round(recovery.seconds) for recovery in result.recoveries] == [seconds]


def test_a_new_fault_after_a_pause_judges_the_time_that_was_asked() -> None:
    """Ten seconds since healing are no delay when nobody asked in nine of them."""
    for waits, expected in ((1, {}), (6, {Kind.NO_PROGRESS: 1})):
        story = told()
        story.healed()
        story.pause_began()
        story.wait(9)
        story.pause_ended()
        story.wait(waits)
        story.fault_began(1)
        assert kinds(story.check(*replicas(ALL))) == expected


def test_a_gap_is_judged_where_the_run_says_how_long_it_may_be() -> None:
    """With the pause in it left out."""
    story = told()
    story.pause_began()
    story.wait(30)
    story.pause_ended()
    story.wait(3)
    story.produce(vs(3), at=3)
    final = replicas(vs(0, 1, 2, 3))
    assert story.check(*final).is_clean
    assert story.check(*final, options=CheckOptions(gap_s_max=4)).is_clean
    result = story.check(*final, options=CheckOptions(gap_s_max=2))
    assert kinds(result) == {Kind.NO_PROGRESS: 1}
    assert result.violations[0].summary == "nothing was stored for 3.0 s, which is more than 2 s"


def test_holes_are_damage_and_not_a_difference() -> None:
    """What damage has taken is reported once."""
    final = replicas(ALL)
    final[0].values = array("q", [*vs(0), -2, *vs(2)])
    final[0].frames[1] = 0
    final[0].digest = "another"
    final[0].findings = (Finding("seg", 168, 3, "the payload fails its CRC32C"),)
    assert kinds(told().check(*final)) == {Kind.REPLICA_DAMAGED: 1}
