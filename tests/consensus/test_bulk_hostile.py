"""Bulk connections under attack, and under chance: nothing is held without bound, nothing is mixed up."""

from __future__ import annotations

import asyncio
import contextlib
import random
import tracemalloc

import pytest

from consensus.links.bulk_packets import (
    ENVELOPE_BYTES_MAX,
    PIECE_BYTES,
    Arriving,
    Kind,
    Outcome,
    pack_start,
    pack_word,
    unpack,
)
from consensus.links.bulk_types import Answer, Served
from consensus.links.framing import FramingError, pack_prefix
from consensus.links.handshake import CHALLENGE_BYTES, WELCOME_BYTES, Dialing, Identity
from consensus.links.seal import MARK_BYTES, Seal
from consensus.links.send_queue import WINDOW_BYTES, Outgoing, SendQueue
from tests.consensus.link_nodes import SECRET, LinkNode, closed, joined, raw_link


@pytest.fixture
def seed() -> int:
    """Printed, so that a failure can be repeated."""
    found = random.SystemRandom().randrange(1 << 32)
    print(f"seed {found}")  # noqa: T201
    return found


class _Attacker:
    """A node that knows the secret and sends what it wants on a bulk connection."""

    def __init__(self, node: LinkNode) -> None:
        self._node = node

    async def connect(self) -> None:
        """The link that has to stand first, then the bulk connection."""
        process = b"attacker process"
        _, self._link, _ = await raw_link(self._node, "m", epoch=1, process=process)
        me = Identity(cluster_id="c1", node_id="m", incarnation="x", secret=SECRET, process=process)
        dialing = Dialing(me, self._node.node_id, 2, bulk=True)
        self.reader, self.writer = await asyncio.open_connection(*self._node.address)
        self.writer.write(dialing.hello)
        self.writer.write(dialing.answer(await self.reader.readexactly(CHALLENGE_BYTES)))
        dialing.check(await self.reader.readexactly(WELCOME_BYTES))
        self._seal = Seal(dialing.key)
        self.key = dialing.key

    def send(self, header: bytes, body: bytes = b"") -> None:
        """A packet with a true mark."""
        head = pack_prefix(len(header), len(body)) + header
        self.writer.write(head + body + self._seal.mark(head, (body,), len(body)))

    def close(self) -> None:
        self.writer.close()
        self._link.close()


async def _echo(_peer: str, envelope: bytes, raw: bytes, _timeout_s: float) -> Served:
    return Served(failed=False, envelope=envelope, raw=raw)


async def _never(_peer: str, _envelope: bytes, _raw: bytes, _timeout_s: float) -> Served:
    await asyncio.Event().wait()
    raise AssertionError


_SIZES = [0, 1, 4096, 5000, PIECE_BYTES, PIECE_BYTES + 1, 200_000, 1 << 20]


def _request(number: int, envelope: bytes = b"x", *, of: int | None = None, raw: int = 0) -> bytes:
    size = len(envelope) if of is None else of
    return pack_start(Kind.REQUEST, number, 60_000, size, raw) + envelope


