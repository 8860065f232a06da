"""Taking the terminal over, so that Ctrl-C reaches this process and not those that started it."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def own_terminal() -> Iterator[None]:
    """Be the terminal's foreground process group alone, until the end. Without a terminal nothing happens.

    A terminal sends Ctrl-C to its whole foreground group. make, for one, then ends with an error although the
    command that it waits for ends well. Ctrl-Z is ignored meanwhile: nobody would know how to wake us.
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
    """A group in the background may do this only while it ignores SIGTTOU."""
    before = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    try:
        with contextlib.suppress(OSError):  # the terminal, or that group, may be gone
            os.tcsetpgrp(sys.stdin.fileno(), group)
    finally:
        signal.signal(signal.SIGTTOU, before)
