"""Faults that strike in the very moment of a change of members, and what such a change has left behind."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.simulation.network_faults import NetworkFaults, Pair

if TYPE_CHECKING:
    from tests.simulation.cluster import Cluster
    from tests.simulation.moves import Moves


class MemberFaults:
    """One method for each kind; nothing in runs without moves."""

    def __init__(self, cluster: Cluster, rng: random.Random, network: NetworkFaults) -> None:
        self._cluster = cluster
        self._rng = rng
        self._faults = network
        self.by_name: dict[str, Callable[[], None]] = {
            "stall a step": lambda: self._stall(self._who_changes),
            "stall a new leader": lambda: self._stall(self._who_is_new),
            "old member": self._old_member,
        }

    def _who_changes(self) -> str | None:
        """A leader whose change of members is not committed."""
        for leader in self._cluster.leaders():
            group = leader.group
            if group is not None and group._core.members.changed_at > group.commit_index:
                return leader.name
        return None

    def _who_is_new(self) -> str | None:
        """A leader whose term has committed nothing."""
        for leader in self._cluster.leaders():
            if leader.group is not None and not leader.group.is_ready_leader:
                return leader.name
        return None

    def _stall(self, who: Callable[[], str | None]) -> None:
        """As soon as there is such a leader, it hears of nothing for a while, and so nothing commits."""

        def then() -> None:
            if (name := who()) is not None:
                others = [other for other in self._cluster.names if other != name]
                self._faults.stall_links([(other, name) for other in others], 0.15, 0.8)

        self._faults.until(lambda: who() is not None, 3.0, then)

    def _old_member(self) -> None:
        """A member is cut off, and removed with another one, which comes back, empty, and meets it first.

        The two are a majority of the members that the first one knows.
        """
        moves = self._cluster.moves
        if moves is None or moves.held or len(moves.placed) != 3:
            return
        moves.held = True
        self._faults.until(lambda: moves.have_ended, 6.0, lambda: self._cut_one_off(moves))

    def _cut_one_off(self, moves: Moves) -> None:
        cluster = self._cluster
        leaders = {leader.name for leader in cluster.leaders()}
        names = sorted(moves.placed - leaders)
        if not moves.have_ended or len(names) != 2:
            moves.held = False
            return
        old, back = self._rng.sample(names, 2)
        if not moves.begin([old, back]):
            moves.held = False
            return
        cut = self._pairs(old, cluster.names)
        self._set(cut, cut=True)
        cluster.note("network", f"cuts {old} off for long")
        self._faults.until(
            lambda: cluster.replicas[back].absent, 6.0, lambda: self._comes_back(moves, old, back)
        )

    def _comes_back(self, moves: Moves, old: str, back: str) -> None:
        cluster = self._cluster
        if not cluster.replicas[back].absent or not moves.is_settled:
            self._mend(old, back)
            return
        self._set(self._pairs(back, [name for name in cluster.names if name != old]), cut=True)
        self._set(self._pairs(old, [back]), cut=False)
        moves.begin([self._rng.choice(sorted(moves.placed))], [back])
        cluster.scheduler.after(self._rng.uniform(1.0, 3.0), lambda: self._mend(old, back))

    def _mend(self, old: str, back: str) -> None:
        for name in (old, back):
            self._set(self._pairs(name, self._cluster.names), cut=False)
        if self._cluster.moves is not None:
            self._cluster.moves.held = False

    def _pairs(self, name: str, others: list[str]) -> list[Pair]:
        return [pair for other in others if other != name for pair in ((name, other), (other, name))]

    def _set(self, links: list[Pair], *, cut: bool) -> None:
        for link in links:
            self._cluster.network.set_cut(*link, cut)
