"""What a run promises, where that is a matter of its settings and not of the system."""

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
    """The nodes that are to hold each partition in the end, as ``describe`` tells. A partition that is left
    out is held by whoever has it."""
    trimmed_topics: frozenset[str] = frozenset()
    """Topics with retention: what lies before the highest log start of the replicas is not missed."""
    removable: Mapping[Place, Container[int]] = field(default_factory=dict)
    """Offsets of records that compaction may have removed: readers need not be shown those, and no replica
    has to hold them. Everything else that is missing is lost."""
    reads_are_confirmed: bool = False
    """Polls show all that any tail or read had shown before they began. Otherwise only tails do, and a poll
    shows what its own process was shown: a leader that was deposed unawares may answer an older end."""
    describes_are_confirmed: bool = False
    """Describes are part of the linearizability check; otherwise only changes of topics are."""
    progress_s_max: float = 5.0
    """From healing to the first produce that begins after it and is stored."""
    gap_s_max: float | None = None
    """How long a partition may store nothing while it is asked to, whatever is in force; None: no bound."""
    recoveries: Sequence[Recovered] = ()
    """From the loss of a majority: what they have given up is not missed. The history has them too."""
    search_steps_max: int = 2_000_000
    """States that the linearizability search may visit per topic."""
