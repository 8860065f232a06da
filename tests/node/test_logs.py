"""Logs: one form, all that is needed, and never a flood."""

from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from node import logs

ROOT = Path(__file__).resolve().parents[2]
LOG_CALL = re.compile(r"\b_?log\.(?:debug|info|warning|error)\((?:[^()]|\([^()]*\))*\)")


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    """The process-wide configuration is put back."""
    handlers, level = list(logging.root.handlers), logging.root.level
    yield
    structlog.reset_defaults()
    logging.root.handlers[:] = handlers
    logging.root.setLevel(level)


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    """What was logged as JSON."""
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_lines_name_the_node_the_level_and_the_event() -> None:
    """One object per line, whatever the values are."""
    stream = io.StringIO()
    logs.configure("info", "auto", node_id="n1", stream=stream)
    log = structlog.get_logger("here")
    log.debug("not shown")
    log.info("started", path=object, text="a\nb")
    try:
        int("broken")
    except ValueError:
        log.exception("failed")
    first, second = lines(stream)
    assert (first["node"], first["level"], first["event"], first["logger"]) == (
        "n1",
        "info",
        "started",
        "here",
    )
    assert first["text"] == "a\nb"
    assert "broken" in str(second["exception"])


def test_no_event_speaks_of_another_node_as_its_own() -> None:
    """The field ``node`` is the one that logs: an event that gave it another node's name would lose that."""
    sources = [path for room in ("node", "consensus", "storage") for path in (ROOT / room).rglob("*.py")]
    calls = [call for path in sources for call in LOG_CALL.findall(path.read_text())]
    assert len(calls) > 20
    assert [call for call in calls if re.search(r"\bnode=", call)] == []


def test_the_console_form_is_for_people() -> None:
    """No JSON there."""
    stream = io.StringIO()
    logs.configure("info", "console", node_id="n1", stream=stream)
    structlog.get_logger("here").info("started", port=7070)
    assert "started" in stream.getvalue()
    assert "port=7070" in stream.getvalue()


def test_what_libraries_log_takes_the_same_way() -> None:
    """Warnings of the standard library's loggers come out in our form."""
    stream = io.StringIO()
    logs.configure("info", "json", node_id="n1", stream=stream)
    logging.getLogger("asyncio").warning("slow %s", "callback")
    logging.getLogger("asyncio").info("not shown")
    (only,) = lines(stream)
    assert (only["logger"], only["message"]) == ("asyncio", "slow callback")


def test_an_event_that_repeats_is_thinned_out_and_counted() -> None:
    """A burst passes, then one a second with the number of those left out; other events are not held up."""
    now = [0.0]
    guard = logs.FloodGuard(burst=3, clock=lambda: now[0])

    def passes(event: str) -> dict[str, object] | None:
        try:
            return dict(guard(None, "info", {"event": event}))
        except structlog.DropEvent:
            return None

    assert [passes("a") is not None for _ in range(10)] == [True] * 3 + [False] * 7
    assert passes("b") is not None
    now[0] = 1.0
    assert passes("a") == {"event": "a", "suppressed": 7}
    assert passes("a") is None


def test_the_guard_forgets_rather_than_grows() -> None:
    """Its memory is bounded."""
    guard = logs.FloodGuard()
    for number in range(logs.EVENTS_MAX + 100):
        guard(None, "info", {"event": str(number)})
    assert len(guard._seen) == logs.EVENTS_MAX
