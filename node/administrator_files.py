"""The first administrator's token, and an administrator that was reset on this node's disk: two small files.

``admin-token`` is written before the cluster has the administrator: a crash in between leaves a token that is
proposed again, never an administrator whose token nobody has. It goes once it is of no use.

``admin-reset`` is written by ``floodmark recover administrator`` while the node is stopped. It has no secret,
and goes once the cluster has done what it says.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Final

import msgspec
import structlog
from floodmark.errors import Conflict, FeatureLevelNeeded, FloodmarkError

from node.metadata.domains.users import BootstrapAdministrator
from node.metadata.group import Metadata
from node.metadata.levels import SECURITY
from node.metadata.state import TokenEntry
from node.security.tokens import LAST_CHARACTERS, Token, new_token, parsed
from node.service.metadata_leader import at_metadata_leader
from node.service.request_context import A_NODE, RequestContext
from node.service.service import Service
from node.service.users import ResetAdministrator
from storage.atomic_file import read_file, replace_file
from storage.filesystem import FileSystem

ADMINISTRATOR: Final = "admin"
"""The first administrator's name."""
TOKEN_FILE: Final = "admin-token"  # noqa: S105 - a file's name
RESET_FILE: Final = "admin-reset"
_LOOK_S: Final = 0.5
_TIMEOUT_S: Final = 5.0

_log = structlog.get_logger(__name__)


class Reset(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ``admin-reset`` says: this user is an administrator with this token and no other credential."""

    user: str
    token_id: str
    digest: str
    last_characters: str


class AdministratorFiles:
    """One per node. ``wall_ms``: the node's clock."""

    def __init__(
        self, fs: FileSystem, data_dir: str, metadata: Metadata, service: Service, wall_ms: Callable[[], int]
    ) -> None:
        self._fs = fs
        self._data_dir = data_dir
        self._metadata = metadata
        self._service = service
        self._wall_ms = wall_ms

    async def bootstrap(self) -> None:
        """Until the cluster has an administrator; a background task of a node that authenticates."""
        if self._service.authenticator is None:
            return
        await self._metadata.wait_current()
        while not self._metadata.state.administrators:
            if self._metadata.leads_here and self._metadata.state.level >= SECURITY:
                await self._propose(self._written())
            await asyncio.sleep(_LOOK_S)  # It takes a leader, a level, or another node's proposal.
        self._remove_if_useless()

    def _written(self) -> Token:
        """A token that is in the file, durably."""
        token = self._in_file()
        if token is None:
            token = new_token()
            content = token.text.encode() + b"\n"
            replace_file(self._fs, self._data_dir, TOKEN_FILE, content, durable=True)
        return token

    def _in_file(self) -> Token | None:
        content = read_file(self._fs, f"{self._data_dir}/{TOKEN_FILE}") or b""
        return parsed(content.decode("ascii", "replace").strip())

    async def _propose(self, token: Token) -> None:
        entry = TokenEntry(
            token.token_id,
            ADMINISTRATOR,
            token.digest,
            self._wall_ms(),
            last_characters=token.secret[-LAST_CHARACTERS:],
        )
        try:
            await self._metadata.propose(BootstrapAdministrator(entry), timeout_s=_TIMEOUT_S)
        except Conflict:
            return  # Another node was first.
        except FloodmarkError as error:
            _log.warning("administrator_not_created", reason=error.detail)
            return
        path = f"{self._data_dir}/{TOKEN_FILE}"
        _log.info("administrator_created", user=ADMINISTRATOR, token_file=path)
        self._service.done_by_node("bootstrap_administrator", "node", {"user": ADMINISTRATOR})

    def _remove_if_useless(self) -> None:
        token = self._in_file()
        if token is None:
            return
        entry = self._metadata.state.tokens.get(token.token_id)
        if entry is None or not token.is_of(entry.digest):
            self._remove(TOKEN_FILE)
            _log.info("administrator_token_removed", reason="it is not valid, or not any more")

    async def reset(self) -> None:
        """Have the cluster do what ``admin-reset`` says, if it is there; a background task."""
        content = read_file(self._fs, f"{self._data_dir}/{RESET_FILE}")
        if content is None:
            return
        try:
            wanted = msgspec.json.decode(content, type=Reset)
            asked = ResetAdministrator(
                user=wanted.user,
                token_id=wanted.token_id,
                digest=bytes.fromhex(wanted.digest),
                last_characters=wanted.last_characters,
            )
        except ValueError as error:
            _log.error("administrator_reset_unreadable", path=RESET_FILE, reason=str(error))
            return
        await self._metadata.wait_current()
        while not await self._is_reset(asked):  # noqa: ASYNC110 - no event tells when it is possible
            await asyncio.sleep(_LOOK_S)
        self._remove(RESET_FILE)
        _log.warning("administrator_reset", user=wanted.user, token=wanted.token_id)
        self._service.done_by_node("reset_administrator", "disk", {"user": wanted.user})

    async def _is_reset(self, asked: ResetAdministrator) -> bool:
        deadline = time.monotonic() + _TIMEOUT_S
        context = RequestContext(protocol="disk", principal=A_NODE, deadline=deadline)
        try:
            if self._metadata.state.level < SECURITY:
                raise FeatureLevelNeeded(f"users need feature level {SECURITY}")
            await at_metadata_leader(self._service, context, asked)
        except FloodmarkError as error:
            _log.warning("administrator_not_reset", reason=error.detail)
            return False
        return True

    def _remove(self, name: str) -> None:
        with contextlib.suppress(FileNotFoundError):
            self._fs.unlink(f"{self._data_dir}/{name}")
        self._fs.sync_folder(self._data_dir)


def write_reset(fs: FileSystem, data_dir: str, user: str) -> str:
    """Write ``admin-reset`` for a node that does not run; the token's text, which nobody else has."""
    token = new_token()
    content = msgspec.json.encode(
        Reset(user, token.token_id, token.digest.hex(), token.secret[-LAST_CHARACTERS:])
    )
    replace_file(fs, data_dir, RESET_FILE, content + b"\n", durable=True)
    return token.text
