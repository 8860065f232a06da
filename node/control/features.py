"""The cluster's feature level: what nodes know, what is finalized, and raising it."""

from __future__ import annotations

import structlog
from floodmark.errors import Conflict, InvalidRequest

from node.broker import Features, NodeLevels
from node.metadata.domains.features import RaiseLevel, highest_level, level_refusal
from node.metadata.domains.nodes import RegisterNode
from node.metadata.group import Metadata

LEVEL_MAX = 1_000_000

_log = structlog.get_logger(__name__)


class FeatureLevel:
    """Shows it on any node, raises it on the metadata group's leader only."""

    def __init__(self, metadata: Metadata) -> None:
        self._metadata = metadata

    async def show(self, *, timeout_s: float) -> Features:
        """As of after the call began, whichever node is asked. Raises ``Unavailable``."""
        await self._metadata.catch_up(timeout_s=timeout_s)
        return self._features()

    async def finalize(self, level: int, *, timeout_s: float) -> Features:
        """Raises Conflict, InvalidRequest, Unavailable, OutcomeUnknown."""
        if not 1 <= level <= LEVEL_MAX:
            raise InvalidRequest(f"a feature level is 1 to {LEVEL_MAX}, not {level}")
        self._metadata.check_leads()
        if level != self._metadata.state.level:
            missing = self._unregistered()
            if level > self._metadata.state.level and missing:
                raise Conflict(
                    f"it is not known yet which feature levels {', '.join(missing)} can run at: start all "
                    "nodes, and wait until they are ready",
                    node=missing[0],
                    level=self._metadata.state.level,
                )
            if level > self._metadata.state.level:
                await self._register_again(timeout_s)
            await self._metadata.propose(RaiseLevel(level), timeout_s=timeout_s)
            _log.info("feature_level_raised", level=level)
        else:
            await self._metadata.confirm_lead(timeout_s=timeout_s)
        return self._features()

    async def _register_again(self, timeout_s: float) -> None:
        """Have every replica know what each node knows before it judges by that.

        A build without levels dropped them from what it stored, and a later one on its folder went on from
        there: it would refuse what the others accept, and be at another level for good.
        """
        for _, entry in sorted(self._metadata.state.nodes.items()):
            known = RegisterNode(
                entry.node_id, entry.http, entry.peer, entry.incarnation, entry.rack, entry.levels
            )
            await self._metadata.propose(known, timeout_s=timeout_s)

    def _unregistered(self) -> list[str]:
        return sorted(self._metadata.membership.members - self._metadata.state.nodes.keys())

    def _features(self) -> Features:
        state = self._metadata.state
        nodes = [NodeLevels(entry.node_id, *entry.levels) for _, entry in sorted(state.nodes.items())]
        highest = highest_level(state)
        possible = (
            highest > state.level and not self._unregistered() and level_refusal(state, highest) is None
        )
        return Features(level=state.level, can_finalize=highest if possible else None, nodes=nodes)
