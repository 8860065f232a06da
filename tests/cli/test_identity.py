"""Users, tokens and log-ins by the command line, against nodes that ask who somebody is."""

from __future__ import annotations

import asyncio
import json
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from cli import profile_store
from cli.exits import Failure
from cli.session import Session
from tests.cli.conftest import Invoke
from tests.node.test_users import PASSWORD, administrator
from tests.support.nodes import NodeCluster


def _process(*args: str, stdin: str = "") -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "cli.main", *args], input=stdin, stdout=subprocess.PIPE, text=True, check=False
    )
    return done.returncode, done.stdout


@pytest.fixture
def quiet_stdout() -> Iterator[None]:
    """Nodes of this process log to standard error: commands that run beside them have standard output."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("quiet_stdout")
async def test_a_person_logs_in_and_manages_users_and_tokens(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As an operator would, from the first administrator's token on."""
    async with NodeCluster.running(tmp_path, **{"http.authentication": "required"}) as cluster:
        root = await administrator(cluster)
        url = cluster["n1"].url

        def work() -> None:
            assert invoke("topic", "list", "--server", url).exit_code != 0
            monkeypatch.setenv("FLOODMARK_TOKEN", root)
            made = invoke(
                "user", "create", "ann", "--password-stdin", "--server", url, "-o", "name", stdin=PASSWORD
            )
            assert (made.exit_code, made.stdout) == (0, "ann\n"), made.output
            assert invoke("user", "create", "ann", "--server", url).exit_code == 4
            assert invoke("user", "administrator", "ann", "--server", url).exit_code == 0
            listed = json.loads(invoke("user", "list", "--server", url, "-o", "json").stdout)["users"]
            assert [(user["user"], user["administrator"]) for user in listed] == [
                ("admin", True),
                ("ann", True),
            ]
            monkeypatch.delenv("FLOODMARK_TOKEN")

            assert invoke("login", "ann", "--password-stdin", "--server", url, stdin=PASSWORD).exit_code != 0
            invoke("profile", "create", "here", url)
            wrong = invoke("login", "ann", "--password-stdin", stdin="a wrong password")
            assert wrong.exit_code != 0
            assert "user or the password is wrong" in wrong.stderr
            done = invoke("login", "ann", "--password-stdin", stdin=PASSWORD)
            assert done.exit_code == 0, (done.output, done.exception)
            assert "fmk_" not in done.output
            file = profile_store.path().parent / "tokens" / "here"
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            me = json.loads(invoke("whoami", "-o", "json").stdout)
            assert (me["principal"], me["administrator"]) == ("ann", True)
            assert invoke("topic", "create", "t").exit_code == 0
            # These two handle signals, which only a process's main thread can.
            assert _process("produce", "t", stdin='"hello"\n')[0] == 0
            assert "hello" in _process("consume", "t", "--count", "1")[1]

            token = invoke("token", "create", "ann", "--lifetime", "1h").stdout.strip().splitlines()[-1]
            assert token.startswith("fmk_")
            invoke("profile", "create", "other", url, "--use", "--token-command", f"echo {token}")
            me = json.loads(invoke("whoami", "-o", "json").stdout)
            assert me["credential"] == f"token {token[4:16]}"
            assert invoke("token", "list", "ann", "-o", "name").stdout.count("\n") == 2
            assert invoke("token", "revoke", "ann", token[4:16]).exit_code == 0
            assert invoke("whoami").exit_code != 0
            invoke("profile", "use", "here")
            assert invoke("user", "password", "ann", "--remove").exit_code == 0
            assert invoke("whoami").exit_code != 0, "the log-in ended with its password"
            monkeypatch.setenv("FLOODMARK_TOKEN", root)
            assert invoke("user", "delete", "ann", "--yes").exit_code == 0
            assert invoke("user", "delete", "ann", "--yes").exit_code == 3

        await asyncio.to_thread(work)


def test_a_token_goes_to_the_server_of_its_profile_alone(
    invoke: Invoke, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server that is named on the command line does not get it."""
    file = tmp_path / "token"
    invoke("profile", "create", "a", "http://a", "--token-file", str(file))
    assert Session().target().token == file
    assert Session(server="http://b").target().token is None
    assert Session(profile="a").target().token == file
    monkeypatch.setenv("FLOODMARK_SERVER", "http://c")
    assert Session().target().token is None
    monkeypatch.setenv("FLOODMARK_TOKEN", "fmk_x")
    assert Session().target().token == "fmk_x"
    assert Session(profile="a").target().token == "fmk_x"


def test_profiles_keep_their_tokens_sources(invoke: Invoke, tmp_path: Path) -> None:
    """Through other changes of the file; none where there is none."""
    both = invoke("profile", "create", "a", "http://a", "--token-file", "f", "--token-command", "c")
    assert both.exit_code == 2
    invoke("profile", "create", "a", "http://a", "--token-command", 'sh -c "echo \\"x\\""')
    invoke("profile", "create", "b", "http://b")
    invoke("profile", "use", "b")
    profiles = profile_store.load()
    token = profiles.token("a")
    assert callable(token)
    assert token() == "x"
    assert profiles.token("b") is None
    invoke("profile", "delete", "a")
    assert "token" not in profile_store.path().read_text()


@pytest.mark.parametrize("command", ["false", "/no/such/command", "sh -c 'exit 3'", "'unbalanced"])
def test_a_token_command_that_fails_is_said(command: str) -> None:
    source = profile_store.TokenSource(command=command)
    token = source.token()
    assert callable(token)
    with pytest.raises(Failure, match="token command"):
        token()


def test_a_token_file_that_others_can_read_is_refused(invoke: Invoke, tmp_path: Path) -> None:
    """Before anything is sent."""
    file = tmp_path / "token"
    file.write_text("fmk_x")
    file.chmod(0o644)
    invoke("profile", "create", "a", "http://127.0.0.1:1", "--token-file", str(file))
    refused = invoke("whoami")
    assert refused.exit_code != 0
    assert "chmod 600" in refused.stderr
