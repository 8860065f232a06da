"""Plays workers, time, retention and failovers on one queue, and holds it to what it promises after each
step. It knows every record's fate by itself, and reads the view only to compare."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf
from typing import Any

import msgspec

from node.coordinator import keys
from node.coordinator.queues import administration, dead_letters, dying, leasing, retention, settling
from node.coordinator.queues.dead_letters import Letter
from node.coordinator.queues.dying import Sent
from node.coordinator.queues.leasing import Again, Ask, Fresh
from node.coordinator.queues.queue import Queue
from node.coordinator.queues.requests import BY_KEY, Action, DeadName, Place, Settled, Settlement
from node.coordinator.queues.values import CLOSED
from tests.node.queue_steps import DEAD_TOPIC, TOPIC, KeptQueue, read_anew

NEW, OPEN, LEASED, DYING, ACKED, DEAD, LOST = "new", "open", "leased", "dying", "acked", "dead", "lost"
PARTITIONS = 2


class Record:
    """``since``: not delivered before. ``ripe``: it was due at a look of this leader. ``failed``: deliveries
    that count. ``ended``: how the last one did. ``end_s``: when its lease does. ``until_s``: when its wait
    for the next one is over, wherever the clock is set meanwhile."""

    def __init__(self, key: int, since: int) -> None:
        self.key = key
        self.since = since
        self.state = NEW
        self.lease = 0
        self.deliveries = 0
        self.failed = 0
        self.end_s = 0.0
        self.until_s = inf
        self.ripe = False
        self.ended: Action | str = ""

    @property
    def is_pending(self) -> bool:
        """It is to be settled yet."""
        return self.state in (NEW, OPEN, LEASED, DYING)

    def opens(self, since: int, ended: Action | str = "") -> None:
        """It waits."""
        self.state, self.since, self.ripe, self.ended = OPEN, since, False, ended
        self.until_s = inf

    def waits(self, since: int, now_ms: int, clock_s: float, ended: Action | str) -> None:
        """It waits for its next delivery."""
        self.opens(since, ended)
        self.until_s = clock_s + (since - now_ms) / 1_000


class QueuePlay:
    """``taken``: every delivery so far."""

    def __init__(self, **config: Any) -> None:
        self.kept = KeptQueue(
            **{
                "dead_letter_topic": "dead",
                "dead_letter_topic_id": DEAD_TOPIC,
                "max_deliveries": 3,
                "backoff_ms": (100,),
                "window": 12,
                "visibility_timeout_ms": 1_000,
                "max_in_flight": 10,
                "max_in_flight_per_worker": 6,
            }
            | config
        )
        self.by_key = self.kept.config.ordering == BY_KEY
        self.records: dict[Place, Record] = {}
        self.taken: list[tuple[int, Place]] = []
        self.numbers: dict[tuple[int, int], int] = {}
        self.names: dict[DeadName, Place] = {}
        """Dead letters, and where they are."""
        self.stale: list[Place] = []
        self.starts = dict.fromkeys(range(PARTITIONS), 0)

    @property
    def queue(self) -> Queue:
        """As the leader sees it."""
        return self.kept.queue

    # What happens.

    def produce(self, partition: int, names: str, delay_ms: int) -> None:
        """A record for each character, which is its key ("-": none)."""
        kept = self.kept
        begin = len(kept.topic.get(partition, ()))
        at = kept.now_ms + delay_ms if delay_ms else 0
        kept.produce([None if key == "-" else key for key in names], partition=partition, deliver_at_ms=at)
        for seen in kept.topic[partition][begin:]:
            self.records[Place(TOPIC, partition, seen.offset)] = Record(seen.key, at)

    def lease(self, worker: str, most: int, *, reads: int, skip: int = -1) -> None:
        """A worker asks; of each partition so many records were read, and of what is ready all but one."""
        kept = self.kept
        kept.leases += 1
        ready = self.queue.ready_now(kept.now_ms, most)
        self._ripens()
        if skip == -3:  # What was read for long: some of it is not ready any more, some is there twice.
            ready = [*self.stale, *ready, *ready]
        self.stale = ready[:5]
        again = [Again(place, 10) for number, place in enumerate(ready) if number != skip]
        fresh = []
        for partition, log in sorted(kept.topic.items()):
            begin = max(self.starts[partition], self.queue.next_of(partition) - skip % 2)
            if skip == -2 and begin < len(log) and self.queue.next_of(partition):
                begin += 1  # A gap: none of it counts.
            end = min(len(log), begin + reads)
            fresh.append(Fresh(partition, begin, max(begin, end), log[begin:end]))
        ask = Ask(worker, kept.leases, most, 100, again, fresh)
        nexts = {partition: self.queue.next_of(partition) for partition in range(PARTITIONS)}
        leased = kept.take(leasing.lease(self.queue, ask, now_ms=kept.now_ms))
        count = 0
        for given in leased.given:
            for offset in given.offsets:
                count += 1
                self._delivered(Place(given.topic_id, given.partition, offset), given.deliveries)
        assert count <= min(most, 10), "no more records than asked for, and no more bytes"
        for partition, begin in nexts.items():
            for offset in range(begin, self.queue.next_of(partition)):
                record = self.records[Place(TOPIC, partition, offset)]
                if record.state == NEW:
                    record.opens(0 if record.since <= kept.now_ms else record.since)
        if leased.paused:
            assert not leased.given

    def _delivered(self, place: Place, deliveries: int) -> None:
        record, now_ms = self.records[place], self.kept.now_ms
        assert record.state in (NEW, OPEN), f"{place} was delivered while it is {record.state}"
        is_due = record.since <= now_ms or record.ripe or record.until_s <= self.kept.clock_s + 1e-9
        assert is_due, f"{place} came {record.since - now_ms} ms early"
        if self.by_key and record.key:
            self._in_order(place, record)
        record.deliveries += 1
        assert deliveries == record.deliveries
        record.state, record.lease, record.ripe = LEASED, self.kept.leases, False
        record.end_s = self._end_s(None)
        self.taken.append((self.kept.leases, place))

    def _in_order(self, place: Place, record: Record) -> None:
        for other, each in self.records.items():
            if other[:2] != place[:2] or each.key != record.key or each is record or not each.is_pending:
                continue
            if each.state == NEW and other.offset > place.offset:
                continue
            assert each.state not in (LEASED, DYING), f"{place} was delivered while its key is in hand"
            assert not each.deliveries, f"{place} was delivered before {other}, which was in hand"
            # One that was delayed comes behind the one that is in hand, also while that waits.
            later = _was_delayed(self, other) and (each.since > self.kept.now_ms or record.deliveries > 0)
            assert other.offset > place.offset or later, f"{place} was delivered before {other}"

    def settle(self, action: Action, which: list[int], delay_ms: int | None) -> None:
        """Of all deliveries so far these; two about one record may be among them."""
        chosen = [self.taken[number % len(self.taken)] for number in which] if self.taken else []
        asked = [
            Settlement(place=place, lease=lease, action=action, delay_ms=delay_ms) for lease, place in chosen
        ]
        closed = self.queue.state.breaker == CLOSED
        answers = self.kept.settle_all(asked)
        done: set[Place] = set()
        for (lease, place), answer in zip(chosen, answers, strict=True):
            record = self.records[place]
            in_hand = record.state == LEASED and record.lease == lease
            if place in done:
                assert answer is Settled.ALREADY or not (in_hand or lease == record.lease)
            elif in_hand:
                assert answer is Settled.DONE
                done.add(place)
                self._settled(place, record, action, delay_ms, counts=closed)
            else:
                self._late(place, record, lease, action, answer)

    def _settled(
        self, place: Place, record: Record, action: Action, delay_ms: int | None, *, counts: bool
    ) -> None:
        now_ms = self.kept.now_ms
        if action is Action.ACK:
            record.state, record.ended = ACKED, action
            self._off_the_list(place)
        elif action is Action.REJECT:
            self._dies(place, record, action)
        elif action is Action.NACK:
            self._fails(
                place, record, now_ms + (100 if delay_ms is None else delay_ms), action, counts=counts
            )
        elif action is Action.EXTEND:
            record.end_s = self._end_s(delay_ms)
        elif action is Action.RELEASE:
            record.waits(now_ms + (delay_ms or 0), now_ms, self.kept.clock_s, action)

    def _late(self, place: Place, record: Record, lease: int, action: Action, answer: Settled) -> None:
        assert answer is not Settled.DONE, f"{action} of {place} by lease {lease} counts, and is late"
        if record.is_pending or record.state == DEAD:
            same = record.lease == lease and record.ended == action
            assert same or answer is Settled.LATE or record.state == DEAD, f"{action} of {place} was lost"
        if record.state == ACKED and record.lease == lease and action is Action.ACK:
            assert answer is Settled.ALREADY, f"{place} was acknowledged by this lease"

    def _fails(
        self, place: Place, record: Record, again_ms: int, ended: Action | str, *, counts: bool
    ) -> None:
        record.failed += counts
        if counts and record.failed >= self.kept.config.max_deliveries:
            self._dies(place, record, ended)
        else:
            record.waits(again_ms, self.kept.now_ms, self.kept.clock_s, ended)

    def _dies(self, place: Place, record: Record, ended: Action | str) -> None:
        record.ended = ended
        record.state = DYING
        if not self.kept.config.dead_letter_topic_id:
            record.state = DEAD
            self._off_the_list(place)

    def passes(self, ms: int) -> None:
        """Time goes by, and leases end."""
        self.kept.passes(ms)
        kept = self.kept
        over = {
            place
            for place, record in self.records.items()
            if record.state == LEASED and record.end_s <= kept.clock_s + 1e-9
        }
        while self.queue.visibility.over(kept.clock_s):
            runs = self.queue.visibility.over(kept.clock_s)
            closed = self.queue.state.breaker == CLOSED
            ended = [run.share.place(offset) for run in runs for offset in run.offsets()]
            kept.take(settling.end(self.queue, clock_s=kept.clock_s, now_ms=kept.now_ms))
            for place in ended:
                assert place in over, f"the lease of {place} ended early"
                self._fails(place, self.records[place], kept.now_ms + 100, "timeout", counts=closed)
        assert all(self.records[place].state != LEASED for place in over)

    def _end_s(self, delay_ms: int | None) -> float:
        visible_ms = self.kept.config.visibility_timeout_ms if delay_ms is None else delay_ms
        return self.kept.clock_s + visible_ms / 1_000

    def wall_jumps(self, ms: int) -> None:
        """The time of day is set."""
        self.kept.now_ms += ms

    def fails_over(self) -> None:
        """Another leader, which knows what is stored, and has a time of day of its own."""
        self.kept.queue = read_anew(
            "q", self.kept.state.get, list(self.kept.state), clock_s=self.kept.clock_s
        )
        for place, record in self.records.items():
            record.ripe = False
            if record.state == LEASED:
                run = self.queue.shares[place[:2]].at[place.offset]
                record.end_s = self._end_s(run.value.visible_ms)

    def retention(self, partition: int, records: int) -> None:
        """The oldest records are removed."""
        log = self.kept.topic.get(partition, ())
        start = self.starts[partition] = min(len(log), self.starts[partition] + records)
        self.kept.take(retention.passed(self.queue, TOPIC, partition, start))
        for place, record in self.records.items():
            is_there = place[:2] != (TOPIC, partition) or place.offset >= start
            if not is_there and record.state in (OPEN, LEASED, NEW):
                record.state = LOST

    def vanishes(self, which: int) -> None:
        """Compaction removes one record that somebody was about to read again."""
        ready = self.queue.ready_now(self.kept.now_ms, 5)
        self._ripens()
        if ready:
            place = ready[which % len(ready)]
            assert self.kept.take(retention.missing(self.queue, [place])) == 1
            self.records[place].state = LOST
            self._off_the_list(place)

    def letters_are_sent(self, most: int) -> None:
        """Some dying records are stored with the dead letters."""
        kept = self.kept
        for topic_id, partition in list(self.queue.shares):
            sent = []
            for number, offset, _ in list(self.queue.dying(topic_id, partition))[:most]:
                place = Place(topic_id, partition, offset)
                assert self.records[place].state == DYING
                assert number > self.numbers.get((topic_id, partition), -1), "each number once, in order"
                self.numbers[topic_id, partition] = number
                at = Place(DEAD_TOPIC, 0, kept.dead_end)
                kept.dead_end += 1
                sent.append(Sent(number, at))
                self.records[place].state = DEAD
                self._off_the_list(place)
                self.names[DeadName(topic_id, partition, number)] = at
                letter = self.records[at] = Record(self.records[place].key, 0)
                letter.state = DEAD
            kept.take(dying.sent(self.queue, topic_id, partition, sent))

    def _off_the_list(self, place: Place) -> None:
        for name, at in list(self.names.items()):
            if at == place:
                del self.names[name]

    def replays(self, which: int, delay_ms: int) -> None:
        """Some dead letters are delivered again."""
        letters = []
        expected = 0
        for number, (name, at) in enumerate(sorted(self.names.items())):
            record = self.records[at]
            if (number + which) % 3:
                letters.append(Letter(name, record.key, self.kept.now_ms + delay_ms))
                if record.state == DEAD:
                    expected += 1
                    record.opens(self.kept.now_ms + delay_ms)
        assert self.kept.take(dead_letters.replay(self.queue, letters)) == expected

    def purges_dead(self) -> None:
        """The list is emptied, but for those that are on their way again."""
        gone = [name for name, at in self.names.items() if self.records[at].state == DEAD]
        assert self.kept.take(dead_letters.purge_dead(self.queue, None)) == len(gone)
        for name in gone:
            del self.names[name]

    def is_emptied(self) -> None:
        """All that is there is settled, but for what is dying."""
        ends = {partition: len(log) for partition, log in self.kept.topic.items()}
        while self.kept.take(administration.purge(self.queue, ends)).more:
            pass
        for place, record in self.records.items():
            if record.state in (NEW, OPEN, LEASED):
                record.state = LOST
                self._off_the_list(place)

    def _ripens(self) -> None:
        for record in self.records.values():
            if record.state == OPEN and record.since <= self.kept.now_ms:
                record.ripe = True

    # What is promised.

    def check(self) -> None:
        """After every step."""
        queue = self.queue
        pending = dict(self._pending(queue))
        for place, record in self.records.items():
            passed = place.topic_id == DEAD_TOPIC or place.offset < queue.next_of(place.partition)
            if record.state == NEW:
                assert not passed, f"{place} was passed, and nothing is known of it"
            expected = record.is_pending and passed
            assert (place in pending) == expected, f"{place} is {record.state}, and pending: {not expected}"
            if record.state == LEASED:
                assert pending[place] == ("leased", record.lease)
            elif expected:
                assert pending[place][0] == ("dying" if record.state == DYING else "open")
        config = self.kept.config
        in_hand = sum(record.state == LEASED for record in self.records.values())
        assert queue.in_flight == in_hand <= config.max_in_flight
        assert all(0 < records <= config.max_in_flight_per_worker for records in queue.workers.values())
        assert sum(queue.workers.values()) == in_hand
        for (topic_id, _), share in queue.shares.items():
            assert (
                topic_id != TOPIC
                or sum(not _was_delayed(self, share.place(o)) for o in share.at) <= config.window
            )
        assert {name: dead_letters.dead_at(dead) for name, dead in queue.dead.items()} == self.names
        self._same(self.kept.again())

    @staticmethod
    def _pending(queue: Queue) -> Iterator[tuple[Place, tuple[str, int]]]:
        for share in queue.shares.values():
            for offset, run in share.at.items():
                name = {1: "leased", 4: "dying"}.get(run.value.state, "open")
                yield share.place(offset), (name, run.value.lease)
            for times in share.times.values():
                for index in range(times.count):
                    if times.open >> index & 1:
                        yield share.place(times.offset(index)), ("open", 0)

    def _same(self, other: Queue) -> None:
        """A new leader sees the same."""
        queue = self.queue
        assert set(self.kept.state) <= {*queue.keys(), keys.queue_key("q")}, "nothing is left behind"
        assert _seen(queue) == _seen(other)

    def ends(self) -> None:
        """Workers do what is asked of them: everything is settled, and nothing is left but who died."""
        for _ in range(300):
            self.passes(5_000)
            self.lease("last", 10, reads=100)
            if self.taken:
                latest = [n for n, (lease, _) in enumerate(self.taken) if lease == self.kept.leases]
                if latest:
                    self.settle(Action.ACK, latest, None)
            self.letters_are_sent(100)
            if not any(record.is_pending for record in self.records.values()):
                break
            self.kept.now_ms = max(self.kept.now_ms, 2_000_000)
        left = {place: record.state for place, record in self.records.items() if record.is_pending}
        assert not left, f"never settled: {left}"
        self.check()
        assert not any(share.runs or share.times or len(share.order) for share in self.queue.shares.values())


def _was_delayed(play: QueuePlay, place: Place) -> bool:
    return place.topic_id != TOPIC or play.kept.topic[place.partition][place.offset].deliver_at_ms > 0


def _seen(queue: Queue) -> Any:
    shares = {
        at: (
            share.source,
            {
                offset: msgspec.structs.replace(run.value, open=b"", keys=b"", count=0, number=0)
                for offset, run in share.at.items()
            },
            {offset: run.key_at(offset) for offset, run in share.at.items()},
            {base: (times.open, times.records()) for base, times in share.times.items()},
            share.dying,
            share.delayed,
        )
        for at, share in queue.shares.items()
        if share.stored is not None
    }
    return (queue.header, shares, queue.counts, queue.delayed, queue.workers, queue.dead, queue.replaying)
