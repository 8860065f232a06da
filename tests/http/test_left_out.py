"""A partition that cannot be asked is left out of a read of its topic, and every form of answer says so."""

from __future__ import annotations

import json

import msgpack
import pytest

from tests.http.conftest import Harness

ALL = "/v1/topics/t/records"
NODES = ("n1", "n2")


@pytest.fixture
def node_count() -> int:
    """Partition p is led by node p + 1, and partition 2 by none."""
    return 2


async def filled(http: Harness) -> None:
    """A record in each of three partitions, the last of which has lost its leader."""
    await http.make_topic(partitions=3)
    http.cluster.logs["t", 2].move("n1")
    for number in range(3):
        record = {"value": number, "partition": number}
        assert (await http.call("POST", ALL, json=record)).status == 200
    http.cluster.logs["t", 2].move(None)


async def test_a_page_names_it_and_the_cursor_goes_on_there(http: Harness) -> None:
    """As JSON and as MessagePack; once it has a leader its records come, and nothing is left out."""
    await filled(http)
    for node in NODES:
        page = (await http.call("GET", ALL, node=node)).json
        assert sorted(record["value"] for record in page["records"]) == [0, 1]
        assert page["left_out"] == [2]
        packed = await http.call("GET", ALL, node=node, headers={"Accept": "application/vnd.msgpack"})
        assert msgpack.unpackb(packed.body)["left_out"] == [2]
        http.cluster.logs["t", 2].move("n2")
        rest = (await http.call("GET", f"{ALL}?cursor={page['cursor']}", node=node)).json
        assert [record["value"] for record in rest["records"]] == [2]
        assert "left_out" not in rest
        http.cluster.logs["t", 2].move(None)


async def test_lines_end_with_what_is_missing_and_are_broken_off(http: Harness) -> None:
    """The last line is the error with its partition, and the answer's end is missing: it is not complete."""
    await filled(http)
    for node in NODES:
        head = f"GET {ALL} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        head += "Accept: application/x-ndjson\r\n\r\n"
        answer = await http.raw(head.encode(), node=node)
        assert answer.startswith(b"HTTP/1.1 200")
        assert not answer.endswith(b"0\r\n\r\n")
        rows = [json.loads(line) for line in answer.splitlines() if line.startswith(b"{")]
        assert sorted(row["value"] for row in rows[:-1]) == [0, 1]
        assert rows[-1]["error"]["code"] == "unavailable"
        assert rows[-1]["error"]["partition"] == 2
        http.cluster.logs["t", 2].move("n2")
        whole = await http.raw(head.encode(), node=node)
        assert whole.endswith(b"0\r\n\r\n")
        assert b"error" not in whole
        http.cluster.logs["t", 2].move(None)
