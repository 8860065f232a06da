"""The flights as records, and the comparison that finds whatever is off."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.exits import Failure
from cli.flights import Comparison, read_flights

_FILE = Path(__file__).parents[2] / "examples" / "flights" / "flights-2013-01.csv.gz"


@pytest.fixture(scope="module")
def records() -> list:
    """All flights of the file."""
    return read_flights(_FILE)


def _seen(records: list) -> Comparison:
    comparison = Comparison.of(records)
    for record in records:
        comparison.see(record.key, record.value, where="p/0")
    return comparison


def test_all_departures_of_january(records: list) -> None:
    """27,004 flights; the first one left at 5:15 in New York, which was 10:15 UTC."""
    assert len(records) == 27_004
    first = records[0]
    assert (first.key, first.timestamp) == (b"UA", 1357035300000)
    value = first.json()
    assert (value["flight"], value["tailnum"], value["time_hour"]) == (1545, "N14228", "2013-01-01T10:00:00Z")


def test_what_is_not_known_is_null(records: list) -> None:
    """521 flights never left."""
    assert sum(record.json()["dep_time"] is None for record in records) == 521


def test_a_complete_topic_passes_and_foreign_records_behind_it_are_counted(records: list) -> None:
    """Somebody may have tried curl on the topic."""
    comparison = _seen(records)
    comparison.see(b"UA", b"{}", where="p/0")
    comparison.see(None, b"{}", where="p/0")
    comparison.require_complete()
    assert (comparison.count, comparison.others) == (27_004, 2)


def test_an_interrupted_load_goes_on_where_it_ended(records: list) -> None:
    """Each carrier has its own point at which the load stopped."""
    comparison = Comparison.of(records)
    held = [record for record in records[:9_000] if record.key != b"DL"]
    for record in held:
        comparison.see(record.key, record.value, where="p/0")
    rest = list(comparison.missing(records))
    assert len(held) + len(rest) == len(records)
    for record in rest:
        comparison.see(record.key, record.value, where="p/0")
    comparison.require_complete()


def test_a_lost_record_is_found(records: list) -> None:
    """One flight less, at the very end, where order says nothing."""
    comparison = Comparison.of(records)
    for record in records[:-1]:
        comparison.see(record.key, record.value, where="p/0")
    with pytest.raises(Failure, match="27,003 of 27,004"):
        comparison.require_complete()


def test_two_flights_in_the_wrong_order_are_found(records: list) -> None:
    """The same records in another order are not the same log."""
    swapped = list(records)
    first, second = [number for number, record in enumerate(records) if record.key == b"HA"][:2]
    swapped[first], swapped[second] = swapped[second], swapped[first]
    comparison = Comparison.of(records)
    for record in swapped:
        comparison.see(record.key, record.value, where="partition 3, offset 7")
    with pytest.raises(
        Failure, match="2 records of topic flights are not the file's; the first: partition 3"
    ):
        comparison.require_complete()
