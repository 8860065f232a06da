"""History files: what is written is read, a torn end is expected, and anything else is refused."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from chaos.history import (
    Bounds,
    Create,
    Done,
    Fail,
    FaultBegan,
    FaultEnded,
    Healed,
    History,
    Invoke,
    Leads,
    Ok,
    Page,
    PauseBegan,
    PauseEnded,
    Produce,
    Produced,
    Producer,
    Read,
    Run,
    Tail,
    Unknown,
)
from chaos.history_file import HistoryInvalid, HistoryWriter, read_histories, read_history
from chaos.record_value import value_id

HEAD = b'{"type":"history","version":1,"time_ns":5}\n'
PRODUCER = b'{"type":"producer","time_ns":5,"producer":0,"name":"p","idempotent":true}\n'
PAUSE = b'{"type":"pause_began","time_ns":6,"topic":"t","partition":0}\n'
READ = (
    b'{"type":"invoke","op":1,"time_ns":6,"process":"c","action":{"do":"tail","topic":"t","partition":0}}\n'
)


def write_all_kinds(path: Path, first: int = 100) -> None:
    """One event of every kind, a nanosecond apart."""
    ticks = itertools.count(first, 2)
    with HistoryWriter(path, seed=7, clock_ns=ticks.__next__) as history:
        history.producer(first, "p", idempotent=True)
        produce = history.invoke("p", Produce("t", 0, [value_id(first, 1), value_id(first, 2)]), node="n1")
        read = history.invoke("c", Read("t", 0, 0))
        history.ok(produce, Produced(0), node="n2")
        history.ok(read, Page([Run(0, [value_id(first, 1)])], 1, 2))
        fault = history.fault_began("kill", ["n1"])
        history.fail(history.invoke("c", Read("t", 0, 9)), "offset_past_end", high_watermark=2)
        history.unknown(history.invoke("a", Create("u", 3, {"retention_ms": None})), "outcome_unknown")
        history.ok(history.invoke("a", Create("w", 1)), Done(changed=False))
        history.fault_ended(fault)
        history.healed()
        history.leads("n1", "t/0", 3)
        history.pause_began("t", 0)
        history.pause_ended("t", 0)
        history.ok(history.invoke("c", Tail("t", 0)), Bounds(0, 2))


def test_every_kind_of_event_is_read_as_it_was_written(tmp_path: Path) -> None:
    """In order, with the times of the writer's clock and everything that was told."""
    write_all_kinds(tmp_path / "h.jsonl")
    events = list(read_history(tmp_path / "h.jsonl"))
    assert [type(event) for event in events] == [
        *(History, Producer, Invoke, Invoke, Ok, Ok, FaultBegan, Invoke, Fail, Invoke, Unknown),
        *(Invoke, Ok, FaultEnded, Healed, Leads, PauseBegan, PauseEnded, Invoke, Ok),
    ]
    assert [event.time_ns for event in events] == sorted({event.time_ns for event in events})
    assert events[2] == Invoke(1, 104, "p", Produce("t", 0, [value_id(100, 1), value_id(100, 2)]), "n1")
    assert events[5] == Ok(2, 110, Page([Run(0, [value_id(100, 1)])], 1, 2))
    assert events[8] == Fail(3, 116, "offset_past_end", "", 2)


def test_a_torn_last_line_is_left_out(tmp_path: Path) -> None:
    """Wherever the writer died, what stands before that line is read."""
    path, torn = tmp_path / "h.jsonl", tmp_path / "torn.jsonl"
    write_all_kinds(path)
    data, whole = path.read_bytes(), list(read_history(path))
    for end in range(len(HEAD) + 40, len(data)):
        torn.write_bytes(data[:end])
        assert list(read_history(torn)) == whole[: data[:end].count(b"\n")]


