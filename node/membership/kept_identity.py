"""A folder's identity as it changes while its node runs: written to disk before others are told."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from node.membership.identity import IdentityProblem, NodeIdentity
from node.membership.registry import Boot

_log = structlog.get_logger(__name__)


class KeptIdentity:
    """``keep`` makes an identity durable, and raises ``IdentityProblem`` where it cannot."""

    def __init__(self, identity: NodeIdentity, keep: Callable[[NodeIdentity], None]) -> None:
        self.identity = identity
        self.boot = Boot(identity.boot, secrets.token_hex(4))
        """The folder's boot number, and this process; durable before it is told."""
        self.is_behind = False
        """Whether a failed write left the disk behind. Whoever retries resets this."""
        self._keep = keep
        self._keeping = threading.Lock()

    def change(self, **fields: Any) -> None:
        """Change fields durably; from any thread. Raises ``IdentityProblem``: then nothing has changed."""
        with self._keeping:
            changed = msgspec.structs.replace(self.identity, **fields)
            if changed != self.identity:
                try:
                    self._keep(changed)
                except IdentityProblem:
                    self.is_behind = True
                    raise
                self.identity = changed

    def try_change(self, event: str, **fields: Any) -> None:
        """Change fields that can be learnt again after a restart; a failed write is logged as ``event``."""
        try:
            self.change(**fields)
        except IdentityProblem as error:
            _log.error(event, reason=str(error))

    def raise_boot(self) -> None:
        """Raise the boot number; from any thread. Raises ``IdentityProblem``: then it is unchanged."""
        self.change(boot=self.boot.number + 1)
        self.boot = Boot(self.identity.boot, self.boot.process)
