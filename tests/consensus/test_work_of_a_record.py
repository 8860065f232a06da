"""What a record costs where nothing goes wrong, in counts: messages, fsyncs, steps and calls of functions.

Times say little on a busy machine. What a record costs creeps up by a property here and a check there, each
too little to be seen; the sum of them is seen here.
"""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

from floodmark.format import batch
from floodmark.format.frame import FrameKind
from floodmark.format.frame_records import form_of
from floodmark.format.record import Record

from consensus.core.group import Group
from consensus.core.ready import Ready
from consensus.messages import AppendEntries, AppendEntriesResponse
from consensus.wire import decode_packet, encode_packet
from node.partition.producers import ProducerTable
from tests.support.raft import Replicas

ROOT = Path(__file__).parents[2]
ROOMS = tuple(str(ROOT / room) + "/" for room in ("client", "storage", "consensus", "node"))
NOT_COUNTED = "/memory_"
"""The disk in memory."""
RECORDS = 20
CALLS_MAX = 630
"""At all three replicas, of functions of this project and for a record in a batch of its own. Who raises this
tells in the commit what the calls buy: each is about a tenth of a microsecond, thrice a record."""


class Work:
    """Takes records through a group as its host does, and counts."""

    def __init__(self, batch_format: int) -> None:
        self.replicas = Replicas(machines=ProducerTable)  # type: ignore[arg-type]
        self.replicas.start()
        self.leader = self.replicas.elect()
        record = Record(1_700_000_000_000, None, bytes(1024))
        self.batch = batch.encode([record], format=batch_format)
        self.form = form_of(batch.decode_header(self.batch))
        self.messages: Counter[str] = Counter()
        self.steps = self.syncs = 0
        self.calls: Counter[CodeType] = Counter()

    def take(self, records: int) -> None:
        """One after the other."""
        for _ in range(records):
            proposal = self.leader.propose(
                FrameKind.RECORDS, self.batch, append_time=1, record_count=1, form=self.form
            )
            due = [self.leader]
            while due:
                self.replicas.now += 0.0001
                due = self._turn(due)
            assert proposal.outcome is not None, "the record was stored"

    def _turn(self, due: list[Group]) -> list[Group]:
        stepped = [(group, self._step(group)) for group in due]
        said = [(group, ready.messages) for group, ready in stepped]
        for group, ready in stepped:
            if ready.flush:
                group.log.write()
                durable = group.log.sync()
                self.syncs += 1
                if group.flushed(durable):
                    said.append((group, self._step(group).messages))
        next_due: dict[Group, None] = {}
        for group, messages in said:
            for target, message in messages:
                self.messages[type(message)] += 1
                head, *body = encode_packet([(1, message)])
                ((_, decoded),) = decode_packet(head, b"".join(body))
                self.replicas.group(target).receive(group.node_id, decoded)
                next_due[self.replicas.group(target)] = None
        return list(next_due)

    def _step(self, group: Group) -> Ready:
        self.steps += 1
        group.step()
        ready = group.ready()
        assert ready.deadline > self.replicas.now, "nothing is left over"
        return ready

    def counted(self, records: int) -> None:
        """As ``take``, with all calls counted."""

        def called(frame: FrameType, event: str, _arg: object) -> None:
            if event == "call":
                self.calls[frame.f_code] += 1

        before = sys.getprofile()
        sys.setprofile(called)
        try:
            self.take(records)
        finally:
            sys.setprofile(before)

    @property
    def by_function(self) -> Counter[str]:
        """Calls of this project's functions."""
        found: Counter[str] = Counter()
        for code, count in self.calls.items():
            if code.co_filename.startswith(ROOMS) and NOT_COUNTED not in code.co_filename:
                found[f"{Path(code.co_filename).relative_to(ROOT)} {code.co_qualname}"] += count
        return found


def _work_of(batch_format: int) -> Work:
    work = Work(batch_format)
    work.take(5)  # Until all is known that a leader asks of its followers only once.
    work.messages.clear()
    work.steps = work.syncs = 0
    work.counted(RECORDS)
    return work


def test_a_record_costs_an_append_and_an_answer_for_each_follower_three_fsyncs_and_few_calls() -> None:
    """Appends and acknowledgements are all that is said: the next append tells of the commit."""
    work = _work_of(batch_format=2)
    assert work.messages == {AppendEntries: 2 * RECORDS, AppendEntriesResponse: 2 * RECORDS}
    assert work.syncs == 3 * RECORDS
    calls = work.by_function
    a_record = sum(calls.values()) / RECORDS
    most = "\n".join(f"{count / RECORDS:7.2f} {name}" for name, count in calls.most_common(60))
    assert a_record <= CALLS_MAX, f"{a_record} calls a record, of\n{most}"


def test_a_batch_of_format_2_costs_no_more_calls_than_one_of_format_1() -> None:
    """What nearly all clusters store is what the short paths are for."""
    first, second = _work_of(batch_format=1), _work_of(batch_format=2)
    assert sum(second.by_function.values()) <= sum(first.by_function.values())
    assert second.messages == first.messages
