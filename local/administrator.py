"""The administrator's token of a secure local cluster, in one place whichever node has made it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from local.access import Access
from local.errors import NotReady
from local.folder import LocalNode
from local.private import private

_LOOK_AGAIN_S: Final = 0.1
_ANSWER_S: Final = 5.0
_TIMEOUT_S: Final = 60.0


async def take_token(
    nodes: Sequence[LocalNode], access: Access, folder: Path, *, timeout_s: float = _TIMEOUT_S
) -> None:
    """Put a token that counts into ``access.token_file``: one that a node has made, or what is there.

    Raises ``NotReady`` if there is none.
    """
    assert access.token_file is not None, "a secure cluster has a place for it"
    try:
        async with asyncio.timeout(timeout_s):
            while not await _found(nodes[0].url, access, folder):  # noqa: ASYNC110 - another process makes it
                await asyncio.sleep(_LOOK_AGAIN_S)
    except TimeoutError:
        raise NotReady(
            f"the cluster takes no administrator's token of {folder}",
            hint=f"put a valid one into {access.token_file}; 'floodmark recover administrator' makes one",
        ) from None


async def _found(url: str, access: Access, folder: Path) -> bool:
    token_file = access.token_file
    assert token_file is not None
    for candidate in (token_file, *_of_nodes(folder)):
        if candidate.exists() and await _is_taken(url, Access(access.ca, candidate)):
            if candidate != token_file:
                _copy(candidate, token_file)
            return True
    return False


def _of_nodes(folder: Path) -> list[Path]:
    return sorted(folder.glob("n*/admin-token"))


def _copy(made: Path, to: Path) -> None:
    with open(to, "w", encoding="ascii", opener=private) as out:
        out.write(made.read_text(encoding="ascii"))


async def _is_taken(url: str, access: Access) -> bool:
    with contextlib.suppress(aiohttp.ClientError, TimeoutError):
        async with access.session(timeout_s=_ANSWER_S) as session, session.get(f"{url}/v1/me") as answer:
            return answer.status == 200
    return False
