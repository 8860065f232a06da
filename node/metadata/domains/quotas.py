"""How much each principal may ask for: at most one entry each, with the limits that it has.

Which limits there are is fixed for each feature level, as with the entries of acls.py: a node of a build that
did not know one would not hold anybody to it.
"""

from __future__ import annotations

import math
from typing import Final

from floodmark.errors import Conflict, FloodmarkError, InvalidRequest, NotFound

from node.metadata.command import Command, command_type
from node.metadata.domains.users import ANONYMOUS, check_principal
from node.metadata.edit import Edit
from node.metadata.levels import PARTITION_QUOTAS, SECURITY, below_level
from node.metadata.state import Applied, QuotaEntry

QUOTAS_MAX: Final = 10_000
"""In the whole cluster."""
EVERYBODY: Final = "*"
"""Its limits are those of each principal that has no entry of its own, and has said who it is."""
LIMITS: Final = {
    "produce_bytes_per_s": 1024,
    "fetch_bytes_per_s": 1024,
    "requests_per_s": 1,
    "connections": 1,
    "inflight_bytes": 1024,
    "partition_changes_per_s": 1,
}
"""Each with the least that it may be: enough to undo a quota that was set too low."""
_NEED: Final = {"partition_changes_per_s": PARTITION_QUOTAS}
"""The feature levels that limits need which came later."""
_WHOLE: Final = ("connections", "inflight_bytes")


class SetQuota(Command, frozen=True, tag="set_quota"):
    """This is the principal's entry from now on, whatever it had."""

    entry: QuotaEntry


class RemoveQuota(Command, frozen=True, tag="remove_quota"):
    """The principal has no entry any more."""

    principal: str


def check_quota(entry: QuotaEntry) -> FloodmarkError | None:
    """Why there can be no such entry; None where there can."""
    if entry.principal not in (EVERYBODY, ANONYMOUS) and (refused := check_principal(entry.principal)):
        return InvalidRequest(
            f"{refused.detail}. For quotas {EVERYBODY!r} stands for everybody without one of their own, and "
            f"{ANONYMOUS!r} for those who have not said who they are"
        )
    if not entry.limits:
        return InvalidRequest(f"a quota limits something: {', '.join(LIMITS)}")
    for name, value in entry.limits.items():
        least = LIMITS.get(name)
        if least is None:
            return InvalidRequest(f"{name[:80]!r} is not a limit of a quota: one of {', '.join(LIMITS)}")
        if not least <= value < math.inf:
            return InvalidRequest(f"{name} is at least {least}; remove it for no limit", limit=least)
        if name in _WHOLE and value != int(value):
            return InvalidRequest(f"{name} is a whole number, not {value:g}")
    return None


def set_quota(edit: Edit, command: SetQuota) -> Applied:
    """The entry."""
    state, entry = edit.state, command.entry
    needed = max((_NEED.get(name, SECURITY) for name in entry.limits), default=SECURITY)
    if refused := (below_level(state.level, needed) or check_quota(entry)):
        return refused
    if len(state.quotas) >= QUOTAS_MAX and entry.principal not in state.quotas:
        return Conflict(
            f"the cluster has {QUOTAS_MAX} quotas and takes no more: one for {EVERYBODY!r} is for all who "
            "have none of their own",
            limit=QUOTAS_MAX,
        )
    in_order = {name: float(entry.limits[name]) for name in LIMITS if name in entry.limits}
    kept = QuotaEntry(entry.principal, in_order)
    state.quotas = dict(sorted({**state.quotas, entry.principal: kept}.items()))
    return kept


def remove_quota(edit: Edit, command: RemoveQuota) -> Applied:
    """The entry that there was."""
    state = edit.state
    if refused := below_level(state.level, SECURITY):
        return refused
    if command.principal not in state.quotas:
        return unknown_quota(command.principal)
    left = dict(state.quotas)
    removed = left.pop(command.principal)
    state.quotas = left
    return removed


def unknown_quota(principal: str) -> NotFound:
    """Where a principal has no quota of its own."""
    return NotFound(f"{principal[:80]} has no quota of its own")


COMMANDS: Final = dict(
    [
        command_type(SetQuota, set_quota, level=SECURITY),
        command_type(RemoveQuota, remove_quota, level=SECURITY),
    ]
)
