"""A program that processes a topic, for tests that kill it: ``python -m tests.process.doubling GROUP URL...``

It ends by itself only when it is fenced (status 3) or something fails. It prints the number of each partition
with the first record that it gets of it: then it has taken that one over.
"""

from __future__ import annotations

import asyncio
import sys

from floodmark import Client, ConsumedRecord, Output
from floodmark.errors import ProducerFenced
from floodmark.processor.options import Made

SOURCE, TARGET = "in", "out"
FENCED = 3
BATCH_BYTES = 1_500
"""So small that a run has many batches, and is killed between any two of them."""


def step(record: ConsumedRecord) -> Made:
    """None of every third number, the number and its double of every fifth, the number of the others."""
    number = record.json()
    if number % 3 == 0:
        return None
    made = Output(number, key=record.key)
    return [made, Output(2 * number)] if number % 5 == 0 else made


def outputs(number: int) -> list[int]:
    """The values that a step makes of a number."""
    if number % 3 == 0:
        return []
    return [number, 2 * number] if number % 5 == 0 else [number]


async def main(group: str, urls: list[str]) -> int:
    """Process until that fails."""
    begun = set()

    def said(record: ConsumedRecord) -> Made:
        if record.partition not in begun:
            begun.add(record.partition)
            print(record.partition, flush=True)  # noqa: T201 - whoever started it reads that
        return step(record)

    async with Client(urls, timeout_s=60, request_timeout_s=2) as client:
        try:
            await client.process(SOURCE, TARGET, group=group, step=said, batch_bytes=BATCH_BYTES)
        except ProducerFenced:
            return FENCED
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(sys.argv[1], sys.argv[2:])))
