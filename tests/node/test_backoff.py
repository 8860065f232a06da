"""How long a failed replica waits."""

from __future__ import annotations

from node.replicas.backoff import FIRST_S, LONGEST_S, Backoff


def test_each_failure_doubles_the_wait_until_one_is_long_past() -> None:
    """Per group, up to a bound; a disk that was well for a while is tried soon again."""
    now = 0.0
    backoff = Backoff(lambda: now)
    waits = []
    for _ in range(8):
        waits.append(backoff.failed(1))
        now += waits[-1]
    assert waits[:3] == [FIRST_S, 2 * FIRST_S, 4 * FIRST_S]
    assert waits[-1] == LONGEST_S
    assert backoff.failed(2) == FIRST_S
    now += 10 * LONGEST_S
    assert backoff.failed(1) == FIRST_S
    backoff.forget(1)
    assert backoff.failed(1) == FIRST_S
