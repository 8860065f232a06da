"""Toxiproxy's HTTP interface, through toxiproxy-python, as values and with typed errors.

That library keeps the address of its one server in a class, ignores some failures and raises untyped
exceptions for others. Here every control has its own server, can be used from any thread, and fails loudly.
Calls block for a millisecond or two: call them in a thread. The library is an extra of the distribution, so
it is imported where it is used; ``find_binary`` says if it is missing.

Toxiproxy 2.12 crashes with an index error if a toxic is removed from the middle of a chain while a closed
connection lingers there, and another toxic is added later. So only the last toxic of a stream is ever
removed; an earlier one is made harmless, and removed once it is the last.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from chaos.toxiproxy.errors import ToxiproxyFailed

Stream = Literal["upstream", "downstream"]
"""From the dialling side to the server behind the proxy, and back."""
STREAMS: Final[tuple[Stream, Stream]] = ("upstream", "downstream")

_ONE_SERVER_AT_A_TIME = threading.Lock()
_HOLES_CLOSE_S: Final = 0.05
"""Toxiproxy counts in milliseconds: a black hole that has one left closes its connections in this time."""


@dataclass(frozen=True, slots=True)
class Toxic:
    """What is done to one stream of every connection through a proxy; ``attributes`` are Toxiproxy's own."""

    kind: str
    stream: Stream
    attributes: Mapping[str, int] = field(default_factory=dict)


@dataclass(slots=True)
class _Link:
    """One toxic in the chain of a stream."""

    name: str
    kind: str
    harmless: bool = False


class Control:
    """One Toxiproxy server. Every method raises ``ToxiproxyFailed`` if the server refuses or fails."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port
        self._chains: defaultdict[tuple[str, Stream], list[_Link]] = defaultdict(list)
        """The toxics of each stream of each proxy, in the order in which data passes them."""

    def version(self) -> str | None:
        """The server's version; None if it does not answer yet."""
        with self._server() as server:
            answer: bytes | None = server.version()
        return None if answer is None else answer.decode(errors="replace")

    def create(self, name: str, upstream: str) -> str:
        """Make a proxy to ``upstream`` and return the address it listens on, as host:port."""
        with self._server() as server:
            listen: str = server.create(upstream=upstream, name=name, listen=f"{self._host}:0").listen
        return listen

    def add(self, proxy: str, name: str, toxic: Toxic) -> None:
        """Put a toxic on all connections of a proxy, open and future ones."""
        with self._server() as server:
            self._proxy(server, proxy).add_toxic(
                name=name, type=toxic.kind, stream=toxic.stream, attributes=dict(toxic.attributes)
            )
            self._chains[proxy, toxic.stream].append(_Link(name, toxic.kind))

    def remove(self, proxy: str, name: str) -> None:
        """Remove a toxic, if it is still there."""
        with self._server() as server:
            for stream in STREAMS:
                chain = self._chains[proxy, stream]
                for link in chain:
                    if link.name == name and not link.harmless:
                        if link is not chain[-1]:
                            _neutralise(proxy, link)
                        link.harmless = True
                while chain and chain[-1].harmless:
                    self._proxy(server, proxy).destroy_toxic(chain[-1].name)
                    chain.pop()

    def toxics(self, proxy: str) -> dict[str, Toxic]:
        """name -> toxic, as the server has them: attributes that it does not know are missing."""
        with self._server() as server:
            found = self._proxy(server, proxy).toxics()
            harmless = {
                link.name for stream in STREAMS for link in self._chains[proxy, stream] if link.harmless
            }
        return {
            name: Toxic(each.type, each.stream, each.attributes)
            for name, each in found.items()
            if name not in harmless
        }

    def _proxy(self, server: Any, name: str) -> Any:
        proxy = server.get_proxy(name)
        if proxy is None:
            raise ToxiproxyFailed(f"there is no proxy {name!r}")
        return proxy

    @contextmanager
    def _server(self) -> Iterator[Any]:
        from toxiproxy import Toxiproxy  # noqa: PLC0415 - an extra
        from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists  # noqa: PLC0415

        with _ONE_SERVER_AT_A_TIME:
            server = Toxiproxy()
            server.update_api_consumer(self._host, self._port)
            try:
                yield server
            except (InvalidToxic, NotFound, ProxyExists) as error:
                raise ToxiproxyFailed(f"Toxiproxy refuses: {error}") from error
            except (OSError, KeyError, TypeError, AttributeError) as error:
                # All that can go wrong on the way is an OSError. Other answers that are errors come back from
                # the library as documents without the wanted members.
                raise ToxiproxyFailed(f"Toxiproxy at {self._host}:{self._port}: {error!r}") from error


def _neutralise(proxy: str, link: _Link) -> None:
    """Make a toxic harmless that has others after it.

    Connections through a black hole lack what it swallowed, so they are closed before they carry more.
    (Removing the toxic would close them too.)
    """
    from toxiproxy.api import APIConsumer  # noqa: PLC0415 - an extra

    path = f"/proxies/{proxy}/toxics/{link.name}"
    if link.kind == "timeout":
        APIConsumer.post(path, json={"attributes": {"timeout": 1}, "toxicity": 1.0}).json()
        time.sleep(_HOLES_CLOSE_S)
    APIConsumer.post(path, json={"attributes": {}, "toxicity": 0.0}).json()
