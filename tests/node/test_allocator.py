"""The allocator of a node's process."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

_PROGRAM = """
import resource, sys
from node.allocator import keep_pages
if sys.argv[1] == "told":
    assert keep_pages()
def pages(count):
    for _ in range(count):
        held = [bytearray(4 << 20) for _ in range(4)]
        del held
pages(3)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
pages(20)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told")
def test_memory_of_large_pages_is_used_again() -> None:
    """A node's process takes hardly a new page from the kernel for reads of megabytes; untold, thousands."""
    faults = {
        how: int(
            subprocess.run([sys.executable, "-c", _PROGRAM, how], capture_output=True, check=True).stdout
        )
        for how in ("told", "untold")
    }
    assert faults["told"] < 1_000 < faults["untold"], faults
