"""What goes wrong, when, and for how long. All of it is drawn from the seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica


class Nemesis:
    """Strikes at random until it is stopped; every fault but a cut disk ends by itself."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._active = True
        self.struck: dict[str, int] = {}
        for name, rate in cluster.profile.faults.items():
            self._next(name, rate)

    def stop(self) -> None:
        """No more faults. What is broken stays so until the cluster is healed."""
        self._active = False

    def _next(self, name: str, rate: float) -> None:
        def strike() -> None:
            if not self._active:
                return
            self.struck[name] = self.struck.get(name, 0) + 1
            getattr(self, "_" + name.replace(" ", "_").replace("-", "_"))()
            self._next(name, rate)

        self._cluster.scheduler.after(self._rng.expovariate(rate), strike)

    # Choosing.

    def _any(self) -> Replica:
        """A replica; the leader more often than its share, since that is where faults hurt."""
        leaders = self._cluster.leaders()
        if leaders and self._rng.random() < 0.4:
            return self._rng.choice(leaders)
        return self._rng.choice(self._cluster.in_order())

    def _pair(self) -> tuple[str, str]:
        source, target = (
            self._rng.sample(self._cluster.names, 2) if len(self._cluster.names) > 1 else ("", "")
        )
        return source, target

    def _later(self, low: float, high: float, action: object) -> None:
        assert callable(action)
        self._cluster.scheduler.after(self._rng.uniform(low, high), action)

    def _note(self, who: str, what: str) -> None:
        self._cluster.note(who, what)

    # The network.

    def _break(self) -> None:
        source, target = self._pair()
        self._note("network", f"breaks {source} -> {target}")
        self._cluster.network.break_connection(source, target)

    def _cut(self, links: list[tuple[str, str]], low: float, high: float) -> None:
        network = self._cluster.network
        for link in links:
            self._note("network", f"cuts {link[0]} -> {link[1]}")
            network.set_cut(*link, True)

        def mend() -> None:
            for link in links:
                network.set_cut(*link, False)

        self._later(low, high, mend)

    def _cut_pair(self) -> None:
        a, b = self._pair()
        self._cut([(a, b), (b, a)], 0.2, 3.0)

    def _cut_one_way(self) -> None:
        self._cut([self._pair()], 0.3, 4.0)

    def _isolate(self) -> None:
        name = self._any().name
        others = [other for other in self._cluster.names if other != name]
        side = self._rng.random()
        links = [(name, other) for other in others] if side < 0.8 else []
        links += [(other, name) for other in others] if side > 0.2 else []
        self._cut(links, 0.5, 4.0)

    def _stall_links(self, links: list[tuple[str, str]]) -> None:
        network = self._cluster.network
        for link in links:
            self._note("network", f"stalls {link[0]} -> {link[1]}")
            network.set_stalled(*link, True)

        def flow() -> None:
            for link in links:
                network.set_stalled(*link, False)

        self._later(0.3, 4.0, flow)

    def _stall(self) -> None:
        self._stall_links([self._pair()])

    def _stall_node(self) -> None:
        """Everything that one node sends comes late, or everything that it is sent."""
        name = self._any().name
        others = [other for other in self._cluster.names if other != name]
        outward = self._rng.random() < 0.5
        self._stall_links([(name, other) if outward else (other, name) for other in others])

    def _slow_link(self) -> None:
        link = self._cluster.network.links[self._pair()]
        link.extra_delay_s = self._rng.uniform(0.02, 0.4)
        self._note("network", f"slows {link.source} -> {link.target} by {link.extra_delay_s:.3f} s")

        def quick() -> None:
            link.extra_delay_s = 0.0

        self._later(0.5, 3.0, quick)

    # Processes and clocks.

    def _crash(self) -> None:
        self._crash_for(self._any(), 0.02, 2.0)

    def _long_crash(self) -> None:
        self._crash_for(self._any(), 2.0, 6.0)

    def _crash_for(self, replica: Replica, low: float, high: float) -> None:
        if replica.running:
            replica.crash(power_loss=self._rng.random() < 0.6)
            self._later(low, high, replica.start)

    def _power_failure(self) -> None:
        """All nodes lose power at one moment, and come back one after another."""
        for replica in self._cluster.in_order():
            if replica.running:
                replica.crash(power_loss=True)
                self._later(0.02, 1.0, replica.start)

    def _pause(self) -> None:
        replica = self._any()
        if replica.running and not replica.paused:
            replica.pause()
            self._later(0.1, 4.0, replica.resume)

    def _clock_jump(self) -> None:
        self._any().clock.jump(self._rng.choice((0.3, 1.0, 10.0, 3600.0)))

    # Disks.

    def _slow_disk(self) -> None:
        replica = self._any()
        replica.disk.slowness = self._rng.uniform(5.0, 40.0)

        def quick() -> None:
            replica.disk.slowness = 1.0

        self._later(0.5, 3.0, quick)

    def _disk_fault(self, kind: str) -> None:
        replica = self._any()
        if replica.running:
            self._note(replica.name, f"disk will fail: {kind}")
            replica.disk.fail_next(kind)
            self._later(0.3, 2.0, replica.disk.heal)

    def _write_error(self) -> None:
        self._disk_fault("write error")

    def _sync_error(self) -> None:
        self._disk_fault("sync error")

    def _disk_full(self) -> None:
        self._disk_fault("disk full")

    def _flip(self) -> None:
        """One bit of a durable frame goes bad, on at most a minority's disks at a time."""
        replica = self._any()
        where = replica.disk.flip_durable_bit() if self._cluster.may_damage(replica) else None
        if where is not None:
            replica.damaged = True
            self._note(replica.name, f"a durable bit flips: {where}")
            if replica.running and self._rng.random() < 0.7:
                self._crash_for(replica, 0.02, 1.0)

    def _wipe(self) -> None:
        """A disk is replaced by an empty one, on at most a minority's disks at a time."""
        replica = self._any()
        if self._cluster.may_damage(replica):
            if replica.running:
                replica.crash(power_loss=True)
                self._later(0.05, 2.0, replica.start)
            replica.wipe()
