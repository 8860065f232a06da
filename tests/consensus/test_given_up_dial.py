"""A connection that ends after whoever dialled has given up."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from consensus.links.dialed import DialedConnection
from consensus.links.handshake import Dialing, HandshakeFailed
from consensus.links.link_types import LinkOptions
from tests.consensus.test_handshake import identity


class _Nobody:
    def queue_drained(self) -> None:
        pass


async def test_nobody_has_to_look_at_how_the_handshake_ended() -> None:
    """Asyncio would write an error into the log that is nobody's; who does wait is told."""
    unhandled: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    dialing = Dialing(identity("a"), "b", 7, b"http://a")
    given_up = DialedConnection(dialing, LinkOptions(), _Nobody())
    given_up.connection_lost(None)
    del given_up
    gc.collect()
    await asyncio.sleep(0)
    assert unhandled == []
    waited_for = DialedConnection(dialing, LinkOptions(), _Nobody())
    waited_for.connection_lost(None)
    with pytest.raises(HandshakeFailed, match="closed the connection"):
        await waited_for.welcomed
