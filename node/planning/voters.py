"""Which members of the metadata group vote: up to five, in as many racks as possible."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from node.metadata.first_members import VOTERS_MAX


def metadata_voters(
    racks: Mapping[str, str], voters: Collection[str], *, unfit: Collection[str], alive: Collection[str]
) -> frozenset[str]:
    """The voters that there should be. ``racks``: of all members.

    A voter stays one as long as it is fit: moving votes around would gain nothing. One of ``unfit`` (dead for
    a while, or drained) gives up its vote as soon as a live member can take it.
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
    # A vote that nobody else can take is kept, so that the size of a majority does not shrink.
    kept = [node for node in sorted(voters) if node in racks and node not in stay]
    return frozenset([*stay, *kept[: max(0, count - len(stay))]])
