"""Patterns for names of topics: a part of RE2's syntax, matched in linear time whatever is written.

A pattern describes whole names: literals, ``.``, classes ``[a-z0-9]`` and ``[^...]``, ``\\d``, ``\\w``,
groups ``( )`` and ``(?: )``, ``|``, ``*``, ``+``, ``?``, and ``\\`` before a punctuation mark, which then
stands for itself; ``^`` and ``$`` only at the ends. Refused: counted repetition ``{2,5}``, lazy and
possessive repetition, look-around, references, flags, and what is longer than ``LENGTH_MAX``.

There is no backtracking: the positions of the pattern that a name may have reached are bits of a number
(Glushkov's automaton), and what one character makes of them is remembered.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Final

from floodmark.errors import InvalidRequest

from node.coordinator.groups.pattern_syntax import ALPHABET, LENGTH_MAX, Positions, parse

_REMEMBERED_MAX: Final = 4_096
"""Steps of one pattern."""
_BYTE: Final = 8


class Pattern:
    """A compiled one. Raises ``InvalidRequest``."""

    def __init__(self, text: str) -> None:
        if len(text) > LENGTH_MAX:
            raise InvalidRequest(
                f"a pattern has up to {LENGTH_MAX} characters: subscribe with several members"
            )
        positions = parse(text)
        self._last = positions.last
        self._empty = positions.nullable
        self._first = positions.first
        self._takes = dict.fromkeys(ALPHABET, 0)
        for place, characters in enumerate(positions.characters):
            for character in characters:
                self._takes[character] |= 1 << place
        self._follow = _tables(positions)
        self._remembered: dict[tuple[int, str], int] = {}

    @property
    def prefix(self) -> str:
        """What all names that it describes begin with, as far as one character after the other is certain."""
        found, at, may_end = "", self._first, self._empty
        while not may_end and len(found) < LENGTH_MAX:
            takes = [character for character, places in self._takes.items() if at & places]
            if len(takes) != 1:
                break
            here = at & self._takes[takes[0]]
            found, at, may_end = found + takes[0], self._after(here), bool(here & self._last)
        return found

    def matches(self, name: str) -> bool:
        """Whether it describes the whole name."""
        if not name:
            return self._empty
        remembered = self._remembered
        at = self._first & self._takes.get(name[0], 0)
        for character in name[1:]:
            if not at:
                return False
            step = remembered.get((at, character))
            at = self._step(at, character) if step is None else step
        return bool(at & self._last)

    def _step(self, at: int, character: str) -> int:
        """Where ``character`` leads from the positions ``at``."""
        after = self._after(at) & self._takes.get(character, 0)
        if len(self._remembered) < _REMEMBERED_MAX:
            self._remembered[at, character] = after
        return after

    def _after(self, at: int) -> int:
        """What may follow any of the positions ``at``."""
        after, rest = 0, at
        for table in self._follow:
            after |= table[rest & 0xFF]
            rest >>= _BYTE
        return after


@lru_cache(maxsize=64)
def compiled(text: str) -> Pattern:
    """A pattern, compiled once. Raises ``InvalidRequest``."""
    return Pattern(text)


def prefix_of(text: str) -> str:
    """What all names that it describes begin with. Raises ``InvalidRequest``."""
    return compiled(text).prefix


def select(text: str, names: Iterable[str]) -> Iterator[str]:
    """The names that it describes. Raises ``InvalidRequest``."""
    pattern = compiled(text)
    return (name for name in names if pattern.matches(name))


def _tables(positions: Positions) -> list[list[int]]:
    """For each eight positions what follows any of them, by which of them are reached."""
    tables = []
    for begin in range(0, len(positions.follow), _BYTE):
        table = [0]
        for follow in positions.follow[begin : begin + _BYTE]:
            table += [before | follow for before in table]
        table += [0] * (256 - len(table))
        tables.append(table)
    return tables
