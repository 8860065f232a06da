"""Attacks on a cluster beside honest clients, and the table of what those saw."""

from __future__ import annotations

import re

from bench.attack.__main__ import run
from bench.attack.registry import attacks

_SEEN = re.compile(r"([0-9]+) ms +([0-9]+) +([0-9]+)")
_REFUSED = re.compile(r"   [1-9][0-9]* x (413|503)(, [0-9]+ x (413|503))?$")
"""Where the machine is slow, the process that counts the records is not there in time: 503."""


def test_attacks_have_names_of_their_own() -> None:
    """So that one can be chosen; nothing at all comes first."""
    names = [attack.name for attack in attacks()]
    assert len(set(names)) == len(names)
    assert names[0] == "none"


async def test_an_attack_is_told_with_what_honest_clients_saw() -> None:
    """A second of 32 KB bodies: all refused, and the honest clients are served."""
    attack = next(attack for attack in attacks() if attack.name.startswith("32 KB of gzip"))
    line = await run(attack, 1.0)
    assert _REFUSED.search(line), line
    worst, good, bad = _SEEN.findall(line)[0]
    assert int(worst) > 0
    assert int(bad) < int(good), line


async def test_a_user_who_attacks_is_bounded_like_a_stranger() -> None:
    """With a token, in a cluster with TLS on all links: heavy bodies for a topic of its own are refused,
    and the honest user is served."""
    attack = next(attack for attack in attacks() if attack.name.startswith("32 KB of gzip"))
    line = await run(attack, 1.0, is_secure=True)
    assert _REFUSED.search(line), line
    worst, good, bad = _SEEN.findall(line)[0]
    assert int(worst) > 0
    assert int(bad) < int(good), line
