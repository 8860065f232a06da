"""The three standard streams, also where the shell has closed one (``>&-``) or ignores Ctrl-C (``&``)."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import Any, Final

_NAMES: Final = {0: "input", 1: "output", 2: "error output"}


class _Closed(io.RawIOBase):
    """A stream that is not there: who uses it is told so, and who does not goes on."""

    def __init__(self, number: int) -> None:
        self._number = number

    def readable(self) -> bool:
        return self._number == 0

    def writable(self) -> bool:
        return self._number != 0

    def readinto(self, _buffer: Any) -> int:
        raise self._error()

    def write(self, _data: Any) -> int:
        raise self._error()

    def _error(self) -> OSError:
        return OSError(errno.EBADF, f"standard {_NAMES[self._number]} is closed")


def prepare() -> None:
    """Before anything is opened: put something in place of closed streams, and let SIGINT interrupt.

    A number that is free would be given to the next file or connection, into which things would be printed.
    Python has None for a closed stream. Errors that cannot be told are not a reason to fail. A shell
    starts what runs in its background with SIGINT ignored, and Python then leaves it so.
    """
    for number in _NAMES:
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest free number is this one
    if sys.stdin is None:
        sys.stdin = io.TextIOWrapper(io.BufferedReader(_Closed(0)))
    if sys.stdout is None:
        sys.stdout = io.TextIOWrapper(io.BufferedWriter(_Closed(1)))
    if sys.stderr is None:
        sys.stderr = io.TextIOWrapper(io.FileIO(2, "w", closefd=False), write_through=True)
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def discard_output() -> None:
    """Point stdout at nothing, so that the flush when Python ends has nowhere to fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except OSError:  # it is closed: it has no number
        sys.stdout = os.fdopen(nowhere, "w")
