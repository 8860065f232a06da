"""The example of a door: it imports the service layer alone, and serves a real node's records."""

from __future__ import annotations

import ast
import asyncio
import importlib.util
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType

from floodmark.errors import Forbidden

from node.http.context import CONTEXT
from node.service.policy import AllowAll, Operation, Resource
from node.service.request_context import RequestContext
from node.service.service import Service
from tests.support.nodes import NodeCluster, TestNode

FILE = Path(__file__).parents[2] / "examples" / "line_door.py"


def _example() -> ModuleType:
    spec = importlib.util.spec_from_file_location("line_door", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["line_door"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


line_door = _example()


class Terminal:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self.writer = reader, writer

    async def ask(self, command: str) -> list[str]:
        """The lines of the answer."""
        self.writer.write(command.encode() + b"\n")
        lines: list[str] = []
        async with asyncio.timeout(20):
            while not lines or not lines[-1].startswith(("OK ", "END ", "ERR ")):
                lines.append((await self._reader.readline()).decode().rstrip("\n"))
        return lines


@asynccontextmanager
async def terminal(service: Service) -> AsyncIterator[Terminal]:
    """A client of a door of ``service``."""
    door = line_door.LineDoor(service)
    reader, writer = await asyncio.open_connection(*await door.start("127.0.0.1", 0))
    try:
        yield Terminal(reader, writer)
    finally:
        writer.close()
        door.stop()


def _service(node: TestNode) -> Service:
    return node.running.app[CONTEXT].service


def test_it_knows_the_service_layer_and_nothing_else_of_a_node() -> None:
    """What a door needs is there: not a line of another room."""
    tree = ast.walk(ast.parse(FILE.read_text()))
    rooms = {item.module or "" for item in tree if isinstance(item, ast.ImportFrom)}
    assert {room for room in rooms if not room.startswith(("floodmark.", "node.service"))} == {"__future__"}


async def test_records_go_in_and_out_at_every_node(tmp_path: Path) -> None:
    """By the leader and by others, and HTTP shows the same records; positions mean what they mean there."""
    async with NodeCluster.running(tmp_path) as cluster:
        await cluster.create("t", replicas=2)
        for number, node in enumerate(cluster.up):
            async with terminal(_service(node)) as line:
                assert await line.ask(f"PRODUCE t 0 a value of {node.node_id}") == [f"OK {number}"]
                assert (await line.ask("FETCH t 0 earliest"))[number:] == [
                    f"{number} a value of {node.node_id}",
                    f"END {number + 1}",
                ]
                assert await line.ask("FETCH t 0 latest") == [f"END {number + 1}"]
        async with cluster.session.get(
            node.url + "/v1/topics/t/partitions/0/records", headers={"Accept": "application/x-ndjson"}
        ) as answer:
            assert (await answer.read()).count(b"\n") == 3


async def test_what_is_refused_says_why_and_the_connection_goes_on(tmp_path: Path) -> None:
    """Errors are those of every door, with their codes; only a line without an end ends it."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("t")
        async with terminal(_service(cluster["n1"])) as line:
            for command, code in (
                ("FETCH t 0 7", "offset_past_end"),
                ("FETCH t 0 soon", "invalid_request"),
                ("FETCH t 9 0", "unknown_partition"),
                ("PRODUCE missing 0 v", "unknown_topic"),
                ("PRODUCE ../t 0 v", "invalid_name"),
                ("PRODUCE t one v", "invalid_request"),
                ("HELLO", "invalid_request"),
                ("PRODUCE t 0 " + "x" * (70 << 10), "invalid_request"),
            ):
                (answer,) = await line.ask(command)
                assert answer.split(" ")[:2] == ["ERR", code], answer
                assert "\\n" not in answer


class OnlyReads(AllowAll):
    """A policy."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []

    def authorize(self, context: RequestContext, operation: Operation, resource: Resource) -> None:
        """Nobody may write."""
        self.asked.append((context.protocol, f"{operation} {resource.kind}:{resource.name}"))
        if operation is Operation.WRITE:
            raise Forbidden("this cluster is for reading")


async def test_a_policy_judges_what_comes_through_it(tmp_path: Path) -> None:
    """A door cannot forget it: the service asks."""
    async with NodeCluster.running(tmp_path, 1) as cluster:
        await cluster.create("t")
        policy = OnlyReads()
        service = _service(cluster["n1"])
        service.policy = policy
        async with terminal(service) as line:
            assert (await line.ask("PRODUCE t 0 v"))[0].startswith("ERR forbidden ")
            assert await line.ask("FETCH t 0 0") == ["END 0"]
        assert policy.asked[0] == ("line", "write topic:t")
        assert ("line", "read topic:t") in policy.asked
