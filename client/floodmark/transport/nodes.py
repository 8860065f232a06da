"""Which node to ask: the leader if it is known, else any node that answered lately."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Final
from urllib.parse import urlsplit

from floodmark.errors import InvalidRequest

_PENALTY_S: Final = 1.0
_LONGEST_PENALTY_S: Final = 60.0
_NODES_MAX: Final = 256
LEADER_HEADER: Final = "Floodmark-Leader-Url"


class Nodes:
    """The addresses a client knows. Every node answers every request, so a wrong guess costs one hop.

    Leaders are learned from answers, per route (a topic's partition). A node that did not answer is not
    asked for a second, longer each time in a row, unless there is no other.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        if not urls:
            raise InvalidRequest("a client needs the URL of at least one node")
        self._urls = [_base(url) for url in urls]
        self._current = self._urls[0]
        self._leaders: dict[str, str] = {}
        self._penalties: dict[str, float] = {}
        self._failures: dict[str, int] = {}

    def pick(self, route: str | None) -> str:
        """The base URL to send the next request of this route to."""
        leader = self._leaders.get(route) if route else None
        if leader is not None and not self._is_penalised(leader):
            return leader
        if self._is_penalised(self._current):
            fine = [url for url in self._urls if not self._is_penalised(url)]
            if fine:
                self._current = random.choice(fine)
            else:
                self._current = min(self._urls, key=lambda url: self._penalties.get(url, 0.0))
        return self._current

    def has_alternative(self) -> bool:
        """Whether a node is known that did not just fail: then there is no need to wait."""
        return any(not self._is_penalised(url) for url in self._urls)

    def answered(self, url: str, route: str | None, leader: str | None) -> None:
        """``url`` gave an answer that names ``leader`` as the one to ask."""
        self._penalties.pop(url, None)
        self._failures.pop(url, None)
        if leader is None or route is None:
            return
        leader = leader.rstrip("/")
        if url.startswith("https:") and not leader.startswith("https:"):
            return  # What is asked with TLS is not sent on without, whoever says where to.
        self._leaders[route] = leader
        if leader not in self._urls and len(self._urls) < _NODES_MAX:
            self._urls.append(leader)

    def failed(self, url: str, route: str | None) -> None:
        """``url`` gave no answer."""
        failures = self._failures[url] = self._failures.get(url, 0) + 1
        penalty_s = min(_LONGEST_PENALTY_S, _PENALTY_S * 2.0 ** min(failures - 1, 10))
        self._penalties[url] = time.monotonic() + penalty_s
        if route is not None and self._leaders.get(route) == url:
            del self._leaders[route]

    def forget_leader(self, route: str | None) -> None:
        """The node says that it is not the leader and does not know which node is."""
        if route is not None:
            self._leaders.pop(route, None)

    def _is_penalised(self, url: str) -> bool:
        until = self._penalties.get(url)
        return until is not None and time.monotonic() < until


def _base(url: str) -> str:
    try:
        parts = urlsplit(url if "://" in url else f"http://{url}")
        is_base = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # Of a port, or of brackets.
        is_base = False
    if not is_base or parts.query or parts.fragment:
        raise InvalidRequest(f"{url!r} is not a base URL: write one, as in http://localhost:7070")
    return parts.geturl().rstrip("/")
