"""The cells of the fault matrix: each row on each target, as a scenario, except those that make no sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from chaos.faults.aim import Aim, Target
from chaos.matrix.rows import ROWS, Row
from chaos.scenario.kinds import kinds
from chaos.scenario.model import DEFAULT_TOPIC, Scenario, TimedFault, Workload

_AT_S: Final = 3.0
"""Late enough for groups to sleep before, where the run pauses."""
_CALM_END_S: Final = 0.5
_BESIDE_AFTER_S: Final = 1.0
_READY_S: Final = 60.0
_REFUSAL_READY_S: Final = 15.0
"""Nodes that cannot get ready because a majority lost its data are not waited for as long as others."""

REFUSED: Final = frozenset(
    (name, Target.MAJORITY)
    for name in ("flipped-bit", "flipped-metadata", "truncated-segment", "old-copy", "wiped-folder")
)
"""Cells in which a majority loses its data, which no quorum system can repair. Correct is that the partition
has no leader, its nodes say so, and nothing wrong is served: see ``chaos.matrix.refusal``."""

_A_BRIDGE_IS_ONE: Final = "a bridge is one node between two halves"
_ALL_COPIES: Final = (
    "every copy is bad, so that records are lost by definition; "
    "that nothing wrong is served then is what the cell on a majority shows"
)
_WIPED: Final = "every disk is empty, so this is a new cluster: nobody is left that knew another one"
_OLD_QUORUM: Final = (
    "old copies that are a majority need nobody else: "
    "whoever knows better may not be heard in time, or is not there"
)

EXCLUDED: Final[dict[tuple[str, Target], str]] = {
    ("bridge", Target.MAJORITY): _A_BRIDGE_IS_ONE,
    ("bridge", Target.ALL): _A_BRIDGE_IS_ONE,
    ("flipped-bit", Target.ALL): _ALL_COPIES,
    ("truncated-segment", Target.ALL): _ALL_COPIES,
    ("old-copy", Target.ALL): _ALL_COPIES,
    ("wiped-folder", Target.ALL): _WIPED,
    ("restored-copy", Target.MAJORITY): _OLD_QUORUM,
    ("restored-copy", Target.ALL): _OLD_QUORUM,
}
"""Cells that make no sense, with the reason."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One row on one target."""

    row: Row
    target: Target

    @property
    def name(self) -> str:
        """For example ``kill-on-leader``."""
        return f"{self.row.name}-on-{self.target.value.replace(' ', '-')}"

    @property
    def may_refuse(self) -> bool:
        """Whether a partition may end without a leader, and say why."""
        return (self.row.name, self.target) in REFUSED

    def scenario(self) -> Scenario:
        """A short run with the fault in it."""
        row = self.row
        fault = kinds()[row.kind](aim=self._aim(), **row.settings_at(self.target))
        faults = [TimedFault(at_s=_AT_S, for_s=row.for_s, fault=fault)]
        if row.beside:
            second = kinds()[row.beside](aim=self._aim())
            faults.append(
                TimedFault(at_s=_AT_S + _BESIDE_AFTER_S, for_s=row.for_s - 2 * _BESIDE_AFTER_S, fault=second)
            )
        return Scenario(
            name=self.name,
            description=f"Of the fault matrix: {row.name} on {self.target.value}.",
            nodes=row.nodes,
            replication=row.nodes,
            duration_s=_AT_S + row.for_s + _CALM_END_S,
            workload=Workload(topic_admins=0) if row.alone else Workload(),
            faults=tuple(faults),
            ready_s_max=_REFUSAL_READY_S if self.may_refuse else _READY_S,
        )

    def _aim(self) -> Aim:
        return Aim(target=self.target, topic=DEFAULT_TOPIC if self.target is Target.LEADER else "")


def cells() -> list[Cell]:
    """All that make sense, in order."""
    return [
        Cell(row, target)
        for row in ROWS.values()
        for target in row.targets
        if (row.name, target) not in EXCLUDED
    ]
