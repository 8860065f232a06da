"""Asks the process that runs a local cluster to restart its nodes; see ``control.py``."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

from local.access import Access
from local.control import socket_path
from local.errors import NoKeeper
from local.roll import WAIT_S, Roll


class ControlClient:
    """One connection, which is one roll: see ``connected``."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    @contextlib.asynccontextmanager
    async def connected(cls, folder: Path) -> AsyncIterator[Self]:
        """Connect to the process that runs the cluster of a folder. Raises ``NoKeeper``."""
        try:
            with socket_path(folder) as path:
                reader, writer = await asyncio.open_unix_connection(path)
        except (FileNotFoundError, ConnectionRefusedError, NotADirectoryError):
            raise NoKeeper(
                f"no local cluster runs on {folder}, or it is not ready",
                hint="start one with 'floodmark dev', or give its folder with --data; "
                "for any other cluster see docs/OPERATIONS.md",
            ) from None
        try:
            yield cls(reader, writer)
        finally:
            writer.close()

    async def roll(
        self, *, afresh: bool = False, wait_s: float = WAIT_S, tell: Callable[[str], None]
    ) -> None:
        """Restart all nodes, or those that an interrupted roll left out.

        Raises ``NotHealthy``, ``NoKeeper``.
        """
        plan = await self._ask({"afresh": afresh})
        if plan["goes_on"]:
            tell(f"a roll was interrupted: {', '.join(plan['left'])} are left (--afresh restarts all)")
        await Roll(
            plan["urls"], self._restart, tell=tell, wait_s=wait_s, access=Access.of(plan["access"])
        ).run(plan["left"], goes_on=plan["goes_on"])

    async def _restart(self, name: str) -> None:
        await self._ask({"restart": name})

    async def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._writer.write(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(await self._reader.readline() or b"{}")
        if not answer:
            raise NoKeeper("the process that runs the cluster has ended, or is stopping")
        if "error" in answer:
            raise NoKeeper(answer["error"])
        return answer
