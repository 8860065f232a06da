"""The order of a round."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")


def order_of(round_number: int, each: Sequence[T]) -> list[T]:
    """Each round begins with another one, and every second round goes backwards, so that changes of the
    machine over time, and effects of the previous one, affect all equally."""
    start = round_number % len(each)
    turned = [*each[start:], *each[:start]]
    return turned[::-1] if round_number % 2 else turned
