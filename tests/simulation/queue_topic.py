"""What a simulated queue reads: its topic and its dead letters, of which retention takes the oldest ones."""

from __future__ import annotations

from typing import Final

from node.coordinator.keys import TopicPartition
from node.coordinator.queues.leasing import Seen
from node.coordinator.queues.requests import Place
from tests.simulation.letter_log import LetterLog

TOPIC_ID: Final = 7
DEAD_ID: Final = 8


class Topics:
    """``logs``: the records of the topic by partition, those that are gone included. ``starts``: where each
    partition of both topics begins."""

    def __init__(self, partitions: int, letters: LetterLog) -> None:
        self.logs: list[list[Seen]] = [[] for _ in range(partitions)]
        self.letters = letters
        self.starts: dict[TopicPartition, int] = {(TOPIC_ID, number): 0 for number in range(partitions)}
        self.starts[DEAD_ID, 0] = 0

    @property
    def records(self) -> int:
        """How many the topic has ever had."""
        return sum(map(len, self.logs))

    def end(self, at: TopicPartition) -> int:
        """Of a partition."""
        return len(self.letters.letters) if at[0] == DEAD_ID else len(self.logs[at[1]])

    def remove(self, at: TopicPartition, records: int) -> None:
        """Retention takes the oldest ones."""
        self.starts[at] = min(self.end(at), self.starts[at] + records)

    def is_gone(self, place: Place) -> bool:
        """Whether retention has taken it."""
        return place.offset < self.starts[place.topic_id, place.partition]

    def key_of(self, place: Place) -> int:
        """Of a record; 0: none. A letter has the key of the record that died."""
        while place.topic_id == DEAD_ID:
            _, _, place = self.letters.letters[place.offset]
        return self.logs[place.partition][place.offset].key

    def deliver_at_ms(self, place: Place) -> int:
        """When a record of the topic is due; 0: at once."""
        return self.logs[place.partition][place.offset].deliver_at_ms if place.topic_id == TOPIC_ID else 0
