"""With any one safeguard taken away, the simulator finds what it is for."""

from __future__ import annotations

import pytest

from consensus.core.safeguards import Safeguard
from tests.simulation.run import simulate

FOUND_BY = {
    Safeguard.C1: 10,
    Safeguard.C2: 15,
    Safeguard.C3: 53,
    Safeguard.C4: 0,
    Safeguard.H1: 12,
    Safeguard.H2: 76,
    Safeguard.H3: 1,
}
"""For each a seed that fails without it; docs/TESTING.md says how many seeds it takes to come upon one."""


# What shows without C2 is that nothing commits any more, and that is waited for: 25 seconds.
_SLOW = {Safeguard.C2}


@pytest.mark.parametrize(
    "safeguard",
    [
        pytest.param(each, id=str(each), marks=[pytest.mark.long] if each in _SLOW else [])
        for each in sorted(FOUND_BY, key=str)
    ],
)
def test_the_simulator_finds_a_missing_safeguard(safeguard: Safeguard) -> None:
    """The recorded seed breaks a promise without the safeguard, and none with it."""
    seed = FOUND_BY[safeguard]
    assert simulate(seed, disabled=frozenset({safeguard})).rule is not None
    kept = simulate(seed)
    assert kept.failure is None, kept.failure
