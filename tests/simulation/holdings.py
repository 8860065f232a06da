"""What one replica's disk is known to hold for good, as far as its log has ever said so."""

from __future__ import annotations

from storage.log import Log


class Holdings:
    """Outlives the processes, like the disk."""

    def __init__(self) -> None:
        self.up_to = 0
        self._terms: dict[int, int] = {}
        self._promised: dict[int, int] = {}
        """Terms of entries that were durable before the disk lost them, while this replica does not vote."""

    def has(self, index: int, term: int, *, votes: bool) -> bool:
        """Whether the entry is on this disk for good, whether or not a process runs.

        Or was, until the disk lost it: a leader may count an acknowledgement of before. It is as good as
        durable as long as this replica votes for nobody who lacks it, because it votes for nobody.
        """
        if index <= self.up_to and self._terms.get(index, term) == term:
            return True
        return not votes and self._promised.get(index) == term

    def are_in(self, log: Log) -> bool:
        """Whether a log that was opened again still has all of it."""
        known = self.up_to
        if known < log.base_index:
            return True
        return log.last_index >= known and log.term_at(known) == self._terms[known]

    def look(self, log: Log, *, votes: bool) -> None:
        """Note what became durable: back from the end, up to the first entry that is known already."""
        index = log.durable_index
        self.forget_above(index)
        if votes:
            self._promised.clear()
        terms = self._terms
        while index >= log.base_index and terms.get(index) != (term := log.term_at(index)):
            terms[index] = term
            index -= 1

    def forget_above(self, index: int) -> None:
        """The disk holds no more than this: what was there may come back in another term, or not."""
        for gone in range(index + 1, self.up_to + 1):
            self._terms.pop(gone, None)
        self.up_to = index

    def may_be_lost(self) -> None:
        """The disk was damaged: what it held stays promised until this replica votes again."""
        self._promised |= self._terms

    def are_lost(self) -> None:
        """All of it."""
        self.may_be_lost()
        self._terms.clear()
        self.up_to = 0
