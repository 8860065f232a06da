"""What a simulated queue meets besides its workers: what they call breaks for a while, retention takes
records before they are settled, and an operator has dead letters delivered again."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final

from node.coordinator.queues.requests import Action, Breaker, Place
from node.coordinator.queues.values import CLOSED
from tests.simulation.queue_topic import DEAD_ID, TOPIC_ID

if TYPE_CHECKING:
    from tests.simulation.queue_workers import Workers

BREAKER: Final = Breaker(failures=50, deliveries=10, window_ms=1_000, pause_ms=400)
MORE_RECORDS: Final = 100
LAST_RECORDS: Final = 20
"""They come once nothing fails any more."""
BROKEN_S: Final = (0.4, 1.6)
WORKS_S: Final = (1.5, 4.5)
LOOKS: Final = 0.3
"""The share of requests before which a leader hears where partitions begin."""

ENDS: Final = 0.08
"""Of the records that take long, at each look."""


class Trouble:
    """``is_broken``: what the workers call, just now."""

    def __init__(self, workers: Workers, rng: random.Random) -> None:
        self._workers = workers
        self._rng = rng
        self._until_s = rng.uniform(*WORKS_S)
        self.is_broken = False

    def looks(self) -> bool:
        """Whether a leader hears of what retention took before what it does now."""
        return self._rng.random() < LOOKS

    def ends_all(self) -> bool:
        """Whether a worker settles all that it has in one request, old and new."""
        return self._rng.random() < 0.3

    def holds_on(self, place: Place) -> bool:
        """Whether a worker is not done with a record yet: some take long, and more where what is called is
        broken, until after a pause or until their time is up."""
        return place.offset % (3 if self.is_broken else 7) == 0 and self._rng.random() > ENDS

    def action(self) -> Action:
        """How a delivery ends."""
        chance = self._rng.random()
        if self.is_broken:
            ends = (Action.NACK, 0.70), (Action.RELEASE, 0.78), (Action.REJECT, 0.82), (Action.EXTEND, 0.98)
        else:
            ends = (Action.NACK, 0.20), (Action.RELEASE, 0.24), (Action.REJECT, 0.36), (Action.EXTEND, 0.42)
        return next((action for action, below in ends if chance < below), Action.ACK)

    def strike(self) -> None:
        """One moment of it."""
        rng, topics = self._rng, self._workers.topics
        now = self._workers.cluster.scheduler.now
        if now > self._until_s:
            self.is_broken = not self.is_broken
            self._until_s = now + rng.uniform(*(BROKEN_S if self.is_broken else WORKS_S))
        chance = rng.random()
        if chance < 0.02:
            topics.remove((TOPIC_ID, rng.randrange(self._workers.partitions)), rng.randint(1, 10))
        elif chance < 0.03:
            topics.remove((DEAD_ID, 0), rng.randint(1, 4))
        elif chance < 0.10:
            self._replay()
        elif chance < 0.105:
            self._purge()

    def _replay(self) -> None:
        """All, or some by their names, one after the other or at once; asked of who takes itself for the
        leader, and perhaps of the next one before this one has come to an end."""
        rng = self._rng
        if (lead := self._workers.lead()) is None:
            return
        names = sorted(lead.view.dead)
        if names and rng.random() < 0.5:
            names = rng.choices(names, k=rng.randint(1, 6))
        lead.replay(names, rng.choice((0.0, 0.0, 50.0)))

    def _purge(self) -> None:
        if (lead := self._workers.lead()) is not None:
            names = sorted(lead.view.dead)
            lead.purge(self._rng.sample(names, k=min(len(names), self._rng.randint(1, 3))))

    # The end.

    def heal(self) -> None:
        """All letters that there are still are delivered again."""
        if self._rng.random() < 0.2 and (lead := self._workers.lead()) is not None:
            lead.learn()
            lead.replay(sorted(lead.view.dead), 0.0)

    @property
    def is_over(self) -> bool:
        """Whether the queue has come to rest: nothing is listed but what cannot be read any more."""
        promises, topics = self._workers.promises, self._workers.topics
        left = [at for at in promises.letters.listed.values() if not topics.is_gone(at)]
        return not left and promises.view.state.breaker == CLOSED
