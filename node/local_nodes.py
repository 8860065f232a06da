"""Moves, drains and rebalances, as this node begins and shows them."""

from __future__ import annotations

from collections.abc import Sequence

from node.broker import DrainInfo, MoveInfo, MoveWanted, RebalanceInfo, RemovalInfo
from node.control.forget import Forgetting
from node.control.moves_shown import MovesShown
from node.control.reassign import Reassign
from node.control.retiring import Retiring
from node.control.shaping import Shaping
from node.membership.liveness import Liveness
from node.metadata.group import Metadata
from node.partition.sizes import Sizes


class LocalNodes:
    """Implements ``node.broker.NodeAdmin``."""

    def __init__(
        self, *, metadata: Metadata, shaping: Shaping, retiring: Retiring, forgetting: Forgetting
    ) -> None:
        self._metadata = metadata
        self._shaping = shaping
        self._retiring = retiring
        self._forgetting = forgetting

    async def forget(self, node_id: str, *, timeout_s: float) -> None:
        """Forget a node."""
        await self._forgetting.forget(node_id, timeout_s=timeout_s)

    async def drain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Begin to move all replicas and leaderships of a node elsewhere."""
        return await self._shaping.drain(node_id, timeout_s=timeout_s)

    async def undrain(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """Undo it."""
        return await self._shaping.undrain(node_id, timeout_s=timeout_s)

    async def drain_of(self, node_id: str, *, timeout_s: float) -> DrainInfo:
        """How far it is."""
        return await self._shaping.drain_of(node_id, timeout_s=timeout_s)

    async def removal(self, node_id: str, *, timeout_s: float) -> RemovalInfo:
        """What a removal would do to its partitions."""
        return await self._retiring.removal(node_id, timeout_s=timeout_s)

    async def retire(self, node_id: str, *, heir: str, timeout_s: float) -> DrainInfo:
        """Drain and remove it, with or without another node in its place."""
        if heir:
            await self._retiring.replace(node_id, heir, timeout_s=timeout_s)
        else:
            await self._retiring.remove(node_id, timeout_s=timeout_s)
        if node_id not in self._metadata.state.nodes:  # It held nothing and has been removed already.
            return DrainInfo(node_id, False, 0, 0, 0, True, removing=True)  # noqa: FBT003
        return await self._shaping.drain_of(node_id, timeout_s=timeout_s)

    async def rebalance(self, *, begin: bool, timeout_s: float) -> RebalanceInfo:
        """Begin a rebalance, or end it and undo its moves."""
        return await self._shaping.rebalance(begin=begin, timeout_s=timeout_s)

    async def rebalance_plan(self, *, timeout_s: float) -> RebalanceInfo:
        """What a rebalance would do."""
        return await self._shaping.rebalance_plan(timeout_s=timeout_s)


class LocalMoves:
    """Implements ``node.broker.MoveAdmin``."""

    def __init__(
        self, *, metadata: Metadata, shown: MovesShown, reassign: Reassign, sizes: Sizes, alive: Liveness
    ) -> None:
        self._metadata = metadata
        self._shown = shown
        self._reassign = reassign
        self._sizes = sizes
        self._alive = alive

    async def led_here(self) -> list[MoveInfo]:
        """As this node sees them."""
        return await self._shown.led_here()

    async def everywhere(self, *, timeout_s: float) -> list[MoveInfo]:
        """All of them, asked now."""
        await self._metadata.catch_up(timeout_s=timeout_s)
        return await self._shown.everywhere(self._alive())

    async def move(self, wanted: Sequence[MoveWanted], *, timeout_s: float) -> list[MoveInfo]:
        """Move replicas to other nodes."""
        await self._reassign.move(wanted, timeout_s=timeout_s)
        meant = {(item.topic, item.partition) for item in wanted}
        infos = await self._shown.everywhere(self._alive())
        return [info for info in infos if (info.topic, info.partition) in meant]

    def sizes_led_here(self) -> dict[int, int]:
        """Bytes of the partitions that this node leads, by group id."""
        return self._sizes.led_here()
