"""How a client says who it is: a token, where it comes from, and reading it again once it is refused."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
import stat
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Final

from floodmark.errors import InvalidRequest

Token = str | os.PathLike[str] | Callable[[], str | Awaitable[str]]
"""A token; the path of a file with one, which only its owner can read; or what returns one."""
_FORM: Final = re.compile(r"[A-Za-z0-9._~+/=-]{1,4096}", re.ASCII)
_NONE: Final[Mapping[str, str]] = {}


class Credentials:
    """Keeps the token until a node refuses it; then it is read again, once for all requests that had it."""

    def __init__(self, token: Token | None) -> None:
        self._source = token
        self._headers: Mapping[str, str] | None = _NONE if token is None else None
        self._reading: asyncio.Task[Mapping[str, str]] | None = None
        if isinstance(token, str):
            self._headers = _header(token)

    async def headers(self) -> Mapping[str, str]:
        """What to send with a request. Raises ``InvalidRequest`` where there is no usable token."""
        return self._headers if self._headers is not None else await self._read()

    async def headers_after(self, refused: Mapping[str, str]) -> Mapping[str, str] | None:
        """Others than those that were refused; None where there are none."""
        if self._source is None or isinstance(self._source, str):
            return None
        found = self._headers
        if found is None or found == refused:
            found = await self._read()
        return None if found == refused else found

    async def _read(self) -> Mapping[str, str]:
        if self._reading is None:
            self._reading = asyncio.ensure_future(self._fresh())
        return await asyncio.shield(self._reading)

    async def _fresh(self) -> Mapping[str, str]:
        source = self._source
        try:
            if callable(source):
                found = await asyncio.to_thread(source)
                text = await found if inspect.isawaitable(found) else found
            else:
                assert source is not None
                text = await asyncio.to_thread(read_token, Path(source))
            self._headers = _header(str(text))
            return self._headers
        finally:
            self._reading = None


def read_token(path: Path) -> str:
    """The token in a file. Raises ``InvalidRequest`` where others than its owner can read it."""
    try:
        mode = path.stat().st_mode
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise InvalidRequest(
                f"others can read the token file {path} (mode {stat.S_IMODE(mode):04o}): chmod 600 {path}"
            )
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"the token file {path} cannot be read: {error}") from error


def _header(token: str) -> Mapping[str, str]:
    if _FORM.fullmatch(token) is None:
        raise InvalidRequest("this is not a token: it has characters that no token has, or none at all")
    return {"Authorization": f"Bearer {token}"}
