"""From a blocking reader to the event loop."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from cli.pump import Pump


async def test_everything_arrives_in_order_whatever_the_pace() -> None:
    """More items than are ever held, taken in as many pieces as it needs."""
    pump = Pump(iter(range(25_000)))
    seen: list[int] = []
    while taken := await pump.take():
        seen += taken
    assert seen == list(range(25_000))


async def test_an_item_is_handed_out_while_the_source_blocks() -> None:
    """A record typed at a terminal does not wait for the next one."""
    go_on = threading.Event()

    def items() -> Iterator[str]:
        yield "first"
        go_on.wait()

    pump = Pump(items())
    assert await pump.take() == ["first"]
    go_on.set()
    assert await pump.take() == []


async def test_an_error_comes_after_what_was_read_before_it() -> None:
    """Good lines before a bad one are not lost."""

    def items() -> Iterator[int]:
        yield 1
        raise ValueError("line 2")

    pump = Pump(items())
    assert await pump.take() == [1]
    with pytest.raises(ValueError, match="line 2"):
        await pump.take()
