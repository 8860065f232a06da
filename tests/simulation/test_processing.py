"""Programs that process exactly once, over random clusters with faults: each kind of run once.

``FLOODMARK_SEED=n`` runs that seed alone. A failure prints the seed and the last events.
"""

from __future__ import annotations

import dataclasses
import os

import pytest
from floodmark.errors import FloodmarkError

from node.partition.position_order import PositionOrder
from node.partition.source_positions import Begun, Kept, Moved, SourcePositions
from tests.simulation.profile import PROFILES, profile_of
from tests.simulation.run import Result, simulate

FIRST = 5_000 - 5_000 % len(PROFILES)
SOON = 3
"""Kinds of runs that are in every test run; the others are left to ``make long``."""


def _run(seed: int) -> Result:
    return simulate(seed, profile=dataclasses.replace(profile_of(seed), processes=True))


def _seeds() -> list[int]:
    if (seed := os.environ.get("FLOODMARK_SEED")) is not None:
        return [int(seed)]
    return [FIRST + number * 37 for number in range(2 * len(PROFILES))]


@pytest.mark.parametrize(
    "seed",
    [
        pytest.param(seed, marks=[pytest.mark.long] if place >= SOON else [], id=str(seed))
        for place, seed in enumerate(_seeds())
    ],
)
def test_what_is_processed_is_stored_once(seed: int) -> None:
    """Whatever crashes, and whoever takes over."""
    result = _run(seed)
    assert result.failure is None, result.failure


def test_programs_do_get_on_and_take_over() -> None:
    """The runs above are about something."""
    result = _run(FIRST)
    assert result.processed >= 50, result
    assert result.taken_over >= 3, result
    assert result.passed >= 10, result


def _breaks(seeds: int = 8) -> str | None:
    return next((rule for seed in _seeds()[:seeds] if (rule := _run(seed).rule) is not None), None)


def test_without_fencing_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch of an earlier epoch that comes late has what another program has made as well."""
    refusal = PositionOrder._refusal

    def unfenced(order: PositionOrder, moved: Moved, kept: Kept | None, least: int) -> FloodmarkError | None:
        return refusal(order, moved, None if kept is None else Kept(kept.next_offset, 0), least)

    monkeypatch.setattr(PositionOrder, "_refusal", unfenced)
    assert _breaks() == "what is processed is stored once and in order"


def test_without_keeping_the_position_over_a_takeover_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who takes over would begin again."""

    def begin(positions: SourcePositions, begun: Begun) -> None:
        positions.kept[begun.source] = Kept(None, begun.epoch, begun.producer)

    monkeypatch.setattr(SourcePositions, "begin", begin)
    assert _breaks() == "what is processed is stored once and in order"


def test_without_the_order_of_positions_that_move_alone_it_would_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that comes late would move the position back, and what follows would be made once more."""
    monkeypatch.setattr(PositionOrder, "check_moved", lambda _order, _moved: None)
    assert _breaks() == "what is processed is stored once and in order"
