"""``floodmark acl``: entries in words, and what they come to."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark
from node.metadata.levels import QUEUES
from tests.http.conftest import Harness


@pytest.fixture(autouse=True)
def at_its_level(http: Harness) -> None:
    """Below it there are none."""
    http.cluster.level = QUEUES


async def acl(http: Harness, *args: str) -> Result:
    """One command, in a thread of its own."""
    command = ["acl", *args, "--server", http.url("")]
    return await asyncio.to_thread(CliRunner().invoke, floodmark, command, prog_name="floodmark")


async def entries(http: Harness) -> list[dict[str, object]]:
    """What is there."""
    async with http.session.get(http.url("/v1/acls")) as answer:
        found: list[dict[str, object]] = (await answer.json())["acls"]
        return found


@pytest.mark.parametrize(
    ("options", "expected", "words"),
    [
        (
            "--user alice --topic orders --operation read",
            ("alice", "topic", "orders", "literal", "read", True),
            "alice may read topic orders",
        ),
        (
            "--user billing --topic billing. --prefix --operation all",
            ("billing", "topic", "billing.", "prefix", "all", True),
            "billing may do everything with topics that begin with billing.",
        ),
        (
            "--user * --topic * --operation write --deny",
            ("*", "topic", "", "prefix", "write", False),
            "every user may not write every topic",
        ),
        (
            "--user anonymous --cluster --operation describe",
            ("anonymous", "cluster", "", "literal", "describe", True),
            "whoever is not authenticated may describe the cluster",
        ),
        (
            "--user a --group readers --operation read",
            ("a", "group", "readers", "literal", "read", True),
            "a may read group readers",
        ),
        (
            "--user a --stream user- --prefix --operation write",
            ("a", "stream", "user-", "prefix", "write", True),
            "a may write streams that begin with user-",
        ),
        (
            "--user a --queue jobs --operation read",
            ("a", "queue", "jobs", "literal", "read", True),
            "a may read queue jobs",
        ),
    ],
)
async def test_an_entry_is_added_and_said_in_words(
    http: Harness, options: str, expected: tuple[object, ...], words: str
) -> None:
    """What was said is what is there; said again it was so before, and that is no error."""
    added = await acl(http, "add", *options.split())
    assert (added.exit_code, added.stderr) == (0, f"{words}\n")
    (entry,) = await entries(http)
    fields = ("principal", "kind", "name", "pattern", "operation", "allow")
    assert tuple(entry[name] for name in fields) == expected
    again = await acl(http, "add", *options.split())
    assert (again.exit_code, again.stderr) == (0, f"{words}\nthat was so before\n")


async def test_entries_are_listed_and_removed_by_what_they_say(http: Harness) -> None:
    """All that match; none is no error, and no option at all is a mistake."""
    await acl(http, "add", "--user", "ann", "--topic", "t", "--operation", "read", "--operation", "write")
    await acl(http, "add", "--user", "bob", "--topic", "t", "--operation", "read", "--deny")
    listed = await acl(http, "list", "-o", "name")
    assert listed.stdout.splitlines() == [
        "ann may read topic t",
        "ann may write topic t",
        "bob may not read topic t",
    ]
    assert "bob" in (await acl(http, "list", "--deny")).stdout
    assert json.loads((await acl(http, "list", "--user", "zoe", "-o", "json")).stdout) == {"acls": []}
    removed = await acl(http, "remove", "--user", "ann", "--operation", "write")
    assert (removed.exit_code, removed.stderr) == (0, "removed: ann may write topic t\n")
    none = await acl(http, "remove", "--user", "ann", "--operation", "write")
    assert (none.exit_code, none.stderr) == (0, "there was no such entry\n")
    mistake = await acl(http, "remove")
    assert (mistake.exit_code, "Give at least one option" in mistake.stderr) == (2, True)
    assert len(await entries(http)) == 2


async def test_a_check_names_the_entry_that_decides(http: Harness) -> None:
    """Its exit code is for scripts."""
    asked = ("check", "--user", "ann", "--operation", "read", "--topic", "orders")
    no = await acl(http, *asked)
    assert (no.exit_code, no.stderr) == (1, "ann may not read topic orders\nbecause no entry allows it\n")
    await acl(http, "add", "--user", "ann", "--topic", "or", "--prefix", "--operation", "all")
    yes = await acl(http, *asked)
    assert yes.exit_code == 0
    assert yes.stderr.splitlines() == [
        "ann may read topic orders",
        "because this entry allows it: ann may do everything with topics that begin with or",
    ]
    document = json.loads((await acl(http, *asked, "-o", "json")).stdout)
    assert (document["allowed"], document["acl"]["operation"]) == (True, "all")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ("--operation read --topic t", "--user"),
        ("--user a --topic t", "--operation"),
        ("--user a --operation read", "on what?"),
        ("--user a --operation read --topic t --group g", "name one of"),
        ("--user a --operation read --topic t --cluster", "name one of"),
        ("--user a --operation read --prefix", "--prefix goes with"),
        ("--user a --operation read --cluster --prefix", "there is one cluster"),
        ("--user a --operation drop --topic t", "drop"),
    ],
)
async def test_a_slip_is_said_before_anything_is_asked(http: Harness, options: str, words: str) -> None:
    """As every command does, with 2."""
    slip = await acl(http, "add", *options.split())
    assert (slip.exit_code, words in slip.stderr) == (2, True), slip.stderr
    assert await entries(http) == []


async def test_the_node_says_what_is_wrong_with_a_name(http: Harness) -> None:
    """In its own words."""
    slip = await acl(http, "add", "--user", "a b", "--topic", "t", "--operation", "read")
    assert (slip.exit_code, "is not a user's name" in slip.stderr) == (1, True)
