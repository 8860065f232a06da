"""What requests cost in calls of the door and of the service, at the leader and by a follower."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from pathlib import Path
from types import CodeType, FrameType

from floodmark.format import batch_header

from tests.support.nodes import NodeCluster, TestNode

ROOMS = tuple(f"{Path(__file__).parents[2]}/node/{room}/" for room in ("http", "service"))
REQUESTS = 10
ROUNDS = 3
"""The least of them counts: an election in between costs requests more than any other."""
PERIODIC = ("HttpServer.", "_Runner.", "Connection.check", "Connection.held_up")
"""What the clock calls, and no request."""
AT_LEADER_MAX = 36
"""Who raises one of these tells in the commit what the calls buy."""
BY_FOLLOWER_MAX = 126
"""At both nodes, of a request that shares its batch with nobody's."""
PAST_THE_FAST_PATH_MAX = 108
READ_MAX = 104
_REQUEST = (
    b"POST /v1/topics/t/partitions/0/records HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Content-Type: application/octet-stream\r\nContent-Length: 1024\r\n\r\n" + bytes(1024)
)
_UNUSUAL = _REQUEST.replace(b"Host:", b"Accept-Language: en\r\nHost:")
"""A header that no plain request has."""
_READ = (
    b"GET /v1/topics/t/partitions/0/records?from=2 HTTP/1.1\r\nHost: 127.0.0.1\r\n"
    b"Accept: application/vnd.floodmark.batch;v=1\r\n\r\n"
)
_READS_HEADER = batch_header.decode_header.__code__


class _Calls:
    """Counts calls of these rooms' functions while it is entered."""

    def __init__(self) -> None:
        self._found: Counter[CodeType] = Counter()
        self.headers_read = 0
        """Of batches, by whatever room."""

    def __enter__(self) -> _Calls:
        self._before = sys.getprofile()
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.setprofile(self._before)

    def _called(self, frame: FrameType, event: str, _arg: object) -> None:
        code = frame.f_code
        if event == "call" and code is _READS_HEADER:
            self.headers_read += 1
        is_of_room = event == "call" and code.co_filename.startswith(ROOMS)
        if is_of_room and not code.co_qualname.startswith(PERIODIC):
            self._found[code] += 1

    @property
    def a_request(self) -> float:
        return sum(self._found.values()) / REQUESTS

    def __str__(self) -> str:
        most = [f"{count / REQUESTS:6.2f} {code.co_qualname}" for code, count in self._found.most_common(60)]
        return "\n".join([f"{self.a_request} calls a request, of", *most])


async def _work(node: TestNode, request: bytes = _REQUEST) -> _Calls:
    """Requests to a node, one after the other on one connection, after some that are not counted."""
    host, _, port = node.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))

    async def ask(count: int) -> None:
        for _ in range(count):
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = next(line for line in head.split(b"\r\n") if line.startswith(b"Content-Length"))
            await reader.readexactly(int(length.split(b":")[1]))

    try:
        await ask(5)
        rounds = []
        for _ in range(ROUNDS):
            with _Calls() as calls:
                await ask(REQUESTS)
            rounds.append(calls)
    finally:
        writer.close()
    return min(rounds, key=lambda calls: calls.a_request)


async def test_requests_cost_few_calls_at_the_leader_and_by_a_follower(tmp_path: Path) -> None:
    """What is checked for a request is checked once: each check is little, and all requests pay for it."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=3)
        partitions = {node: node.broker.partition("t", 0) for node in cluster.up}
        await cluster.until(lambda: any(each.leads_here for each in partitions.values()), "somebody leads")
        leader = next(node for node, each in partitions.items() if each.leads_here)
        at_leader = await _work(leader)
        assert at_leader.headers_read == 0, "who made a batch knows its header"
        assert 0 < at_leader.a_request <= AT_LEADER_MAX, str(at_leader)
        unusual = await _work(leader, _UNUSUAL)
        assert at_leader.a_request < unusual.a_request <= PAST_THE_FAST_PATH_MAX, str(unusual)
        read = await _work(leader, _READ)
        assert 0 < read.a_request <= READ_MAX, str(read)
        by_follower = await _work(next(node for node in cluster.up if node is not leader))
        assert by_follower.headers_read <= REQUESTS, "the leader alone reads it, of a batch that it is sent"
        assert at_leader.a_request < by_follower.a_request <= BY_FOLLOWER_MAX, str(by_follower)
