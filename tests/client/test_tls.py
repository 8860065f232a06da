"""A client that speaks TLS: by all its ways, with every kind of trust, and what it says of what is wrong."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from floodmark import Client, errors, sync
from floodmark.transport.http import Request
from floodmark.transport.nodes import Nodes
from floodmark.transport.tls import TlsOptions

from node.request_limits import RequestLimits
from tests.http.conftest import Harness
from tests.http.memory_broker import MemoryCluster
from tests.support.http_certificates import HOSTS, Source, TestAuthority


@pytest.fixture
def authority(tmp_path: Path) -> TestAuthority:
    return TestAuthority(tmp_path)


@asynccontextmanager
async def _serving(
    authority: TestAuthority,
    client_auth: ssl.VerifyMode = ssl.CERT_NONE,
    hosts: tuple[str, ...] = HOSTS,
) -> AsyncIterator[Harness]:
    harness = Harness(MemoryCluster(1))
    context = authority.server_context(client_auth, authority.node(hosts=hosts))
    await harness.start("n1", RequestLimits(), tls=Source(context))
    try:
        yield harness
    finally:
        await harness.close()


async def _round_trip(url: str, **options: Any) -> None:
    async with Client(url, **options) as client:
        await client.topics.ensure("t", partitions=1)
        made = await client.produce("t", {"a": 1})
        found = [record.value async for record in client.read("t", 0, start=made.offset, end=made.offset + 1)]
        assert found == [b'{"a":1}']


async def _told(url: str, **options: Any) -> errors.TransportError:
    """What a client says that cannot reach it, on the fast path and by aiohttp alike."""
    found = []
    for work in (lambda each: each.produce("t", 1), lambda each: each.cluster()):
        async with Client(url, timeout_s=20, **options) as client:
            with pytest.raises(errors.TransportError) as raised:
                await work(client)
            found.append(raised.value)
    assert {error.fields.get("sent") for error in found} == {False}
    return found[0]


@pytest.mark.parametrize("how", ["file", "context"])
async def test_records_go_both_ways(authority: TestAuthority, how: str) -> None:
    """Whatever says whose certificates are trusted; a URL without scheme is one of https then."""
    tls: Any = authority.ca if how == "file" else authority.client_context()
    async with _serving(authority) as http:
        await _round_trip(http.cluster.urls["n1"].partition("://")[2], tls=tls)


async def test_a_client_shows_its_certificate(authority: TestAuthority) -> None:
    """From two files, or from one that has both."""
    files = authority.user("carol")
    both = authority.folder / "both.pem"
    both.write_text(files.cert.read_text() + files.key.read_text())
    async with _serving(authority, ssl.CERT_REQUIRED) as http:
        for cert in ((files.cert, files.key), both):
            await _round_trip(http.cluster.urls["n1"], tls=authority.ca, cert=cert)
        (other := authority.folder / "other").mkdir()
        stranger = TestAuthority(other).user("carol")
        for cert in (None, tuple(stranger)):
            for fast in (False, True):
                async with Client(http.cluster.urls["n1"], tls=authority.ca, cert=cert) as client:
                    request = Request(method="GET", path="/v1/cluster", fast=fast)
                    with pytest.raises(errors.TransportError, match="asks for a client's certificate"):
                        await client._transport.attempt(request, 10)


async def test_a_certificate_that_is_not_trusted_is_said_to_be_so(authority: TestAuthority) -> None:
    """Without a CA, and with another one; at once, and with what to do."""
    (other := authority.folder / "other").mkdir()
    async with _serving(authority) as http:
        for tls in (None, True, TestAuthority(other).ca):
            error = await _told(http.cluster.urls["n1"], tls=tls)
            assert "is not trusted" in error.detail
            assert "--ca-file" in error.detail


async def test_a_certificate_for_other_hosts_is_not_taken(authority: TestAuthority) -> None:
    """Whoever has one of the CA's is not every node."""
    async with _serving(authority, hosts=("n1.example",)) as http:
        error = await _told(http.cluster.urls["n1"], tls=authority.ca)
        assert "its certificate is for others" in error.detail


async def test_a_port_without_tls_is_said_to_be_so(authority: TestAuthority) -> None:
    """And is asked for nothing."""
    harness = Harness(MemoryCluster(1))
    await harness.start("n1", RequestLimits())
    try:
        url = harness.cluster.urls["n1"].replace("http:", "https:")
        assert "does not speak TLS" in (await _told(url, tls=authority.ca)).detail
    finally:
        await harness.close()


def test_what_cannot_be_used_is_refused_at_once(authority: TestAuthority, tmp_path: Path) -> None:
    """Before anything is sent: files, pairs of them, and URLs that would do without TLS."""
    (empty := tmp_path / "empty.pem").write_text("")
    files, other = authority.user("carol"), authority.user("dan")
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"tls": tmp_path / "none"}, "No such file"),
        ({"tls": empty}, "PEM"),
        ({"cert": tmp_path / "none"}, "No such file"),
        ({"cert": files.cert}, "names two files"),
        ({"cert": (files.cert, other.key)}, "not that of the certificate"),
        ({"tls": authority.client_context(), "cert": files.cert}, "load_cert_chain"),
    ]
    for options, words in wrong:
        with pytest.raises(errors.InvalidRequest, match=words):
            Client("https://localhost", **options)
    for urls in ("http://localhost", ["https://localhost", "http://localhost"]):
        with pytest.raises(errors.InvalidRequest, match="does not use TLS"):
            Client(urls, tls=authority.ca)


async def test_the_blocking_client_speaks_tls_too(authority: TestAuthority) -> None:
    """With the same options."""
    async with _serving(authority) as http:
        url = http.cluster.urls["n1"]

        def work() -> int:
            with sync.Client(url, tls=str(authority.ca)) as client:
                client.topics.create("t", partitions=1)
                return client.produce("t", 1).offset

        assert await asyncio.to_thread(work) == 0


def test_no_answer_leads_from_tls_to_where_there_is_none() -> None:
    """A token, or a record, would go there for everybody to see."""
    known = Nodes(["https://a:1"])
    known.answered("https://a:1", "t/0", "http://b:1")
    assert known.pick("t/0") == "https://a:1"
    known.answered("https://a:1", "t/0", "https://b:1")
    assert known.pick("t/0") == "https://b:1"


def test_no_certificates_are_read_where_no_tls_is_used() -> None:
    """Those of this machine are hundreds."""
    options = TlsOptions()
    assert options.check_urls(["localhost:1"]) == ["http://localhost:1"]
    assert options._context is None
