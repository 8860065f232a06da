"""Whose a connection is: the principal's that sent its last request."""

from __future__ import annotations

from floodmark.errors import TooManyRequests

from node.http.connection import Connection
from node.service.service import Service


class NotAnotherConnection(TooManyRequests):
    """There is no room for one more connection of this principal: this one is closed with the answer."""


def own(connection: object, principal: str, service: Service) -> None:
    """Count the connection as the principal's, if it is not yet. Raises ``NotAnotherConnection``."""
    if not isinstance(connection, Connection):
        return
    had = connection.owned
    if had is not None and had.principal == principal:
        return
    try:
        owned = service.quotas.connection(principal)
    except TooManyRequests as error:
        raise NotAnotherConnection(error.detail, **error.fields) from error
    if had is not None:
        had.close()
    connection.owned = owned


def is_owned(connection: Connection, principal: str) -> bool:
    """Whether it is counted as the principal's."""
    return connection.owned is not None and connection.owned.principal == principal
