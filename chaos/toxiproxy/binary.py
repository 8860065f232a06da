"""Where Toxiproxy's server comes from: ``$TOXIPROXY_SERVER``, the path, or built once with Go.

A binary that we build carries its version in its name, so that another pinned version is built anew.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from chaos.toxiproxy.errors import ToxiproxyMissing

VERSION: Final = "v2.12.0"
MODULE: Final = f"github.com/Shopify/toxiproxy/v2/cmd/server@{VERSION}"
VARIABLE: Final = "TOXIPROXY_SERVER"
FIX: Final = (
    f"install Go 1.23 or newer, with which it is built once, or set {VARIABLE}=/path/to/toxiproxy-server"
)
_BUILD_TIMEOUT_S: Final = 600.0
_SOURCES: Final = Path(__file__).resolve().parents[2]


def find_binary(tools: Path | None = None) -> Path:
    """The server's executable; builds it when there is none, which takes about a minute the first time.

    ``tools`` is the folder for what we build, by default ``.tools`` beside the sources, or the user's cache
    where Floodmark is installed without them. Raises ``ToxiproxyMissing``.
    """
    if named := os.environ.get(VARIABLE):
        if not (Path(named).is_file() and os.access(named, os.X_OK)):
            raise ToxiproxyMissing(
                f"{VARIABLE}={named} is not an executable file", f"correct or unset {VARIABLE}"
            )
        return Path(named)
    if found := shutil.which("toxiproxy-server"):
        return Path(found)
    folder = tools or _tools_folder()
    built = folder / f"toxiproxy-server-{VERSION}"
    return built if built.exists() else _build(folder, built)


def _tools_folder() -> Path:
    if (_SOURCES / "pyproject.toml").exists():
        return _SOURCES / ".tools"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "floodmark" / "tools"


def _build(folder: Path, built: Path) -> Path:
    """Build into ``built``; whoever comes at the same time waits and finds it."""
    go = shutil.which("go")
    if go is None:
        raise ToxiproxyMissing("there is neither a toxiproxy-server nor Go on the path", FIX)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            _go_install(go, built)
    return built


def _go_install(go: str, built: Path) -> None:
    """Go calls every such binary ``server``: it is built aside and gets its own name once it is whole."""
    with tempfile.TemporaryDirectory(dir=built.parent) as aside:
        try:
            done = subprocess.run(  # noqa: S603 - the arguments are our own
                [go, "install", MODULE],
                env={**os.environ, "GOBIN": aside},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_BUILD_TIMEOUT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise ToxiproxyMissing(f"go install {MODULE} took over {_BUILD_TIMEOUT_S:.0f} s", FIX) from error
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise ToxiproxyMissing(f"go install {MODULE} failed: {last}", FIX)
        (Path(aside) / "server").replace(built)
