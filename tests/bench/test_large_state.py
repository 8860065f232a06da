"""The table of the benchmark of large states."""

from __future__ import annotations

from bench.document import replace_part
from bench.large_state import Phase, table
from bench.machine import Machine
from bench.paths import DOCUMENT

MACHINE = Machine("a processor", 2, 0.25, 0.63, 2000.0, 160.0)


def test_the_table_has_all_columns_and_a_place_in_the_document() -> None:
    """A phase that moves nothing has dashes; percentiles are of each group's own writes."""
    quiet = Phase("nothing", 8.0, 0.0, [1.0, 2.0, 3.0], [4.0], 1.25, "Turn", 2.0)
    sent = Phase("sent", 4.0, 200.0, [1.0], [4.0, 5.0], 9.5, "Turn", 11.0)
    found = table([quiet, sent], MACHINE, 3.0)
    assert found.startswith("- Machine: 2 cores (a processor); 4 KiB append")
    assert "3.0 processes wanted to run" in found
    assert "| nothing | 8.0 | - | - | 1.2 | 2.00 | 3.00 | 3.0 | 4.00 | 4.00 | 4.0 |" in found
    assert "| sent | 4.0 | 200 | 50 | 9.5 | 1.00 | 1.00 | 1.0 | 5.00 | 5.00 | 5.0 |" in found
    assert len({line.count("|") for line in found.splitlines() if "|" in line}) == 1
    assert found in replace_part(DOCUMENT.read_text(), "large-state", found)
