"""The payment worker of examples/: a poison pill, a slow call, a broken bank, a worker that is killed."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from floodmark import Breaker, Client, DeadLetter, QueueInfo

from local.ports import pick_ports
from tests.support.processes import ProcessCluster

EXAMPLE = Path(__file__).parents[2] / "examples" / "payments"
ACCOUNTS = [f"account-{number}" for number in range(8)]


class Example:
    """A node, a bank, and workers, each a process."""

    def __init__(self, cluster: ProcessCluster, client: Client, session: aiohttp.ClientSession) -> None:
        self.client = client
        self._server = cluster.urls[0]
        self._session = session
        self._bank = f"http://127.0.0.1:{pick_ports(1, first=8100)[0]}"
        self.processes: list[asyncio.subprocess.Process] = []

    async def start(self, program: str, *arguments: str) -> asyncio.subprocess.Process:
        """One of its programs."""
        command = (sys.executable, str(EXAMPLE / program), *arguments)
        process = await asyncio.create_subprocess_exec(*command)
        self.processes.append(process)
        return process

    async def open(self) -> None:
        """A queue, and a bank."""
        await self.client.topics.create("payments", partitions=2, replication_factor=1)
        await self.client.queues.put(
            "payments",
            "payments",
            ordering="key",
            visibility_timeout_s=1,
            max_deliveries=4,
            backoff_s=[0.3, 0.6],
            breaker=Breaker(failures=25, deliveries=6, window_ms=2_000, pause_ms=300),
        )
        await self.start("bank.py", self._bank.rpartition(":")[2])
        async with asyncio.timeout(20):
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    await self.charges()
                    return
                await asyncio.sleep(0.05)

    async def worker(self) -> asyncio.subprocess.Process:
        """One more."""
        return await self.start("worker.py", self._server, self._bank)

    async def pay(self, name: str, *accounts: str) -> None:
        """One payment of each."""
        async with self.client.producer("payments") as producer:
            payments = [{"id": f"{name}-{account}", "account": account, "cents": 5} for account in accounts]
            await (await producer.send_many(payments, keys=list(accounts)))

    async def charges(self) -> dict[str, Any]:
        """What the bank says."""
        async with self._session.get(f"{self._bank}/charges") as answer:
            found: dict[str, Any] = await answer.json()
            return found

    async def mode(self, mode: str) -> None:
        """The bank is ok, or broken."""
        async with self._session.put(f"{self._bank}/mode", data=mode) as answer:
            assert answer.status == 200

    async def until(self, condition: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Wait until the bank says so."""
        async with asyncio.timeout(30):
            while not condition(found := await self.charges()):  # noqa: ASYNC110 - of another process
                await asyncio.sleep(0.05)
        return found

    async def dead(self, count: int) -> list[DeadLetter]:
        """So many dead letters, once there are."""
        await self.until_queue(lambda queue: queue.dead >= count)
        return [each async for each in self.client.queues.dead("payments")]

    async def until_queue(self, condition: Callable[[QueueInfo], object]) -> QueueInfo:
        """Wait until the queue says so."""
        async with asyncio.timeout(30):
            while not condition(found := await self.client.queues.describe("payments")):  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        return found

    async def close(self) -> None:
        """End what runs."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.fixture
async def example(tmp_path: Path) -> AsyncIterator[Example]:
    """It runs, and no worker does."""
    async with (
        ProcessCluster.running(tmp_path, 1) as cluster,
        Client(cluster.urls[0]) as client,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
    ):
        found = Example(cluster, client, session)
        try:
            await found.open()
            yield found
        finally:
            await found.close()


@pytest.mark.long
async def test_each_payment_is_charged_once_whatever_goes_wrong(example: Example) -> None:
    """In order of each account; only what can never work is dead, and comes back when it can."""
    client = example.client
    await example.pay("first", *ACCOUNTS, "poor", "slow")
    await client.produce("payments", {"cents": "many"}, key=ACCOUNTS[0])
    await example.pay("second", *ACCOUNTS, "slow")
    doomed, other = await example.worker(), await example.worker()

    # A worker is killed in the middle of a slow charge: the other one does it, and all the rest.
    await example.until(lambda bank: "first-slow" in bank["asked"])
    doomed.kill()
    bank = await example.until(lambda bank: len(bank["charged"]) >= 2 * len(ACCOUNTS))
    reasons = {letter.reason for letter in await example.dead(2)}
    (pill,) = reasons - {"the account has no money"}
    assert pill.startswith("not a payment: "), "it held up nobody, not even its own account"

    # The bank breaks: the queue pauses, and nothing that can work later is dead.
    await example.mode("broken")
    await example.pay("third", *ACCOUNTS)
    info = await example.until_queue(lambda queue: queue.breaker != "closed")
    assert (info.dead, info.dying) == (2, 0)
    await example.mode("ok")
    bank = await example.until(lambda bank: len(bank["charged"]) == 3 * len(ACCOUNTS) + 2)

    # Each once, and each account's in order, the slow one's too.
    by_account = defaultdict(list)
    for payment in bank["charged"]:
        by_account[payment["account"]].append(payment["id"].partition("-")[0])
    assert by_account.pop("slow") == ["first", "second"]
    assert by_account == {account: ["first", "second", "third"] for account in ACCOUNTS}
    assert len(await example.dead(2)) == 2

    # One that is asked to end has finished what it has begun.
    other.send_signal(signal.SIGTERM)
    async with asyncio.timeout(20):
        assert await other.wait() == 0
    info = await client.queues.describe("payments")
    assert (info.depth, info.in_flight, info.lost) == (0, 0, 0)
