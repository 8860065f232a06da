"""Topic operations that one node doing one after the other could not have answered like this."""

from __future__ import annotations

from chaos.checker.options import CheckOptions
from chaos.checker.violation import Kind
from chaos.history import Alter, Create, Delete, Describe, Described, Done
from tests.chaos.story import Story, kinds

CONFIRMED = CheckOptions(describes_are_confirmed=True)


def created(partitions: int = 1) -> Story:
    """A topic t that exists."""
    story = Story()
    story.ok(story.invoke(Create("t", partitions, {"retention_ms": None})), Done())
    return story


def verdict(story: Story, options: CheckOptions = CONFIRMED) -> dict[Kind, int]:
    """What is reported."""
    return kinds(story.check(options=options))


def test_an_ordinary_life_of_a_topic_is_linearizable() -> None:
    """Created, found, refused, altered, described, deleted, created otherwise."""
    story = created()
    story.ok(story.invoke(Create("t", 1, {"retention_ms": None})), Done(changed=False))
    story.fail(story.invoke(Create("t", 2, {"retention_ms": None})), "topic_exists")
    story.ok(story.invoke(Alter("t", {"retention_ms": 5})), Done())
    story.ok(story.invoke(Describe("t")), Described(1, {"retention_ms": 5}))
    story.ok(story.invoke(Delete("t")), Done())
    for action in (Delete("t"), Alter("t", {}), Describe("t")):
        story.fail(story.invoke(action), "unknown_topic")
    story.fail(story.invoke(Create("t", 9)), "unavailable")
    story.ok(story.invoke(Create("t", 2)), Done())
    story.ok(story.invoke(Create("u", 2)), Done())
    result = story.check(options=CONFIRMED)
    assert kinds(result) == {}
    assert result.figures.metadata_operations == 11


def test_two_creates_of_one_topic_that_both_made_it() -> None:
    """One of them was forgotten."""
    story = created()
    story.ok(story.invoke(Create("t", 1)), Done())
    result = story.check(options=CONFIRMED)
    assert kinds(result) == {Kind.NOT_LINEARIZABLE: 1}
    (violation,) = result.violations
    assert violation.topic == "t"
    assert [evidence.op for evidence in violation.evidence] == [2, 1]


def test_creates_at_the_same_time_of_which_one_made_it() -> None:
    """Whichever ends first."""
    story = Story()
    one, two = story.invoke(Create("t", 1)), story.invoke(Create("t", 1))
    story.ok(one, Done(changed=False))
    story.ok(two, Done())
    assert verdict(story) == {}


def test_a_change_that_was_confirmed_and_is_gone() -> None:
    """A describe that speaks of the time before; only where describes are confirmed is it wrong."""
    story = created()
    story.ok(story.invoke(Alter("t", {"retention_ms": 5})), Done())
    story.ok(story.invoke(Describe("t")), Described(1, {"retention_ms": None}))
    assert verdict(story) == {Kind.NOT_LINEARIZABLE: 1}
    assert verdict(story, CheckOptions()) == {}


def test_a_describe_during_a_change_may_speak_of_either_side() -> None:
    """And of each side once the other was seen only in one order."""
    for first, second, expected in ((None, 5, {}), (5, None, {Kind.NOT_LINEARIZABLE: 1})):
        story = created()
        change = story.invoke(Alter("t", {"retention_ms": 5}))
        for seen in (first, second):
            story.ok(story.invoke(Describe("t")), Described(1, {"retention_ms": seen}))
        story.ok(change, Done())
        assert verdict(story) == expected


def test_a_topic_that_is_gone_though_nobody_deleted_it() -> None:
    """As after a minority's corruption that took metadata away."""
    story = created()
    story.fail(story.invoke(Alter("t", {"retention_ms": 1})), "unknown_topic")
    assert verdict(story) == {Kind.NOT_LINEARIZABLE: 1}


def test_a_deleted_topic_that_is_back() -> None:
    """A create that finds its equal after a delete was confirmed."""
    story = created()
    story.ok(story.invoke(Delete("t")), Done())
    story.ok(story.invoke(Create("t", 1, {"retention_ms": None})), Done(changed=False))
    assert verdict(story) == {Kind.NOT_LINEARIZABLE: 1}


def test_an_unknown_delete_may_happen_late_or_never_but_only_once() -> None:
    """Long after it was given up the topic may be gone; after a new create it may not go again."""
    story = created()
    story.unknown(story.invoke(Delete("t")))
    story.ok(story.invoke(Alter("t", {"retention_ms": 5})), Done())
    assert verdict(story) == {}
    story.fail(story.invoke(Alter("t", {"retention_ms": 6})), "unknown_topic")
    assert verdict(story) == {}
    story.ok(story.invoke(Create("t", 1)), Done())
    assert verdict(story) == {}
    story.fail(story.invoke(Delete("t")), "unknown_topic")
    assert verdict(story) == {Kind.NOT_LINEARIZABLE: 1}


def test_an_operation_that_never_ended_is_unknown() -> None:
    """The run ended first."""
    story = Story()
    story.invoke(Create("t", 1))
    story.ok(story.invoke(Delete("t")), Done())
    assert verdict(story) == {}


def test_what_failed_must_not_have_happened() -> None:
    """A create that was refused for good made no topic."""
    story = Story()
    story.fail(story.invoke(Create("t", 1)), "unavailable")
    story.ok(story.invoke(Delete("t")), Done())
    assert verdict(story) == {Kind.NOT_LINEARIZABLE: 1}


def test_a_search_that_is_given_up_is_no_clean_verdict() -> None:
    """It is reported for what it is."""
    story = created()
    result = story.check(options=CheckOptions(search_steps_max=0))
    assert kinds(result) == {Kind.UNDECIDED: 1}


def test_a_create_that_meets_a_topic_which_is_not_there_or_not_different() -> None:
    """Only another topic of that name may be in the way."""
    nothing, equal = Story(), created()
    for story in (nothing, equal):
        story.fail(story.invoke(Create("t", 1, {"retention_ms": None})), "topic_exists")
        assert verdict(story) == {Kind.NOT_LINEARIZABLE: 1}
