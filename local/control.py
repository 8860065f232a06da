"""Lets another process ask the one that runs a local cluster to restart its nodes one by one.

It uses a socket in the cluster's folder, which only its owner can access. A connection is one roll: JSON
lines go back and forth (``control_client.py``), and the end of the connection interrupts the roll. The next
connection learns which nodes are left: those that were not started since the roll began.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from local.access import ANYBODY, Access
from local.children import STOP_TIMEOUT_S
from local.errors import NoKeeper
from local.keeper import Keeper

_NAME: Final = "control"
_PATH_BYTES_MAX: Final = 100
"""Longest path of a socket; the kernel's limit is little more."""
_TURN_S: Final = STOP_TIMEOUT_S + 5
"""How long a roll waits for a restart that the previous one has left under way."""


@contextlib.contextmanager
def socket_path(folder: Path) -> Iterator[str]:
    """A path to bind or connect the socket of a folder, however long the folder's path is."""
    path = folder / _NAME
    if len(os.fsencode(path)) <= _PATH_BYTES_MAX:
        yield str(path)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_NAME}"
    finally:
        os.close(descriptor)


class Control:
    """Handles the requests. ``urls``: node -> base URL, of all nodes that ``keeper`` runs."""

    def __init__(
        self, folder: Path, keeper: Keeper, urls: Mapping[str, str], access: Access = ANYBODY
    ) -> None:
        self._access = access
        self._folder = folder
        self._keeper = keeper
        self._urls = dict(urls)
        self._turn = asyncio.Lock()
        self._began: dict[str, int] | None = None
        """How often each node had been started when the roll began that is not through yet."""

    @contextlib.asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        """Serve requests while the body runs."""
        with socket_path(self._folder) as path:
            server = await asyncio.start_unix_server(self._connection, path)
        try:
            yield
        finally:
            server.close()
            (self._folder / _NAME).unlink(missing_ok=True)

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._roll(reader, writer)
        except NoKeeper as error:
            _say(writer, {"error": str(error)})
        except (ValueError, KeyError, TypeError) as error:
            _say(writer, {"error": f"invalid request: {error!r}"})
        finally:
            with contextlib.suppress(OSError):
                writer.close()
                await writer.wait_closed()

    async def _roll(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_TURN_S):
                await self._turn.acquire()
        except TimeoutError:
            raise NoKeeper("another roll of this cluster is under way") from None
        try:
            afresh = bool(json.loads(await reader.readline())["afresh"])
            goes_on = bool(self._left) and not afresh
            if not goes_on:
                self._began = dict(self._keeper.started)
            _say(
                writer,
                {
                    "urls": self._urls,
                    "left": self._left,
                    "goes_on": goes_on,
                    "access": self._access.document(),
                },
            )
            while line := await reader.readline():
                name = json.loads(line)["restart"]
                if name not in self._urls:
                    raise NoKeeper(f"this cluster has no node {name!r}")
                child = await self._keeper.restart(name)
                _say(writer, {"restarted": name, "pid": child.process.pid})
        finally:
            self._turn.release()

    @property
    def _left(self) -> list[str]:
        """Nodes that have not been restarted since the roll began."""
        began, started = self._began or {}, self._keeper.started
        return [name for name, count in began.items() if started[name] == count]


def _say(writer: asyncio.StreamWriter, document: Mapping[str, Any]) -> None:
    with contextlib.suppress(OSError):
        writer.write(json.dumps(document).encode() + b"\n")
