"""What protects the engine from its own flaws, each with a name so that tests can take one away.

Nothing but tests passes anything other than ``ALL``: a test that fails with one safeguard left out shows that
the safeguard does something, and a simulation that finds the loss shows that it would find the next one.
"""

from __future__ import annotations

import enum
from typing import Final


class Safeguard(enum.Enum):
    """Each names what goes wrong in the engine alone."""

    C1 = "a resent append truncates matching entries"
    C1B = "the commit index of an append covers entries that the append says nothing about"
    C2 = "several appends under way make the position hints alternate for ever"
    C3 = "a stored commit index may lie beyond the log after a crash"
    C4 = "entries, terms and votes count before they are durable"
    C6 = "a failed install is acknowledged"
    C7 = "membership changes may overlap or skip the catching up"
    H1 = "acknowledgements carry no term"
    H2 = "votes are counted per message"
    H3 = "a deposed leader goes on for 30 seconds and serves reads without asking anybody"
    H4 = "a replica that hears nobody raises its term for ever"
    H5 = "a replica that lost its data votes again"


ALL: Final = frozenset(Safeguard)
