"""How a member comes from what it has to what it is to have, one heartbeat at a time (as KIP-848).

First it gives up what is not its own any more, in its old epoch, and goes on with the rest. Then it is in the
group's epoch, and gets what nobody else holds; what others have yet to give up comes with later heartbeats.
So a partition has one owner at most, and nobody stops for what does not concern them.
"""

from __future__ import annotations

from collections.abc import Mapping

from node.coordinator.groups.current import Current
from node.coordinator.groups.group import Partitions
from node.coordinator.keys import TopicPartition


def reconciled(
    member_id: str,
    current: Current,
    target: Partitions,
    *,
    epoch: int,
    owners: Mapping[TopicPartition, str],
    owned: Partitions | None,
) -> Current:
    """What the member has from now on; ``current`` itself where nothing changes.

    ``epoch`` and ``target`` are the group's; ``owners`` says who holds what, this member included; ``owned``
    is what the member says that it holds, None if it did not say.
    """
    if current.revoking and (owned is None or not owned.isdisjoint(current.revoking)):
        return current
    kept = {each: min(since, epoch) for each, since in current.owned.items() if each in target}
    leaving = {each: since for each, since in current.owned.items() if each not in target}
    if leaving:
        return Current(current.epoch, current.previous_epoch, kept, leaving)
    free = [each for each in target if each not in kept and owners.get(each, member_id) == member_id]
    if not free and not current.revoking and current.epoch == epoch:
        return current
    previous = current.previous_epoch if current.epoch == epoch else current.epoch
    return Current(epoch, previous, {**kept, **dict.fromkeys(free, epoch)})
