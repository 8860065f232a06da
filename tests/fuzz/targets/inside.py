"""What nodes ask each other over bulk connections: requests, results and errors."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import msgspec
from floodmark.errors import FloodmarkError, ServerError, TooNew, UnknownTopic

import node.leader_gossip
import node.node_query
import node.service.administration
import node.service.partition_requests  # noqa: F401 - likewise
from node.membership import announcement
from node.service import inside_requests
from tests.fuzz.target import Target, joined, parts


def asked(data: bytes) -> None:
    """A request that another node sends is understood, or TooNew or ServerError; a result likewise, and an
    error is an error whatever it says. What is understood is packed again as the same.
    """
    envelope, raw = parts(data, 2)
    try:
        request = inside_requests.decode_request(envelope, raw)
    except (TooNew, ServerError):
        pass
    else:
        again = inside_requests.decode_request(*inside_requests.encode_request(request))
        assert again == request or again != again  # noqa: PLR0124 - not a number is unlike itself
    assert isinstance(inside_requests.decode_error(envelope), FloodmarkError)
    for kind in list(inside_requests._by_name.values()):
        try:
            inside_requests.decode_result(kind, envelope, raw)
        except ServerError:
            continue


def _seeds() -> Iterator[bytes]:
    encoder = inside_requests._ENCODER
    for kind in inside_requests._by_name.values():
        yield joined(encoder.encode((kind.name, {})), b"raw")
    yield joined(inside_requests.encode_error(UnknownTopic("no", topic="t")), b"")
    yield joined(encoder.encode({"offset": 1, "records": []}), b"")


def announced(data: bytes) -> None:
    """What a node says of itself is understood, or DecodeError (or ValueError where a value is unknown); it
    can be said again, in its 512 bytes where its names are as short as names are.
    """
    try:
        said = announcement.decode(data)
    except msgspec.DecodeError:
        return
    with contextlib.suppress(ValueError):
        said.standpoint()
    again = announcement.encode(said, 3)
    assert announcement.decode(again).node_id == said.node_id


def _announcement_seeds() -> Iterator[bytes]:
    said = announcement.Announcement("n1", "http://h:1", "h:2", "i", "rack", "")
    yield announcement.encode(said, 3)
    yield announcement.encode(msgspec.structs.replace(said, standing="formed", names="n1 n2", epoch=2), 3)


TARGETS = (
    Target("inside_requests", asked, _seeds),
    Target("announcement", announced, _announcement_seeds),
)
