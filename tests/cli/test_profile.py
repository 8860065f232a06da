"""Profiles: the file, and which cluster a command talks to."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from cli import profile_store
from cli.profile_store import NO_FILES, Profiles
from cli.session import DEFAULT_SERVER, Session
from tests.cli.conftest import Invoke
from tests.support.http_certificates import TestAuthority


def test_the_first_profile_is_used_and_others_only_when_asked(invoke: Invoke) -> None:
    """A name made later does not turn commands to another cluster by itself."""
    invoke("profile", "create", "a", "http://a:7070/")
    invoke("profile", "create", "b", "b:7070")
    listed = json.loads(invoke("profile", "list", "-o", "json").stdout)
    assert listed == {
        "profiles": [
            {"name": "a", "server": "http://a:7070", "current": True},
            {"name": "b", "server": "http://b:7070", "current": False},
        ]
    }
    assert invoke("profile", "use", "b").exit_code == 0
    assert invoke("profile", "show", "-o", "name").stdout == "b\n"


def test_flag_over_variable_over_profile_over_default(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest word wins."""
    assert Session().target().url == DEFAULT_SERVER
    invoke("profile", "create", "a", "http://a")
    invoke("profile", "create", "b", "http://b")
    assert Session().target().url == "http://a"
    assert Session(profile="b").target().url == "http://b"
    assert Session(server="http://c", profile="b").target().url == "http://c"
    # Nothing listens on port 1 of loopback, and the message names what was tried.
    monkeypatch.setenv("FLOODMARK_SERVER", "http://127.0.0.1:1")
    assert "127.0.0.1:1" in invoke("node", "list").stderr
    assert "127.0.0.2:1" in invoke("node", "list", "--server", "127.0.0.2:1").stderr
    assert "127.0.0.2:1" in invoke("--server", "127.0.0.2:1", "node", "list").stderr
    assert Session(profile="b").target().url == "http://b"


def test_profiles_that_are_not_there(invoke: Invoke) -> None:
    """Exit code 3, and the names that exist."""
    invoke("profile", "create", "a", "http://a")
    for command in (["use", "x"], ["show", "x"], ["delete", "x"]):
        result = invoke("profile", *command)
        assert (result.exit_code, result.stdout) == (3, "")
        assert result.stderr == "error: there is no profile 'x'\nhint: known profiles: a\n"
    assert invoke("--profile", "x", "node", "list").exit_code == 3


def test_a_profile_is_not_overwritten_by_accident(invoke: Invoke) -> None:
    """Exit code 4, unless --replace says so."""
    invoke("profile", "create", "a", "http://a")
    assert invoke("profile", "create", "a", "http://other").exit_code == 4
    assert Session().target().url == "http://a"
    assert invoke("profile", "create", "a", "http://other", "--replace").exit_code == 0
    assert Session().target().url == "http://other"


def test_a_deleted_profile_is_not_in_use_any_more(invoke: Invoke) -> None:
    """Commands fall back to the default rather than failing for ever."""
    invoke("profile", "create", "a", "http://a")
    assert invoke("profile", "delete", "a", "-o", "name").stdout == "a\n"
    assert Session().target().url == DEFAULT_SERVER


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ä"])
def test_names_stay_plain(invoke: Invoke, name: str) -> None:
    """Usage error."""
    assert invoke("profile", "create", name, "http://a").exit_code == 2


def test_a_damaged_file_is_named(invoke: Invoke) -> None:
    """One line, with the path, and no traceback."""
    profile_store.path().parent.mkdir(parents=True)
    profile_store.path().write_text("current = [")
    result = invoke("profile", "list")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"error: {profile_store.path()}: not a profiles file: ")


def test_the_file_is_replaced_in_one_step(
    invoke: Invoke, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """When writing fails, the old file stands and nothing is left beside it."""
    profile_store.save(Profiles({"a": "http://a"}, "a"))

    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    result = invoke("profile", "create", "b", "http://b")
    assert (result.exit_code, result.stderr) == (1, "error: No space left on device\n")
    assert profile_store.load() == Profiles({"a": "http://a"}, "a")
    assert [file.name for file in profile_store.path().parent.iterdir()] == ["config.toml"]


def test_a_profile_keeps_the_files_of_tls(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Options go before variables, those before the profile's; a server that is named gets none of them."""
    made = TestAuthority(tmp_path)
    ann, bob = made.user("ann"), made.user("bob")
    files = ("--ca-file", str(made.ca), "--cert", str(ann.cert), "--cert-key", str(ann.key))
    assert invoke("profile", "create", "a", "n1:7070", *files).exit_code == 0
    target = Session().target()
    assert (target.url, target.files.ca_file) == ("https://n1:7070", str(made.ca))
    assert (target.files.cert, target.files.key) == (str(ann.cert), str(ann.key))
    assert json.loads(invoke("profile", "show", "-o", "json").stdout)["ca_file"] == str(made.ca)
    assert Session(server="https://n2").target().files == NO_FILES
    monkeypatch.setenv("FLOODMARK_CERT", str(bob.cert))
    monkeypatch.setenv("FLOODMARK_CERT_KEY", str(bob.key))
    assert Session().target().files.cert == str(bob.cert)
    assert Session().target().files.ca_file == str(made.ca), "the profile's, where nothing else says so"
    assert Session(cert="c", cert_key="k").target().files.cert == "c"
    monkeypatch.delenv("FLOODMARK_CERT")
    monkeypatch.delenv("FLOODMARK_CERT_KEY")
    wrong = invoke("profile", "create", "b", "https://n1", "--ca-file", str(tmp_path / "none"))
    assert (wrong.exit_code != 0, "No such file" in wrong.stderr) == (True, True)
    no_cert = invoke("node", "list", "--server", "https://127.0.0.1:1", "--cert-key", str(ann.key))
    assert "--cert-key needs --cert" in no_cert.stderr
    plain = invoke("node", "list", "--server", "http://127.0.0.1:1", "--ca-file", str(made.ca))
    assert "does not use TLS" in plain.stderr
