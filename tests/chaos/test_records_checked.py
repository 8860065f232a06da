"""Every anomaly of records is found, exactly, and its harmless twin is not."""

from __future__ import annotations

import pytest

from chaos.checker.check import TopicDeleted
from chaos.checker.final_state import MISSING
from chaos.checker.options import CheckOptions
from chaos.checker.violation import Kind
from chaos.history import Delete, Produce, Produced
from chaos.record_value import FOREIGN
from tests.chaos.story import PLAIN, TOPIC, Story, kinds, replica, replicas, v, vs


def told(count: int = 6) -> Story:
    """That many records, acknowledged one by one at offsets 0, 1, ..."""
    story = Story()
    for number in range(count):
        story.produce(vs(number), at=number)
    return story


def test_a_plain_run_is_clean_and_says_how_much_was_looked_at() -> None:
    """Nothing is reported, and the figures are not zero."""
    story = told()
    story.read(0, (0, vs(0, 1, 2, 3, 4, 5)))
    result = story.check(*replicas(vs(0, 1, 2, 3, 4, 5)))
    assert result.is_clean
    figures = result.figures
    assert (figures.events, figures.operations, figures.replicas) == (17, 7, 3)
    assert (figures.records_sent, figures.records_acknowledged, figures.records_seen) == (6, 6, 6)


@pytest.mark.parametrize(
    ("held", "start", "kind", "lost"),
    [
        (vs(2, 3, 4, 5), 2, Kind.LOST_PREFIX, [0, 1]),
        (vs(0, 1, 2), 0, Kind.LOST_TAIL, [3, 4, 5]),
        ([], 0, Kind.LOST_ALL, [0, 1, 2, 3, 4, 5]),
    ],
)
def test_acknowledged_records_lost_are_told_apart(
    held: list[int], start: int, kind: Kind, lost: list[int]
) -> None:
    """Each lost record is one violation, with its acknowledgement and what every replica holds."""
    result = told().check(*[replica(node, held, start_offset=start) for node in ("n1", "n2", "n3")])
    assert kinds(result) == {kind: len(lost)}
    assert [violation.evidence[0].value for violation in result.violations] == vs(*lost)
    first = result.violations[0]
    assert first.evidence[0].time_ns == (4 + 2 * lost[0]) * 1_000_000
    assert [evidence.node for evidence in first.evidence[1:]] == ["n1", "n2", "n3"]


def test_a_record_overwritten_in_the_middle_is_lost_there_and_a_conflict() -> None:
    """What stands in its place was sent, so it is no foreign record."""
    story = told()
    story.produce(vs(9))
    result = story.check(*replicas(vs(0, 1, 9, 3, 4, 5)))
    assert kinds(result) == {Kind.LOST_MIDDLE: 1, Kind.TWO_VALUES_AT_ONE_OFFSET: 1}


def test_a_record_on_two_of_three_replicas_is_not_lost_and_on_one_it_is() -> None:
    """The promise is a majority; that replicas differ is another violation."""
    full, short = vs(0, 1, 2, 3, 4, 5), vs(0, 1, 2, 3, 4)
    two = told().check(replica("n1", full), replica("n2", full), replica("n3", short))
    assert kinds(two) == {Kind.REPLICAS_DIFFER: 1}
    one = told().check(replica("n1", full), replica("n2", short), replica("n3", short))
    assert kinds(one) == {Kind.REPLICAS_DIFFER: 1, Kind.LOST_TAIL: 1}


def test_a_majority_is_one_of_the_replicas_that_should_be_there() -> None:
    """Of five named nodes two are left: all is lost, and three replicas are missing."""
    full = vs(0, 1, 2, 3, 4, 5)
    options = CheckOptions(replicas={(TOPIC, 0): frozenset(["n1", "n2", "n3", "n4", "n5"])})
    result = told().check(replica("n1", full), replica("n2", full), options=options)
    assert kinds(result) == {Kind.LOST_ALL: 6, Kind.REPLICA_MISSING: 3}


def test_without_any_final_state_acknowledged_records_count_as_lost() -> None:
    """A check that had nothing to look at does not end as clean."""
    assert kinds(told(2).check()) == {Kind.LOST_ALL: 2}


