"""Toxiproxy's server as a child process that never outlives us."""

from __future__ import annotations

import os
import random
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from chaos.toxiproxy.binary import find_binary
from chaos.toxiproxy.control import Control
from chaos.toxiproxy.errors import ToxiproxyFailed
from local.ports import LOOPBACK, pick_ports

_PORTS: Final = range(18_000, 20_000)
_TRIES: Final = 5
"""Attempts: a port may be taken between the check and the server's start."""
_START_TIMEOUT_S: Final = 15.0
_STOP_TIMEOUT_S: Final = 5.0
_UNTIL_STDIN_ENDS: Final = (
    'exec 3<&0; "$@" 3<&- & server=$!; (cat <&3 >/dev/null; kill -9 $server) & watch=$!;'
    " wait $server; ended=$?; kill $watch; exit $ended"
)
"""A shell around the server, which cannot notice our end by itself: the shell's stdin ends when we do."""


class ToxiproxyServer:
    """A running server: ``with ToxiproxyServer(log) as toxiproxy: toxiproxy.control.create(...)``."""

    def __init__(self, log: Path, *, binary: Path | None = None) -> None:
        """``log`` is the file for the server's output. Raises ``ToxiproxyMissing``."""
        self._binary = binary or find_binary()
        self._log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._process, self.control = self._start_somewhere()

    def close(self) -> None:
        """End the server, and with it all connections through its proxies."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(_STOP_TIMEOUT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _start_somewhere(self) -> tuple[subprocess.Popen[bytes], Control]:
        for _ in range(_TRIES):
            port = pick_ports(1, first=random.SystemRandom().choice(_PORTS))[0]
            process, control = self._start(port), Control(LOOPBACK, port)
            if self._answers(process, control):
                return process, control
        raise ToxiproxyFailed(f"{self._binary} does not start; see {self._log}")

    def _start(self, port: int) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as out:
            return subprocess.Popen(  # noqa: S603 - the arguments are our own
                [
                    "/bin/sh",
                    "-c",
                    _UNTIL_STDIN_ENDS,
                    "sh",
                    self._binary,
                    "-host",
                    LOOPBACK,
                    "-port",
                    str(port),
                ],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=out,
                env={**os.environ, "LOG_LEVEL": "info"},
                process_group=0,
            )

    def _answers(self, process: subprocess.Popen[bytes], control: Control) -> bool:
        """Wait until the server answers; False if it ends instead, as it does if its port is taken."""
        give_up = time.monotonic() + _START_TIMEOUT_S
        while time.monotonic() < give_up and process.poll() is None:
            if control.version() is not None and process.poll() is None:
                return True
            time.sleep(0.02)
        assert process.stdin is not None
        process.stdin.close()
        process.wait(_STOP_TIMEOUT_S)
        return False
