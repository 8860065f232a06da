"""A topic as a register: what each metadata operation does to it, and which answers it may get."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from chaos.history import Action, Alter, Config, Create, Delete, Describe, Described, Done, End, Fail, Ok

TOPIC_EXISTS = "topic_exists"
UNKNOWN_TOPIC = "unknown_topic"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic that exists."""

    partitions: int
    config: frozenset[tuple[str, int | None]]


State = Topic | None
"""None if the topic does not exist."""


def step(state: State, action: Action, end: End | None) -> tuple[bool, State]:
    """Whether ``action`` in ``state`` may end with ``end`` (None: not known), and the state after it."""
    if isinstance(end, Fail):
        return _may_fail(state, action, end.error), state
    result = end.result if isinstance(end, Ok) else None
    match action:
        case Create():
            return _create(state, Topic(action.partitions, _frozen(action.config)), result)
        case Alter():
            return _alter(state, action.config, result)
        case Delete():
            return result is None or state is not None, None
        case Describe() if isinstance(result, Described):
            return state == Topic(result.partitions, _frozen(result.config)), state
    return True, state


def is_observation(action: Action, end: End | None) -> bool:
    """Whether its end tells anything, or it may have had an effect. Other failures had no effect."""
    if isinstance(end, Fail):
        return end.error in (TOPIC_EXISTS, UNKNOWN_TOPIC)
    return isinstance(end, Ok) or not isinstance(action, Describe)


def _create(state: State, wanted: Topic, result: Hashable) -> tuple[bool, State]:
    if not isinstance(result, Done):
        return True, wanted if state is None else state
    return (state is None if result.changed else state == wanted), wanted


def _alter(state: State, changes: Config, result: Hashable) -> tuple[bool, State]:
    if state is None:
        return result is None, state
    return True, Topic(state.partitions, _frozen({**dict(state.config), **changes}))


def _may_fail(state: State, action: Action, error: str) -> bool:
    if error == UNKNOWN_TOPIC:
        return state is None
    if not isinstance(action, Create):
        return False  # No other failure is possible with a topic that exists.
    return state is not None and state != Topic(action.partitions, _frozen(action.config))


def _frozen(config: Config) -> frozenset[tuple[str, int | None]]:
    return frozenset(config.items())
