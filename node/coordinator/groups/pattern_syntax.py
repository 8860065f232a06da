"""Reads a pattern for names (``patterns.py``) into positions: what each takes, and what may follow it."""

from __future__ import annotations

import string
from typing import Final, NamedTuple, NoReturn

from floodmark.errors import InvalidRequest

LENGTH_MAX: Final = 128
_DEPTH_MAX: Final = 16
_DIGITS: Final = frozenset(string.digits)
_WORD: Final = frozenset(string.ascii_letters + string.digits + "_")
ALPHABET: Final = _WORD | frozenset(".-")
"""Of topics' names."""
_REPEATS: Final = frozenset("*+?")
_REFUSED: Final = {
    "{": "counted repetition is not supported: write it out",
    "}": "a } needs a \\ before it",
    "]": "a ] needs a \\ before it",
    "*": "there is nothing to repeat before *",
    "+": "there is nothing to repeat before +",
    "?": "there is nothing to repeat before ?",
    "^": "^ stands at the beginning only: a pattern describes whole names anyway",
    "$": "$ stands at the end only: a pattern describes whole names anyway",
}


class Positions(NamedTuple):
    """A pattern's letters are numbered; sets of them are bits of a number.

    ``follow[i]`` are those that may come after letter i; ``first`` and ``last`` those that may begin and end
    a name; ``nullable``: the empty name is described too.
    """

    characters: list[frozenset[str]]
    follow: list[int]
    first: int
    last: int
    nullable: bool


class _Part(NamedTuple):
    first: int = 0
    last: int = 0
    nullable: bool = True


def parse(text: str) -> Positions:
    """Raises ``InvalidRequest``, which says what is wrong where."""
    reader = _Reader(text)
    part = reader.whole()
    return Positions(reader.characters, reader.follow, *part)


class _Reader:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = int(text.startswith("^"))
        self._end = len(text) - _ends_with_anchor(text)
        self._depth = 0
        self.characters: list[frozenset[str]] = []
        self.follow: list[int] = []

    def whole(self) -> _Part:
        if self._at >= self._end:
            self._refuse("it is empty")
        part = self._choice()
        if self._at < self._end:
            self._refuse("a ) without a (")
        return part

    def _peek(self) -> str:
        return self._text[self._at] if self._at < self._end else ""

    def _take(self, why: str) -> str:
        if self._at >= self._end:
            self._refuse(why)
        self._at += 1
        return self._text[self._at - 1]

    def _refuse(self, why: str) -> NoReturn:
        raise InvalidRequest(f"the pattern cannot be used: {why} (at character {self._at + 1})")

    def _choice(self) -> _Part:
        part = self._sequence()
        while self._peek() == "|":
            self._at += 1
            other = self._sequence()
            part = _Part(part.first | other.first, part.last | other.last, part.nullable or other.nullable)
        return part

    def _sequence(self) -> _Part:
        part = _Part()
        while (ahead := self._peek()) and ahead not in "|)":
            part = self._joined(part, self._repeated())
        return part

    def _joined(self, left: _Part, right: _Part) -> _Part:
        self._follows(left.last, right.first)
        return _Part(
            left.first | (right.first if left.nullable else 0),
            right.last | (left.last if right.nullable else 0),
            left.nullable and right.nullable,
        )

    def _follows(self, before: int, after: int) -> None:
        while before:
            lowest = before & -before
            self.follow[lowest.bit_length() - 1] |= after
            before ^= lowest

    def _repeated(self) -> _Part:
        part = self._one()
        if self._peek() not in _REPEATS or not self._peek():
            return part
        sign = self._take("")
        if self._peek() and self._peek() in _REPEATS:
            self._refuse("lazy and possessive repetition are not supported")
        if sign != "?":
            self._follows(part.last, part.first)
        return part._replace(nullable=part.nullable or sign != "+")

    def _one(self) -> _Part:
        sign = self._take("it ends too early")
        if sign == "(":
            return self._group()
        if sign == "[":
            return self._letter(self._class())
        if sign == ".":
            return self._letter(ALPHABET)
        if sign == "\\":
            return self._letter(self._escaped())
        if sign in _REFUSED:
            self._at -= 1
            self._refuse(_REFUSED[sign])
        return self._letter(frozenset(sign))

    def _letter(self, characters: frozenset[str]) -> _Part:
        bit = 1 << len(self.characters)
        self.characters.append(characters & ALPHABET)
        self.follow.append(0)
        return _Part(bit, bit, nullable=False)

    def _group(self) -> _Part:
        if self._peek() == "?":
            self._at += 1
            if self._take("it ends too early") != ":":
                self._refuse("of what begins with (? only (?: ) is supported")
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            self._refuse(f"groups are nested more than {_DEPTH_MAX} deep")
        part = self._choice()
        if self._take("a ( without a )") != ")":
            self._refuse("a ( without a )")
        self._depth -= 1
        return part

    def _escaped(self) -> frozenset[str]:
        sign = self._take("it ends with a single \\")
        if sign == "d":
            return _DIGITS
        if sign == "w":
            return _WORD
        if sign.isalnum():
            self._refuse(f"\\{sign} is not supported; \\d and \\w are")
        return frozenset(sign)

    def _class(self) -> frozenset[str]:
        without = self._peek() == "^"
        self._at += without
        found: set[str] = set()
        begun = self._at
        while (sign := self._take("a [ without a ]")) != "]" or self._at == begun + 1:
            if sign == "[":
                self._refuse("a [ within [ ] needs a \\ before it")
            if sign == "\\":
                found |= (escaped := self._escaped())
                low = next(iter(escaped)) if len(escaped) == 1 else ""
            else:
                found.add(low := sign)
            if self._peek() == "-" and self._text[self._at + 1 : self._at + 2] not in ("]", ""):
                self._at += 1
                found |= self._range(low)
        return ALPHABET - found if without else frozenset(found)

    def _range(self, low: str) -> set[str]:
        high = self._take("a [ without a ]")
        if high == "\\":
            high = "".join(self._escaped())
        if len(low) != 1 or len(high) != 1 or low > high:
            self._refuse("a range in [ ] goes from a character to a later one")
        return {each for each in ALPHABET if low <= each <= high}


def _ends_with_anchor(text: str) -> bool:
    """Whether the last character is a ``$`` that no backslash takes for itself."""
    body = text[:-1]
    return text.endswith("$") and (len(body) - len(body.rstrip("\\"))) % 2 == 0
