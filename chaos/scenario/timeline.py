"""Injects a scenario's faults into a running cluster, each at its time, and heals them all."""

from __future__ import annotations

import asyncio
import random

from chaos.cluster import ChaosCluster, NoFurtherNode
from chaos.faults.aim import NoSuchNode
from chaos.faults.fault import Injection
from chaos.faults.replica_files import NothingToDamage
from chaos.history_file import HistoryWriter
from chaos.scenario.model import Scenario, TimedFault
from chaos.status import Status
from chaos.view import NobodyLeads
from local.errors import LocalClusterError, NotReady


class Timeline:
    """One run of the timeline. ``notes`` lists faults that could not be injected as planned."""

    def __init__(self, cluster: ChaosCluster, history: HistoryWriter, status: Status) -> None:
        self._cluster = cluster
        self._history = history
        self._status = status
        self.notes: list[str] = []

    async def play(self, scenario: Scenario, seed: int) -> None:
        """Return when the time is over and every fault is healed, even if cancelled."""
        async with asyncio.TaskGroup() as group:
            for number, timed in enumerate(scenario.faults, 1):
                # A random source for each: what one draws does not depend on when the others do.
                group.create_task(self._play_one(timed, random.Random(f"{seed}/fault-{number}")))
            await asyncio.sleep(scenario.duration_s)

    async def _play_one(self, timed: TimedFault, rng: random.Random) -> None:
        await asyncio.sleep(timed.at_s)
        injection = Injection(timed.fault, self._cluster, rng=rng)
        begun: list[int] = []

        def begin() -> None:
            """Begin the fault's time before it is applied: a fault that is half in force already does
            harm."""
            begun.append(self._history.fault_began(timed.name, injection.nodes))
            self._status.fault_began(begun[0], str(injection))

        try:
            if timed.when_ready:
                # Nodes may be ready before they have all their data again after a fault that cost it.
                async with self._cluster.losing_data:
                    await self._cluster.ready()
            await injection.inject(begin)
            await asyncio.sleep(timed.for_s)
        except (NobodyLeads, NothingToDamage, NotReady, NoFurtherNode, NoSuchNode) as error:
            self._note(f"{timed.name} was left out: {error}")
        finally:
            await self._heal(injection)
            for fault in begun:
                self._history.fault_ended(fault)
                self._status.fault_ended(fault)

    async def _heal(self, injection: Injection) -> None:
        try:
            await injection.heal()
        except LocalClusterError as error:
            self._note(f"healing {injection}: {error}")

    def _note(self, note: str) -> None:
        self.notes.append(note)
        self._status.say(f"note: {note}")
