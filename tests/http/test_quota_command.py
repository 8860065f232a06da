"""``floodmark quota``, and the requests behind it."""

from __future__ import annotations

import asyncio
import json

import pytest
from click.testing import CliRunner, Result

from cli.main import floodmark
from node.metadata.levels import MEMBERSHIP, SECURITY
from tests.http.conftest import Harness


@pytest.fixture(autouse=True)
def at_its_level(http: Harness) -> None:
    """Below it there are none."""
    http.cluster.level = SECURITY


async def quota(http: Harness, *args: str) -> Result:
    """One command, in a thread of its own."""
    command = ["quota", *args, "--server", http.url("")]
    return await asyncio.to_thread(CliRunner().invoke, floodmark, command, prog_name="floodmark")


async def test_a_quota_is_set_listed_and_deleted(http: Harness) -> None:
    """Said in words, and in numbers to programs; set again, it is the new one alone."""
    first = await quota(http, "set", "ann", "--produce-bytes-per-s", "10MB", "--requests-per-s", "1.5")
    assert (first.exit_code, first.stderr) == (
        0,
        "ann may produce 10.0 MB/s, make 1.5 requests/s, at each node\n",
    )
    every = await quota(http, "set", "*", "--connections", "50", "--inflight-bytes", "1MiB", "-o", "json")
    assert json.loads(every.stdout) == {
        "principal": "*",
        "limits": {"connections": 50, "inflight_bytes": 1 << 20},
    }
    listed = json.loads((await quota(http, "list", "-o", "json")).stdout)
    assert listed["quotas"][1] == {
        "principal": "ann",
        "limits": {"produce_bytes_per_s": 10_000_000, "requests_per_s": 1.5},
    }
    partitions = await quota(http, "set", "ann", "--partition-changes-per-s", "20")
    assert partitions.stderr == "ann may create and delete 20 partitions/s, at each node\n"
    await quota(http, "set", "ann", "--fetch-bytes-per-s", "40MB")
    table = (await quota(http, "list")).stdout
    assert "40.0 MB" in table
    assert "10.0 MB" not in table
    gone = await quota(http, "delete", "ann")
    assert (gone.exit_code, gone.stderr) == (0, "ann has no quota of its own any more\n")
    assert (await quota(http, "list", "-o", "name")).stdout == "*\n"
    again = await quota(http, "delete", "ann")
    assert (again.exit_code == 0, "ann has no quota of its own" in again.stderr) == (False, True)


async def test_what_is_wrong_is_said_and_nothing_is_set(http: Harness) -> None:
    """By the command, or by the node in its words."""
    for args, words in (
        (("ann",), "limit what?"),
        (("ann", "--connections", "none"), "--connections"),
        (("ann", "--produce-bytes-per-s", "none"), "limit what?"),
        (("ann", "--produce-bytes-per-s", "5"), "produce_bytes_per_s is at least 1024"),
        (("a b", "--connections", "5"), "is not a user's name"),
        (("ann", "--connections", "0"), "connections"),
    ):
        slip = await quota(http, "set", *args)
        assert (slip.exit_code == 0, words in slip.stderr) == (False, True), slip.stderr
    assert json.loads((await quota(http, "list", "-o", "json")).stdout) == {"quotas": []}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("{}", 400),
        ('{"speed": 5}', 400),
        ('{"requests_per_s": "5"}', 400),
        ('{"requests_per_s": 1e400}', 400),
        ('{"requests_per_s": ' + "9" * 400 + "}", 400),
        ('{"connections": 1.5}', 400),
        ('{"connections": -1}', 400),
        ('{"connections": 9007199254740992}', 200),
    ],
)
async def test_no_body_breaks_anything(http: Harness, body: str, status: int) -> None:
    """However wrong."""
    answer = await http.call("PUT", "/v1/quotas/ann", data=body)
    assert answer.status == status, answer.body


async def test_below_its_level_there_are_none(http: Harness) -> None:
    """The refusal says which level it takes."""
    http.cluster.level = MEMBERSHIP
    slip = await quota(http, "set", "ann", "--connections", "5")
    assert slip.exit_code != 0
    assert "feature level 4" in slip.stderr
