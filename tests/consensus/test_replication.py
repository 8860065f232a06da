"""What followers are sent: once, at their pace, and from where they are (C2, C6)."""

from __future__ import annotations

from floodmark.format.frame import FrameKind

from consensus.core.safeguards import Safeguard
from consensus.messages import AppendEntries, AppendEntriesResponse, InstallSnapshot, Message
from consensus.types import GroupOptions
from storage.options import LogOptions
from tests.support.raft import Lone, Machine, Node, Replicas, frame, of_kind

SMALL = GroupOptions(quiesce_after_s=1e9, append_bytes_max=400, unacknowledged_bytes_max=1500)


def _write(node: Node, term: int, frames: int, payload: bytes) -> None:
    log = node.open_log()
    for index in range(2, 2 + frames):
        log.append(frame(index, term, payload))
    log.write()
    log.sync()
    log.close()


def test_a_divergent_tail_and_a_long_backlog_come_together() -> None:
    """C2: with several appends under way the engine's hints alternate for ever."""
    matched = {}
    for without in (None, Safeguard.C2):
        replicas = Replicas(without=without, options=SMALL)
        _write(replicas.nodes["a"], 1, 6, b"old" * 20)
        _write(replicas.nodes["b"], 2, 40, b"new" * 20)
        replicas.start("ab")
        replicas.hop_s = 0.005
        replicas.run(5.0)
        matched[without] = replicas.leader().is_ready_leader
        assert replicas.leader().node_id == "b"
    assert matched == {None: True, Safeguard.C2: False}


def test_nothing_is_sent_twice_while_acknowledgements_are_under_way() -> None:
    """The engine alone takes every acknowledgement for the place to go on from."""
    replicas = Replicas()
    replicas.start()
    replicas.elect()
    replicas.run(0.5)
    replicas.sent.clear()
    replicas.flushing = False
    proposals = []
    for number in range(50):
        proposals.append(replicas.propose(b"%d" % number))
        replicas.run(0.001)
    replicas.flushing = True
    replicas.run(0.5)
    sent = [
        (target, each.index)
        for _, target, message in replicas.sent
        if isinstance(message, AppendEntries)
        for each in message.frames
    ]
    assert len(sent) == len(set(sent)) == 100
    assert all(proposal.outcome for proposal in proposals)


def test_a_follower_keeps_up_while_all_it_lacks_is_on_its_way() -> None:
    """However many entries that are; and one that does not take them is soon behind, with few of them."""
    lone = Lone(options=SMALL)
    lone.lead()
    lone.flush()
    assert not lone.group.followers.keeps_up("b"), "nothing is known of it"
    lone.ack("b", 3)
    assert lone.group.followers.keeps_up("a")
    assert lone.group.followers.keeps_up("b")
    assert not lone.group.followers.keeps_up("c")
    behind = 0
    for number in range(30):
        proposal = lone.group.propose(FrameKind.COMMAND, b"%3d" % number * 40, append_time=1)
        lone.group.step()
        behind += not lone.group.followers.keeps_up("b")
    assert 0 < behind < 30
    lone.flush()
    lone.ack("b", proposal.index + 1)
    assert lone.group.followers.keeps_up("b")


def test_what_is_under_way_to_a_follower_is_bounded() -> None:
    """One that does not acknowledge gets its bound and heartbeats, and the rest once it does."""
    lone = Lone(options=SMALL)
    lone.lead()
    lone.flush()
    lone.ack("b", 3)
    sizes = []
    for number in range(100):
        lone.group.propose(FrameKind.COMMAND, b"%3d" % number * 40, append_time=1)
        lone.group.step()
        sizes += [
            sum(each.size for each in message.frames)
            for node, message in lone.group.ready().messages
            if node == "b" and isinstance(message, AppendEntries)
        ]
    assert SMALL.unacknowledged_bytes_max <= sum(sizes) <= 1500 + 400
    said = lone.until_deadline()
    assert [type(message) for node, message in said if node == "b"] == [AppendEntries], "a heartbeat"
    lone.group.receive("b", _ack(lone, 7))
    lone.group.step()
    assert any(message.frames for message in of_kind(AppendEntries, lone.group.ready().messages, "b"))


def _ack(lone: Lone, next_index: int) -> Message:
    return AppendEntriesResponse(
        lone.group.term, next_index, success=True, reset=False, round=1, attempt=0, trusted=True
    )


def test_a_follower_that_was_away_gets_what_it_missed_once() -> None:
    """From the place it had, in appends of bounded size."""
    replicas = Replicas(options=SMALL)
    replicas.start()
    replicas.elect()
    away = replicas.followers()[0].node_id
    replicas.isolate(away)
    for number in range(300):
        replicas.propose(b"%d" % number * 5)
        replicas.run(0.001)
    replicas.sent.clear()
    replicas.heal()
    replicas.run(3.0)
    got = [
        each.index
        for _, target, message in replicas.sent
        if target == away and isinstance(message, AppendEntries)
        for each in message.frames
    ]
    assert replicas.group(away).commit_index == replicas.leader().commit_index
    assert got == sorted(set(got))


def test_a_follower_before_the_leaders_base_is_installed_and_gets_the_rest() -> None:
    """C6: a log of records begins anew where the leader's does; its retained records are all sent."""
    replicas = Replicas(log_options=LogOptions(segment_bytes=1024))
    replicas.start("ab")
    leader = replicas.elect()
    for number in range(60):
        replicas.propose(b"%02d" % number * 20, records=2)
        replicas.run(0.01)
    base = leader.storage.compact(before_index=40)
    assert 10 < base <= 40
    replicas.start("c")
    replicas.run(2.0)
    late = replicas.group("c")
    assert (late.log.base_index, late.log.start_offset) == (base, leader.log.start_offset)
    assert (late.commit_index, late.high_watermark) == (leader.commit_index, 120)
    assert [f.payload for f in late.log.frames(base, base)] == [
        f.payload for f in leader.log.frames(base, base)
    ]


def test_a_metadata_replica_gets_the_state_instead_of_its_history() -> None:
    """C6: commands that a state contains already are not sent."""
    replicas = Replicas(
        log_options=LogOptions(segment_bytes=1024), machines=lambda: Machine(install_at_applied=True)
    )
    replicas.start("ab")
    leader = replicas.elect()
    for number in range(60):
        replicas.propose(b"%02d" % number * 20)
        replicas.run(0.01)
    leader.storage.compact()
    replicas.start("c")
    replicas.run(2.0)
    replicas.propose(b"after")
    replicas.run(0.5)
    machine = replicas.nodes["c"].machine
    assert machine.restored[-1] == b",".join(b"%02d" % number * 20 for number in range(60))
    assert [payload for _, payload in machine.applied] == [b"after"]


def test_a_failed_install_is_not_acknowledged() -> None:
    """C6: the replica fails, for good; without the safeguard it would claim to have everything."""
    answers = {}
    install = InstallSnapshot(1, 50, 1, 7, ["a", "b", "c"], [], round=1, attempt=0)
    for without in (None, Safeguard.C6):
        lone = Lone(without=without, term=1)
        lone.node.fs.fail("write")
        said = lone.hear("b", install)
        answers[without] = [message.success for message in of_kind(AppendEntriesResponse, said)]
        assert (lone.group.failed is None) == (without is not None)
    assert answers == {None: [], Safeguard.C6: [True]}
