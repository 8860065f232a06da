"""A folder's identity as it changes while its node runs: first on disk, then in what is told."""

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
        """The folder's boot number, and this process: what is told of it is durable."""
        self.is_behind = False
        """Something was not kept, since the disk took nothing. Whoever tries again resets this."""
        self._keep = keep
        self._keeping = threading.Lock()

    def change(self, **fields: Any) -> None:
        """Any thread may call. Raises ``IdentityProblem``: then all is as before."""
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
        """What can be learnt again after a restart; ``event`` is logged where it cannot be kept."""
        try:
            self.change(**fields)
        except IdentityProblem as error:
            _log.error(event, reason=str(error))

    def raise_boot(self) -> None:
        """Let the boot number rise. Any thread may call. Raises ``IdentityProblem``: then it stays."""
        self.change(boot=self.boot.number + 1)
        self.boot = Boot(self.identity.boot, self.boot.process)
