"""What goes wrong, when, and for how long. All of it is drawn from the seed."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.member_faults import MemberFaults
from tests.simulation.network_faults import NetworkFaults
from tests.simulation.rot import Rot

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.replica import Replica


class Nemesis:
    """Strikes at random until it is stopped. Faults of processes, clocks and disks are its own methods."""

    def __init__(self, cluster: Cluster, rng: random.Random) -> None:
        self._cluster = cluster
        self._rng = rng
        self._active = True
        self.struck: dict[str, int] = {}
        network = NetworkFaults(cluster, rng, lambda: self._any().name)
        self._by_name: dict[str, Callable[[], None]] = {
            **network.by_name,
            **MemberFaults(cluster, rng, network).by_name,
            "crash": self._crash,
            "long crash": self._long_crash,
            "dead": self._dead,
            "power failure": self._power_failure,
            "pause": self._pause,
            "clock jump": self._clock_jump,
            "slow disk": self._slow_disk,
            "write error": lambda: self._disk_fault("write error"),
            "sync error": lambda: self._disk_fault("sync error"),
            "disk full": lambda: self._disk_fault("disk full"),
            "flip": self._flip,
            "rot": self._rot,
            "wipe": self._wipe,
            "state rot": self._state_rot,
            "other build": self._other_build,
        }
        for name, rate in cluster.profile.faults.items():
            self._next(name, rate)

    def stop(self) -> None:
        """No more faults. What is broken stays so until the cluster is healed."""
        self._active = False

    def _next(self, name: str, rate: float) -> None:
        def strike() -> None:
            if self._active:
                self.struck[name] = self.struck.get(name, 0) + 1
                self._by_name[name]()
                self._next(name, rate)

        self._cluster.scheduler.after(self._rng.expovariate(rate), strike)

    def _any(self) -> Replica:
        """A replica; the leader more often than its share, since that is where faults hurt."""
        leaders = self._cluster.leaders()
        if leaders and self._rng.random() < 0.4:
            return self._rng.choice(leaders)
        there = [
            replica for replica in self._cluster.in_order() if not replica.absent and not replica.outside
        ]
        return self._rng.choice(there)

    def _later(self, low: float, high: float, action: Callable[[], None]) -> None:
        self._cluster.scheduler.after(self._rng.uniform(low, high), action)

    def _crash(self) -> None:
        self._crash_for(self._any(), 0.02, 2.0)

    def _other_build(self) -> None:
        """A node goes to a newer build, or back to the one before."""
        replica = self._any()
        if replica.running:
            self._crash_for(replica, 0.05, 0.5)
        replica.older = not replica.older
        replica.note(f"goes to {'an older' if replica.older else 'a newer'} build")

    def _long_crash(self) -> None:
        self._crash_for(self._any(), 2.0, 6.0)

    def _dead(self) -> None:
        """A node goes and does not come back, where the others can do without it."""
        replica = self._any()
        if replica.running and not replica.damaged and self._cluster.may_damage(replica):
            replica.crash(power_loss=True)
            replica.gone = True

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

    def _slow_disk(self) -> None:
        replica = self._any()
        replica.disk.slowness = self._rng.uniform(5.0, 40.0)

        def quick() -> None:
            replica.disk.slowness = 1.0

        self._later(0.5, 3.0, quick)

    def _disk_fault(self, kind: str) -> None:
        replica = self._any()
        if replica.running:
            replica.note(f"disk will fail: {kind}")
            replica.disk.fail_next(kind)
            self._later(0.3, 2.0, replica.disk.heal)

    def _flip(self) -> None:
        """One bit of a durable frame goes bad, on at most a minority's disks at a time."""
        replica = self._any()
        where = replica.disk.flip_durable_bit() if self._cluster.may_damage(replica) else None
        if where is not None:
            replica.damaged = True
            replica.note(f"a durable bit flips: {where}")
            if replica.running and self._rng.random() < 0.7:
                self._crash_for(replica, 0.02, 1.0)

    def _rot(self) -> None:
        """The files beside the segments go bad: mostly at no cost, else on a minority's disks at a time."""
        replica = self._any()
        rot = Rot(replica.disk.fs, self._rng)
        kinds = [rot.index, rot.mark, rot.checkpoint_copy, rot.vote_copy]
        if self._cluster.may_damage(replica):
            kinds += [rot.checkpoint, rot.checkpoint, rot.vote]
        kind = self._rng.choice(kinds)
        if kind == rot.vote and replica.running:
            # What a running process knows, it would write again.
            self._crash_for(replica, 0.02, 1.0)
        where = kind()
        if where is None:
            return
        replica.note(f"bits go bad: {where}")
        if kind == rot.vote:
            replica.lose_vote()
        elif kind == rot.checkpoint and rot.log_is_trimmed():
            replica.damaged = True
        if replica.running and self._rng.random() < 0.7:
            self._crash_for(replica, 0.02, 1.0)

    def _state_rot(self) -> None:
        """The file of a large state goes bad, on a minority's disks at a time: it may have to come anew."""
        replica = self._any()
        if not self._cluster.may_damage(replica):
            return
        rot = Rot(replica.disk.fs, self._rng)
        where = rot.state()
        if where is not None:
            replica.note(f"bits go bad: {where}")
            replica.damaged = True
            if replica.running and self._rng.random() < 0.5:
                self._crash_for(replica, 0.02, 1.0)

    def _wipe(self) -> None:
        """A disk is replaced by an empty one, on at most a minority's disks at a time."""
        replica = self._any()
        if self._cluster.may_damage(replica):
            if replica.running:
                replica.crash(power_loss=True)
                self._later(0.05, 2.0, replica.start)
            replica.wipe()
