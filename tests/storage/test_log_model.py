"""The log against a list of frames, through every kind of interruption."""

from __future__ import annotations

from random import Random

import pytest
from floodmark.format.frame import Frame, iterate
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from storage.errors import LogClosed, LogFailed
from storage.log import Log
from storage.memory_filesystem import MemoryFileSystem
from storage.options import LogOptions
from storage.segment_header import HEADER_BYTES
from tests.storage.frames import FOLDER, make_frame

OPTIONS = LogOptions(
    segment_bytes=1024, index_interval_bytes=128, tail_bytes_max=600, open_files_max=2, loaded_indexes_max=2
)
SEEDS = st.integers(0, 2**32)


class LogMachine(RuleBasedStateMachine):
    """``frames`` is what the log must hold; ``durable`` how far a loss of power must leave it whole."""

    @initialize(short=st.booleans())
    def start(self, short: bool) -> None:
        self.fs = MemoryFileSystem()
        if short:
            self.fs.short_writes = Random(0)
        self.term = 1
        self.frames: list[Frame] = []
        self.base_index, self.base_term, self.base_offset = 2, 0, 0
        self.state, self.state_index = b"", 1
        self.log = Log.open(self.fs, FOLDER, OPTIONS)

    # What the owner of a log does

    @rule(count=st.integers(1, 12), records=st.integers(0, 3), size=st.sampled_from([0, 1, 64, 200, 1500]))
    def append(self, count: int, records: int, size: int) -> None:
        for _ in range(count):
            frame = make_frame(self.log, records=records, size=size, term=self.term)
            self.log.append(frame)
            self.frames.append(frame)

    @rule()
    def next_term(self) -> None:
        self.term += 1

    @rule()
    def write(self) -> None:
        assert self.log.write() == self.last

    @rule()
    def sync(self) -> None:
        written = self.log.written_index
        assert self.log.sync() == written
        assert self.log.durable_index == written

    @precondition(lambda self: self.frames)
    @rule(back=st.integers(1, 20))
    def truncate(self, back: int) -> None:
        # What the checkpoint of a trimmed log covers cannot go: it is committed.
        lowest = self.base_index if self.base_index == 2 else self.state_index + 1
        index = max(self.base_index, lowest, self.last + 1 - back)
        self.log.truncate(index)
        del self.frames[index - self.base_index :]
        if self.state_index >= index:
            self.state, self.state_index = b"", self.base_index - 1

    @rule(back=st.integers(0, 20))
    def checkpoint(self, back: int) -> None:
        index = max(self.base_index - 1, self.log.durable_index - back)
        self.state, self.state_index = f"state at {index}".encode(), index
        self.log.checkpoint(self.state, index=index)

    @rule(ahead=st.integers(0, 30))
    def truncate_head(self, ahead: int) -> None:
        before = min(self.base_index + ahead, self.state_index + 1, self.log.durable_index + 1)
        self._follow_base(self.log.truncate_head(before_index=before))
        assert self.base_index <= max(before, self.base_index)

    @rule()
    def roll(self) -> None:
        """As retention by time does, in the middle of whatever goes on."""
        settled = self.log.durable_index == self.log.written_index
        is_filled = self.log._segments.active.size > HEADER_BYTES
        assert self.log.roll(now_ms=10**9, roll_ms=1) is (settled and is_filled)

    @rule(ahead=st.integers(0, 9))
    def reset(self, ahead: int) -> None:
        self._forget_all(self.last + ahead, self.log.next_offset + ahead)
        self.log.reset(index=self.base_index - 1, term=self.term, offset=self.base_offset, state=self.state)

    # What happens to it

    @rule(seed=SEEDS)
    def lose_power(self, seed: int) -> None:
        durable = self.log.durable_index
        self.fs.crash(Random(seed))
        self._reopen(durable)

    @rule()
    def end_of_process(self) -> None:
        written = self.log.written_index
        self.fs.restart()
        self._reopen(written)
        assert self.last == written

    @rule()
    def close_and_open(self) -> None:
        written = self.log.written_index
        self.log.close()
        with pytest.raises(LogClosed):
            self.log.append(make_frame(self.log, term=self.term))
        self._reopen(written)

    @rule(
        step=st.sampled_from(["write", "sync", "truncate", "checkpoint", "truncate_head", "roll", "reset"]),
        after=st.integers(0, 12),
        seed=SEEDS,
        amount=st.integers(1, 20),
    )
    def lose_power_in_the_middle(self, step: str, after: int, seed: int, amount: int) -> None:
        """The disk fails at some call within an operation, and then the power goes."""
        durable, held = self.log.durable_index, self.frames[:]
        before = (self.base_index, self.base_term, self.base_offset, self.state, self.state_index)
        self.fs.fail("any", after=after)
        try:
            getattr(self, step)(
                *([amount] if step in ("truncate", "checkpoint", "truncate_head", "reset") else [])
            )
            durable = self.log.durable_index
        except LogFailed:
            assert self.log.failed is not None
            with pytest.raises(LogClosed):
                self.log.write()
            if step == "truncate":
                durable = min(durable, max(before[0], before[0] + len(held) - amount) - 1)
        reset_to = (self.base_index, self.base_term, self.base_offset, self.state, self.state_index)
        self.fs.heal()
        self.fs.crash(Random(seed))
        log = Log.open(self.fs, FOLDER, OPTIONS)
        was_reset = step == "reset" and log.checkpoint_state == reset_to[3]
        if not was_reset:
            self.frames = held
            self.base_index, self.base_term, self.base_offset, *_ = before
        self.state, self.state_index = log.checkpoint_state, log.checkpoint_index
        assert self.state in (b"", before[3], reset_to[3])
        self._adopt(log, self.last if was_reset else durable)

    # What must hold

    @invariant()
    def bounds_agree(self) -> None:
        log = self.log
        assert (log.base_index, log.last_index) == (self.base_index, self.last)
        assert log.start_offset == self.base_offset
        assert log.next_offset == (self.frames[-1].next_offset if self.frames else self.base_offset)
        assert log.base_term == self.base_term
        assert log.durable_index <= log.written_index <= log.last_index
        assert log.checkpoint_state == self.state
        last_term = self.frames[-1].term if self.frames else self.base_term
        assert log.last_term == log.term_at(log.last_index) == last_term

    @invariant()
    def every_frame_is_there(self) -> None:
        assert list(self.log.frames(self.base_index, self.last)) == self.frames
        for frame in self.frames[::7]:
            assert self.log.frame(frame.index) == frame
            assert self.log.term_at(frame.index) == frame.term

    @invariant()
    def reads_by_offset_agree(self) -> None:
        log = self.log
        for frame in self.frames[::5]:
            if not frame.offset_count:
                continue
            offset = frame.next_offset - 1
            assert log.index_at_offset(offset) == frame.index
            data = log.read(offset, end_offset=log.next_offset, max_bytes=500).frames
            got = list(iterate(data))
            if frame.index > log.written_index:
                assert got == []
                continue
            position = frame.index - self.base_index
            assert got
            assert got == self.frames[position : position + len(got)]
            assert got[-1].index <= log.written_index
            assert len(data) <= 500 or len(got) == 1
            assert sum(f.size for f in got) == len(data)

    @property
    def last(self) -> int:
        return self.base_index - 1 + len(self.frames)

    def _reopen(self, durable: int) -> None:
        seen: list[Frame] = []
        log = Log.open(self.fs, FOLDER, OPTIONS, on_frame=seen.append)
        first = max(self.state_index + 1, self.base_index)
        assert [f.index for f in seen] == list(range(first, log.last_index + 1))
        self._adopt(log, durable)

    def _adopt(self, log: Log, durable: int) -> None:
        """Take what a reopened log holds, once it is sure that it holds enough."""
        self.log = log
        self._follow_base(log.base_index)
        assert max(durable, self.base_index - 1) <= log.last_index <= self.last
        del self.frames[log.last_index + 1 - self.base_index :]
        assert log.durable_index == log.written_index == log.last_index

    def _follow_base(self, base_index: int) -> None:
        """The log's front moved to ``base_index``."""
        if base_index == self.base_index:
            return
        gone = self.frames[: base_index - self.base_index]
        assert len(gone) == base_index - self.base_index
        del self.frames[: len(gone)]
        self.base_index, self.base_term, self.base_offset = base_index, gone[-1].term, gone[-1].next_offset

    def _forget_all(self, index: int, offset: int) -> None:
        self.frames = []
        self.base_index, self.base_term, self.base_offset = index + 1, self.term, offset
        self.state, self.state_index = f"reset to {index} in {self.term}".encode(), index


TestLogAgainstModel = LogMachine.TestCase
TestLogAgainstModel.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
