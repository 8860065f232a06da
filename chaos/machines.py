"""The disks and clocks of the nodes, whose faults are injected here (storage/faulty)."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from local.folder import LocalNode, Route, Routes
from storage.faulty.conditions import Board, Conditions, DiskFault
from storage.faulty.power_loss import Taken, lose_power
from storage.faulty.trace import forget


class Machines:
    """Each harm has a holder, and is in force until the holder mends it. So several can overlap in any order.

    A harm affects every call of the node that begins after ``harm`` returns and before ``mend`` returns, even
    if the node is not running now.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder.absolute()
        self._boards: dict[str, Board] = {}
        self._harms: dict[str, dict[str, Conditions]] = {}

    def routes(self, routes: Routes, *, scrub_interval_s: float | None = None) -> Routes:
        """The same routes, with a harmable disk and clock for every node, and this scrub interval."""

        def harmable(nodes: Sequence[LocalNode]) -> Mapping[str, Route]:
            found = routes(nodes)
            for node in nodes:
                board = self._boards[node.name] = Board(self._faults(node.name))
                # An earlier cluster in this folder may have ended in the middle of its faults.
                board.post(Conditions())
                self._harms[node.name] = {}
            return {
                name: replace(route, faults=self._faults(name), scrub_interval_s=scrub_interval_s)
                for name, route in found.items()
            }

        return harmable

    def harm(self, holder: str, name: str, *disk: DiskFault, clock_offset_ms: int = 0) -> None:
        """Add to what is wrong with a node's disk and clock."""
        self._harms[name][holder] = Conditions(disk, clock_offset_ms)
        self._post(name)

    def mend(self, holder: str, name: str) -> None:
        """Undo what the holder did to a node, if anything."""
        self._harms[name].pop(holder, None)
        self._post(name)

    def lose_power(self, name: str, rng: random.Random | None) -> Taken:
        """Remove what a node that has ended had not synced; with ``rng`` only some of it."""
        return lose_power(self._faults(name), str(self._folder / name), rng)

    def settle(self, name: str) -> None:
        """Make everything durable that a node that has ended had written."""
        forget(self._faults(name))

    def close(self) -> None:
        """Let go of all files."""
        for board in self._boards.values():
            board.close()

    def _post(self, name: str) -> None:
        harms = self._harms[name].values()
        self._boards[name].post(
            Conditions(
                tuple(fault for harm in harms for fault in harm.disk),
                sum(harm.clock_offset_ms for harm in harms),
            )
        )

    def _faults(self, name: str) -> str:
        return str(self._folder / f"{name}.faults")
