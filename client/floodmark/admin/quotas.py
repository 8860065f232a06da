"""How much each principal may ask for, of each node: list, set and remove quotas."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final
from urllib.parse import quote

import msgspec

from floodmark.admin.calls import Calls
from floodmark.errors import NotFound
from floodmark.transport.http import Transport

_PATH: Final = "/v1/quotas"


class QuotaLimits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """At each node; None means that there is no such limit."""

    produce_bytes_per_s: float | None = None
    fetch_bytes_per_s: float | None = None
    requests_per_s: float | None = None
    connections: int | None = None
    inflight_bytes: int | None = None
    """Of bodies that have come and whose requests are not answered yet."""
    partition_changes_per_s: float | None = None
    """Partitions that are created, added and deleted with topics."""


class Quota(msgspec.Struct, frozen=True, kw_only=True):
    """``principal``: a user, ``*`` for each without one of its own, or ``anonymous``."""

    principal: str
    limits: QuotaLimits


class Quotas:
    """``client.quotas``. Each call takes ``timeout_s``, by default the client's own.

    Whoever calls may describe the cluster (``list``) or alter it; others get ``Forbidden``.
    """

    def __init__(self, transport: Transport, timeout_s: float) -> None:
        self._calls = Calls(transport, timeout_s)

    async def list(self, *, timeout_s: float | None = None) -> Sequence[Quota]:
        """All of them, in order of principal."""
        return (await self._calls.call("GET", _PATH, timeout_s=timeout_s)).convert(_Quotas).quotas

    async def set(self, principal: str, limits: QuotaLimits, *, timeout_s: float | None = None) -> Quota:
        """These are the principal's limits from now on, whatever it had: what is None is not limited.

        Raises ``InvalidRequest``, ``FeatureLevelNeeded``, and ``Conflict`` where there are too many quotas.
        """
        answer = await self._calls.call("PUT", _of(principal), limits, timeout_s=timeout_s)
        return answer.convert(Quota)

    async def remove(self, principal: str, *, timeout_s: float | None = None) -> None:
        """The principal has no quota of its own any more. Raises ``NotFound`` where it has none."""
        try:
            await self._calls.call("DELETE", _of(principal), timeout_s=timeout_s)
        except NotFound as error:
            if not error.fields.get("repeated"):  # else an earlier try of this call has removed it
                raise


class _Quotas(msgspec.Struct):
    quotas: list[Quota]


def _of(principal: str) -> str:
    return f"{_PATH}/{quote(principal, safe='')}"
