"""Who the proposed batches are of: some idempotent producers, which commands make replicas forget."""

from __future__ import annotations

import random
from typing import Final

from floodmark.format.batch import NO_PRODUCER, ProducerKind, encode, numbered_id_of, producer_id_of
from floodmark.format.record import Record

from node.partition.producers import NUMBER_BYTES, forgetting

_NAMES: Final = [producer_id_of(f"p{number}") for number in range(6)]
_NUMBERS: Final = [numbered_id_of(number) for number in range(1, 5)]
_ROUND: Final = 1 << 31


class Producers:
    """Numbers their batches as they are proposed, whatever becomes of them: replicas only remember."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._epoch = 0
        self._next = {number: rng.randrange(_ROUND - 60, _ROUND) for number in _NUMBERS}

    def batch(self, now_ms: int, text: bytes, count: int) -> bytes:
        """A batch of ``count`` records, of some producer or of nobody; now and then of a later epoch."""
        records = [Record(now_ms, None, text)] * count
        name = self._rng.choice([NO_PRODUCER, *_NAMES, *_NUMBERS])
        if name == NO_PRODUCER:
            return encode(records)
        if name in _NUMBERS:
            sequence = self._next[name]
            self._next[name] = (sequence + count) % _ROUND
            return encode(
                records,
                producer_id=name,
                producer_epoch=self._epoch,
                sequence=sequence,
                format=2,
                producer_kind=ProducerKind.NUMBERED,
            )
        if self._rng.random() < 0.05:
            self._epoch += 1
        sequence = self._next.get(name, 0)
        self._next[name] = sequence + 1
        return encode(records, producer_id=name, producer_epoch=self._epoch, sequence=sequence)

    def forget(self, text: bytes) -> bytes:
        """A command by which some are forgotten; ``text`` makes it unlike any other one."""
        known = [*_NAMES, *(number[:NUMBER_BYTES] for number in _NUMBERS)]
        return forgetting([*self._rng.sample(known, self._rng.randint(0, 2)), text])
