"""How long members have: sessions and rebalance timeouts as deadlines, with a time that is passed in."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from node.coordinator.groups.current import Current
from node.coordinator.groups.requests import MemberAnswer
from node.coordinator.groups.sessions import SESSION, Over, Sessions
from node.coordinator.keys import TopicPartition
from node.coordinator.values import MemberValue
from tests.node.group_steps import Kept


def _answer(
    member: str = "a", *, epoch: int = 1, revoking: tuple[TopicPartition, ...] = (), session_ms: int = 10_000
) -> MemberAnswer:
    return MemberAnswer(
        member_id=member,
        epoch=epoch,
        group_epoch=epoch,
        owned=(),
        revoking=revoking,
        waiting=0,
        session_timeout_ms=session_ms,
        rebalance_timeout_ms=30_000,
    )


def test_a_session_ends_when_no_heartbeat_comes() -> None:
    """Each heartbeat gives the whole time anew; what is due is told once, and asked again in the step."""
    sessions = Sessions()
    sessions.answered("g", _answer(), 0)
    assert sessions.next() == 10
    sessions.answered("g", _answer(), 6)
    assert sessions.due(10) == []
    assert sessions.next() == 16
    assert sessions.due(16) == [Over("g", "a")]
    assert sessions.due(16) == []
    assert sessions.is_over(Over("g", "a"), 16)
    sessions.answered("g", _answer(), 16)
    assert not sessions.is_over(Over("g", "a"), 16)
    assert sessions.due(26) == [Over("g", "a")]
    sessions.postpone(Over("g", "a"), 27)
    assert sessions.due(27) == [Over("g", "a")]
    sessions.gone("g", "a")
    sessions.postpone(Over("g", "a"), 28)
    assert sessions.due(100) == []
    assert len(sessions) == 0
    assert sessions.next() is None


def test_a_shorter_timeout_counts_at_once() -> None:
    """A member that comes back with a shorter session is not waited for by its earlier, longer one."""
    sessions = Sessions()
    sessions.answered("g", _answer(session_ms=60_000), 0)
    sessions.gone("g", "a")
    sessions.answered("g", _answer(session_ms=5_000), 1)
    assert sessions.next() == 6
    assert sessions.due(6) == [Over("g", "a")]
    assert sessions.due(60) == []


def test_who_gives_up_too_slowly_is_late_however_often_it_lives() -> None:
    """Heartbeats do not give more time for the same partitions; having given up does, and so do others."""
    sessions = Sessions()
    for now in range(0, 30, 5):
        sessions.answered("g", _answer(epoch=3, revoking=((1, 0),)), now)
    assert sessions.due(30) == [Over("g", "a", 3)]
    sessions.gone("g", "a")
    sessions.answered("g", _answer(epoch=3, revoking=((1, 0),)), 40)
    sessions.answered("g", _answer(epoch=3, revoking=((1, 1),)), 45)
    assert Over("g", "a", 3) not in sessions.due(70)
    sessions.answered("g", _answer(epoch=4), 71)
    assert sessions.due(80) == []
    assert len(sessions) == 1


def test_a_new_leader_gives_everybody_the_whole_time() -> None:
    """Also for what they have yet to give up; a static member that is away has its session."""
    kept = Kept()
    kept.group.members = {
        "a": MemberValue(session_timeout_ms=10_000, rebalance_timeout_ms=5_000),
        "b": MemberValue(session_timeout_ms=20_000, rebalance_timeout_ms=5_000),
    }
    kept.group.currents = {"a": Current(7, 6, {}, {(1, 0): 5}), "b": Current(-2, -2)}
    sessions = Sessions()
    sessions.restored(kept.group, 100)
    assert sessions.due(105) == [Over("g", "a", 7)]
    assert sessions.due(110) == [Over("g", "a", SESSION)]
    assert sessions.due(120) == [Over("g", "b", SESSION)]


@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 9),
            st.sampled_from("abc"),
            st.sampled_from(["lives", "revokes", "leaves", "looks"]),
            st.integers(1, 20),
        ),
        max_size=60,
    )
)
@settings(max_examples=80, deadline=None)
def test_deadlines_are_kept_whatever_happens(steps: list[tuple[int, str, str, int]]) -> None:
    """As a plain dictionary of deadlines tells, which is looked through each time; the heap stays small."""
    sessions, now = Sessions(), 0.0
    until: dict[Over, float] = {}
    for passed, member, what, timeout in steps:
        now += passed
        if what == "leaves":
            sessions.gone("g", member)
            until = {over: at for over, at in until.items() if over.member_id != member}
        elif what == "looks":
            found = set(sessions.due(now))
            assert found == {over for over, at in until.items() if at <= now}
            for over in found:
                sessions.postpone(over, now + timeout)
                until[over] = now + timeout
        else:
            revoking = ((1, timeout % 2),) if what == "revokes" else ()
            before = sessions._giving_up.get(("g", member))
            sessions.answered("g", _answer(member, revoking=revoking, session_ms=timeout * 1_000), now)
            until[Over("g", member)] = now + timeout
            if not revoking:
                until.pop(Over("g", member, 1), None)
            elif before is None or before[1] != revoking:
                until[Over("g", member, 1)] = now + 30
        earliest = min(until.values(), default=None)
        told = sessions.next()
        assert earliest is None or (told is not None and told <= earliest)
        assert len(sessions._heap) <= 2 * len(until) + 65


def test_ten_thousand_heartbeats_of_a_member_are_one_entry() -> None:
    """What lives long is not remembered more often than once; who comes and goes is forgotten."""
    sessions = Sessions()
    for now in range(10_000):
        sessions.answered("g", _answer(), now)
    assert len(sessions._heap) == 1
    for number in range(1_000):
        sessions.answered("g", _answer(f"m{number}", session_ms=3_600_000), 10_000)
        sessions.gone("g", f"m{number}")
    assert len(sessions._heap) <= 70
    assert len(sessions._queued) <= 70
    assert sessions.due(10_010) == [Over("g", "a")]
