"""A state machine that is a map from keys to values, as large as memory: the base for tables of millions of
entries, as the offsets that consumer groups have committed. Keeps its state in files (large_state.py).

A command is the MessagePack list ``[key, value, key, value, ...]``, keys and values as bytes; nil in place of
a value removes the key. A command of another form changes nothing, on every replica alike. So does a pair
that is larger than ``PAIR_BYTES_MAX``: it would not fit into a block.

A block of its state file is such a list too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

import msgpack
from floodmark.format.frame import Frame, FrameKind

from consensus.core.keyed_pages import Pages, PagesView

BLOCK_BYTES_AIM: Final = 64 << 10
PAIR_BYTES_MAX: Final = 512 << 10
"""Of one key and its value."""

_OVERHEAD = 10
"""Of the two lengths of a pair in MessagePack, at the most."""


def command(pairs: Iterable[tuple[bytes, bytes | None]]) -> bytes:
    """The payload of a frame that sets these keys, and removes those with None. Raises ``ValueError``."""
    flat: list[bytes | None] = []
    for key, value in pairs:
        if len(key) + len(value or b"") > PAIR_BYTES_MAX:
            raise ValueError(f"a key and its value have at most {PAIR_BYTES_MAX} bytes")
        flat += (key, value)
    packed: bytes = msgpack.packb(flat)
    return packed


class KeyedState:
    """The map. ``hash_`` is for those who need the same order of entries in every process."""

    large_state = True

    def __init__(self, *, block_bytes: int = BLOCK_BYTES_AIM, hash_: Callable[[bytes], int] = hash) -> None:
        self._block_bytes = block_bytes
        self._hash = hash_
        self._pages = self.new_pages()
        self._view: KeyedView | None = None
        self.applied = 0
        """The last frame that was taken in."""

    def __len__(self) -> int:
        return len(self._pages)

    def __bool__(self) -> bool:
        """An empty machine is one too."""
        return True

    def new_pages(self) -> Pages:
        """Where entries are kept. Those of a subclass may keep an index of them beside it."""
        return Pages(self._hash)

    def took(self, pairs: list[Any]) -> None:
        """Keys and values in turn were just taken in. A subclass may tell somebody; it must not raise."""

    def forget(self) -> None:
        """Give the memory back little by little, in a thread, once nothing is asked any more: to drop a
        million entries at once would hold up the event loop."""
        self._pages.forget()

    @property
    def size(self) -> int:
        """Bytes of all keys and values."""
        return self._pages.size

    def get(self, key: bytes) -> bytes | None:
        """The value of a key, or None."""
        return self._pages.get(key)

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All entries, in no order. Nothing may be applied meanwhile."""
        return self._pages.items()

    def digest(self) -> str:
        """Of all entries, whatever their order: equal states have equal ones. Takes long where there are
        many entries."""
        total = 0
        for key, value in self._pages.items():
            hashed = hashlib.blake2b(len(key).to_bytes(4, "little") + key + value, digest_size=16)
            total += int.from_bytes(hashed.digest(), "little")
        return f"{total % (1 << 128):032x}"

    def apply(self, frame: Frame) -> None:
        """Take in one committed frame."""
        self.applied = frame.index
        if frame.kind is not FrameKind.COMMAND:
            return
        pairs = _pairs(frame.payload)
        if pairs is not None:
            _take(self._pages, pairs)
            self.took(pairs)

    def freeze(self) -> KeyedView:
        """See ``LargeMachine``."""
        self._view = KeyedView(self._pages.freeze(), self._block_bytes)
        return self._view

    def loader(self) -> KeyedLoader:
        """See ``LargeMachine``."""
        return KeyedLoader(self.new_pages())

    def adopt(self, loader: KeyedLoader, index: int) -> Callable[[], None]:
        """See ``LargeMachine``."""
        if self._view is not None:
            self._view.close()
        old, self._pages = self._pages, loader.pages
        self.applied = index
        return old.forget


class KeyedView:
    """The map as it was."""

    def __init__(self, pages: PagesView, block_bytes: int) -> None:
        self._pages = pages
        self._block_bytes = block_bytes

    def blocks(self) -> Iterator[bytes]:
        """See ``View``."""
        flat: list[bytes] = []
        size = 0
        while (page := self._pages.take()) is not None:
            for key, value in page:
                added = len(key) + len(value) + _OVERHEAD
                if flat and size + added > self._block_bytes:
                    yield msgpack.packb(flat)
                    flat, size = [], 0
                flat += (key, value)
                size += added
        if flat:
            yield msgpack.packb(flat)

    def close(self) -> None:
        """See ``View``."""
        self._pages.close()


class KeyedLoader:
    """A map in the making."""

    def __init__(self, pages: Pages) -> None:
        self.pages = pages

    def feed(self, block: bytes | memoryview) -> None:
        """See ``Loader``."""
        pairs = _pairs(block)
        if pairs is None:
            raise ValueError("a block that is not a list of keys and values")
        _take(self.pages, pairs)

    def forget(self) -> None:
        """See ``Loader``."""
        self.pages.forget()


def _pairs(data: bytes | memoryview) -> list[Any] | None:
    """Keys and values in turn; None for bytes of another form."""
    try:
        flat = msgpack.unpackb(data)
    except Exception:  # noqa: BLE001 - msgpack's errors have no common base class
        return None
    if type(flat) is not list or len(flat) % 2:
        return None
    if not all(type(key) is bytes for key in flat[::2]):
        return None
    return flat if all(value is None or type(value) is bytes for value in flat[1::2]) else None


def _take(pages: Pages, pairs: list[Any]) -> None:
    for place in range(0, len(pairs), 2):
        key, value = pairs[place], pairs[place + 1]
        if value is None:
            pages.remove(key)
        elif len(key) + len(value) <= PAIR_BYTES_MAX:
            pages.put(key, value)
