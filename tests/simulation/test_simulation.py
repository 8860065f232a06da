"""Two hundred and twenty-four random clusters, each from one seed, through faults, healing and a last look,
and thirty of a machine that keeps its state in files. The later ones are left to ``make long``.

``FLOODMARK_SEED=n`` runs that seed alone. A failure prints the seed, the last events and the command that
replays it.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from _pytest.mark import ParameterSet

from tests.simulation.profile import LARGE_FROM, LARGE_PROFILES, PROFILES, profile_of
from tests.simulation.run import simulate

SEEDS = 224
LARGE_SEEDS = 30
BLOCK = 16
"""Seeds per test: as many as there are kinds of runs, so that each test has one of each kind."""


def _blocks() -> list[range]:
    if (seed := os.environ.get("FLOODMARK_SEED")) is not None:
        return [range(int(seed), int(seed) + 1)]
    return [range(first, first + BLOCK) for first in range(0, SEEDS, BLOCK)]


def _named(blocks: list[range]) -> list[ParameterSet]:
    """As parameters, the second half of them marked as long."""
    return [
        pytest.param(
            seeds,
            id=f"{seeds.start}-{seeds.stop - 1}",
            marks=[pytest.mark.long] if place > len(blocks) // 2 else [],
        )
        for place, seeds in enumerate(blocks)
    ]


@pytest.mark.parametrize("seeds", _named(_blocks()))
def test_random_clusters_keep_every_promise(seeds: range) -> None:
    """Nothing acknowledged is lost, logs agree, and after healing everything commits."""
    for seed in seeds:
        result = simulate(seed)
        assert result.failure is None, result.failure
        assert result.stored > 0, result


def test_every_block_of_seeds_has_every_kind_of_run() -> None:
    """No profile is left out when seeds are split into blocks."""
    for seeds in _blocks():
        if len(seeds) == BLOCK:
            assert {profile_of(seed).name for seed in seeds} == {profile.name for profile in PROFILES}


def test_no_disk_is_damaged_that_a_majority_needs() -> None:
    """Seed 20719: all that run name three voters; those that are down know of a change to two."""
    result = simulate(20719)
    assert result.failure is None, result.failure


def test_producers_do_retry_and_their_sequences_wrap_around() -> None:
    """The runs above are about something."""
    results = [simulate(seed) for seed in (0, 1, 2, 13)]
    assert sum(result.repeated for result in results) >= 50
    assert sum(result.wrapped for result in results) >= 1


def _large_blocks() -> list[range]:
    size = len(LARGE_PROFILES)
    return [range(first, first + size) for first in range(LARGE_FROM, LARGE_FROM + LARGE_SEEDS, size)]


@pytest.mark.parametrize("seeds", _named(_large_blocks()))
def test_replicas_with_large_states_have_what_the_log_leads_to(seeds: range) -> None:
    """After each entry, whether it was applied, loaded from the own disk, or came from a leader as a file."""
    received = 0
    for seed in seeds:
        lines: list[str] = []
        result = simulate(seed, listener=lines)
        assert result.failure is None, result.failure
        assert result.stored > 0, result
        received += sum(" gets SnapshotChunk " in line for line in lines)
    assert received > 0


def test_replicas_begin_segments_by_age() -> None:
    """Each for itself, so that no two logs end theirs at the same entries."""
    lines: list[str] = []
    assert simulate(9, listener=lines).failure is None
    begun = {line.partition("begins a segment by age at ")[2] for line in lines} - {""}
    assert len(begun) > 1, begun


@pytest.mark.parametrize(
    "seed",
    [
        2,
        pytest.param(7, marks=pytest.mark.long),
        pytest.param(10, marks=pytest.mark.long),
        LARGE_FROM + 1,
    ],
)
def test_one_seed_is_one_run_whatever_the_hash_seed_is(seed: int) -> None:
    """The order of sets and dictionaries of strings differs between processes; the run does not."""
    digests = {
        subprocess.run(
            [sys.executable, "-m", "tests.simulation", "--seed", str(seed)],
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        .stdout.splitlines()[-1]
        .rpartition(" ")[2]
        for hash_seed in (1, 2, 3)
    }
    assert digests == {simulate(seed).digest}


@pytest.mark.parametrize("seed", [3431, 3751])
def test_a_replica_with_two_damages_opens_again(seed: int) -> None:
    """Seeds that found one for ever closed: damage before what was set aside, or where its checkpoint is."""
    result = simulate(seed)
    assert result.failure is None, result.failure
