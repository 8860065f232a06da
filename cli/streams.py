"""The three standard streams, even if the shell has closed one (``>&-``) or ignores Ctrl-C (``&``)."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import Any, Final

_NAMES: Final = {0: "input", 1: "output", 2: "error output"}


class _Closed(io.RawIOBase):
    """Stands in for a closed stream: using it raises an error, and a command that does not use it runs."""

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
    """Replace closed streams, and let SIGINT interrupt. Call this before anything is opened.

    The free descriptor would be given to the next file or connection, and output would go into that. Python
    has None for a closed stream. Errors that cannot be printed must not fail the command. A shell starts
    background commands with SIGINT ignored, and Python leaves it that way.
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
    """Point stdout at the null device, so that the flush at exit cannot fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    except OSError:  # it is closed and has no descriptor
        sys.stdout = os.fdopen(nowhere, "w")
