"""Links with TLS: who gets one, who does not and is told why, and what becomes of those that stand."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import tempfile
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import structlog
import uvloop
from structlog.testing import capture_logs

from consensus.links.bulk_types import Answer, Served
from consensus.links.handshake import Dialing, Identity
from consensus.links.link_tls import node_uri
from consensus.links.tls_accepting import Arrival, TlsAccepting
from local.certificates import Authority, Made
from node.security.tls import NotUsable, PeerTls
from tests.consensus.link_nodes import PATIENT, SECRET, LinkNode, closed, numbered, running
from tests.support.certificates import authority, dialer_context, impostor, in_files, peer_tls
from tests.support.loops import on_both_loops

ENDED = timedelta(seconds=-1)


async def echo(_peer: str, envelope: bytes, raw: bytes, _timeout_s: float) -> Served:
    """Answers a request with what it holds."""
    return Served(failed=False, envelope=envelope, raw=raw)


async def ask(node: LinkNode, peer: str, envelope: bytes, raw: bytes = b"") -> Answer:
    """A request over a bulk connection."""
    return await node.links.bulk.ask(peer, envelope, raw, timeout_s=60)


async def connect(a: LinkNode, b: LinkNode) -> None:
    """Links both ways."""
    for one, other in ((a, b), (b, a)):
        one.links.dial(other.node_id, *other.address)
    await asyncio.gather(a.until_up(b.node_id), b.until_up(a.node_id))


@on_both_loops
async def test_all_connections_of_two_nodes_are_encrypted() -> None:
    """Links, requests with answers of megabytes both ways, and whoever only asks who is there."""
    with tempfile.TemporaryDirectory() as path:
        folder, ca = Path(path), authority()
        a, b = (LinkNode(name, tls=peer_tls(folder, name, ca)) for name in ("a", "b"))
        async with running(a, b):
            await connect(a, b)
            a.links.send("b", [numbered(7)])
            await b.until(lambda: b.numbers("a") == [7])
            for node in (a, b):
                node.links.bulk.serve = echo
            large = bytes(5 << 20)
            answers = await asyncio.gather(ask(a, "b", b"x", large), ask(b, "a", b"y", large))
            assert [(each.envelope, each.raw == large) for each in answers] == [(b"x", True), (b"y", True)]
            assert await a.links.probe(*b.address) == (b"b answers a", "b")
            assert (a.links.plain, b.links.plain) == (0, 0)
            assert not a.tls_refused
            assert not b.tls_refused


@on_both_loops
async def test_nodes_that_prefer_tls_meet_those_without_it() -> None:
    """Both ways; and with each other they have it."""
    with tempfile.TemporaryDirectory() as path:
        folder, ca = Path(path), authority()
        a, b = (LinkNode(name, tls=peer_tls(folder, name, ca, mode="prefer")) for name in ("a", "b"))
        old = LinkNode("o")
        async with running(a, b, old):
            await connect(a, b)
            await connect(a, old)
            assert (a.links.plain, b.links.plain, old.links.plain) == (2, 0, 2)
            for node in (a, old):
                node.links.bulk.serve = echo
            assert (await ask(a, "o", b"x")).envelope == b"x"
            assert await a.links.probe(*old.address) == (b"o answers a", "")
            assert (a.links.plain, old.links.plain) == (3, 3)
            assert not a.tls_refused


CA, OTHER_CA = authority(), authority()
Dialer = Callable[[Path], ssl.SSLContext | None]


def shows(made: Made | None, **options: Any) -> Dialer:
    """Somebody who dials with this certificate."""
    return lambda folder: dialer_context(folder, made, CA, **options)


def made(by: Authority, node: str, lasts: timedelta = timedelta(hours=1)) -> Made:
    """A certificate of a node."""
    return by.node(node, [], lasts=lasts)


@pytest.mark.parametrize(
    ("dialer", "why"),
    [
        (lambda _folder: None, "does not speak TLS, and here peer.tls.mode is require"),
        (shows(None), "it has shown no certificate"),
        (shows(made(OTHER_CA, "a")), "certificate does not count here: unable to get local issuer"),
        (shows(made(CA, "a", ENDED)), "certificate does not count here: certificate has expired"),
        (shows(made(CA, "c")), "a: its certificate is for node c, and not for a"),
        (shows(made(impostor("c2", CA), "a")), "for spiffe://c2/node/a, and not for a node of this cluster"),
        (shows(CA.user("a", lasts=timedelta(hours=1))), "for spiffe://c1/user/a, and not for a node"),
        (shows(made(CA, "a"), newest=ssl.TLSVersion.TLSv1_2), "it does not speak TLS 1.3"),
    ],
    ids=["plain", "none", "other CA", "ended", "other node", "other cluster", "user", "TLS 1.2"],
)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_who_has_no_certificate_that_counts_is_refused_and_it_is_said_why(
    tmp_path: Path, loop: str, dialer: Dialer, why: str
) -> None:
    """Before anything is said of this node; also to one that knows the secret."""

    async def scenario() -> None:
        node = LinkNode("b", tls=peer_tls(tmp_path, "b", CA))
        async with running(node):
            identity = Identity(cluster_id="c1", node_id="a", incarnation="x", secret=SECRET)
            context = dialer(tmp_path)
            with contextlib.suppress(ssl.SSLError, ConnectionError):
                reader, writer = await asyncio.open_connection(*node.address, ssl=context)
                writer.write(Dialing(identity, "b", 1).hello)
                said = await closed(reader)
                writer.close()
                assert said == (b"" if context else bytes((21, 3, 3, 0, 2, 2, 70)))
            await node.until(lambda: node.tls_refused)
            assert node.tls_refused[0][0] == "?"
            assert why in node.tls_refused[0][1]
            assert node.hellos == []
            assert node.links.unauthenticated == 0
            await still_lets_in(tmp_path, node)

    _run(scenario, loop)


def _run(scenario: Callable[[], Any], loop: str) -> None:
    structlog.reset_defaults()
    factory = asyncio.new_event_loop if loop == "asyncio" else uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())


async def still_lets_in(folder: Path, node: LinkNode) -> None:
    """An honest node gets through."""
    honest = LinkNode("h", tls=peer_tls(folder, "h", CA))
    async with running(honest):
        honest.links.dial("b", *node.address)
        await honest.until_up("b")


@pytest.mark.parametrize(
    ("tls", "why"),
    [
        (lambda folder: None, "it ended the connection instead of TLS: maybe its peer.tls.mode is off"),
        (lambda folder: peer_tls(folder, "c", CA), "its certificate is for node c, and not for b"),
        (lambda folder: peer_tls(folder, "b", OTHER_CA, CA), "its certificate does not count here: unable"),
        (
            lambda folder: peer_tls(folder, "b", CA, lasts=ENDED),
            "its certificate does not count here: certif",
        ),
        (
            lambda folder: peer_tls(folder, "b", CA, OTHER_CA),
            "it may not take this node's certificate: its log",
        ),
    ],
    ids=["plain", "other node", "other CA", "ended", "we are refused"],
)
@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_dialer_says_why_it_has_no_link(
    tmp_path: Path, loop: str, tls: Callable[[Path], PeerTls | None], why: str
) -> None:
    """And says nothing of itself to a node that is not the one it wants."""

    async def scenario() -> None:
        a, b = LinkNode("a", tls=peer_tls(tmp_path, "a", CA)), LinkNode("b", tls=tls(tmp_path))
        async with running(a, b):
            a.links.dial("b", *b.address)
            await a.until(lambda: a.tls_refused)
            peer, said = a.tls_refused[0]
            assert peer == "b"
            assert f"no link to b at {b.address[0]}:{b.address[1]}: {why}" in said
            assert b.hellos == []

    _run(scenario, loop)


async def test_a_node_without_tls_is_told_that_it_needs_some(tmp_path: Path) -> None:
    """Both logs name the setting."""
    structlog.reset_defaults()
    with capture_logs() as logs:
        a, b = LinkNode("a"), LinkNode("b", tls=peer_tls(tmp_path, "b", CA))
        async with running(a, b):
            a.links.dial("b", *b.address)
            await a.until(lambda: a.tls_refused)
            assert "it takes TLS only: here peer.tls.mode has to be prefer or require" in a.tls_refused[0][1]
            b.links.dial("a", *a.address)
            await b.until(lambda: "b" not in b.links.peers and any(peer == "a" for peer, _ in b.tls_refused))
    reasons = [line["reason"] for line in logs if line["event"] == "peer_connection_refused"]
    assert "the dialer does not speak TLS, and here peer.tls.mode is require" in reasons
    assert "the other side speaks TLS, and here peer.tls.mode is off" in reasons


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
@pytest.mark.parametrize(
    "first", [b"", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"], ids=["none", "part"]
)
@pytest.mark.parametrize(("at_once", "timeout_s"), [(5, 600.0), (64, 0.5)], ids=["few", "short"])
def test_handshakes_that_do_not_go_on_are_few_and_short(
    tmp_path: Path, loop: str, first: bytes, at_once: int, timeout_s: float
) -> None:
    """The oldest makes room for the newest, and none has more time than a plain one."""

    async def scenario() -> None:
        options = replace(PATIENT, handshake_timeout_s=timeout_s, unauthenticated_max=at_once)
        node = LinkNode("b", options, tls=peer_tls(tmp_path, "b", CA))
        async with running(node):
            idle = [await asyncio.open_connection(*node.address) for _ in range(12)]
            for _, writer in idle:
                writer.write(first)
            gone = idle if at_once > len(idle) else idle[:-at_once]
            assert [await closed(reader) for reader, _ in gone] == [b""] * len(gone)
            assert node.links.unauthenticated == len(idle) - len(gone)
            for _, writer in idle:
                writer.close()
            await still_lets_in(tmp_path, node)

    _run(scenario, loop)


async def test_a_handshake_that_is_late_as_tls_begins_leaves_no_socket_open(tmp_path: Path) -> None:
    """A process that was held up finds the first byte and the end of its time in the same turn."""
    node = LinkNode("b", tls=peer_tls(tmp_path, "b", CA))
    dialer, accepted = socket.socketpair()
    with dialer, accepted:
        accepted.setblocking(False)
        async with running(node):
            server = node.links._listener._server
            assert isinstance(server, TlsAccepting)
            arrival = Arrival(server, accepted, "somebody")
            arrival.begin()
            dialer.send(b"\x16")
            arrival._look()
            arrival.refuse("the handshake took too long")
            assert accepted.fileno() == -1
            assert node.links.unauthenticated == 0


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_links_end_with_their_ca_and_with_no_other(tmp_path: Path, loop: str) -> None:
    """Three steps: a second CA is added, certificates of it come, the first one goes. Nothing breaks but what
    was made by the first one, and that is made anew.
    """

    async def scenario() -> None:
        a_tls, b_tls = (peer_tls(tmp_path, name, CA) for name in ("a", "b"))
        a, b = LinkNode("a", tls=a_tls), LinkNode("b", tls=b_tls)
        async with running(a, b):
            await connect(a, b)
            for node in (a, b):
                node.links.bulk.serve = echo
            await ask(a, "b", b"x")
            made_at_first = a.links.peers["b"].connects, b.links.peers["a"].connects
            for tls, name in ((a_tls, "a"), (b_tls, "b")):
                tls.take(peer_tls(tmp_path, name, CA, CA, OTHER_CA).load())
            await drop_outdated(a, b)
            # The certificate of one is of the second CA by now, which both take.
            a_tls.take(peer_tls(tmp_path, "a", OTHER_CA, CA, OTHER_CA).load())
            await drop_outdated(a, b)
            assert (await ask(a, "b", b"x")).envelope == b"x"
            assert made_at_first == (a.links.peers["b"].connects, b.links.peers["a"].connects)
            b_tls.take(peer_tls(tmp_path, "b", OTHER_CA, CA, OTHER_CA).load())
            await drop_outdated(a, b)
            assert made_at_first == (1, 1)
            # Links stand that were made by certificates of the first.
            for tls, name in ((a_tls, "a"), (b_tls, "b")):
                tls.take(peer_tls(tmp_path, name, OTHER_CA).load())
            await drop_outdated(a, b)
            await a.until(lambda: a.links.peers["b"].connects > 1 and a.links.connected("b"))
            await b.until(lambda: b.links.peers["a"].connects > 1 and b.links.connected("a"))
            made_anew = a.links.peers["b"].connects, b.links.peers["a"].connects
            assert (await ask(a, "b", b"x")).envelope == b"x"
            await drop_outdated(a, b)
            assert made_anew == (a.links.peers["b"].connects, b.links.peers["a"].connects)
            assert not a.tls_refused

    _run(scenario, loop)


async def drop_outdated(*nodes: LinkNode) -> None:
    """What a node does every few seconds."""
    for node in nodes:
        await node.links.drop_outdated()


async def test_whose_ca_is_gone_has_no_link_any_more(tmp_path: Path) -> None:
    """It is cut off though it has not changed anything itself, and its bulk connections with it."""
    a_tls, b_tls = peer_tls(tmp_path, "a", CA), peer_tls(tmp_path, "b", OTHER_CA, CA, OTHER_CA)
    a_tls.take(peer_tls(tmp_path, "a", CA, CA, OTHER_CA).load())
    a, b = LinkNode("a", tls=a_tls), LinkNode("b", tls=b_tls)
    async with running(a, b):
        await connect(a, b)
        a.links.bulk.serve = b.links.bulk.serve = echo
        await ask(b, "a", b"x")
        a_tls.take(peer_tls(tmp_path, "a", CA).load())
        await drop_outdated(a)
        await a.until(lambda: not a.links.connected("b"))
        await b.until(lambda: not b.links.connected("a"))
        await a.until(lambda: any("does not count here" in why for _, why in a.tls_refused))
        assert list(a.links.bulk.each()) == []


async def test_secrets_change_in_three_steps() -> None:
    """A node proves its first and takes all of its own; what was proved by one that is gone is cut off."""
    a, b = LinkNode("a"), LinkNode("b")
    new = b"another secret, of the tests"
    async with running(a, b):
        await connect(a, b)
        a.links.bulk.serve = b.links.bulk.serve = echo
        await ask(a, "b", b"x")
        for first, *others in ((SECRET, new), (new, SECRET)):
            for node in (a, b):
                node.links.accept_secrets(first, *others)
            await drop_outdated(a, b)
        assert (a.links.peers["b"].connects, b.links.peers["a"].connects) == (1, 1)
        for node in (a, b):
            node.links.accept_secrets(new)
        await drop_outdated(a, b)
        await a.until(lambda: a.links.peers["b"].connects == 2 and a.links.connected("b"))
        await b.until(lambda: b.links.peers["a"].connects == 2 and b.links.connected("a"))
        assert (await ask(a, "b", b"x")).envelope == b"x"


def test_a_certificate_names_a_node_as_the_maker_writes_it() -> None:
    """Two rooms write the name, neither knows the other."""
    for cluster in ("c1", "prod/ü %41"):
        assert authority(cluster).node("n-1", [], lasts=ENDED).uri == node_uri(cluster, "n-1")


def test_files_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    """Each with its setting; nothing is half loaded."""
    good = in_files(tmp_path, made(CA, "a"), CA)
    other = in_files(tmp_path, made(CA, "b"), CA)

    def why(node: str = "a", **changed: Any) -> str:
        settings = msgspec.structs.replace(good, **changed)
        with pytest.raises(NotUsable) as caught:
            PeerTls(settings, name=node_uri("c1", node))
        return str(caught.value)

    assert "is for spiffe://c1/node/a, and this node is spiffe://c1/node/z" in why("z")
    assert why(key=other.key).endswith("it is not the key of the certificate")
    assert "peer.tls.cert: [Errno 2]" in why(cert=str(tmp_path / "none"))
    (tmp_path / "junk").write_text("junk")
    assert "holds no certificates in PEM form" in why(ca=(str(tmp_path / "junk"),))
    assert "not all certificates there are those of a CA" in why(ca=(other.cert,))
    Path(good.key).chmod(0o644)
    assert f"chmod 600 {good.key}" in why()
