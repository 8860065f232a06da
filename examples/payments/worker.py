"""Works off a queue of payments: as many workers as you like, each payment charged once.

    python examples/payments/worker.py http://localhost:7070 http://localhost:8099

It runs until it gets SIGTERM or SIGINT; then it finishes what it has begun, and gives back the rest.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys

import aiohttp
import floodmark
import msgspec
from floodmark.errors import InvalidRequest

QUEUE = "payments"
LOG = logging.getLogger("payments")


class Payment(msgspec.Struct):
    """What a record's value has to be. ``id``: a payment that comes twice is one payment."""

    id: str
    account: str
    cents: int


class BankFailed(Exception):
    """It may work later."""


async def charge(bank: aiohttp.ClientSession, job: floodmark.Job) -> None:
    """One payment.

    What will never work is rejected: it is a dead letter at once, with the reason. What may work later fails:
    the exception makes the queue deliver it again after a while, and a bank that fails all the time makes
    the queue pause. A record that is delivered twice does no harm, because the bank knows payments by id.
    """
    try:
        payment = msgspec.convert(job.json(), Payment)
    except (InvalidRequest, msgspec.ValidationError) as error:
        await job.reject(f"not a payment: {error}")
        return
    async with bank.post("/charges", json=msgspec.to_builtins(payment)) as answer:
        if answer.status == 402:
            await job.reject("the account has no money")
        elif answer.status != 201:
            raise BankFailed(f"the bank answers {answer.status}")
    LOG.info("charged %s: %d cents from %s", payment.id, payment.cents, payment.account)


async def main(server: str, bank_url: str) -> None:
    """Work until a signal comes."""
    async with (
        aiohttp.ClientSession(bank_url, timeout=aiohttp.ClientTimeout(total=30)) as bank,
        floodmark.Client(server) as client,
        client.queue(QUEUE) as queue,
    ):
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, queue.stop)
        await queue.run(lambda job: charge(bank, job), concurrency=8)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    asyncio.run(main(*sys.argv[1:3]))
