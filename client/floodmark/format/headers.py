"""The headers of a record: an ordered list of names and values, in which a name may come more than once."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, TypeAlias, TypeVar

from floodmark.errors import InvalidRequest

T = TypeVar("T")

Pairs: TypeAlias = Sequence[tuple[str, bytes | None]]
"""Names and values in order. A value is bytes (UTF-8 for text), or None for null."""


class Headers(Mapping[str, "str | None"]):
    """As text, by name: ``headers["trace"]`` is the first value of that name, or None where that is null.

    ``getall`` returns every value of a name; ``pairs`` has all headers as they are stored, also values that
    are not text.
    Iterating gives each name once.
    """

    __slots__ = ("pairs",)

    def __init__(self, pairs: Pairs = ()) -> None:
        self.pairs: Pairs = pairs
        """Names and values in order, values as bytes."""

    def __getitem__(self, name: str) -> str | None:
        """Raises ``KeyError``, and ``InvalidRequest`` for a value that is not text."""
        for each, value in self.pairs:
            if each == name:
                return _text(name, value)
        raise KeyError(name)

    def getall(self, name: str) -> list[str | None]:
        """Every value of this name, in order; empty if the name is missing. Raises ``InvalidRequest``."""
        return [_text(name, value) for each, value in self.pairs if each == name]

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([name for name, _ in self.pairs]))

    def __len__(self) -> int:
        """How many names."""
        return len({name for name, _ in self.pairs})

    def __eq__(self, other: object) -> bool:
        """Equal to other headers with the same pairs in order, or to the same mapping of names to texts."""
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
        """``headers_list`` in JSON: pairs in order; a value that is not text is ``{"b64": ...}``."""
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
        """Whether a mapping from names to texts can represent it: each name once, each value text."""
        return self.as_texts() is not None

    def as_texts(self) -> dict[str, str] | None:
        """Names to texts, in order; None if a mapping cannot represent all headers."""
        return texts_of(self.pairs)


NO_HEADERS: Final = Headers()


HeadersLike: TypeAlias = Headers | Mapping[str, str | bytes | None] | Sequence[tuple[str, str | bytes | None]]
"""The types accepted as headers."""


def pairs_of(headers: HeadersLike) -> list[tuple[str, bytes | None]] | None:
    """The headers to store for a caller's; None for no headers. Raises ``InvalidRequest``."""
    if isinstance(headers, Headers):
        return list(headers.pairs) or None
    given = headers.items() if isinstance(headers, Mapping) else headers
    try:
        return [(_name(name), _value(name, value)) for name, value in given] or None
    except (TypeError, ValueError) as error:
        raise InvalidRequest("headers must be a mapping, or a list of pairs of a name and a value") from error


def texts_of(pairs: Pairs | dict[str, str]) -> dict[str, str] | None:
    """A record's ``pairs`` as a mapping from names to texts, in order.

    None if a mapping cannot represent them: a name comes twice, or a value is null or not text.
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
        raise InvalidRequest(f"the name of a header must be text, not {type(name).__name__}")
    _utf8(name)
    return name


def _value(name: object, value: object) -> bytes | None:
    if isinstance(value, str):
        return _utf8(value)
    if value is None or isinstance(value, bytes):
        return value
    raise InvalidRequest(
        f"the value of header {name!r} must be text, bytes or None, not {type(value).__name__}"
    )


def _utf8(text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidRequest(f"this text cannot be encoded as UTF-8: {error}") from error


def _text(name: str, value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the value of header {name!r} is not text: ``pairs`` has its bytes") from error


def text_or_bytes(value: bytes | None) -> str | bytes | None:
    """A header's value as text, or as bytes if it is not text."""
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return value
