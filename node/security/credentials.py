"""By what this node proves itself to the others, read again when its files change, or when it is told to.

What cannot be used is told, and what was read before stays in force.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from node.addresses import split_address
from node.security.secret_files import open_to_groups, secrets_of
from node.settings import HttpSettings, InvalidSettings, Settings
from node.signal import Signal

if TYPE_CHECKING:
    from node.security.http_tls import HttpTls
    from node.security.tls import PeerTls

LOOK_S: Final = 2.0
"""How often files are looked at."""

_Seen = tuple[tuple[int, int, int] | None, ...]
_log = structlog.get_logger(__name__)


class Credentials:
    """Raises ``InvalidSettings`` where the files cannot be used at the start."""

    def __init__(self, settings: Settings, name: str, look_now: asyncio.Event | None = None) -> None:
        """``name``: this node's in its certificate. ``look_now`` has all files read again, changed or not."""
        self._settings = settings
        self._seen = self._look()
        self.secrets = secrets_of(settings)
        """The first is proved, all are accepted."""
        self.tls: PeerTls | None = _peer_tls(settings, name)
        """Of the links to other nodes."""
        self.http_tls: HttpTls | None = _http_tls(settings)
        """Towards users."""
        self._contexts = [each for each in (self.tls, self.http_tls) if each is not None]
        self.changed: Signal[[]] = Signal()
        """The secrets have changed."""
        self._broken = ""
        self._told: set[str] = set()
        self._look_now = look_now or asyncio.Event()
        for path in open_to_groups(settings):
            _log.warning("secret_file_open_to_group", path=path, hint=f"chmod 600 {path}, unless it is meant")
        self._told_name = ""
        self._tell_of_certificates()

    async def run(self, executor: Executor, drop_outdated: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """For as long as this node runs. ``drop_outdated`` closes links that were made by what is gone."""
        loop = asyncio.get_running_loop()
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look_now.wait()
            is_told = self._look_now.is_set()
            self._look_now.clear()
            seen = await loop.run_in_executor(executor, self._look)
            if is_told or seen != self._seen:
                self._seen = seen
                await self._reload(executor)
            # A handshake that had begun before a change may have ended after it: so this is done every time.
            await drop_outdated()
            self._tell_of_certificates()

    @property
    def warnings(self) -> list[str]:
        """What an operator should know."""
        return [text for text in (self._broken, self._misnamed, *self._ends()) if text]

    @property
    def _misnamed(self) -> str:
        return "" if self.http_tls is None else self.http_tls.misnamed

    async def _reload(self, executor: Executor) -> None:
        loop = asyncio.get_running_loop()
        try:
            secrets, loaded = await loop.run_in_executor(executor, self._read)
        except Exception as error:  # noqa: BLE001 - whatever is in a file, it ends no node that runs
            self._broken = f"what was read before stays in force: {error}"
            _log.error(
                "credentials_not_usable", reason=str(error), hint="what was read before stays in force"
            )
            return
        self._broken = ""
        for context, found in zip(self._contexts, loaded, strict=True):
            context.take(found)
        if secrets != self.secrets:
            self.secrets = secrets
            self.changed()
        _log.info("credentials_reloaded", secrets=len(secrets), tls=self._settings.peer.tls.mode)

    def _read(self) -> tuple[tuple[bytes, ...], list[Any]]:
        secrets = secrets_of(self._settings)
        if not self._contexts:
            return secrets, []
        with _as_settings():
            return secrets, [context.load() for context in self._contexts]

    def _look(self) -> _Seen:
        return tuple(map(_state_of, [*self._settings.files_of_secrets, *self._settings.files_of_tls]))

    def _ends(self) -> list[str]:
        if not self._contexts:
            return []
        from node.security.certificate_files import utc_now  # noqa: PLC0415 - loaded already

        return [text for context in self._contexts for text in context.warnings(utc_now())]

    def _tell_of_certificates(self) -> None:
        if self._misnamed != self._told_name:
            self._told_name = self._misnamed
            if self._misnamed:
                hint = "`floodmark cert node --host NAME` makes one for more names, or change http.advertise"
                _log.warning("certificate_for_another_name", reason=self._misnamed, hint=hint)
        found = self._ends()
        for text in found:
            if text not in self._told:
                _log.warning("certificate_ends", reason=text, hint="`floodmark cert renew` makes new ones")
        self._told = set(found)


def _peer_tls(settings: Settings, name: str) -> PeerTls | None:
    if settings.peer.tls.mode == "off":
        return None
    from node.security.tls import PeerTls  # noqa: PLC0415 - only who uses it loads the library

    with _as_settings():
        return PeerTls(settings.peer.tls, name=name)


def _http_tls(settings: Settings) -> HttpTls | None:
    if not settings.http.tls.is_on:
        return None
    from node.security.http_tls import HttpTls  # noqa: PLC0415 - see above

    with _as_settings():
        return HttpTls(settings.http.tls, _reached_as(settings.http))


@contextlib.contextmanager
def _as_settings() -> Iterator[None]:
    """What is wrong with files of TLS is wrong with the settings that name them."""
    from node.security.certificate_files import NotUsable  # noqa: PLC0415 - see above

    try:
        yield
    except NotUsable as error:
        raise InvalidSettings([str(error)]) from error


def _reached_as(http: HttpSettings) -> str:
    """The host that others are told: nobody may listen everywhere and tell nothing."""
    return (urlsplit(http.advertise).hostname or "") if http.advertise else split_address(http.listen)[0]


def _state_of(path: str) -> tuple[int, int, int] | None:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
