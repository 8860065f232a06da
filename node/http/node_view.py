"""A node's own view: what the very node that is asked knows, without asking another one.

For those who look at nodes one by one, such as whoever injects faults into a cluster: ``view=node`` in the
query of some descriptions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web
from floodmark.errors import InvalidRequest

from node.http.context import HttpContext
from node.http.forwarded import FORWARDED

VIEW: Final = "view"
NODE: Final = "node"
_UNMARKED: Final = "1"
"""What nodes of earlier builds send instead of their mark where they ask for a view, and only there."""


def is_own_view(context: HttpContext, request: web.Request, query: Mapping[str, str]) -> bool:
    """Whether this node's own view is asked for, also by a node of an earlier build.

    Such a one counts what the nodes say of themselves, so an answer for the whole cluster would be wrong for
    it. Raises ``InvalidRequest``.
    """
    view = query.get(VIEW)
    if view not in (None, NODE):
        raise InvalidRequest(
            f"view is node, for what this very node knows, not {view[:100]!r}; without it all nodes are asked"
        )
    if view is not None or context.is_passed_on(request):
        return True
    return request.headers.get(FORWARDED) == _UNMARKED and context.meets_earlier_builds()
