"""What the history says of each record: how often it was sent, the outcomes, and its reported place."""

from __future__ import annotations

from typing import Final

from chaos.checker.chunked_ints import ABSENT, ChunkedInts
from chaos.checker.options import Place
from chaos.checker.violation import Evidence
from chaos.history import End, Event, Fail, Invoke, Ok, Produce, Produced, Producer
from chaos.record_value import FOREIGN, name_of, producer_of

OFFSET_BITS: Final = 44
_OFFSET_MASK: Final = (1 << OFFSET_BITS) - 1


class Places:
    """Partitions by number, and places of records as one integer each."""

    def __init__(self) -> None:
        self.all: list[Place] = []
        self._numbers: dict[Place, int] = {}

    def number(self, topic: str, partition: int) -> int:
        """The number of a partition, which it keeps."""
        place = (topic, partition)
        number = self._numbers.get(place)
        if number is None:
            number = self._numbers[place] = len(self.all)
            self.all.append(place)
        return number

    def pack(self, partition: int, offset: int) -> int:
        """A partition's number and an offset as one integer."""
        return partition << OFFSET_BITS | offset

    def unpack(self, packed: int) -> tuple[int, int]:
        """The inverse of ``pack``."""
        return packed >> OFFSET_BITS, packed & _OFFSET_MASK


class Records:
    """Every value that was sent."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self.producers: dict[int, Producer] = {}
        self.sent = 0
        self.acknowledged = ChunkedInts()
        """value -> packed place, of the first acknowledgement by a majority"""
        self.acknowledged_ns = ChunkedInts()
        """value -> time of that acknowledgement"""
        self.sends = ChunkedInts()
        """value -> how often it was sent"""
        self.possible = ChunkedInts()
        """value -> how many of the sends did not certainly fail"""
        self.settled_ns = ChunkedInts()
        """value -> when it was last sent or settled"""

    def see(self, event: Event, call: Invoke | None) -> None:
        """Take in one event; ``call`` is what it ends."""
        if isinstance(event, Producer):
            assert event.producer not in self.producers, f"producer {event.producer} is declared twice"
            self.producers[event.producer] = event
        elif isinstance(event, Invoke):
            if isinstance(event.action, Produce):
                self._sent(event.action, event.time_ns)
        elif call is not None and isinstance(event, End) and isinstance(call.action, Produce):
            self._settled(call.action, event)

    def is_known(self, value: int) -> bool:
        """Whether any workload sent it."""
        return value != FOREIGN and self.sends[value] != ABSENT

    def has_failed(self, value: int) -> bool:
        """Whether every send of it was certainly not stored."""
        return self.possible[value] == 0

    def is_idempotent(self, value: int) -> bool:
        """Whether its producer is."""
        return self.producers[producer_of(value)].idempotent

    def acknowledgement(self, value: int) -> Evidence | None:
        """Its acknowledgement, with place and time; None if there is none."""
        packed = self.acknowledged[value]
        if packed == ABSENT:
            return None
        _, offset = self.places.unpack(packed)
        what = f"{name_of(value)} acknowledged at offset {offset}"
        return Evidence(what, self.acknowledged_ns[value], offset, value)

    def _sent(self, action: Produce, time_ns: int) -> None:
        for value in action.values:
            before = self.sends[value]
            if before == ABSENT:
                self.sent += 1
                self.possible[value] = before = 0
            self.sends[value] = before + 1
            self.possible[value] += 1
            self.settled_ns[value] = time_ns

    def _settled(self, action: Produce, end: End) -> None:
        for value in action.values:
            self.settled_ns[value] = end.time_ns
            if isinstance(end, Fail):
                self.possible[value] -= 1
        if not isinstance(end, Ok) or action.acks != "quorum":
            return
        assert isinstance(end.result, Produced)
        if end.result.first_offset < 0:
            return
        number = self.places.number(action.topic, action.partition)
        for offset, value in enumerate(action.values, end.result.first_offset):
            if self.acknowledged[value] == ABSENT:
                self.acknowledged[value] = self.places.pack(number, offset)
                self.acknowledged_ns[value] = end.time_ns
