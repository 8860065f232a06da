"""What the checker says of consumer groups: one history that is right, and one for each way to be wrong."""

from __future__ import annotations

from chaos.checker.violation import Kind
from chaos.history import (
    At,
    Beat,
    Commit,
    Done,
    FetchOffsets,
    Has,
    Join,
    Leave,
    Membership,
    Offsets,
    Take,
    Took,
)
from tests.chaos.story import TOPIC, Story, kinds, replicas, vs

ALL = vs(0, 1, 2, 3, 4, 5)
GROUP, ID = "g", 7
RENEWED = "renewed#9"


class Members(Story):
    """Six records, and members ``a`` and ``b``, each in a process of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.produce(ALL, at=0)

    def join(self, who: str, epoch: int, *, since: int | None = None) -> None:
        """It comes, and is told to have the partition, or nothing."""
        self.ok(self.invoke(Join(GROUP, who), who), self._told(epoch, since))

    def beat(self, who: str, epoch: int, *, owned: bool, since: int | None = None) -> None:
        """It says whether it has the partition, and is told whether it has."""
        action = Beat(GROUP, who, epoch, [(ID, 0)] if owned else [])
        self.ok(self.invoke(action, who), self._told(epoch, since))

    def _told(self, epoch: int, since: int | None) -> Membership:
        return Membership(epoch, [] if since is None else [Has(TOPIC, ID, 0, since)])

    def commit(self, who: str, offset: int) -> None:
        """It commits."""
        offsets = [At(TOPIC, 0, offset)]
        self.ok(self.invoke(Commit(GROUP, who, 1, offsets), who), Offsets(offsets))

    def fetch(self, offset: int) -> None:
        """Somebody is told what is committed."""
        self.ok(self.invoke(FetchOffsets(GROUP, TOPIC), "b"), Offsets([At(TOPIC, 0, offset)]))

    def leave(self, who: str) -> None:
        """It goes."""
        self.ok(self.invoke(Leave(GROUP, who, 1), who), Done())

    def found(self) -> dict[Kind, int]:
        """What is wrong."""
        return kinds(self.check(*replicas(ALL)))


def handed_over(*, reads_from: int, commits: bool = True) -> Members:
    """``a`` reads four records, commits, and gives the partition up; ``b`` reads on."""
    story = Members()
    story.join("a", 1, since=1)
    story.read(0, (0, vs(0, 1, 2, 3)), process="a")
    if commits:
        story.commit("a", 4)
    story.join("b", 2)
    story.beat("a", 1, owned=True)
    story.beat("a", 1, owned=False)
    story.beat("b", 2, owned=False, since=2)
    story.read(reads_from, (reads_from, ALL[reads_from:]), process="b", session=1)
    return story


def test_a_hand_over_is_clean_and_counted() -> None:
    """Also with what is committed afterwards, and with a member that leaves."""
    story = handed_over(reads_from=4)
    story.fetch(4)
    story.commit("b", 6)
    story.leave("b")
    story.join("a", 3, since=3)
    story.fetch(6)
    story.read(6, process="a", session=2)
    result = story.check(*replicas(ALL))
    assert result.is_clean
    assert (result.figures.group_commits, result.figures.group_hand_overs) == (2, 2)


def test_what_was_handed_over_in_order_comes_once() -> None:
    """What was not committed may come again."""
    assert handed_over(reads_from=2).found() == {Kind.HANDED_OVER_TWICE: 1}
    assert handed_over(reads_from=2, commits=False).found() == {}


def test_committed_offsets_never_go_back() -> None:
    """For whoever asks after a commit was acknowledged; one that is under way may be seen or not."""
    back = handed_over(reads_from=4)
    back.fetch(3)
    assert back.found() == {Kind.OFFSET_WENT_BACK: 1}
    early = Members()
    early.join("a", 1, since=1)
    early.read(0, (0, ALL), process="a")
    asked = early.invoke(FetchOffsets(GROUP, TOPIC), "b")
    early.commit("a", 6)
    early.ok(asked, Offsets([]))
    assert early.found() == {}


def test_a_partition_has_one_owner_in_an_epoch() -> None:
    """Another one in a later epoch, and the same one again."""
    story = Members()
    story.join("a", 1, since=1)
    story.beat("a", 1, owned=True, since=1)
    story.join("b", 2, since=2)
    assert story.found() == {}
    story.beat("b", 2, owned=True, since=1)
    assert story.found() == {Kind.TWO_OWNERS: 1}


def test_what_is_committed_some_member_got() -> None:
    """It need not be the one that commits."""
    story = handed_over(reads_from=4)
    story.commit("b", 6)
    assert story.found() == {}
    story.commit("b", 7)
    assert story.found() == {Kind.GROUP_SKIPPED: 1}
    ahead = Members()
    ahead.join("a", 1, since=1)
    ahead.read(2, (2, ALL[2:]), process="a")
    ahead.commit("a", 6)
    assert ahead.found() == {Kind.GROUP_SKIPPED: 1}


def of_a_renewed_topic() -> Members:
    """``a`` reads on in a topic that is made again now and then, and commits."""
    story = Members()
    story.ok(story.invoke(Join(GROUP, "a"), "a"), Membership(1, [Has(RENEWED, 9, 0, 1)]))
    story.ok(story.invoke(Take(RENEWED, 0, 0), "a"), Took(5))
    offsets = [At(RENEWED, 0, 5)]
    story.ok(story.invoke(Commit(GROUP, "a", 1, offsets), "a"), Offsets(offsets))
    return story


def test_what_is_committed_in_a_topic_that_is_made_again_is_gone_or_stays() -> None:
    """As long as that topic is there it does not go back; the next one has another name."""
    for told in ([], [At(RENEWED, 0, 5)], [At(RENEWED, 0, 6)]):
        story = of_a_renewed_topic()
        story.ok(story.invoke(FetchOffsets(GROUP, RENEWED), "a"), Offsets(told))
        story.ok(story.invoke(FetchOffsets(GROUP, "renewed#10"), "a"), Offsets([At("renewed#10", 0, 0)]))
        assert story.found() == {}
    story = of_a_renewed_topic()
    story.ok(story.invoke(FetchOffsets(GROUP, RENEWED), "a"), Offsets([At(RENEWED, 0, 4)]))
    assert story.found() == {Kind.OFFSET_WENT_BACK: 1}


def test_in_a_topic_that_is_made_again_nothing_is_skipped_either() -> None:
    """Nor is what a group got of its namesake of any worth."""
    for name, expected in ((RENEWED, {}), ("renewed#10", {Kind.GROUP_SKIPPED: 1})):
        story = of_a_renewed_topic()
        story.invoke(Commit(GROUP, "a", 1, [At(name, 0, 5)]), "a")
        assert story.found() == expected
