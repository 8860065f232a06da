"""What nodes say to each other, and what a stranger says at their port."""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from consensus.links import bulk_packets, framing, handshake
from consensus.links.bulk_packets import Arriving, Kind
from consensus.links.framing import FramingError, PacketReader
from consensus.links.handshake import Accepting, Dialing, HandshakeFailed, Identity
from consensus.links.seal import MARK_BYTES, Seal
from consensus.messages import KINDS, FramesResponse, InstallSnapshot
from consensus.wire import WireError, decode_packet, encode_packet
from tests.fuzz.target import Target, joined, parts
from tests.fuzz.targets.frames import resealed
from tests.support.raft import example_of, frame

_KEY = b"k" * 32
_US = Identity("c1", "b", "b-disk", b"secret", process=b"B" * 16)
_THEM = Identity("c1", "a", "a-disk", b"another secret", process=b"A" * 16)


class _NoSeal(Seal):
    """Every mark is right: for what lies behind the mark, where only nodes get to."""

    def holds(self, head: object, body: object, mark: object) -> bool:
        return True


def hello(data: bytes) -> None:
    """A stranger's hello, proof, challenge and welcome fail as HandshakeFailed only, and nobody who does not
    know the secret is believed. What is claimed is short and printable.
    """
    said, proof, challenge, welcome = (
        piece[:size].ljust(size, b"\0")
        for piece, size in zip(
            parts(data, 4),
            (
                handshake.HELLO_BYTES,
                handshake.PROOF_BYTES,
                handshake.CHALLENGE_BYTES,
                handshake.WELCOME_BYTES,
            ),
            strict=True,
        )
    )
    accepting = Accepting(_US)
    try:
        claim, answer = accepting.greet(said)
    except HandshakeFailed:
        pass
    else:
        assert len(answer) == handshake.CHALLENGE_BYTES
        assert 0 < len(claim.node_id) <= handshake.TEXT_BYTES_MAX
        assert (claim.node_id + claim.incarnation).isprintable()
        assert len(claim.announcement) <= handshake.ANNOUNCEMENT_BYTES_MAX
        _is_refused(lambda: accepting.finish(proof))
        assert not accepting.key
    for bulk in (False, True):
        dialing = Dialing(_US, "a", 1, bulk=bulk)
        try:
            dialing.answer(challenge)
        except HandshakeFailed:
            continue
        _is_refused(lambda: dialing.check(welcome))  # noqa: B023 - called at once
        assert not dialing.key


def _is_refused(prove: object) -> None:
    assert callable(prove)
    try:
        prove()
    except HandshakeFailed:
        return
    raise AssertionError("who does not know the secret was believed")


def packets(data: bytes) -> None:
    """However a stream is cut, the same packets come of it, or it breaks with FramingError every time (then
    packets that came in one piece with the broken one are lost); none has a wrong mark; and a length that is
    announced holds no memory before its bytes come.
    """
    whole = _packets(data, _NoSeal(_KEY), len(data))
    cut = _packets(data, _NoSeal(_KEY), 1 + len(data) % 7)
    if None in whole:
        assert whole[:-1] == cut[: len(whole) - 1]
        assert None in cut
    else:
        assert whole == cut
    marked = _packets(data, Seal(_KEY), len(data))
    sealed = Seal(_KEY)
    at = 0
    for header, body in (packet for packet in marked if packet is not None):
        head = data[at : at + 8 + len(header)]
        at += 8 + len(header) + len(body) + MARK_BYTES
        assert sealed.mark(head, (body,), len(body)) == data[at - MARK_BYTES : at]
    for packet in whole:
        if packet is not None and not packet[0]:
            framing.unpack_beat(memoryview(packet[1]))


def _packets(data: bytes, seal: Seal, step: int) -> list[tuple[bytes, bytes] | None]:
    """None at the end where the framing was broken."""
    reader = PacketReader(seal)
    found: list[tuple[bytes, bytes] | None] = []
    left = memoryview(data)
    while left:
        room = reader.buffer()
        assert len(room), "there is room for at least one byte"
        count = min(len(room), len(left), step)
        room[:count] = left[:count]
        left = left[count:]
        try:
            found += [(bytes(header), bytes(body)) for header, body in reader.received(count)]
        except FramingError:
            return [*found, None]
    return found


