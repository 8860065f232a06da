"""Keys and values in pages of a few dozen, so that no single step takes long however many there are.

One large dictionary would be rehashed as a whole when it grows, and could be copied only as a whole. Here a
page is split at a time (linear hashing), and a view of all pages as they were at one moment costs a copy of
each page that is changed before the view comes to it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

Page = dict[bytes, bytes]

ENTRIES_AIM: Final = 48
"""Entries of a page, on average, before one is split."""


class Pages:
    """A map from bytes to bytes.

    ``hash_`` spreads keys over pages. Python's own cannot be guessed by those who choose keys, and differs
    between processes; nothing but the order of a view depends on it.
    """

    def __init__(self, hash_: Callable[[bytes], int] = hash) -> None:
        self._hash = hash_
        self._pages: list[Page] = [{}]
        self._level = 1
        """A power of two: as many pages as there were before the splits that are under way."""
        self._count = 0
        self._size = 0
        self._view: PagesView | None = None

    def __len__(self) -> int:
        return self._count

    @property
    def size(self) -> int:
        """Bytes of all keys and values."""
        return self._size

    def get(self, key: bytes) -> bytes | None:
        """The value of a key."""
        return self._pages[self._place(key)].get(key)

    def put(self, key: bytes, value: bytes) -> None:
        """Set the value of a key."""
        page = self._writable(self._place(key))
        old = page.get(key)
        page[key] = value
        if old is None:
            self._count += 1
            self._size += len(key) + len(value)
            if self._count > ENTRIES_AIM * len(self._pages):
                self._split()
        else:
            self._size += len(value) - len(old)

    def remove(self, key: bytes) -> None:
        """Forget a key; fine when there is none."""
        place = self._place(key)
        if key in self._pages[place]:
            self._count -= 1
            self._size -= len(key) + len(self._writable(place).pop(key))

    def items(self) -> Iterator[tuple[bytes, bytes]]:
        """All of them, in no order. Nothing may change meanwhile."""
        for page in self._pages:
            yield from page.items()

    def freeze(self) -> PagesView:
        """The pages as they are now."""
        assert self._view is None, "there is one view at a time"
        self._view = PagesView(self._pages, self._thaw)
        return self._view

    def forget(self) -> None:
        """Give the memory back little by little, so that other threads run in between. Not usable after."""
        while self._pages:
            self._pages.pop()

    def _thaw(self) -> None:
        self._view = None

    def _place(self, key: bytes) -> int:
        hashed = self._hash(key)
        place = hashed & (2 * self._level - 1)
        return place if place < len(self._pages) else hashed & (self._level - 1)

    def _writable(self, place: int) -> Page:
        page = self._pages[place]
        if self._view is not None:
            self._view.about_to_change(place, page)
        return page

    def _split(self) -> None:
        """Move about half of the next page into a new one at the end."""
        level = self._level
        page = self._writable(len(self._pages) - level)
        moved = {key: page[key] for key in page if self._hash(key) & level}
        for key in moved:
            del page[key]
        self._pages.append(moved)
        if len(self._pages) == 2 * level:
            self._level = 2 * level


class PagesView:
    """The pages that there were at one moment, one after the other."""

    def __init__(self, pages: list[Page], thaw: Callable[[], None]) -> None:
        self._pages = pages
        self._end = len(pages)
        self._next = 0
        self._saved: dict[int, Page] = {}
        """Copies of pages that have changed since and were not yielded yet."""
        self._thaw: Callable[[], None] | None = thaw

    def about_to_change(self, place: int, page: Page) -> None:
        """Keep a page as it is, where it is still needed."""
        if self._next <= place < self._end and place not in self._saved:
            self._saved[place] = dict(page)

    def take(self) -> list[tuple[bytes, bytes]] | None:
        """The entries of the next page; None behind the last one, or once the view is closed."""
        if self._thaw is None or self._next >= self._end:
            return None
        place = self._next
        self._next += 1
        saved = self._saved.pop(place, None)
        return list((self._pages[place] if saved is None else saved).items())

    def close(self) -> None:
        """Nothing of it is needed any more."""
        if self._thaw is not None:
            self._thaw()
            self._thaw = None
            self._saved.clear()
