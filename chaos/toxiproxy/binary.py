"""Where Toxiproxy's server comes from: ``$TOXIPROXY_SERVER``, the path, or built once (build.py).

A binary that we build carries its version in its name, so that another pinned version is built again.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from chaos.toxiproxy.build import VERSION, build_server
from chaos.toxiproxy.errors import ToxiproxyMissing

VARIABLE: Final = "TOXIPROXY_SERVER"
_SOURCES: Final = Path(__file__).resolve().parents[2]


def find_binary(tools: Path | None = None, *, tell: Callable[[str], None] | None = None) -> Path:
    """The server's executable; builds it if there is none, which takes about a minute the first time.

    ``tools`` is the folder for what we build, by default ``.tools`` beside the sources, or the user's cache
    if Floodmark is installed without them. ``tell`` is called before long steps. Raises ``ToxiproxyMissing``.
    """
    if importlib.util.find_spec("toxiproxy") is None:
        raise ToxiproxyMissing(
            "the library that drives Toxiproxy is not installed", "pip install 'floodmark-server[chaos]'"
        )
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
    if not built.exists():
        _build_once(folder, built, tell or (lambda _: None))
    return built


def _tools_folder() -> Path:
    if (_SOURCES / "pyproject.toml").exists():
        return _SOURCES / ".tools"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "floodmark" / "tools"


def _build_once(folder: Path, built: Path, tell: Callable[[str], None]) -> None:
    """Build into ``built``; concurrent callers wait and then find it."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            build_server(built, tell)
