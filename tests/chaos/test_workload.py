"""Parts of workloads that can be wrong by themselves: verdicts over errors, figures, leaders in logs."""

from __future__ import annotations

from pathlib import Path

import pytest
from floodmark import errors
from floodmark.errors import FloodmarkError

from chaos.history import Fail, Invoke, Ok, Produce, Produced, Read, Unknown
from chaos.history_file import HistoryWriter, read_history
from chaos.workload.outcome import had_no_effect
from chaos.workload.recorder import Recorder
from chaos.workload.sampler import Lead, LogTail, metadata_lead

OPEN = {
    "error",
    "not_usable",
    "outcome_unknown",
    "server_error",
    "storage_full",
    "too_new",
    "transport_error",
}
"""After these it may or may not have been done."""


@pytest.mark.parametrize("code", sorted(errors.ERRORS_BY_CODE))
def test_an_error_is_a_failure_only_where_nothing_was_stored(code: str) -> None:
    """Every error of the tree has its verdict; one that nobody has thought about is unknown."""
    assert had_no_effect(errors.ERRORS_BY_CODE[code]("why")) is (code not in OPEN)


def test_a_request_that_never_left_has_failed() -> None:
    """A connection that was refused carries nothing; one that broke off may have."""
    assert had_no_effect(errors.TransportError("refused", sent=False))
    assert not had_no_effect(errors.TransportError("broke off", sent=True))


def test_errors_become_fail_or_unknown_with_what_they_tell(tmp_path: Path) -> None:
    """And the figures count records that were stored and produces that were not."""
    path = tmp_path / "history.jsonl"
    failures: list[FloodmarkError] = [
        errors.Unavailable("nobody leads"),
        errors.OutcomeUnknown("who knows"),
    ]
    with HistoryWriter(path) as history:
        history.producer(1, "p", idempotent=False)
        recorder = Recorder(history)
        op = recorder.begin("p", Produce("orders", 0, [1 << 40, (1 << 40) + 1]))
        recorder.ok(op, Produced(0), node="n2")
        for failure in failures:
            recorder.failed(recorder.begin("p", Produce("orders", 0, [(1 << 40) + 2])), failure)
        recorder.failed(
            recorder.begin("c", Read("orders", 0, 9)), errors.OffsetPastEnd("end", high_watermark=2)
        )
        recorder.left_open(recorder.begin("c", Read("orders", 0, 2)))
    tally = recorder.tally
    assert (tally.stored, tally.refused, tally.unknown) == (2, 1, 1)
    ends = [event for event in read_history(path) if isinstance(event, Ok | Fail | Unknown)]
    assert [type(end) for end in ends] == [Ok, Fail, Unknown, Fail, Unknown]
    assert [end.error for end in ends if not isinstance(end, Ok)] == [
        "unavailable",
        "outcome_unknown",
        "offset_past_end",
        "run_ended",
    ]
    assert isinstance(ends[3], Fail)
    assert ends[3].high_watermark == 2
    assert sum(isinstance(event, Invoke) for event in read_history(path)) == 5


def test_what_was_sent_before_is_no_progress(tmp_path: Path) -> None:
    """A partition has stored something since a time once a produce that began after it is acknowledged."""
    with HistoryWriter(tmp_path / "history.jsonl") as history:
        history.producer(1, "p", idempotent=True)
        recorder = Recorder(history)
        early = recorder.begin("p", Produce("orders", 0, [1 << 40]))
        healed_ns = history.healed()
        recorder.ok(early, Produced(0))
        assert not recorder.tally.is_stored_since([("orders", 0)], healed_ns)
        recorder.ok(recorder.begin("p", Produce("orders", 0, [(1 << 40) + 1])), Produced(1))
        assert recorder.tally.is_stored_since([("orders", 0)], healed_ns)
        assert not recorder.tally.is_stored_since([("orders", 0), ("orders", 1)], healed_ns)
        recorder.tally.end()
        assert recorder.tally.open_gap_s() == 0


def test_a_log_is_read_line_by_line_as_it_grows(tmp_path: Path) -> None:
    """A line that is half written is read once it is whole."""
    path = tmp_path / "n1.log"
    tail = LogTail(path)
    assert tail.lines() == []
    path.write_bytes(b"one\ntw")
    assert tail.lines() == ["one"]
    with path.open("ab") as log:
        log.write(b"o\nthree\n")
    assert tail.lines() == ["two", "three"]


def test_a_log_tells_who_leads_the_metadata() -> None:
    """Other events, terms without a leader, and lines that are no JSON tell nothing."""
    line = '{"leader": "n2", "term": 3, "event": "metadata_leader", "level": "info", "node": "n1"}'
    assert metadata_lead(line) == Lead("n2", "metadata", 3)
    assert metadata_lead(line.replace('"n2"', "null")) is None
    assert metadata_lead('{"event": "stopping", "because": "metadata_leader"}') is None
    assert metadata_lead('{"event": "metadata_leader", "lea') is None
