"""Signals: how parts of a node that are made later hear from earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, ParamSpec

P = ParamSpec("P")


class Signal(Generic[P]):
    """Calling it calls all followers with the same arguments, in the order of ``follow``."""

    __slots__ = ("_followers",)

    def __init__(self) -> None:
        self._followers: list[Callable[P, object]] = []

    def follow(self, follower: Callable[P, object]) -> None:
        """Have ``follower`` called from now on."""
        self._followers.append(follower)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> None:
        for follower in self._followers:
            follower(*args, **kwargs)
