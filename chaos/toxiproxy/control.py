"""Toxiproxy's HTTP interface, through toxiproxy-python, as values and with typed errors.

That library keeps the address of the one server that it speaks to in a class, answers some failures with
nothing and others with untyped exceptions. Here every control has its own server, all may be used from any
thread, and nothing fails in silence. Calls block for a millisecond or two: call them in a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from toxiproxy import Toxiproxy
from toxiproxy.exceptions import InvalidToxic, NotFound, ProxyExists

from chaos.toxiproxy.errors import ToxiproxyFailed

Stream = Literal["upstream", "downstream"]
"""From whoever dialled to the server behind the proxy, and back."""
STREAMS: Final[tuple[Stream, Stream]] = ("upstream", "downstream")

_ONE_SERVER_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class Toxic:
    """What is done to one stream of every connection through a proxy; ``attributes`` are Toxiproxy's own."""

    kind: str
    stream: Stream
    attributes: Mapping[str, int] = field(default_factory=dict)


class Control:
    """One Toxiproxy server. Every method raises ``ToxiproxyFailed`` when it does not do as it is told."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def version(self) -> str | None:
        """What the server calls itself; None when nobody answers yet."""
        with self._server() as server:
            answer: bytes | None = server.version()
        return None if answer is None else answer.decode(errors="replace")

    def create(self, name: str, upstream: str) -> str:
        """Make a proxy that leads to ``upstream`` and return where it listens, as host:port."""
        with self._server() as server:
            listen: str = server.create(upstream=upstream, name=name, listen=f"{self._host}:0").listen
        return listen

    def add(self, proxy: str, name: str, toxic: Toxic) -> None:
        """Put a toxic on the connections of a proxy, those that are open and those to come."""
        with self._server() as server:
            self._proxy(server, proxy).add_toxic(
                name=name, type=toxic.kind, stream=toxic.stream, attributes=dict(toxic.attributes)
            )

    def remove(self, proxy: str, name: str) -> None:
        """Take a toxic off again; one that is gone already is fine."""
        with self._server() as server:
            try:
                self._proxy(server, proxy).destroy_toxic(name)
            except NotFound:
                return

    def toxics(self, proxy: str) -> dict[str, Toxic]:
        """name -> toxic, as the server has them: attributes that it does not know are missing."""
        with self._server() as server:
            found = self._proxy(server, proxy).toxics()
        return {name: Toxic(each.type, each.stream, each.attributes) for name, each in found.items()}

    def _proxy(self, server: Any, name: str) -> Any:
        proxy = server.get_proxy(name)
        if proxy is None:
            raise ToxiproxyFailed(f"there is no proxy {name!r}")
        return proxy

    @contextmanager
    def _server(self) -> Iterator[Any]:
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
