"""Nodes that are found: by an address without a name, and at another address than the first one."""

from __future__ import annotations

import socket

import pytest

from consensus.links.handshake import WHOEVER, HandshakeFailed
from consensus.links.link_types import Reception
from tests.consensus.link_nodes import LinkNode, numbered, running
from tests.support.loops import on_both_loops


def nowhere() -> tuple[str, int]:
    """An address at which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host, port = probe.getsockname()
    return str(host), int(port)


@on_both_loops
async def test_an_address_tells_who_is_there():
    """Both announce themselves, whatever becomes of it, and no connection stays; a link beside it goes on."""
    a, b = LinkNode("a"), LinkNode("b")
    async with running(a, b):
        for reception in (Reception.REFUSED, Reception.WAITS, Reception.WELCOME):
            b.reception = reception
            assert await a.links.probe(*b.address) == (b"b answers a", "")
            assert b.announcements.pop() == ("a", f"a to {WHOEVER}".encode())
        assert "a" not in b.links.peers
        assert a.links.peers == {}
        a.links.dial("b", *b.address)
        await a.until_up("b")
        await a.links.probe(*b.address)
        a.links.send("b", [numbered(1)])
        await b.until(lambda: b.numbers("a") == [1])
        assert a.links.peers["b"].connects == 1


@on_both_loops
async def test_who_asks_is_proved_like_anybody():
    """A stranger hears nothing, and learns no secret; a node that asks itself is told; nobody is nobody."""
    a, b = LinkNode("a", secret=b"another secret of the tests"), LinkNode("b")
    async with running(a, b):
        with pytest.raises(HandshakeFailed, match="closed the connection"):
            await a.links.probe(*b.address)
        with pytest.raises(HandshakeFailed, match="closed the connection"):
            await b.links.probe(*b.address)
        with pytest.raises(OSError, match=r"refused|[Cc]onnect"):
            await a.links.probe(*nowhere())
        assert b.announcements == []


@on_both_loops
async def test_a_second_process_with_an_id_hears_from_the_first_one():
    """By a question only: no connection under a node's own id is ever kept."""
    first, second = LinkNode("a"), LinkNode("a", incarnation="a-disk-2")
    async with running(first, second):
        assert await second.links.probe(*first.address) == (b"a answers a", "")
        assert first.announcements == [("a", f"a to {WHOEVER}".encode())]
        assert first.links.peers == {}


@on_both_loops
async def test_a_peer_is_looked_for_at_its_other_addresses():
    """The first one first; where nobody answers, or somebody else, the next. A live connection stays."""
    a, b, c = LinkNode("a"), LinkNode("b"), LinkNode("c")
    async with running(a, b, c):
        a.links.dial("b", *nowhere(), also=[c.address, b.address])
        await a.until_up("b")
        dead = nowhere()
        a.links.dial("b", *dead, also=[b.address])
        await a.until(lambda: a.events.count(("up", "b")) == 2)
        connects = a.links.peers["b"].connects
        a.links.dial("b", *dead, also=[b.address, c.address])
        a.links.send("b", [numbered(1)])
        await b.until(lambda: b.numbers("a") == [1])
        assert a.links.peers["b"].connects == connects == 2
