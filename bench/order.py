"""The order of a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def order_of(round_number: int, each: Sequence[T]) -> list[T]:
    """Rounds begin with another one each, and every other round goes backwards: what a machine does over
    time, or a predecessor leaves behind, hits all alike."""
    start = round_number % len(each)
    turned = [*each[start:], *each[:start]]
    return turned[::-1] if round_number % 2 else turned
