"""What is told of requests for the audit: who did what, from where, allowed or not. Never values or secrets.

The service tells it where every request passes, so that no door can forget it: of what the policy refuses, of
every change, and of who could not say who they are. Where nobody is asked that, nothing is told.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol

import msgspec
from floodmark.errors import FloodmarkError, Forbidden, NotFound, OutcomeUnknown, Unauthorized

from node.service.policy import Operation, Resource
from node.service.request_context import A_NODE, RequestContext

if TYPE_CHECKING:
    from node.service.requests import Request

DONE: Final = "done"
LOGIN: Final = "login"
AUTHENTICATE: Final = "authenticate"
_LOGIN_REQUEST: Final = "create_login"
REFUSED: Final = (Unauthorized, Forbidden, NotFound)
"""What a policy raises. What may not even be described is said not to be there."""
NAME_CHARACTERS_MAX: Final = 256
_SHOWN: Final = frozenset(
    {"acls", "administrator", "begin", "by", "config", "force", "group", "level", "lifetime_ms", "limits"}
    | {"moves", "node", "offsets", "partitions", "principal", "replication_factor", "to", "token_id"}
    | {"topic", "topic_id", "topics", "undo", "user", "which"}
)
"""Fields of requests that say what is changed. Any other may be a secret, and is not told."""
_SHOWN_CHARACTERS_MAX: Final = 2048
_TRACE_CHARACTERS: Final = 55
_NOT_CHANGES: Final = frozenset({Operation.READ, Operation.WRITE, Operation.DESCRIBE})
READS: Final = frozenset({Operation.READ, Operation.DESCRIBE})
_TOLD: Final = "told"


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One. Its members are the names in the log and in the topic."""

    principal: str
    action: str
    """The request by its name between nodes, ``login``, ``authenticate``, or what was refused."""
    allowed: bool
    outcome: str
    """``done``, or the code of the error that it came to."""
    operation: str = ""
    resource: str = ""
    """``topic:name``, ``cluster``, ..."""
    credential: str = ""
    """By what the principal is known, without any secret of it."""
    address: str = ""
    protocol: str = ""
    request_id: str = ""
    """As in the problem document of a request that was refused."""
    trace: str = ""
    details: Mapping[str, Any] = {}
    repeated: int = 1
    """How many of the same principal and address this one stands for."""


class Audit(Protocol):
    """Takes what is told. It never waits and never raises."""

    reads: bool
    """Whether allowed reads are told as well."""

    def tell(self, event: AuditEvent) -> None:
        """Keep it."""


class NoAudit:
    """Of a node that asks nobody who they are."""

    reads = False

    def tell(self, event: AuditEvent) -> None:
        """Nothing is kept."""


def denial(
    context: RequestContext, operation: Operation, resource: Resource, error: FloodmarkError
) -> AuditEvent:
    """The policy has refused it."""
    context.judged.add(_TOLD)
    return _event(
        context,
        action=operation.value,
        operation=operation.value,
        resource=_named(resource),
        allowed=False,
        outcome=error.code,
    )


def read(context: RequestContext, operation: Operation, resource: Resource) -> AuditEvent:
    """It may be read."""
    return _event(
        context,
        action=operation.value,
        operation=operation.value,
        resource=_named(resource),
        allowed=True,
        outcome=DONE,
    )


def is_change(context: RequestContext, request: Request[Any]) -> bool:
    """Whether it is told of: a change, which was not refused already, and not a node's question."""
    is_told = request.operation not in _NOT_CHANGES or request.is_told()
    return is_told and _TOLD not in context.judged and context.principal != A_NODE


def change(
    context: RequestContext, name: str, request: Request[Any], error: BaseException | None
) -> AuditEvent:
    """A request that changes something has come to this end. ``name``: its name between nodes."""
    resource = request.resource()
    outcome = DONE
    if isinstance(error, FloodmarkError):
        outcome = error.code
    elif error is not None:
        outcome = OutcomeUnknown.code
    return _event(
        context,
        action=LOGIN if name == _LOGIN_REQUEST else name,
        operation=request.operation.value,
        resource="" if resource is None else _named(resource),
        allowed=not isinstance(error, Unauthorized | Forbidden),
        outcome=outcome,
        details=_details(request, "" if resource is None else resource.name),
    )


def by_node(action: str, protocol: str, details: Mapping[str, Any]) -> AuditEvent:
    """A node has done it itself, as it was told on its disk or by its settings."""
    return AuditEvent(
        principal=A_NODE, action=action, allowed=True, outcome=DONE, protocol=protocol, details=details
    )


def unknown_credential(address: str, protocol: str, error: FloodmarkError) -> AuditEvent:
    """Somebody could not say who they are. Not even a part of what they brought is told: it may be a secret
    in the wrong place."""
    return AuditEvent(
        principal="anonymous",
        action=AUTHENTICATE,
        allowed=False,
        outcome=error.code,
        address=address,
        protocol=protocol,
    )


def failed_login(context: RequestContext, user: str, error: FloodmarkError) -> AuditEvent:
    """A wrong password. A right one is told of as a change: it makes a token."""
    details = {"user": user[:NAME_CHARACTERS_MAX]}
    return _event(context, action=LOGIN, allowed=False, outcome=error.code, details=details)


def _event(context: RequestContext, **said: Any) -> AuditEvent:
    return AuditEvent(
        principal=context.principal,
        credential=context.credential,
        address=context.address,
        protocol=context.protocol,
        trace=(context.trace or "")[:_TRACE_CHARACTERS],
        **said,
    )


def _named(resource: Resource) -> str:
    name = resource.name[:NAME_CHARACTERS_MAX]
    return f"{resource.kind.value}:{name}" if name else resource.kind.value


def _details(request: Request[Any], named: str) -> dict[str, Any]:
    """But for what the resource's name says already."""
    given = {
        name: value
        for name in request.__struct_fields__
        if name in _SHOWN and (value := getattr(request, name)) not in (None, (), "", named)
    }
    text = msgspec.json.encode(given, enc_hook=str)
    if len(text) > _SHOWN_CHARACTERS_MAX:
        return {"too_long": len(text)}
    found: dict[str, Any] = msgspec.json.decode(text)
    return found
