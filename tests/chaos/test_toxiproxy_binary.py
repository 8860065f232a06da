"""Where Toxiproxy's server is found, and what is said when it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from chaos.toxiproxy.binary import VERSION, find_binary
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


def test_without_server_and_go_the_fix_is_one_line(path: Path, tmp_path: Path) -> None:
    """The reason, and what to do."""
    with pytest.raises(ToxiproxyMissing) as caught:
        find_binary(tmp_path / "tools")
    assert caught.value.reason == "there is neither a toxiproxy-server nor Go on the path"
    assert "install Go" in caught.value.fix
    assert len(str(caught.value).splitlines()) == 1


def test_go_builds_it_once(path: Path, tmp_path: Path) -> None:
    """The result carries its version, nothing else stays behind, and the second time Go is not asked."""
    # A stand-in for the Go command: the real one takes a minute, and the next test file uses its result.
    _executable(path / "go", '#!/bin/sh\necho "#!/bin/sh" >"$GOBIN/server"\necho "$@" >>"$0.calls"\n')
    tools = tmp_path / "tools"
    built = find_binary(tools)
    assert built == find_binary(tools) == tools / f"toxiproxy-server-{VERSION}"
    calls = (path / "go.calls").read_text().splitlines()
    assert calls == [f"install github.com/Shopify/toxiproxy/v2/cmd/server@{VERSION}"]
    assert sorted(each.name for each in tools.iterdir()) == ["lock", built.name]


def test_a_build_that_fails_tells_the_last_that_go_said(path: Path, tmp_path: Path) -> None:
    """And leaves nothing that could be taken for a server."""
    _executable(path / "go", "#!/bin/sh\necho first >&2; echo 'no such host' >&2; exit 1\n")
    with pytest.raises(ToxiproxyMissing, match=r"go install .* failed: no such host"):
        find_binary(tmp_path / "tools")
    assert [each.name for each in (tmp_path / "tools").iterdir()] == ["lock"]
