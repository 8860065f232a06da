"""The flights of ``make run``: real departures as events, produced once and read back every time.

One event per flight, keyed by carrier, so that each carrier's flights are ordered. The topic must hold the
file's records, those of each carrier in the file's order; an interrupted load continues where it stopped.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from floodmark.format.record import Record

from cli.exits import Failure
from cli.produce_input import timestamp_ms

TOPIC = "flights"
PARTITIONS = 6
_TEXT_COLUMNS = frozenset({"carrier", "tailnum", "origin", "dest", "time_hour"})
_MINUTE_MS = 60_000


def read_flights(path: Path) -> list[Record]:
    """The file's flights as records, in its order. Event time is the scheduled departure."""
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [_record(row) for row in csv.DictReader(io.StringIO(text.decode()))]


def _record(row: dict[str, str]) -> Record:
    value = {name: _typed(name, text) for name, text in row.items()}
    return Record(
        # time_hour is the scheduled hour in UTC; the minutes within it stand in their own column.
        timestamp=timestamp_ms(row["time_hour"]) + int(row["minute"]) * _MINUTE_MS,
        key=row["carrier"].encode(),
        value=msgspec.json.encode(value),
        is_json=True,
    )


def _typed(name: str, text: str) -> str | int | None:
    """The value of a field; NA means not known."""
    if text == "NA":
        return None
    return text if name in _TEXT_COLUMNS else int(text)


@dataclass(slots=True)
class Comparison:
    """Compares the records of a topic with the expected ones, in order for each key."""

    expected: dict[bytes, list[bytes]]
    seen: Counter[bytes] = field(default_factory=Counter)
    others: int = 0
    wrong: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, records: list[Record]) -> Comparison:
        """A comparison that has seen nothing yet."""
        expected: defaultdict[bytes, list[bytes]] = defaultdict(list)
        for record in records:
            expected[record.key or b""].append(record.value or b"")
        return cls(dict(expected))

    def see(self, key: bytes | None, value: bytes, *, where: str) -> None:
        """Compare the next record of the topic. Records of a key after its last expected one are not ours."""
        mine = self.expected.get(key or b"", [])
        position = self.seen[key or b""]
        if position >= len(mine):
            self.others += 1
            return
        self.seen[key or b""] += 1
        if value != mine[position]:
            self.wrong.append(f"{where}: key {(key or b'').decode()}: not flight {position + 1} of the file")

    @property
    def count(self) -> int:
        """Flights found so far."""
        return self.seen.total()

    def missing(self, records: list[Record]) -> Iterator[Record]:
        """The records that the topic does not hold yet, in order."""
        position: Counter[bytes] = Counter()
        for record in records:
            key = record.key or b""
            if position[key] >= self.seen[key]:
                yield record
            position[key] += 1

    def require_in_order(self) -> None:
        """Fail if any record differs from the file's."""
        if self.wrong:
            first: Any = self.wrong[0]
            raise Failure(
                f"{len(self.wrong)} records of topic {TOPIC} are not the file's; the first: {first}",
                hint=f"the topic may be your own; if you do not need it: floodmark topic delete {TOPIC}",
            )

    def require_complete(self) -> None:
        """Fail if a flight is missing or out of order."""
        self.require_in_order()
        wanted = sum(map(len, self.expected.values()))
        if self.count != wanted:
            raise Failure(f"topic {TOPIC} holds {self.count:,} of {wanted:,} flights: records were lost")
