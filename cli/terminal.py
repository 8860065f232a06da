"""Takes the terminal over, so that Ctrl-C reaches this process and not those that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def own_terminal() -> Iterator[None]:
    """Be the terminal's only foreground process group, until the end. Does nothing without a terminal.

    A terminal sends Ctrl-C to its whole foreground group. make, for example, then ends with an error although
    the command it waits for ends well. Ctrl-Z is ignored meanwhile, because no shell could resume us.
    """
    group = _shared_foreground_group()
    if group is None:
        yield
        return
    os.setpgid(0, 0)
    _hand_terminal_to(os.getpid())
    before = signal.signal(signal.SIGTSTP, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGTSTP, before)
        _hand_terminal_to(group)


def _shared_foreground_group() -> int | None:
    """The group that has the terminal, if we are in it and it is not our own."""
    try:
        group = os.tcgetpgrp(sys.stdin.fileno())
    except OSError:
        return None
    return group if group == os.getpgrp() != os.getpid() else None


def _hand_terminal_to(group: int) -> None:
    """Only possible for a background group while it ignores SIGTTOU."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with contextlib.suppress(OSError):  # the terminal, or that group, may be gone
            os.tcsetpgrp(sys.stdin.fileno(), group)
    finally:
        signal.signal(signal.SIGTTOU, before)