def messages(data: bytes) -> None:
    """A packet's messages, or WireError; what is understood is packed again as the same messages. What only a
    newer build knows is left out and told of.
    """
    header, body = parts(data, 2)
    for given in (body, resealed(body)):
        for too_new in (None, list[str]()):
            try:
                if too_new is None:
                    found = decode_packet(header, given)
                else:
                    found = decode_packet(header, given, too_new.append)
            except WireError:
                continue
            packed, *rest = encode_packet(found)
            assert decode_packet(packed, b"".join(rest)) == found


def bulk(data: bytes) -> None:
    """Pieces of requests and answers, or FramingError; a message holds what has come, never what was said to
    come, and is whole with exactly as many bytes as were announced.
    """
    arriving: dict[tuple[bool, int], Arriving] = {}
    came = 0
    while data:
        header, body, data = parts(data, 3)
        came += len(header) + len(body)
        try:
            packet = bulk_packets.unpack(memoryview(header), memoryview(body))
            which = (packet.kind in (Kind.ANSWER, Kind.ANSWER_PIECE), packet.number)
            if packet.kind in (Kind.REQUEST, Kind.ANSWER):
                arriving[which] = Arriving(packet)
            elif packet.kind in (Kind.REQUEST_PIECE, Kind.ANSWER_PIECE) and which in arriving:
                arriving[which].take(packet)
            else:
                continue
        except FramingError:
            return
        message = arriving[which]
        held = sum(map(len, message.parts()))
        assert held <= came
        if message.whole:
            assert held == message.size
            del arriving[which]


def _hello_seeds() -> Iterator[bytes]:
    for bulk_wanted in (False, True):
        dialing = Dialing(_THEM, "b", 7, b"http://a", bulk=bulk_wanted)
        accepting = Accepting(replace_secret(_US))
        _, challenge = accepting.greet(dialing.hello)
        proof = dialing.answer(challenge)
        yield joined(dialing.hello, proof, challenge, accepting.finish(proof, b"http://b"))
    yield joined(Dialing(_THEM, handshake.WHOEVER, 1).hello, b"", b"", b"")


def replace_secret(us: Identity) -> Identity:
    """The same node in the cluster of the other secret."""
    return Identity(us.cluster_id, us.node_id, us.incarnation, _THEM.secret, process=us.process)


def _packet_seeds() -> Iterator[bytes]:
    seal = Seal(_KEY)
    stream = b""
    for header, body in ((b"header", b"body"), (b"h" * 300, b"")):
        head = framing.pack_prefix(len(header), len(body)) + header
        stream += head + body + seal.mark(head, (body,), len(body))
    lengths, beat = framing.pack_beat(framing.Beat(1, 2, 3, 4))
    yield stream
    yield stream + lengths + beat + seal.mark(lengths, (beat,), len(beat))
    yield framing.pack_prefix(1 << 20, 32 << 20) + b"x" * 40


def _message_seeds() -> Iterator[bytes]:
    for kind in KINDS:
        header, *body = encode_packet([(3, example_of(kind))])
        yield joined(bytes(header), b"".join(body))
    several = [
        (2, FramesResponse(7, [frame(2, 1, b"payload"), frame(3, 1, b"")])),
        (3, replace(example_of(InstallSnapshot), state=b"state")),
    ]
    header, *body = encode_packet(several)
    yield joined(bytes(header), b"".join(body))


def _bulk_seeds() -> Iterator[bytes]:
    start = bulk_packets.pack_start(Kind.REQUEST, 7, 1000, 6, 4) + b"env"
    more = bulk_packets.pack_word(Kind.REQUEST_PIECE, 7)
    yield joined(start, b"", more + b"elo", b"", more, b"raw!", b"")
    yield joined(bulk_packets.pack_start(Kind.ANSWER, 7, 1, 1, 2) + b"e", b"ra", b"")
    for kind in (Kind.CANCEL, Kind.FREED, Kind.PING, Kind.PONG):
        yield joined(bulk_packets.pack_word(kind, 9), b"", b"")


TARGETS = (
    Target("handshake", hello, _hello_seeds),
    Target("packets", packets, _packet_seeds),
    Target("messages", messages, _message_seeds),
    Target("bulk", bulk, _bulk_seeds),
)
