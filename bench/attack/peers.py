"""Attacks on the peer port, without and with the cluster's secret."""

from __future__ import annotations

import asyncio
import itertools
import random
import struct
from collections.abc import Awaitable, Callable, Iterator

from bench.attack.attack import Attack, Target
from consensus.links.framing import BODY_BYTES_MAX, HEADER_BYTES_MAX
from consensus.links.handshake import (
    CHALLENGE_BYTES,
    PROOF_BYTES,
    WELCOME_BYTES,
    Dialing,
    HandshakeFailed,
    Identity,
)

_AT_ONCE = 60
_SENT_BYTES = 300_000
_CLUSTER = "dev"
_ANSWER_S = 5.0

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def attacks() -> Iterator[Attack]:
    """All of them."""
    yield Attack("peer port: hellos that stop half way", _on_all(_half_a_hello))
    yield Attack("peer port: proofs without the secret", _on_all(_guessed))
    yield Attack("peer port: invented names, with the secret", _on_all(_invented))


def _on_all(attack: Callable[[Target, str, int], Awaitable[str]]) -> Callable[[Target], Awaitable[None]]:
    """Repeat an attack at each node, many at once."""
    numbers = itertools.count()

    async def one(target: Target, node: str) -> None:
        while target.goes_on:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    target.answers[await attack(target, node, next(numbers))] += 1
            except (OSError, asyncio.IncompleteReadError, TimeoutError, HandshakeFailed) as error:
                target.answers[type(error).__name__] += 1
                await asyncio.sleep(0.01)

    async def run(target: Target) -> None:
        await asyncio.gather(*(one(target, node) for node in target.peers for _ in range(_AT_ONCE)))

    return run


async def _half_a_hello(target: Target, node: str, number: int) -> str:
    """Until the node closes it."""
    reader, writer = await asyncio.open_connection(*target.peers[node])
    try:
        writer.write(_dialing(node, number, b"no secret").hello[: random.randint(1, 800)])
        await reader.read(1)
        return "closed"
    finally:
        writer.transport.abort()


async def _guessed(target: Target, node: str, number: int) -> str:
    """A whole handshake with another secret."""
    reader, writer = await asyncio.open_connection(*target.peers[node])
    try:
        dialing = _dialing(node, number, b"another secret")
        writer.write(dialing.hello)
        await reader.readexactly(CHALLENGE_BYTES)
        writer.write(random.randbytes(PROOF_BYTES))
        return "welcome" if await reader.read(1) else "closed"
    finally:
        writer.transport.abort()


async def _invented(target: Target, node: str, number: int) -> str:
    """An unknown node name that announces the largest possible packet and sends a part of it."""
    reader, writer = await asyncio.open_connection(*target.peers[node])
    try:
        dialing = _dialing(node, number, target.secret)
        writer.write(dialing.hello)
        writer.write(dialing.answer(await reader.readexactly(CHALLENGE_BYTES)))
        dialing.check(await reader.readexactly(WELCOME_BYTES))
        writer.write(struct.pack("<II", HEADER_BYTES_MAX, BODY_BYTES_MAX) + bytes(_SENT_BYTES))
        await reader.read(1)
        return "told who is there, then closed"
    finally:
        writer.transport.abort()


def _dialing(node: str, number: int, secret: bytes) -> Dialing:
    identity = Identity(cluster_id=_CLUSTER, node_id=f"x{number}", incarnation=f"i{number}", secret=secret)
    return Dialing(identity, node, 1)
