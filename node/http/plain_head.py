"""The heads of the plainest produce requests, read without aiohttp; of any other this says nothing.

What it takes is a small, strict part of HTTP/1.1: everything unusual, and everything wrong, is aiohttp's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from floodmark.errors import FloodmarkError

from node.broker import Acks
from node.http.media import Media, body_media
from node.http.query import acks_of, duration_s
from node.service import policy
from node.service.authentication import digest_of
from node.service.policy import Resource

_HEAD_BYTES_MAX: Final = 1024
_KNOWN_MAX: Final = 1024

_REQUEST = re.compile(
    rb"POST (/v1/topics/([A-Za-z0-9._-]{1,249})/partitions/([0-9]{1,9})/records)"
    rb"(?:\?([A-Za-z0-9=&]{0,100}))? HTTP/1\.1"
)
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
_TOPIC_ID: Final = b"floodmark-topic-id"
_CLIENT_ID: Final = b"user-agent"
_AUTHORIZATION: Final = b"authorization"
_TAKEN: Final = (
    _IGNORED
    | {b"content-length", b"content-type", b"connection"}
    | {_FORWARDED, _TOPIC_ID, _CLIENT_ID, _AUTHORIZATION}
)


class PlainHead(NamedTuple):
    """All that such a head says."""

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


class PlainHeads:
    """Reads heads. Clients send the same one again and again, so the last ones are known by their bytes."""

    def __init__(self, knows_host: Callable[[str], bool], is_from_node: Callable[[str | None], bool]) -> None:
        self._knows_host = knows_host
        self._is_from_node = is_from_node
        self._known: dict[bytes, PlainHead] = {}

    def read(self, data: bytes) -> tuple[PlainHead, int] | None:
        """The head and where the body begins, when ``data`` is one plain request, whole or not; else None."""
        if not data.startswith(b"POST /v1/topics/"):
            return None
        end = data.find(b"\r\n\r\n", 0, _HEAD_BYTES_MAX)
        if end < 0:
            return None
        text = data[:end]
        head = self._known.get(text)
        if head is None:
            head = _parsed(text, self._knows_host, self._is_from_node)
            if head is None:
                return None
            # Who is a node is judged anew each time: it changes with the cluster's secret.
            if _FORWARDED not in text.lower():
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                self._known[text] = head
        return (head, end + 4) if len(data) - end - 4 <= head.content_length else None


def _parsed(
    text: bytes, knows_host: Callable[[str], bool], is_from_node: Callable[[str | None], bool]
) -> PlainHead | None:
    first, *lines = text.split(b"\r\n")
    asked = _REQUEST.fullmatch(first)
    headers = _headers(lines)
    if asked is None or headers is None or headers.get(b"connection", b"keep-alive").lower() != b"keep-alive":
        return None
    length = headers.get(b"content-length", b"")
    host = headers.get(b"host")
    if host is None or not knows_host(host.decode()) or _LENGTH.fullmatch(length) is None:
        return None
    query = _query((asked[4] or b"").decode())
    if query is None:
        return None
    topic_id = headers.get(_TOPIC_ID)
    if topic_id is not None and _TOPIC_ID_FORM.fullmatch(topic_id) is None:
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
        int(length),
        is_from_node(headers[_FORWARDED].decode() if _FORWARDED in headers else None),
        None if topic_id is None else int(topic_id),
        headers.get(_CLIENT_ID, b"").decode(),
        policy.topic(topic),
        digest_of(headers[_AUTHORIZATION]) if _AUTHORIZATION in headers else None,
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


def _query(text: str) -> dict[str, str] | None:
    found: dict[str, str] = {}
    for part in text.split("&") if text else ():
        name, equals, value = part.partition("=")
        if name not in ("acks", "timeout") or not equals or name in found:
            return None
        found[name] = value
    return found
