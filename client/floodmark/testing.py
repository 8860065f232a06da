"""A real cluster for the tests of your own application.

It runs ``floodmark dev`` with its data in a temporary folder, so the server (``floodmark-server``)
must be installed: beside your tests, or anywhere on the path. With pytest::

    @pytest.fixture(scope="session")
    def floodmark_urls():
        with floodmark.testing.local_cluster(nodes=1) as urls:
            yield urls
"""

from __future__ import annotations

import contextlib
import random
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from floodmark.errors import TransportError

#: Below the range from which the operating system takes the ports of outgoing connections. Ports that are
#: taken are passed over.
_PORTS: Final = range(20_000, 31_000)
_STOP_TIMEOUT_S: Final = 20.0
_URL: Final = re.compile(r"https?://\S+")


@contextlib.contextmanager
def local_cluster(
    nodes: int = 1, *, command: str | None = None, timeout_s: float = 60.0
) -> Iterator[list[str]]:
    """Start a cluster on loopback, give the URLs of its nodes once all of them serve, and stop it at the end.

    ``command`` is the ``floodmark`` executable, by default the one of this environment or on the path. Raises
    ``TransportError`` when the cluster does not serve within ``timeout_s``, with the last that it said.
    """
    port = random.SystemRandom().choice(_PORTS)
    arguments = ["dev", "--temp", "--no-profile", "-n", str(nodes)]
    arguments += ["--http-port", str(port), "--peer-port", str(port + 1000)]
    process = subprocess.Popen(  # noqa: S603 - the arguments are our own
        [command or _find_command(), *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    listener = _Listener(process.stderr)
    try:
        yield listener.wait_urls(timeout_s)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        listener.join()


class _Listener:
    """Reads what the command says until it ends, so that it never blocks, and notes when it is ready."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._said: deque[str] = deque(maxlen=30)
        self._urls: list[str] = []
        self._decided = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="floodmark-dev", daemon=True)
        self._thread.start()

    def wait_urls(self, timeout_s: float) -> list[str]:
        """The URLs of the line that says ``ready:``."""
        self._decided.wait(timeout_s)
        if not self._urls:
            raise TransportError("the cluster does not serve; it said:\n" + "".join(self._said), sent=False)
        return list(self._urls)

    def join(self) -> None:
        """Wait until the command has said its last."""
        self._thread.join(_STOP_TIMEOUT_S)
        self._stream.close()

    def _listen(self) -> None:
        for line in self._stream:
            self._said.append(line)
            if line.startswith("ready:"):
                self._urls = _URL.findall(line)
                self._decided.set()
        self._decided.set()


def _find_command() -> str:
    beside = Path(sys.executable).parent / "floodmark"
    found = str(beside) if beside.exists() else shutil.which("floodmark")
    if found is None:
        raise TransportError(
            "the command 'floodmark' is not installed: pip install floodmark-server", sent=False
        )
    return found
