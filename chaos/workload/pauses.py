"""Pauses: for a while no requests go to some partitions, or to all and the metadata, so that groups sleep.

Drawn from the run's seed. Some begin just before a fault, so that it hits sleeping groups, some before
healing, others at any time. Records, readers, tails and races pause together: each would keep a
group awake, or wake it.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from chaos.checker.options import Place
from chaos.scenario.model import Scenario, TimedFault
from chaos.workload.recorder import Recorder

_ASLEEP_AFTER_S: Final = (1.5, 2.0)
"""From the start of a pause to the fault: requests under way end and groups sleep (older builds: after 1
s)."""
_FIRST_AT_S: Final = 0.4
"""Earlier, not every partition has been written to."""
_AWAKE_S_MIN: Final = 1.0
_SPREAD: Final = (0.8, 1.2)
_WHOLE_SHARE: Final = 0.6


@dataclass(frozen=True, slots=True)
class Pause:
    """Times are seconds after the workload began. ``of_all``: every partition, and the metadata as well."""

    at_s: float
    for_s: float
    places: tuple[Place, ...]
    of_all: bool

    @property
    def ends_s(self) -> float:
        """When it is over."""
        return self.at_s + self.for_s


def plan_pauses(scenario: Scenario, places: Sequence[Place], seed: int) -> list[Pause]:
    """The pauses of a run, one after the other, each over before the next begins."""
    workload = scenario.workload
    rng = random.Random(f"{seed}/pauses")
    if not workload.pause_s:
        return []
    pauses: list[Pause] = []
    moments: list[tuple[float, TimedFault | None]] = [(each.at_s, each) for each in scenario.faults]
    for at_s, timed in sorted([*moments, (scenario.duration_s, None)], key=lambda each: each[0]):
        # Drawn even if there is no room, so that the others do not change.
        wanted, begins_s = rng.random() < workload.pause_at_faults, at_s - rng.uniform(*_ASLEEP_AFTER_S)
        pause = _draw(rng, begins_s, workload.pause_s, places, timed)
        if wanted and _has_room(pause, pauses):
            pauses.append(pause)
    pauses += _between(rng, scenario, places, pauses)
    return sorted(pauses, key=lambda pause: pause.at_s)


def _between(
    rng: random.Random, scenario: Scenario, places: Sequence[Place], pauses: Sequence[Pause]
) -> Iterator[Pause]:
    """The pauses that do not belong to a fault."""
    at_s = 0.0
    while True:
        at_s += scenario.workload.pause_every_s * rng.uniform(0.5, 1.5)
        pause = _draw(rng, at_s, scenario.workload.pause_s, places, None)
        if pause.ends_s > scenario.duration_s:
            return
        if _has_room(pause, pauses):
            yield pause
        at_s = pause.ends_s


def _has_room(pause: Pause, others: Sequence[Pause]) -> bool:
    return pause.at_s >= _FIRST_AT_S and all(
        pause.at_s > other.ends_s + _AWAKE_S_MIN or pause.ends_s + _AWAKE_S_MIN < other.at_s
        for other in others
    )


def _draw(
    rng: random.Random, at_s: float, pause_s: float, places: Sequence[Place], timed: TimedFault | None
) -> Pause:
    for_s = round(pause_s * rng.uniform(*_SPREAD), 2)
    of_all, count = rng.random() < _WHOLE_SHARE, rng.randint(1, max(1, len(places) - 1))
    some = rng.sample(places, count)
    if timed is not None and timed.fault.aim.topic:
        # The partition whose leader is hit is among those that sleep.
        hit = (timed.fault.aim.topic, timed.fault.aim.partition)
        some = [hit, *(place for place in some if place != hit)][:count]
    return Pause(round(at_s, 2), for_s, tuple(sorted(places if of_all else some)), of_all)


class Pauses:
    """Carries out a plan; every task of the workload checks it before it begins anything."""

    def __init__(self, plan: Sequence[Pause] = ()) -> None:
        self.plan = plan
        self.of_all = False
        """Nobody asks for anything, of the metadata neither."""
        self._pausing: set[Place] = set()

    def has(self, place: Place) -> bool:
        """Whether requests to a partition pause now."""
        return place in self._pausing

    async def play(self, recorder: Recorder) -> None:
        """From the beginning of the workload on, until the last is over. Cancelled at the workload's end."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for pause in self.plan:
            await asyncio.sleep(began + pause.at_s - loop.time())
            self.of_all = pause.of_all
            for place in pause.places:
                self._pausing.add(place)
                recorder.pause_began(place)
            try:
                await asyncio.sleep(began + pause.ends_s - loop.time())
            finally:
                for place in pause.places:
                    recorder.pause_ended(place)
                    self._pausing.discard(place)
                self.of_all = False