def test_what_retention_removed_is_not_lost() -> None:
    """In a topic that is trimmed, and only there."""
    options = CheckOptions(trimmed_topics=frozenset([TOPIC]))
    held = [replica("n1", vs(2, 3, 4, 5), start_offset=2), replica("n2", vs(1, 2, 3, 4, 5), start_offset=1)]
    assert told().check(*held, options=options).is_clean
    assert kinds(told().check(*held)) == {Kind.LOST_PREFIX: 2, Kind.REPLICAS_DIFFER: 1}


def test_records_that_nobody_was_promised_may_be_lost() -> None:
    """Unknown outcomes and acknowledgements by the leader alone promise nothing."""
    story = told(2)
    story.produce(vs(2))
    story.produce(vs(3), at=2, acks="leader")
    story.produce(vs(4), at=-1, acks="none")
    story.invoke(Produce(TOPIC, 0, vs(5)))
    assert story.check(*replicas(vs(0, 1))).is_clean
    assert story.check(*replicas(vs(0, 1, 2, 3, 4, 5))).is_clean


def test_a_value_of_an_idempotent_producer_at_two_offsets_is_a_duplicate() -> None:
    """However often it was sent; once is right, also when it was sent twice."""
    story = told(2)
    story.produce(vs(2))
    story.produce(vs(2), at=2)
    assert story.check(*replicas(vs(0, 1, 2))).is_clean
    result = story.check(*replicas(vs(0, 1, 2, 2)))
    assert kinds(result) == {Kind.DUPLICATE: 1}
    assert [evidence.offset for evidence in result.violations[0].evidence] == [2, 3]


def test_two_acknowledgements_of_one_value_at_two_offsets_are_a_duplicate() -> None:
    """Without any replica that shows the second one."""
    story = told(2)
    story.produce(vs(1), at=2)
    assert kinds(story.check(*replicas(vs(0, 1)))) == {Kind.DUPLICATE: 1}


def test_a_value_without_idempotence_may_stand_as_often_as_it_may_have_been_stored() -> None:
    """Sent twice, of which one was unknown: two are allowed, three are not, nor two of one sending."""
    story = Story()
    story.produce(vs(0, producer=PLAIN))
    story.produce(vs(0, producer=PLAIN), at=1)
    twice = [v(0, PLAIN)] * 2
    assert story.check(*replicas(twice)).is_clean
    assert kinds(story.check(*replicas([v(0, PLAIN)] * 3))) == {Kind.VALUE_AT_TWO_OFFSETS: 1}
    once = Story()
    once.produce(vs(0, producer=PLAIN), at=0)
    assert kinds(once.check(*replicas(twice))) == {Kind.VALUE_AT_TWO_OFFSETS: 1}


def test_one_offset_with_two_values_is_reported_once_however_often_it_is_read() -> None:
    """Consumers that saw different records at one offset."""
    story = told(2)
    story.produce(vs(7))
    story.read(0, (0, vs(0, 1)))
    for session in (1, 2):
        story.read(0, (0, vs(0, 7)), session=session)
    result = story.check(*replicas(vs(0, 1)))
    assert kinds(result) == {Kind.TWO_VALUES_AT_ONE_OFFSET: 1}
    assert [evidence.value for evidence in result.violations[0].evidence] == vs(1, 7)
    assert result.violations[0].evidence[1].process == "c"


def test_a_record_that_was_reported_as_failed_must_not_be_read() -> None:
    """Whether a consumer or a disk has it; one that was sent again and may be stored is fine."""
    story = told(1)
    story.fail(story.invoke(Produce(TOPIC, 0, vs(1))))
    assert story.check(*replicas(vs(0))).is_clean
    assert kinds(story.check(*replicas(vs(0, 1)))) == {Kind.FAILED_RECORD_READ: 1}
    story.read(0, (0, vs(0, 1)))
    assert kinds(story.check(*replicas(vs(0)))) == {Kind.FAILED_RECORD_READ: 1}
    story.produce(vs(1))
    assert story.check(*replicas(vs(0, 1))).is_clean


def test_a_failure_that_is_told_after_the_read_counts_as_well() -> None:
    """The reader was faster than the answer."""
    story = told(1)
    op = story.invoke(Produce(TOPIC, 0, vs(1)))
    story.read(0, (0, vs(0, 1)))
    story.fail(op)
    assert kinds(story.check(*replicas(vs(0)))) == {Kind.FAILED_RECORD_READ: 1}


