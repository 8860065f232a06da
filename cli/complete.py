"""Tab completion besides commands and options: names of topics, groups, queues and profiles."""

from __future__ import annotations

import asyncio

import click

from cli import profile_store
from cli.api import Api
from cli.session import Session, Target

_PATIENCE_S = 1.0
"""How long the shell may wait for a list of names."""


def complete_topics(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of topics with this prefix; empty if the cluster does not answer."""
    return _names(ctx, "topic", incomplete)


def complete_groups(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Likewise of groups."""
    return _names(ctx, "group", incomplete)


def complete_queues(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Likewise of queues."""
    return _names(ctx, "queue", incomplete)


def _names(ctx: click.Context, kind: str, incomplete: str) -> list[str]:
    async def ask(server: Target) -> list[str]:
        async with asyncio.timeout(_PATIENCE_S), Api(server) as api:
            page = await api.get(f"/v1/{kind}s", prefix=incomplete, limit=100)
            return [each[kind] for each in page[f"{kind}s"]]

    try:
        return asyncio.run(ask((ctx.find_object(Session) or Session()).target()))
    except Exception:  # noqa: BLE001 - a prompt is no place for an error
        return []


def complete_profiles(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[str]:
    """Names of profiles with this prefix."""
    try:
        return sorted(name for name in profile_store.load().servers if name.startswith(incomplete))
    except Exception:  # noqa: BLE001 - a prompt is no place for an error
        return []
