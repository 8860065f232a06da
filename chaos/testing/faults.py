"""The faults of one test: injected at any moment, healed at its end at the latest."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from types import TracebackType
from typing import Self

from chaos.faults.fault import Fault, Injection
from chaos.testing.cluster import FaultyCluster


class InForce:
    """A fault that was put into force. ``with`` heals it at the end of its block; so does ``heal()``."""

    def __init__(self, injection: Injection, cluster: FaultyCluster) -> None:
        self._injection = injection
        self._cluster = cluster
        self.began_s = time.monotonic()
        self.healed_s: float | None = None
        """Both on the monotonic clock; None as long as it is in force."""
        self.met_failure = False
        """Whether an exception went through its block."""

    @property
    def nodes(self) -> list[str]:
        """The nodes that it concerns."""
        return self._injection.nodes

    def heal(self) -> None:
        """Take it back, once. Nodes may need a while to be ready: see ``FaultyCluster.wait_ready``."""
        self._cluster.run(self._heal())

    async def heal_async(self) -> None:
        """The same for callers with an event loop, which goes on meanwhile."""
        await self._cluster.run_async(self._heal())

    async def _heal(self) -> None:
        await self._injection.heal()
        if self.healed_s is None:
            self.healed_s = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.met_failure = error is not None
        self.heal()

    def __str__(self) -> str:
        return str(self._injection)


class Faults:
    """The faults injected during one test.

    ``name`` is the test's: the random parts of its faults depend on the name and on the cluster's seed, not
    on earlier tests.
    """

    def __init__(self, cluster: FaultyCluster, name: str) -> None:
        self._cluster = cluster
        self._random = random.Random(f"{cluster.seed}/{name}")
        self.began_s = time.monotonic()
        self.history: list[InForce] = []
        """All that were injected, in order."""

    def inject(self, fault: Fault) -> InForce:
        """Inject a fault now. ``with faults.inject(Kill()) as kill: ...`` heals it afterwards.

        Raises ``chaos.view.NobodyLeads`` when it is aimed at a leader and there is none for 10 s.
        """
        injection = self._new(fault)
        self._cluster.run(injection.inject())
        found = InForce(injection, self._cluster)
        self.history.append(found)
        return found

    @asynccontextmanager
    async def inject_async(self, fault: Fault) -> AsyncIterator[InForce]:
        """The same for ``async with``, in force within its block; the event loop goes on meanwhile."""
        injection = self._new(fault)
        found = InForce(injection, self._cluster)
        try:
            await self._cluster.run_async(injection.inject())
            self.history.append(found)
            yield found
        except BaseException:
            found.met_failure = True
            raise
        finally:
            await found.heal_async()

    def heal(self) -> None:
        """Heal all that are in force, the last one first."""
        with ExitStack() as stack:  # goes on with the others if one cannot be healed, and raises its error
            for each in self.history:
                stack.callback(each.heal)

    def _new(self, fault: Fault) -> Injection:
        return Injection(fault, self._cluster.chaos, rng=self._random)
