"""The simulated network behaves as connections do."""

from __future__ import annotations

import random

import pytest

from tests.simulation.network import Network, NetworkOptions
from tests.simulation.scheduler import Scheduler
from tests.simulation.trace import Trace


class _Wires:
    """A network of two nodes and what it carried."""

    def __init__(self, seed: int) -> None:
        self.scheduler = Scheduler()
        self.arrived: list[tuple[str, int]] = []
        self.links: list[tuple[str, str, bool]] = []
        self.network: Network[int] = Network(
            ["n1", "n2"],
            self.scheduler,
            random.Random(seed),
            Trace(),
            NetworkOptions(),
            deliver=lambda _source, target, message: self.arrived.append((target, message)),
            notify=lambda source, target, up: self.links.append((source, target, up)),
        )
        for name in ("n1", "n2"):
            self.network.set_alive(name, True)
        self.scheduler.run(1.0)

    def send(self, *messages: int) -> None:
        for message in messages:
            self.network.send("n1", "n2", message)


@pytest.mark.parametrize("seed", range(5))
def test_a_link_keeps_order_within_a_connection(seed: int) -> None:
    """However delays differ, what was sent first arrives first."""
    wires = _Wires(seed)
    wires.send(*range(50))
    wires.scheduler.run(2.0)
    assert wires.arrived == [("n2", number) for number in range(50)]


def test_a_broken_connection_loses_what_was_under_way_and_comes_back() -> None:
    """The sender is told that the link is down, then up, and nothing from before arrives."""
    wires = _Wires(1)
    wires.links.clear()
    wires.send(1)
    wires.network.break_connection("n1", "n2")
    wires.send(2)
    wires.scheduler.run(2.0)
    wires.send(3)
    wires.scheduler.run(3.0)
    assert wires.arrived == [("n2", 3)]
    assert wires.links == [("n1", "n2", False), ("n1", "n2", True)]


def test_a_stalled_link_delivers_late_and_a_cut_one_never() -> None:
    """A stall holds messages back, the other direction works; a cut loses them."""
    wires = _Wires(2)
    wires.network.set_stalled("n1", "n2", True)
    wires.send(1, 2)
    wires.network.send("n2", "n1", 9)
    wires.scheduler.run(2.0)
    assert wires.arrived == [("n1", 9)]
    wires.network.set_stalled("n1", "n2", False)
    wires.scheduler.run(3.0)
    assert wires.arrived[1:] == [("n2", 1), ("n2", 2)]
    wires.network.set_cut("n1", "n2", True)
    wires.send(3)
    wires.scheduler.run(5.0)
    wires.network.heal()
    wires.scheduler.run(6.0)
    assert wires.arrived[3:] == []
