"""The headers of a record: an ordered list of names and values, in which a name may come more than once."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from floodmark.errors import InvalidRequest

T = TypeVar("T")

Pairs: TypeAlias = Sequence[tuple[str, bytes | None]]
"""Names and values in order. A value is bytes, of text its UTF-8, or None for null."""


class Headers(Mapping[str, "str | None"]):
    """As text, by name: ``headers["trace"]`` is the first value of that name, or None where that is null.

    ``getall`` has every value of a name, and ``pairs`` all as they are stored: for what is no text, too.
    Iterating gives each name once.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Pairs = ()) -> None:
        self.pairs: Pairs = pairs
        """Names and values in order, values as bytes."""

    def __getitem__(self, name: str) -> str | None:
        """Raises ``KeyError``, and ``InvalidRequest`` for a value that is no text."""
        for each, value in self.pairs:
            if each == name:
                return _text(name, value)
        raise KeyError(name)

    def getall(self, name: str) -> list[str | None]:
        """Every value of this name, in order; empty when there is none. Raises ``InvalidRequest``."""
        return [_text(name, value) for each, value in self.pairs if each == name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([name for name, _ in self.pairs]))

    def __len__(self) -> int:
        """How many names."""
        return len({name for name, _ in self.pairs})

    def __eq__(self, other: object) -> bool:
        """With other headers: all pairs, in order. With a mapping: names that come once, their texts."""
        if isinstance(other, Headers):
            return list(self.pairs) == list(other.pairs)
        if isinstance(other, Mapping):
            return len(self.pairs) == len(other) and {**other} == {
                name: text_or_bytes(value) for name, value in self.pairs
            }
        return NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Headers({list(self.pairs)!r})"

    def listed(self) -> list[list[str | dict[str, str] | None]]:
        """``headers_list`` in JSON: pairs in order; a value that is no text is ``{"b64": ...}``."""
        found: list[list[str | dict[str, str] | None]] = []
        for name, value in self.pairs:
            shown = text_or_bytes(value)
            if isinstance(shown, bytes):
                found.append([name, {"b64": base64.b64encode(shown).decode()}])
            else:
                found.append([name, shown])
        return found

    @property
    def is_plain(self) -> bool:
        """Whether a mapping from names to texts says all of it: each name once, each value text."""
        return self.as_texts() is not None

    def as_texts(self) -> dict[str, str] | None:
        """Names to texts, in order; None where that would not say all of it."""
        return texts_of(self.pairs)


NO_HEADERS: Final = Headers()


HeadersLike: TypeAlias = Headers | Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]]
"""What may be given as headers."""


def pairs_of(headers: HeadersLike) -> list[tuple[str, bytes | None]] | None:
    """What to store for what a caller gave; None for no headers. Raises ``InvalidRequest``."""
    if isinstance(headers, Headers):
        return list(headers.pairs) or None
    given = headers.items() if isinstance(headers, Mapping) else headers
    try:
        return [(_name(name), _value(name, value)) for name, value in given] or None
    except (TypeError, ValueError) as error:
        raise InvalidRequest("headers are a mapping, or a list of pairs of a name and a value") from error


def texts_of(pairs: Pairs | dict[str, str]) -> dict[str, str] | None:
    """What a record has as ``pairs``, as a mapping from names to texts, in order.

    None where that would not say all of it: a name comes twice, or a value is null or no text.
    """
    if isinstance(pairs, dict):
        return pairs
    try:
        found = {name: value.decode() for name, value in pairs}  # type: ignore[union-attr]
    except (AttributeError, UnicodeDecodeError):
        return None
    return found if len(found) == len(pairs) else None


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise InvalidRequest(f"the name of a header is text, not {type(name).__name__}")
    _utf8(name)
    return name


def _value(name: object, value: object) -> bytes | None:
    if isinstance(value, str):
        return _utf8(value)
    if value is None or isinstance(value, bytes):
        return value
    raise InvalidRequest(f"the value of header {name!r} is text, bytes or None, not {type(value).__name__}")


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"this text has no form in UTF-8: {error}") from error


def _text(name: str, value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the value of header {name!r} is no text: ``pairs`` has its bytes") from error


def text_or_bytes(value: bytes | None) -> str | bytes | None:
    """A header's value as text, or as the bytes that it is where it is none."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value