def test_records_that_no_workload_wrote_are_foreign() -> None:
    """A value that is no workload's, and one that would be but was never sent."""
    story = told(1)
    assert kinds(story.check(*replicas(vs(0, 5)))) == {Kind.FOREIGN_RECORD: 1}
    story.read(0, (0, [v(0), FOREIGN]))
    assert kinds(story.check(*replicas(vs(0)))) == {Kind.FOREIGN_RECORD: 1}


def test_records_of_a_producer_out_of_order() -> None:
    """In one partition they stand as they were sent; other producers' records may stand between."""
    story = Story()
    story.produce(vs(0))
    story.produce(vs(0, producer=PLAIN))
    story.produce(vs(1))
    story.produce(vs(2))
    assert story.check(*replicas([v(0), v(1), v(0, PLAIN), v(2)])).is_clean
    result = story.check(*replicas([v(0), v(2), v(0, PLAIN), v(1)]))
    assert kinds(result) == {Kind.OUT_OF_ORDER: 1}
    assert [evidence.offset for evidence in result.violations[0].evidence] == [1, 3]


def test_a_record_sent_after_an_acknowledgement_stands_behind_it() -> None:
    """Whoever sent the two; when they overlapped, any order is right."""
    after, during = Story(), Story()
    after.produce(vs(0), at=1)
    after.produce(vs(0, producer=PLAIN), at=0)
    held = replicas([v(0, PLAIN), v(0)])
    assert kinds(after.check(*held)) == {Kind.OUT_OF_ORDER: 1}
    first = during.invoke(Produce(TOPIC, 0, vs(0)))
    second = during.invoke(Produce(TOPIC, 0, vs(0, producer=PLAIN)))
    during.ok(first, Produced(1))
    during.ok(second, Produced(0))
    assert during.check(*held).is_clean


def test_topics_that_are_written_to_and_deleted_cannot_be_checked() -> None:
    """That is a mistake of the workload, and no verdict."""
    story = told(1)
    story.invoke(Delete(TOPIC))
    with pytest.raises(TopicDeleted, match=TOPIC):
        story.check()


def test_a_record_that_moved_is_a_duplicate_and_one_of_two_copies_may_be_lost() -> None:
    """Of two sends without idempotence the acknowledged one has to be there, not just the other."""
    moved = Story()
    moved.produce(vs(0), at=1)
    assert kinds(moved.check(*replicas(vs(0)))) == {Kind.DUPLICATE: 1}
    copied = Story()
    copied.produce(vs(0, producer=PLAIN))
    copied.produce(vs(0, producer=PLAIN), at=1)
    assert kinds(copied.check(*replicas([v(0, PLAIN)]))) == {Kind.LOST_ALL: 1}


def test_one_offset_that_was_acknowledged_twice() -> None:
    """The second record was sent after the first was stored there."""
    story = told(2)
    story.produce(vs(0, producer=PLAIN), at=1)
    result = story.check(*replicas([v(0), v(1), v(0, PLAIN)]))
    assert kinds(result) == {
        Kind.TWO_VALUES_AT_ONE_OFFSET: 1,
        Kind.OUT_OF_ORDER: 1,
        Kind.VALUE_AT_TWO_OFFSETS: 1,
    }


def test_what_compaction_may_remove_is_told_and_everything_else_that_is_missing_is_lost() -> None:
    """Offsets rise and may have gaps: readers skip what was removed, and replicas do without it."""
    story = told()
    story.read(0, (0, vs(0)), (3, vs(3, 4, 5)))
    final = replicas([v(0), MISSING, MISSING, v(3), v(4), v(5)])
    removable = CheckOptions(removable={(TOPIC, 0): {1, 2}})
    assert story.check(*final, options=removable).is_clean
    too_little = CheckOptions(removable={(TOPIC, 0): {2}})
    assert kinds(story.check(*final, options=too_little)) == {Kind.LOST_MIDDLE: 1, Kind.SKIPPED_OFFSETS: 1}
    assert kinds(story.check(*final)) == {Kind.LOST_MIDDLE: 2, Kind.SKIPPED_OFFSETS: 1}
