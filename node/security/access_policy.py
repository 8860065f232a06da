"""Who may do what in a cluster that asks who they are: by its entries, its administrators, and no more.

What may not be described is said not to be there, in the words of what is not there. Every decision depends
on names alone and on nothing that exists, so none tells whether something does.
"""

from __future__ import annotations

from typing import Final, Protocol

from floodmark.errors import FloodmarkError, Forbidden
from floodmark.format.names import check_name

from node import outcomes
from node.metadata.delta import MetadataDelta
from node.metadata.domains.acls import check_name_of
from node.metadata.state import AclEntry, MetadataState
from node.security.acl import AclIndex, Asked, explain
from node.service.authentication import missing
from node.service.policy import (
    CLUSTER,
    Operation,
    Resource,
    ResourceKind,
    closed,
    group,
    is_closed,
    topic,
)
from node.service.request_context import A_NODE, ANONYMOUS

DECISIONS_MAX: Final = 1 << 16
"""So many that allowed something are remembered. Names that nobody has ever used must not fill the memory."""


PREFIX_EXAMPLE: Final = "team-"
"""Where a pattern says nothing of how names begin."""


class Asking(Protocol):
    """Whoever asks."""

    @property
    def principal(self) -> str:
        """Its name."""


class AccessPolicy:
    """Implements ``node.service.policy.Policy``. It knows nothing, and allows nothing, before it is told."""

    may_change = True

    def __init__(self) -> None:
        self.version = 0
        """It rises whenever anything of it changes."""
        self._administrators: frozenset[str] = frozenset()
        self._index = AclIndex(())
        self.admits_anonymous = False
        """Whether an entry is about those who do not say who they are."""
        self._allowed: set[tuple[str, Operation, Resource]] = set()

    def metadata_changed(self, state: MetadataState, delta: MetadataDelta) -> None:
        """What was decided by what was before is forgotten."""
        if delta.concerns("acls", "administrators"):
            self.version += 1
            self._administrators = frozenset(state.administrators)
            self._index = AclIndex(state.acls)
            self.admits_anonymous = self._index.mentions(ANONYMOUS)
            self._allowed.clear()

    def authorize(self, context: Asking, operation: Operation, resource: Resource) -> None:
        """Raises ``Unauthorized``, ``Forbidden``, or ``UnknownTopic`` for what may not even be described."""
        asked = (context.principal, operation, resource)
        if asked in self._allowed:
            return
        if not self._may(*asked):
            raise self._refusal(*asked)
        if len(self._allowed) >= DECISIONS_MAX:
            self._allowed.clear()
        self._allowed.add(asked)

    def _may(self, principal: str, operation: Operation, resource: Resource) -> bool:
        if principal == A_NODE:
            return True
        is_internal = resource.is_internal and resource.kind is ResourceKind.TOPIC
        if is_closed(operation, resource):
            return False
        if principal in self._administrators:
            return True
        if resource.kind is ResourceKind.TOPICS:
            return self._index.reads_all(principal, resource.name) or self._may(
                principal, Operation.DESCRIBE, CLUSTER
            )
        return not is_internal and self._index.allows(Asked(principal, operation, *resource))

    def _refusal(self, principal: str, operation: Operation, resource: Resource) -> FloodmarkError:
        if principal == ANONYMOUS:
            return missing()
        kind, name = resource
        if kind in (ResourceKind.TOPIC, ResourceKind.QUEUE):
            check_name(name)
        # Who makes a topic does not ask whether it is there: that it may not says nothing of it.
        is_looked_for = kind is ResourceKind.TOPIC and operation is not Operation.CREATE
        if is_looked_for and not self._may(principal, Operation.DESCRIBE, topic(name)):
            return outcomes.unknown_topic(name)
        if resource.is_internal and kind in (ResourceKind.TOPIC, ResourceKind.GROUP):
            return closed(operation, resource)
        if kind is ResourceKind.TOPICS:
            return Forbidden(
                f"{principal} may not read all topics that the pattern may ever describe, and it would tell "
                f"of them: an administrator can allow it with `floodmark acl add --user {principal} --topic "
                f"{name or PREFIX_EXAMPLE} --prefix --operation read`, or --operation describe --cluster"
            )
        return _forbidden(principal, operation, resource)


def _forbidden(principal: str, operation: Operation, resource: Resource) -> Forbidden:
    """With the entry that would allow it, where there can be one."""
    kind, name = resource
    if resource == CLUSTER and operation is Operation.WRITE:
        return Forbidden(f"{principal} may write to no topic, and gets no producer id")
    what = "the cluster" if resource == CLUSTER else f"{kind} {name}"
    if check_name_of(kind, name, is_prefix=False) is not None:
        return Forbidden(
            f"{principal} may not {operation} {what}; no entry can name that {kind}, but an administrator "
            "can allow it with one for a prefix of its name"
        )
    option = "--cluster" if resource == CLUSTER else f"--{kind} {name}"
    return Forbidden(
        f"{principal} may not {operation} {what}; an administrator can allow it with "
        f"`floodmark acl add --user {principal} {option} --operation {operation}`"
    )


def decided(
    state: MetadataState, principal: str, operation: str, kind: str, name: str
) -> tuple[bool, str, AclEntry | None]:
    """Whether it is allowed, why in words, and the entry that decides, if one does."""
    if kind == ResourceKind.GROUP and group(name).is_internal:
        return False, f"nobody may {operation} the cluster's own groups", None
    if kind == ResourceKind.TOPIC and topic(name).is_internal:
        if is_closed(operation, topic(name)):
            return False, f"nobody may {operation} the cluster's own topics", None
        if principal not in state.administrators:
            return False, "it is for administrators only", None
    if principal in state.administrators:
        return True, f"{principal} is an administrator", None
    decision = explain(state.acls, Asked(principal, operation, kind, name))
    if decision.entry is None:
        return False, "no entry allows it", None
    return decision.allowed, f"this entry {'allows' if decision.allowed else 'denies'} it", decision.entry
