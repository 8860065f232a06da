"""Histories in files: a writer that many tasks share, and a reader that checks everything."""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final

import msgspec

from chaos.history import (
    VERSION,
    Action,
    End,
    Event,
    Fail,
    FaultBegan,
    FaultEnded,
    GivenUp,
    Healed,
    History,
    Invoke,
    Leads,
    Ok,
    PauseBegan,
    PauseEnded,
    Producer,
    Recovered,
    Result,
    Unknown,
)
from chaos.history_rules import HistoryRules

FLUSH_BYTES: Final = 64 << 10
FLUSH_NS: Final = 500_000_000
"""How often a writer in use hands its lines to the operating system."""

_ENCODER = msgspec.json.Encoder()
_DECODER = msgspec.json.Decoder(Event)


class HistoryInvalid(ValueError):
    """A history that cannot be judged; says where and why."""


class HistoryWriter:
    """Appends events to a new file. Times are taken here, so that lines are in their order.

    Whole lines are handed over with one write: after a crash of this process only the end is missing, and at
    most the last line is torn, which the reader expects. Use as a context manager.
    """

    def __init__(
        self, path: Path, *, seed: int | None = None, clock_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self._clock_ns = clock_ns
        self._descriptor = os.open(
            path, os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY | os.O_CLOEXEC, 0o644
        )
        self._buffer = bytearray()
        self._flushed_ns = clock_ns()
        self._ops = 0
        self._faults = 0
        self._add(History(VERSION, self._flushed_ns, seed))

    def producer(self, producer: int, name: str, *, idempotent: bool, ordered: bool = True) -> None:
        """Declare a producer, before its first record."""
        self._add(Producer(self._clock_ns(), producer, name, idempotent, ordered))

    def invoke(self, process: str, action: Action, *, node: str = "") -> int:
        """An operation begins, before anything of it is sent; returns its number."""
        self._ops += 1
        self._add(Invoke(self._ops, self._clock_ns(), process, action, node))
        return self._ops

    def ok(self, op: int, result: Result, *, node: str = "") -> None:
        """It was done."""
        self._add(Ok(op, self._clock_ns(), result, node))

    def fail(
        self,
        op: int,
        error: str,
        *,
        node: str = "",
        high_watermark: int | None = None,
        next_offset: int | None = None,
    ) -> None:
        """It was certainly not done."""
        self._add(Fail(op, self._clock_ns(), error, node, high_watermark, next_offset))

    def unknown(self, op: int, error: str, *, node: str = "") -> None:
        """Nobody knows."""
        self._add(Unknown(op, self._clock_ns(), error, node))

    def pause_began(self, topic: str, partition: int) -> None:
        """Writes to a partition pause from now on."""
        self._add(PauseBegan(self._clock_ns(), topic, partition))

    def pause_ended(self, topic: str, partition: int) -> None:
        """Writes to it begin again."""
        self._add(PauseEnded(self._clock_ns(), topic, partition))

    def fault_began(self, name: str, nodes: Sequence[str] = ()) -> int:
        """A fault is in force; returns its number."""
        self._faults += 1
        self._add(FaultBegan(self._clock_ns(), self._faults, name, list(nodes)))
        return self._faults

    def fault_ended(self, fault: int) -> None:
        """A fault is over."""
        self._add(FaultEnded(self._clock_ns(), fault))

    def recovered(self, given_up: Sequence[GivenUp]) -> None:
        """A recovery was written, and no node has been started since."""
        self._add(Recovered(self._clock_ns(), list(given_up)))

    def healed(self) -> int:
        """All faults are over, all nodes are told to run; returns the time."""
        event = Healed(self._clock_ns())
        self._add(event)
        return event.time_ns

    def leads(self, node: str, group: str, term: int) -> None:
        """A node was seen to lead."""
        self._add(Leads(self._clock_ns(), node, group, term))

    def flush(self) -> None:
        """Hand everything to the operating system."""
        view = memoryview(self._buffer)
        while view:
            view = view[os.write(self._descriptor, view) :]
        self._buffer = bytearray()
        self._flushed_ns = self._clock_ns()

    def close(self) -> None:
        """Flush, fsync and close."""
        self.flush()
        os.fsync(self._descriptor)
        os.close(self._descriptor)

    def __enter__(self) -> HistoryWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _add(self, event: Event) -> None:
        self._buffer += _ENCODER.encode(event)
        self._buffer += b"\n"
        if len(self._buffer) >= FLUSH_BYTES or event.time_ns - self._flushed_ns >= FLUSH_NS:
            self.flush()


def read_history(path: Path) -> Iterator[Event]:
    """The events of one file. Raises ``HistoryInvalid``, except for a last line without its end."""
    rules = HistoryRules()
    with path.open("rb") as file:
        number = 0
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                break  # The writer died here.
            try:
                event = _DECODER.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise HistoryInvalid(f"{path}, line {number}: {error}") from error
            wrong = rules.take(event)
            if wrong is not None:
                raise HistoryInvalid(f"{path}, line {number}: {wrong}")
            yield event
        if rules.is_empty:
            raise HistoryInvalid(f"{path}, line {max(number, 1)}: the file does not hold a history")


def read_histories(paths: Sequence[Path]) -> Iterator[Event]:
    """The events of several files of one machine as one history: by time, with numbers of their own."""
    files = [_renumbered(read_history(path), at, len(paths)) for at, path in enumerate(paths)]
    return heapq.merge(*files, key=lambda event: event.time_ns)


def _renumbered(events: Iterator[Event], at: int, count: int) -> Iterator[Event]:
    for event in events:
        if isinstance(event, Invoke | End):
            yield msgspec.structs.replace(event, op=event.op * count + at)
        elif isinstance(event, FaultBegan | FaultEnded):
            yield msgspec.structs.replace(event, fault=event.fault * count + at)
        else:
            yield event
