"""Ctrl-C on a real (pseudo) terminal, below make."""

from __future__ import annotations

import os
import pty
import select
import sys
import time
from pathlib import Path

import pytest

from local.ports import PortBlock

_MAKEFILE = """
run:
\t@{python} -P -m cli.main dev --take-terminal -n 1 --data {data} --http-port {http} --peer-port {peer}
"""


def _until(terminal: int, words: bytes, seconds: float = 90) -> bytes:
    """What the terminal shows, up to ``words`` or its end."""
    shown, deadline = b"", time.monotonic() + seconds
    while words not in shown and time.monotonic() < deadline:
        if select.select([terminal], [], [], 1)[0]:
            try:
                piece = os.read(terminal, 65_536)
            except OSError:  # Linux's way to say that nobody holds the other end
                break
            shown += piece
    return shown


# The child calls exec at once, so that a fork beside threads is harmless.
@pytest.mark.filterwarnings("ignore:.*use of forkpty.*:DeprecationWarning")
def test_ctrl_c_below_make_ends_well(tmp_path: Path) -> None:
    """make itself must not see it: it would end with an error although the cluster stopped in order."""
    with PortBlock() as ports:
        settings = {"http": ports.first, "peer": ports.first + ports.count // 2}
        text = _MAKEFILE.format(python=sys.executable, data=tmp_path / "data", **settings)
        (tmp_path / "Makefile").write_text(text)
        environment = {**os.environ, "FLOODMARK_CONFIG": str(tmp_path / "config.toml")}
        child, terminal = pty.fork()
        if child == 0:
            os.execvpe("make", ["make", "-C", str(tmp_path), "run"], environment)
        shown = _until(terminal, b"Ctrl-C stops the cluster")
        assert b"Ctrl-C stops the cluster" in shown, shown.decode()
        os.write(terminal, b"\x03")
        shown = _until(terminal, b"stopped\r\n")
        _, status = os.waitpid(child, 0)
        os.close(terminal)
    assert os.waitstatus_to_exitcode(status) == 0, shown.decode()
