"""The inside line over the authenticated links: typed requests on bulk connections.

Nodes of builds that take no requests are asked another way (``older``), for as long as clusters with such
nodes may be upgraded.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, Final

import structlog
from floodmark.errors import (
    FloodmarkError,
    OutcomeUnknown,
    ServerError,
    TooManyRequests,
    Unavailable,
)

from consensus.links.bulk_packets import Outcome
from consensus.links.bulk_types import Overloaded, Served, Unanswered, Unreached
from consensus.links.peer_links import PeerLinks
from node.service import inside_requests
from node.service.answer_budget import NODE, AnswerBudget, Hold
from node.service.inside_answers import Asked, InsideAnswers
from node.service.inside_line import Line
from node.service.inside_requests import InsideRequest, R, RequestType

_log = structlog.get_logger(__name__)
_RETRY_AFTER_S: Final = 0.2


class LinksLine:
    """One per node. ``answers`` are its own to other nodes, ``budget`` its memory for them.

    ``grace_s``: how much longer than its deadline a request is waited for, so that the other node's own word
    is heard.
    """

    def __init__(
        self,
        node_id: str,
        links: PeerLinks,
        answers: InsideAnswers,
        budget: AnswerBudget,
        older: Line,
        *,
        grace_s: float,
    ) -> None:
        self._node_id = node_id
        self._links = links
        self._answers = answers
        self._budget = budget
        self._older = older
        self._grace_s = grace_s
        links.bulk.serve = self.serve

    async def ask(
        self,
        node: str,
        request: InsideRequest[R],
        *,
        timeout_s: float,
        hold: Hold | None = None,
        order: Hashable = None,
    ) -> R:
        """See ``Line``."""
        if node == self._node_id:
            return await self._ask_here(request, timeout_s, hold)
        if self._links.is_older(node):
            return await self._older.ask(node, request, timeout_s=timeout_s, hold=hold)
        kind = inside_requests.type_of(request)
        held = 0

        def room(_envelope_bytes: int, raw_bytes: int) -> None:
            nonlocal held
            if hold is not None:
                hold.more(raw_bytes)
                held = raw_bytes

        envelope, raw = inside_requests.encode_request(request)
        try:
            answer = await self._links.bulk.ask(
                node, envelope, raw, timeout_s=timeout_s, grace_s=self._grace_s, room=room, order=order
            )
            if answer.outcome is Outcome.FAILED:
                raise inside_requests.decode_error(answer.envelope)  # noqa: TRY301
            result: R = inside_requests.decode_result(kind, answer.envelope, answer.raw)
        except BaseException as error:
            if hold is not None:
                hold.less(held)
            if isinstance(error, Unreached | Unanswered):
                raise _told(node, kind, error) from error
            raise
        return result

    async def _ask_here(self, request: InsideRequest[R], timeout_s: float, hold: Hold | None) -> R:
        """As if another node had asked."""
        with self._budget.hold(f"{NODE}{self._node_id}") as own:
            result = await self._answers.answer(request, Asked(self._node_id, timeout_s, own))
        raw = inside_requests.type_of(request).raw_result
        if hold is not None and raw:
            hold.more(len(getattr(result, raw)))
        return result

    async def serve(self, peer: str, envelope: bytes, raw: bytes, timeout_s: float) -> Served:
        """Answer another node; the links call this."""
        hold = self._budget.hold(f"{NODE}{peer}")
        try:
            request = inside_requests.decode_request(envelope, raw)
            result = await self._answers.answer(request, Asked(peer, timeout_s, hold))
            packed = inside_requests.encode_result(inside_requests.type_of(request), result)
        except FloodmarkError as error:
            hold.nothing()
            return Served(True, inside_requests.encode_error(error))  # noqa: FBT003
        except BaseException as error:
            hold.nothing()
            if not isinstance(error, Exception):
                raise
            _log.exception("inside_request_defect", peer=peer)
            told = ServerError("a defect showed there; its log says more")
            return Served(True, inside_requests.encode_error(told))  # noqa: FBT003
        return Served(False, *packed, hold.nothing)  # noqa: FBT003


def _told(node: str, kind: RequestType, error: Unreached | Unanswered) -> FloodmarkError:
    if isinstance(error, Overloaded):
        return TooManyRequests(f"too many requests wait for node {node}", retry_after_s=_RETRY_AFTER_S)
    fields: dict[str, Any] = {"leader": node}
    if isinstance(error, Unreached):
        return Unavailable(f"node {node} cannot be reached", **fields)
    if kind.stores:
        return OutcomeUnknown(f"node {node} did not answer; it may have done it", **fields)
    return Unavailable(f"node {node} did not answer", **fields)