_BREAKS = {
    "an unknown kind": [pack_word(Kind.PING, 0)[1:] + b"\x63"],
    "a header cut short": [b"\x01\x00"],
    "a piece of nothing": [pack_word(Kind.REQUEST_PIECE, 1), _request(1), _request(1)],
    "the same number twice": [_request(1), _request(1)],
    "an answer to nothing": [pack_start(Kind.ANSWER, 7, Outcome.DONE, 0, 0)],
    "an answer of no outcome": [pack_start(Kind.ANSWER, 7, 99, 0, 0)],
    "room for nothing": [pack_word(Kind.FREED, 1)],
    "an envelope above its cap": [_request(1, of=ENVELOPE_BYTES_MAX + 1)],
    "more than was announced": [_request(1, b"xx", of=1)],
    "less than a piece": [_request(1, b"x", of=5), pack_word(Kind.REQUEST_PIECE, 1)],
    "a word with a piece": [pack_word(Kind.CANCEL, 1) + b"x"],
    "more than the window": [_request(number, b"x", of=1, raw=WINDOW_BYTES // 2) for number in range(1, 4)],
}


@pytest.mark.parametrize("how", _BREAKS)
async def test_what_no_sound_peer_sends_ends_the_bulk_connection_alone(how: str) -> None:
    """Others' requests go on, and so do the link's messages; nothing is left of the attacker's."""
    async with joined() as (a, b):
        b.links.bulk.serve = _never
        attacker = _Attacker(b)
        await attacker.connect()
        for header in _BREAKS[how]:
            attacker.send(header)
        await closed(attacker.reader)
        assert not b.links.bulk.of("m")
        assert b.links.bulk.budget.used == 0
        b.links.bulk.serve = _echo
        assert await a.links.bulk.ask("b", b"y", timeout_s=60) == Answer(Outcome.DONE, b"y", b"")
        attacker.close()


async def test_announced_sizes_allocate_nothing_and_requests_are_counted() -> None:
    """A thousand requests that announce 30 KiB each and bring nothing hold no such memory."""
    async with joined() as (_, b):
        b.links.bulk.serve = _never
        attacker = _Attacker(b)
        await attacker.connect()
        tracemalloc.start()
        for number in range(1, 1001):
            attacker.send(_request(number, b"x", of=1, raw=30 << 10))
        attacker.send(pack_word(Kind.PING, 0))
        async with asyncio.timeout(60):
            await attacker.reader.readexactly(8)
            while b.links.bulk.of("m")[0].serving < 1000:  # noqa: ASYNC110 - a counter, no event
                await asyncio.sleep(0.01)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 10 << 20
        attacker.close()


async def test_a_packet_that_comes_back_to_its_sender_is_refused() -> None:
    """Each direction has a key of its own: the second packet of a node is no second packet to it."""

    async def large(_peer: str, _envelope: bytes, _raw: bytes, _timeout_s: float) -> Served:
        return Served(failed=False, envelope=b"", raw=bytes(PIECE_BYTES + 1))

    async with joined() as (_, b):
        b.links.bulk.serve = large
        attacker = _Attacker(b)
        await attacker.connect()
        attacker.send(_request(1))
        await attacker.reader.readexactly(8 + 21 + PIECE_BYTES + MARK_BYTES)
        second = await attacker.reader.readexactly(8 + 9 + 1 + MARK_BYTES)
        assert second[8] == Kind.ANSWER_PIECE
        attacker.writer.write(second)
        assert await closed(attacker.reader) == b""
        assert b.links.bulk.packets_refused == 1
        attacker.close()


def test_random_packets_are_taken_or_refused(seed: int) -> None:
    """Whatever bytes come: a packet, or a ``FramingError``."""
    chance = random.Random(seed)
    arriving: Arriving | None = None
    for _ in range(20_000):
        header = bytes([chance.choice([*Kind, 0, 9, 255])]) + chance.randbytes(chance.choice([0, 8, 20, 40]))
        body = chance.randbytes(chance.choice([0, 0, 1, 100]))
        if chance.random() < 0.3:
            kind = chance.choice([Kind.REQUEST, Kind.ANSWER])
            sizes = chance.choices([0, 1, 50, PIECE_BYTES, 1 << 30], k=2)
            header = pack_start(kind, chance.randrange(3), chance.randrange(5), *sizes)
            header += chance.randbytes(chance.choice([0, 1, 50]))
        with contextlib.suppress(FramingError):
            packet = unpack(memoryview(header), memoryview(body))
            if packet.kind in (Kind.REQUEST, Kind.ANSWER):
                arriving = Arriving(packet)
            elif arriving is not None:
                arriving.take(packet)


class _Chance:
    """Serves backwards what it is asked, after a while by chance. Counts what it has answered."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.answered = 0
        self.released = 0

    async def serve(self, _peer: str, envelope: bytes, raw: bytes, _timeout_s: float) -> Served:
        await asyncio.sleep(self.chance.choice([0, 0, 0.001, 0.02]))
        self.answered += 1
        return Served(
            failed=envelope[:1] == b"f", envelope=envelope[::-1], raw=raw[::-1], release=self._release
        )

    def _release(self) -> None:
        self.released += 1

    def _room(self, _envelope_bytes: int, _raw_bytes: int) -> None:
        if self.chance.random() < 0.1:
            raise LookupError

    async def ask(self, node: LinkNode, of: str) -> None:
        """One request, which may be given up; its answer must be its own."""
        chance = self.chance
        envelope = chance.choice([b"f", b"d"]) + chance.randbytes(chance.choice(_SIZES[:6]))
        raw = chance.randbytes(chance.choice(_SIZES))
        try:
            async with asyncio.timeout(chance.choice([0.0, 0.005, 0.05, 20, 20, 20])):
                answer = await node.links.bulk.ask(of, envelope, raw, timeout_s=20, room=self._room)
        except (TimeoutError, LookupError):
            return
        assert answer.envelope == envelope[::-1]
        assert answer.raw == raw[::-1]
        assert answer.outcome is (Outcome.FAILED if envelope[:1] == b"f" else Outcome.DONE)


async def test_random_requests_and_cancels_are_answered_rightly(seed: int) -> None:
    """Sizes, waits, cancels and refusals by chance, both ways: every answer is its request's own, and nothing
    is held at the end."""
    desk = _Chance(seed)
    async with joined() as (a, b):
        a.links.bulk.serve = b.links.bulk.serve = desk.serve
        ways = [(a, "b"), (b, "a")]
        for _ in range(3):
            await asyncio.gather(*(desk.ask(*desk.chance.choice(ways)) for _ in range(40)))
        for node, of in ways:  # Behind all that was given up.
            await node.links.bulk.ask(of, b"d", timeout_s=60)
        async with asyncio.timeout(60):
            while desk.released < desk.answered:  # noqa: ASYNC110 - it ends on the other side
                await asyncio.sleep(0.01)
        for node in (a, b):
            assert node.links.bulk.budget.used == 0
            for connection in node.links.bulk.each():
                assert (connection.asked, connection.serving, connection.under_way_bytes) == (0, 0, 0)


def test_a_queue_sends_every_byte_once_in_turn_and_never_above_the_window(seed: int) -> None:
    """Of messages by chance: none is stuck or cut, none overtakes one of its order, and room is kept to."""

    chance = random.Random(seed)
    queue = SendQueue()
    sizes = [10, 4096, 4097, 100_000, WINDOW_BYTES // 2, WINDOW_BYTES, WINDOW_BYTES + 1]
    messages = {
        number: Outgoing(
            Kind.REQUEST,
            number,
            lambda: 1,
            b"e",
            bytes(chance.choice(sizes)),
            chance.choice([None, "a", "b"]),
        )
        for number in range(1, 25)
    }
    for message in messages.values():
        queue.put(message)
    arrived: dict[int, Arriving] = {}
    held: dict[int, int] = {}
    whole: list[int] = []
    while len(whole) < len(messages):
        sent = queue.next()
        if sent is None or chance.random() < 0.1:
            done = [number for number in held if number in whole]
            assert sent is not None or done, "nothing is stuck"
            for number in done:
                del held[number]
                queue.freed(Kind.REQUEST, number)
            if sent is None:
                continue
        packet = unpack(memoryview(sent.header), sent.body)
        if packet.kind is Kind.REQUEST:
            arrived[packet.number] = Arriving(packet)
            if messages[packet.number].is_large:
                held[packet.number] = messages[packet.number].size
                assert len(held) == 1 or sum(held.values()) <= WINDOW_BYTES
        else:
            arrived[packet.number].take(packet)
        if arrived[packet.number].whole:
            whole.append(packet.number)
            assert sent.message is messages[packet.number]
    for order in ("a", "b"):
        left = [number for number in whole if messages[number].order == order]
        assert left == sorted(left)
