"""What a queue promises of its dead letters, held against what is committed: which are listed, and which of
those are on their way again."""

from __future__ import annotations

from collections.abc import Sequence

from node.coordinator.keys import TopicPartition
from node.coordinator.queues.dead_letters import Letter
from node.coordinator.queues.dying import Sent
from node.coordinator.queues.queue import Queue, dead_at
from node.coordinator.queues.requests import DeadName, Place
from tests.simulation.queue_topic import Topics
from tests.simulation.violation import require


class LetterPromises:
    """``listed``: where each is. ``replaying``: the names of those that are on their way."""

    def __init__(self, topics: Topics) -> None:
        self._topics = topics
        self.listed: dict[DeadName, Place] = {}
        self.replaying: dict[Place, DeadName] = {}

    def sent(self, source: TopicPartition, died: Place, letter: Sent) -> None:
        """A record that died is said to be with the dead letters, or to be gone."""
        if letter.at is None:
            require(
                self._topics.is_gone(died), "only what retention took is lost", lambda: f"{died} is there"
            )
            return
        stored = self._topics.letters.letters[letter.at.offset]
        require(
            stored == (source, letter.number, died),
            "a dead letter is where it is said to be",
            lambda: f"{died}, number {letter.number}: at {letter.at} is {stored}",
        )
        self.listed[DeadName(*source, letter.number)] = letter.at

    def begin(self, letters: Sequence[Letter], begun: int) -> list[tuple[Place, int]]:
        """Some are delivered again: where they are, and from when on."""
        found = [
            (self.listed[each.name], each.due_ms)
            for each in letters
            if each.name in self.listed and self.listed[each.name] not in self.replaying
        ]
        require(
            len(found) == begun,
            "a letter that is listed is delivered again, once",
            lambda: f"{begun} of {letters}, and {len(found)} may be",
        )
        self.replaying |= {self.listed[each.name]: each.name for each in letters if each.name in self.listed}
        return found

    def purge(self, names: Sequence[DeadName], gone: int) -> None:
        """These are taken off the list, but for those that are on their way."""
        found = [name for name in names if name in self.listed and self.listed[name] not in self.replaying]
        require(len(found) == gone, "what is purged was listed", lambda: f"{gone}, not {found}")
        for name in found:
            del self.listed[name]

    def settled(self, place: Place) -> None:
        """A record is settled: if it was a letter, that is off the list."""
        if (name := self.replaying.pop(place, None)) is not None:
            del self.listed[name]

    def check(self, view: Queue) -> None:
        """The state says the same."""
        found = {name: (dead_at(dead), dead.replaying) for name, dead in view.dead.items()}
        expected = {name: (at, at in self.replaying) for name, at in self.listed.items()}
        require(
            found == expected,
            "a dead letter is listed until it is settled",
            lambda: (
                f"too many or wrong {found.items() - expected.items()}, "
                f"missing or wrong {expected.items() - found.items()}"
            ),
        )
