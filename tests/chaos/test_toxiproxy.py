"""The real Toxiproxy server, through our control of it."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.toxiproxy.control import Toxic
from chaos.toxiproxy.errors import ToxiproxyFailed
from chaos.toxiproxy.server import ToxiproxyServer

BLACK_HOLE = Toxic("timeout", "upstream", {"timeout": 0})


def test_toxics_are_put_on_and_taken_off(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """By name, twice the same kind too; taking off what is gone is fine."""
    with ToxiproxyServer(tmp_path / "log", binary=toxiproxy_binary) as toxiproxy:
        control = toxiproxy.control
        control.create("a", "127.0.0.1:9")
        control.add("a", "one", BLACK_HOLE)
        control.add("a", "two", BLACK_HOLE)
        assert control.toxics("a") == {"one": BLACK_HOLE, "two": BLACK_HOLE}
        control.remove("a", "one")
        control.remove("a", "one")
        assert list(control.toxics("a")) == ["two"]


def test_what_the_server_refuses_is_an_error(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """No call fails in silence."""
    with ToxiproxyServer(tmp_path / "log", binary=toxiproxy_binary) as toxiproxy:
        control = toxiproxy.control
        control.create("a", "127.0.0.1:9")
        control.add("a", "one", BLACK_HOLE)
        for wrong in (
            lambda: control.create("a", "127.0.0.1:9"),
            lambda: control.create("b", ""),
            lambda: control.add("a", "one", BLACK_HOLE),
            lambda: control.add("a", "two", Toxic("nonsense", "upstream")),
            lambda: control.add("nobody", "one", BLACK_HOLE),
        ):
            with pytest.raises(ToxiproxyFailed):
                wrong()


def test_two_servers_do_not_get_mixed_up(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Each control speaks to its own, in whatever order they are used; a server that is gone is an error."""
    with ToxiproxyServer(tmp_path / "one", binary=toxiproxy_binary) as one:
        with ToxiproxyServer(tmp_path / "two", binary=toxiproxy_binary) as two:
            one.control.create("a", "127.0.0.1:9")
            two.control.create("b", "127.0.0.1:9")
            one.control.add("a", "x", BLACK_HOLE)
            two.control.add("b", "y", BLACK_HOLE)
            assert [*one.control.toxics("a"), *two.control.toxics("b")] == ["x", "y"]
        with pytest.raises(ToxiproxyFailed):
            two.control.toxics("b")
        assert list(one.control.toxics("a")) == ["x"]


def test_a_binary_that_does_not_start_is_told(tmp_path: Path) -> None:
    """With where to read why."""
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\necho no; exit 1\n")
    broken.chmod(0o755)
    with pytest.raises(ToxiproxyFailed, match=r"broken does not start; see .*/log"):
        ToxiproxyServer(tmp_path / "log", binary=broken)
    assert "no" in (tmp_path / "log").read_text()


def test_the_server_does_not_outlive_us(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """Also when we are killed: the pipe that it holds as stdout ends with its last holder."""
    code = (
        "import os, pathlib, sys; from chaos.toxiproxy.server import ToxiproxyServer;"
        "log, binary = map(pathlib.Path, sys.argv[1:]);"
        "server = ToxiproxyServer(log, binary=binary); print(server.control.version(), flush=True);"
        "os.kill(os.getpid(), 9)"
    )
    log = tmp_path / "log"
    ended = tmp_path / "ended"
    wrapper = tmp_path / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec 9>"{ended}.lock"; flock 9\nexec "{toxiproxy_binary}" "$@"\n')
    wrapper.chmod(0o755)
    done = subprocess.run(
        [sys.executable, "-c", code, log, wrapper], capture_output=True, text=True, check=False
    )
    assert done.returncode == -9
    assert "version" in done.stdout
    # The server holds the lock for as long as it lives.
    subprocess.run(["flock", "-w", "30", f"{ended}.lock", "true"], check=True)


def test_toxics_are_taken_off_in_any_order(toxiproxy_binary: Path, tmp_path: Path) -> None:
    """The server lives when an earlier toxic goes first while closed connections linger at a later one."""
    with (
        ToxiproxyServer(tmp_path / "log", binary=toxiproxy_binary) as toxiproxy,
        socket.create_server(("127.0.0.1", 0)) as server,
    ):
        control = toxiproxy.control
        host, port = control.create("a", f"127.0.0.1:{server.getsockname()[1]}").split(":")
        with socket.create_connection((host, int(port))) as client:
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"before")
                assert accepted.recv(100) == b"before"
                control.add("a", "hole", BLACK_HOLE)
                control.add("a", "slow", Toxic("slow_close", "upstream", {"delay": 60_000}))
                client.sendall(b"swallowed")
                control.remove("a", "hole")
                assert list(control.toxics("a")) == ["slow"]
                control.remove("a", "slow")
                control.add("a", "next", BLACK_HOLE)
                control.remove("a", "next")
                assert control.toxics("a") == {}
                accepted.settimeout(30)
                assert accepted.recv(100) == b"", "a connection with a hole in it goes on"
        with socket.create_connection((host, int(port))) as client:
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"after")
                assert accepted.recv(100) == b"after"
