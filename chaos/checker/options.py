"""The promises of a run that depend on its settings."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field

from chaos.history import Recovered

Place = tuple[str, int]
"""A topic and the number of one of its partitions."""


@dataclass(frozen=True, slots=True)
class CheckOptions:
    """Times in seconds."""

    replicas: Mapping[Place, frozenset[str]] = field(default_factory=dict)
    """The nodes that should hold each partition at the end, as ``describe`` says. For a partition that is
    left out, any nodes may."""
    trimmed_topics: frozenset[str] = frozenset()
    """Topics with retention: records before the highest log start of the replicas need not be there."""
    removable: Mapping[Place, Container[int]] = field(default_factory=dict)
    """Offsets of records that compaction may have removed: neither readers nor replicas need to have them.
    Everything else that is missing is lost."""
    reads_are_confirmed: bool = False
    """Polls must show everything that any tail or read had shown before they began. Otherwise only tails
    must, and a poll must show what its own process saw: a leader deposed without knowing it may answer an
    older end."""
    describes_are_confirmed: bool = False
    """Describes are part of the linearizability check; otherwise only changes of topics are."""
    progress_s_max: float = 5.0
    """From healing to the first produce that begins after it and is stored."""
    gap_s_max: float | None = None
    """How long a partition may store nothing although it is asked to, under any fault; None: no limit."""
    recoveries: Sequence[Recovered] = ()
    """Recoveries from the loss of a majority: what they gave up need not be there. The history has them
    too."""
    search_steps_max: int = 2_000_000
    """States that the linearizability search may visit per topic."""
