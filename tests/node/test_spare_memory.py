"""Memory that a burst has left behind goes back to the kernel; what a busy node uses again stays."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

from node.spare_memory import GROWN_BYTES, QUIET_BYTES, QUIET_LOOKS, SpareMemory

_PROGRAM = """
from node.allocator import give_back, keep_pages, resident_bytes
keep_pages()
before = resident_bytes()
held = [bytearray(b"x" * (1 << 20)) for _ in range(256)]
kept = held[::8]
del held
burst = resident_bytes()
assert give_back()
print(before, burst, resident_bytes())
"""


class Node:
    """What is looked at."""

    def __init__(self) -> None:
        self.in_hand = self.served = self.resident = 0
        self.spare = SpareMemory(
            in_hand=lambda: self.in_hand,
            served=lambda: self.served,
            resident=lambda: self.resident,
            give_back=lambda: None,
        )

    def looks(self, count: int) -> list[bool]:
        """So many of them."""
        return [self.spare.is_due() for _ in range(count)]


def test_a_quiet_node_that_has_grown_gives_back() -> None:
    """After some quiet looks in a row, and not before."""
    node = Node()
    node.resident = GROWN_BYTES
    assert node.looks(QUIET_LOOKS) == [False] * (QUIET_LOOKS - 1) + [True]


def test_a_busy_node_keeps_what_it_uses() -> None:
    """Whether that shows in what it has in hand at a look, or only in what it has served since then."""
    node = Node()
    node.resident = GROWN_BYTES
    node.in_hand = QUIET_BYTES + 1
    assert not any(node.looks(3 * QUIET_LOOKS))
    node.in_hand = 0
    for _ in range(3 * QUIET_LOOKS):
        node.served += QUIET_BYTES + 1
        assert node.looks(1) == [False]


def test_a_node_that_has_not_grown_has_nothing_to_give() -> None:
    """Growth counts from the least that it had since."""
    node = Node()
    node.resident = GROWN_BYTES - 1
    assert not any(node.looks(3 * QUIET_LOOKS))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_what_is_given_back_is_not_resident_any_more() -> None:
    """Also from between blocks that are still in use."""
    out = subprocess.run([sys.executable, "-c", _PROGRAM], capture_output=True, check=True).stdout
    before, burst, after = (int(text) >> 20 for text in out.split())
    assert burst - before > 200
    assert after - before < 96, (before, burst, after)
