"""Who votes in the metadata group: up to five of its members, in as many racks as there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from node.metadata.first_members import VOTERS_MAX


def metadata_voters(
    racks: Mapping[str, str], voters: Collection[str], *, unfit: Collection[str], alive: Collection[str]
) -> frozenset[str]:
    """The voters that there should be. ``racks``: of all members.

    Who votes goes on as long as it is fit, whoever else there is: votes that wander would gain nothing. One
    of ``unfit`` (dead for a while, or drained) gives its vote up as soon as somebody alive can have it.
    """
    count = min(VOTERS_MAX, len(racks))
    stay = [node for node in sorted(voters) if node in racks and node not in unfit]
    used = Counter(racks[node] for node in stay)
    while len(stay) > count:
        gone = max(stay, key=lambda node: (used[racks[node]], node))
        stay.remove(gone)
        used[racks[gone]] -= 1
    free = {node for node in racks if node in alive and node not in stay and node not in unfit}
    while len(stay) < count and free:
        best = min(free, key=lambda node: (used[racks[node]], node))
        free.remove(best)
        stay.append(best)
        used[racks[best]] += 1
    # A vote that nobody else can have is kept: the majority is counted of as many as there were.
    kept = [node for node in sorted(voters) if node in racks and node not in stay]
    return frozenset([*stay, *kept[: max(0, count - len(stay))]])