def test_what_a_writer_holds_is_handed_over_after_a_while_and_when_it_is_much(tmp_path: Path) -> None:
    """Half a second or 64 KiB is the most that the death of the process can cost."""
    now = [0]
    history = HistoryWriter(tmp_path / "h.jsonl", clock_ns=lambda: now[0])
    history.healed()
    assert not (tmp_path / "h.jsonl").read_bytes()
    now[0] = 500_000_000
    history.healed()
    assert len(list(read_history(tmp_path / "h.jsonl"))) == 3
    while (tmp_path / "h.jsonl").stat().st_size < 64 << 10:
        history.healed()
    history.close()


def test_an_existing_history_is_never_written_over(tmp_path: Path) -> None:
    """Two runs in one file would be no history."""
    write_all_kinds(tmp_path / "h.jsonl")
    with pytest.raises(FileExistsError):
        HistoryWriter(tmp_path / "h.jsonl")


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (b"", "line 1: the file does not hold a history"),
        (READ, "line 1: a history must begin"),
        (HEAD + HEAD, "line 2: a history must begin"),
        (HEAD.replace(b"1,", b"2,", 1), "version 2"),
        (HEAD + b'{"type":"healed","time_ns":4}\n', "time went back from 5 to 4"),
        (HEAD + b"{}\n", "line 2: Object missing"),
        (HEAD + b'{"type":"healed","time_ns":6,"more":1}\n', "unknown field `more`"),
        (HEAD + b'{"type":"healed","time_ns":"6"}\n', "Expected `int`"),
        (HEAD + b"\xff\n", "line 2: "),
        (HEAD + READ + READ, "operation 1 began after operation 1"),
        (
            HEAD + b'{"type":"fail","op":1,"time_ns":6,"error":"x"}\n',
            "operation 1 ended but is not under way",
        ),
        (
            HEAD + READ + b'{"type":"ok","op":1,"time_ns":6,"result":{"got":"done"}}\n',
            "a Done cannot be the result of a Tail",
        ),
        (HEAD + PRODUCER + PRODUCER, "producer 0 is declared twice"),
        (HEAD + PAUSE + PAUSE, "t/0 pauses already"),
        (HEAD + PAUSE.replace(b"began", b"ended"), "t/0 does not pause"),
        (
            HEAD
            + PRODUCER
            + PAUSE
            + READ.replace(b'"tail"', b'"produce"').replace(b"0}}", b'0,"values":[1]}}'),
            "line 4: t/0 is written to in its pause",
        ),
        (HEAD + b'{"type":"fault_ended","time_ns":6,"fault":1}\n', "fault 1 ended but is not in force"),
        (
            HEAD + READ.replace(b'"tail"', b'"produce"').replace(b"0}}", b'0,"values":[1]}}'),
            "producer 0 is not declared",
        ),
        (
            HEAD + READ.replace(b'"tail"', b'"produce"').replace(b"0}}", b'0,"values":[]}}'),
            "a produce without values",
        ),
    ],
)
def test_what_is_no_history_is_refused_with_its_line_and_reason(
    tmp_path: Path, lines: bytes, why: str
) -> None:
    """A checker that guesses would prove nothing."""
    (tmp_path / "h.jsonl").write_bytes(lines)
    with pytest.raises(HistoryInvalid, match=why):
        list(read_history(tmp_path / "h.jsonl"))


def test_several_histories_are_one_by_time(tmp_path: Path) -> None:
    """Operations and faults of different files keep apart."""
    paths = [tmp_path / "a.jsonl", tmp_path / "b.jsonl"]
    for number, path in enumerate(paths):
        write_all_kinds(path, first=100 + number)
    events = list(read_histories(paths))
    assert [event.time_ns for event in events] == sorted(event.time_ns for event in events)
    ops = [event.op for event in events if isinstance(event, Invoke)]
    assert len(ops) == len(set(ops)) == 12
    assert len({event.fault for event in events if isinstance(event, FaultBegan)}) == 2
