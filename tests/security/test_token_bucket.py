"""Token buckets, beside a model that counts every drop; and that there are never too many of them."""

from __future__ import annotations

import random
from fractions import Fraction

import pytest

from node.security.token_bucket import BUCKETS_MAX, Latest, TokenBucket


class _Model:
    """All that was taken, with its time, looked at anew each time: exact, and slow."""

    def __init__(self, rate: int) -> None:
        self.rate = rate
        self.taken: list[tuple[Fraction, int]] = []

    def level(self, now: Fraction) -> Fraction:
        """What is in the bucket."""
        level, at = Fraction(self.rate), Fraction(0)
        for when, count in self.taken:
            level = min(Fraction(self.rate), level + (when - at) * self.rate) - count
            at = when
        return min(Fraction(self.rate), level + (now - at) * self.rate)


@pytest.mark.parametrize("seed", range(50))
def test_a_bucket_holds_what_the_model_says(seed: int) -> None:
    """Whether there is room, how long until there is, what is owed; nobody gets more than rate and burst."""
    print(f"seed {seed}")  # noqa: T201 - pytest shows it with a failure
    rng = random.Random(seed)
    rate = rng.choice((1, 10, 1024, 1 << 20))
    bucket, model = TokenBucket(rate, 0.0), _Model(rate)
    now, granted, largest = Fraction(0), 0, 0
    for _ in range(200):
        now += Fraction(rng.choice((0, 1, 16, 64, 256)), 64)  # Exact as floats, too.
        count = rng.choice((1, rng.randint(1, rate), rng.randint(1, 3 * rate)))
        missing = min(count, rate) - model.level(now)
        wait_s = bucket.wait_s(count, float(now))
        assert wait_s == pytest.approx(float(max(Fraction(0), missing) / rate), abs=1e-6)
        assert bucket.owed_s(float(now)) == pytest.approx(
            float(max(Fraction(0), -model.level(now)) / rate), abs=1e-6
        )
        if wait_s == 0.0:
            bucket.take(count, float(now))
            model.taken.append((now, count))
            granted, largest = granted + count, max(largest, count)
            assert granted <= rate * (1 + now) + largest
        elif rng.random() < 0.3:
            later = float(now) + wait_s + 1e-6
            assert TokenBucket.wait_s(bucket, count, later) == 0.0, "then there is room"
            now = Fraction(int((later + 1) * 64), 64)


def test_a_full_bucket_lets_through_what_is_larger_than_it_is() -> None:
    """And owes the rest; a clock that stands still or goes back fills nothing."""
    bucket = TokenBucket(100, 5.0)
    assert bucket.wait_s(1_000, 5.0) == 0.0
    bucket.take(1_000, 5.0)
    assert bucket.owed_s(4.0) == 9.0
    assert bucket.wait_s(1, 5.0) == pytest.approx(9.01)
    assert bucket.wait_s(1_000, 14.0) == 1.0
    assert bucket.wait_s(1_000, 15.0) == 0.0


def test_many_strangers_take_no_more_room_than_some() -> None:
    """Whoever goes on asking keeps its buckets."""
    latest: Latest[str] = Latest()
    steady = latest.of("steady")
    steady["requests_per_s"] = TokenBucket(1, 0.0)
    for number in range(3 * BUCKETS_MAX):
        latest.of(f"stranger {number}")["requests_per_s"] = TokenBucket(1, 0.0)
        if number % 1_000 == 0:
            assert latest.of("steady") is steady
        assert len(latest) <= BUCKETS_MAX
    assert latest.of("steady") is steady
    assert latest.of("stranger 0") == {}
