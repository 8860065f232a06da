"""Every command with four principals: the tree is walked, and each has an expected exit code."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark
from tests.cli.test_tree import _ALL
from tests.security.secured import Secured, secured

LOCAL: Final = (
    *("cert", "chaos", "completion", "dev", "profile", "recover", "repair-votes", "start", "verify"),
    *("cluster init", "cluster roll"),
)
"""These work on this machine, and ask no node for anything in a user's name."""
EXPECTED: Final[list[tuple[str, str, int, int]]] = [
    ("acl add", "--user u --topic t --operation read", 1, 0),
    ("acl check", "--user u --topic t --operation read", 1, 0),
    ("acl list", "", 1, 0),
    ("acl remove", "--user u", 1, 0),
    ("cluster features", "", 1, 0),
    ("cluster health", "", 1, 0),
    ("cluster leaders", "", 0, 0),
    ("cluster rebalance", "--dry-run", 1, 0),
    ("cluster status", "", 1, 0),
    ("cluster upgrade", "--finalize 1", 1, 4),
    ("consume", "t -n 1", 0, 0),
    ("group delete", "g --yes", 1, 3),
    ("group describe", "g", 1, 3),
    ("group lag", "g", 1, 3),
    ("group list", "", 0, 0),
    ("group members", "g", 1, 3),
    ("group positions", "g t", 1, 0),
    ("group seek", "g --to earliest --topic t --dry-run", 1, 0),
    ("login", "nobody --password-stdin", 1, 1),
    ("node drain", "n9 --status", 1, 3),
    ("node forget", "n9", 1, 3),
    ("node list", "", 1, 0),
    ("node remove", "n9 --yes", 1, 3),
    ("node replace", "n9 n1 --yes", 1, 3),
    ("produce", "t 5", 1, 0),
    ("user create", "u", 1, 0),
    ("user list", "", 1, 0),
    ("user administrator", "u", 1, 0),
    ("user password", "u --remove", 1, 0),
    ("token create", "u", 1, 0),
    ("token list", "u", 1, 0),
    ("token revoke", "u none", 1, 3),
    ("user delete", "u --yes", 1, 0),
    ("queue create", "q --topic t", 1, 0),
    ("queue list", "", 0, 0),
    ("queue describe", "q", 1, 0),
    ("queue receive", "q", 1, 0),
    ("queue ack", "q nothing", 1, 1),
    ("queue nack", "q nothing", 1, 1),
    ("queue extend", "q nothing", 1, 1),
    ("queue reject", "q nothing", 1, 1),
    ("queue dead list", "q", 1, 0),
    ("queue dead show", "q 1-0-9", 1, 3),
    ("queue dead replay", "q --all", 1, 0),
    ("queue dead purge", "q --all --yes", 1, 0),
    ("queue purge", "q --yes", 1, 0),
    ("queue delete", "q --yes", 1, 0),
    ("quota set", "u --connections 5000", 1, 0),
    ("quota list", "", 1, 0),
    ("quota delete", "u", 1, 0),
    ("topic create", "new", 1, 0),
    ("topic alter", "t --retention 7d", 1, 0),
    ("topic describe", "t", 0, 0),
    ("topic describe", "hidden", 3, 0),
    ("topic list", "", 0, 0),
    ("topic moves", "", 1, 0),
    ("topic move", "t/0 n9", 1, 3),
    ("topic delete", "new --yes", 3, 0),
    ("whoami", "", 0, 0),
]
"""A command, its arguments, and how it ends for a reader of topic ``t`` and for an administrator, in turn.

For who says nothing, or something wrong, each ends with 1.
"""


@pytest.fixture
async def one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Secured]:
    """A node, a reader of ``t``, and a topic that it does not see."""
    monkeypatch.setenv("FLOODMARK_CONFIG", str(tmp_path / "config.toml"))
    async with secured(tmp_path / "nodes", 1) as found:
        for topic in ("t", "hidden"):
            await found.cluster.create(topic)
        await found.done("POST", "/v1/topics/t/records", {"value": 1})
        await found.user("reader")
        await found.allow("reader", "read", "t")
        yield found


def _run(one: Secured, who: str, command: str, arguments: str) -> Result:
    args = [*command.split(), *arguments.split(), "--server", one.cluster["n1"].url]
    variables = {"FLOODMARK_TOKEN": one.tokens[who]}
    return CliRunner().invoke(floodmark, args, input="a password\n", env=variables, prog_name="floodmark")


def test_every_command_has_an_expected_end() -> None:
    """Or asks no cluster."""
    asking = {path.removeprefix("floodmark ") for path in _ALL}
    local = {path for path in asking if any(f"{path} ".startswith(f"{each} ") for each in LOCAL)}
    assert {command for command, *_ in EXPECTED} == asking - local


async def test_each_of_four_principals_comes_to_the_expected_end(one: Secured) -> None:
    """Its exit code says which; what is refused is said in words."""
    wrong = []
    for command, arguments, reader, admin in EXPECTED:
        for who, expected in (("none", 1), ("wrong", 1), ("reader", reader), ("admin", admin)):
            ended = await asyncio.to_thread(_run, one, who, command, arguments)
            if ended.exit_code != expected or (expected == 1 and not ended.stderr.startswith("error: ")):
                wrong.append((who, command, arguments, ended.exit_code, ended.stderr))
    assert wrong == [], "\n".join(map(repr, wrong))
