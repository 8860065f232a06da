"""The heads of the plainest requests, read without aiohttp; of any other this says nothing.

What it takes is a small, strict part of HTTP/1.1: everything unusual, and everything wrong, is aiohttp's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import ClassVar, Final, Generic, NamedTuple, Protocol, TypeVar

from floodmark.errors import FloodmarkError

from node.broker import Acks
from node.http.media import Media, body_media
from node.http.query import acks_of, duration_s
from node.service import policy
from node.service.authentication import digest_of
from node.service.policy import Resource

_HEAD_BYTES_MAX: Final = 1024
_KNOWN_MAX: Final = 1024
H = TypeVar("H", bound="AnyHead")

_REQUEST = re.compile(
    rb"POST (/v1/topics/([A-Za-z0-9._-]{1,249})/partitions/([0-9]{1,9})/records)"
    rb"(?:\?([A-Za-z0-9=&]{0,100}))? HTTP/1\.1"
)
_PARAMETERS: Final = frozenset({"acks", "timeout"})
_HEADER = re.compile(rb"([A-Za-z-]{1,40}):[ \t]*([!-~](?:[ -~]*[!-~])?)[ \t]*")
_LENGTH = re.compile(rb"[0-9]{1,8}")
_TOPIC_ID_FORM = re.compile(rb"[0-9]{1,18}")
_OF_PROXIES: Final = frozenset(
    {
        b"forwarded",
        b"via",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"x-forwarded-port",
        b"x-forwarded-proto",
        b"x-real-ip",
        b"x-request-id",
    }
)
"""What load balancers add, and nodes have no use for."""
_IGNORED: Final = _OF_PROXIES | {b"host", b"accept", b"accept-encoding"}
_FORWARDED: Final = b"floodmark-forwarded"
TOPIC_ID: Final = b"floodmark-topic-id"
_CLIENT_ID: Final = b"user-agent"
_AUTHORIZATION: Final = b"authorization"
_TAKEN: Final = (
    _IGNORED
    | {b"content-length", b"content-type", b"connection"}
    | {_FORWARDED, TOPIC_ID, _CLIENT_ID, _AUTHORIZATION}
)


class Sender(NamedTuple):
    """Who sends a request, as far as its head says."""

    is_from_node: bool
    client_id: str
    credential: bytes | None


class PlainHead(NamedTuple):
    """All that the head of a produce request says."""

    path: str
    topic: str
    partition: int
    media: Media
    acks: Acks
    timeout: str | None
    content_length: int
    is_from_node: bool
    """See ``HttpContext.is_from_node``."""
    topic_id: int | None
    client_id: str
    """What the client calls itself."""
    resource: Resource
    """What is asked for."""
    credential: bytes | None
    """Under what it may be known who sends it: a digest of ``Authorization``."""


class AnyHead(Protocol):
    """What heads of all kinds say."""

    @property
    def content_length(self) -> int:
        """Bytes of the body."""

    @property
    def is_from_node(self) -> bool:
        """See ``HttpContext.is_from_node``."""

    @property
    def client_id(self) -> str:
        """What the client calls itself."""

    @property
    def credential(self) -> bytes | None:
        """Under what it may be known who sends it: a digest of ``Authorization``."""


class Heads(Generic[H]):
    """Reads heads of one kind. Clients send the same one again and again, so the last ones are known by their
    bytes."""

    begins: ClassVar[bytes]
    """What all of them begin with."""

    def __init__(self, knows_host: Callable[[str], bool], is_from_node: Callable[[str | None], bool]) -> None:
        self._knows_host = knows_host
        self._is_from_node = is_from_node
        self._known: dict[bytes, H] = {}

    def read(self, data: bytes) -> tuple[H, int] | None:
        """The head and where the body begins, when ``data`` is one plain request, whole or not; else None."""
        if not data.startswith(self.begins):
            return None
        end = data.find(b"\r\n\r\n", 0, _HEAD_BYTES_MAX)
        if end < 0:
            return None
        text = data[:end]
        head = self._known.get(text)
        if head is None:
            head = self._parsed(text)
            if head is None:
                return None
            # Who is a node is judged again each time: it changes with the cluster's secret.
            if _FORWARDED not in text.lower():
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                self._known[text] = head
        return (head, end + 4) if len(data) - end - 4 <= head.content_length else None

    def _parsed(self, text: bytes) -> H | None:
        first, *lines = text.split(b"\r\n")
        headers = _headers(lines)
        if headers is None or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
            return None
        host = headers.get(b"host")
        length = headers.get(b"content-length", b"")
        if host is None or not self._knows_host(host.decode()) or _LENGTH.fullmatch(length) is None:
            return None
        credential = headers.get(_AUTHORIZATION)
        forwarded = headers.get(_FORWARDED)
        sender = Sender(
            is_from_node=self._is_from_node(None if forwarded is None else forwarded.decode()),
            client_id=headers.get(_CLIENT_ID, b"").decode(),
            credential=None if credential is None else digest_of(credential),
        )
        return self.head(first, headers, sender, int(length))

    def head(self, first: bytes, headers: Mapping[bytes, bytes], sender: Sender, length: int) -> H | None:
        """By the first line and headers of known names; None where something is unusual."""
        raise NotImplementedError


class PlainHeads(Heads[PlainHead]):
    """Of produce requests."""

    begins = b"POST /v1/topics/"

    def head(
        self, first: bytes, headers: Mapping[bytes, bytes], sender: Sender, length: int
    ) -> PlainHead | None:
        """See ``Heads``."""
        asked = _REQUEST.fullmatch(first)
        if asked is None:
            return None
        query = query_in((asked[4] or b"").decode(), _PARAMETERS)
        topic_id = headers.get(TOPIC_ID)
        if query is None or (topic_id is not None and _TOPIC_ID_FORM.fullmatch(topic_id) is None):
            return None
        kind = headers.get(b"content-type")
        try:
            media = body_media(None if kind is None else kind.decode())
            acks = acks_of(query)
            duration_s(query.get("timeout", "1s"), "timeout", cap=1.0)
        except FloodmarkError:
            return None
        path, topic, partition = asked[1].decode(), asked[2].decode(), int(asked[3])
        return PlainHead(
            path,
            topic,
            partition,
            media,
            acks,
            query.get("timeout"),
            length,
            sender.is_from_node,
            None if topic_id is None else int(topic_id),
            sender.client_id,
            policy.topic(topic),
            sender.credential,
        )


def _headers(lines: list[bytes]) -> Mapping[bytes, bytes] | None:
    found: dict[bytes, bytes] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            return None
        name = header[1].lower()
        if name in found or name not in _TAKEN:
            return None
        found[name] = header[2]
    return found


def query_in(text: str, known: Collection[str]) -> dict[str, str] | None:
    """The parameters; None where one is not known, or is there twice."""
    found: dict[str, str] = {}
    for part in text.split("&") if text else ():
        name, equals, value = part.partition("=")
        if name not in known or not equals or name in found:
            return None
        found[name] = value
    return found
